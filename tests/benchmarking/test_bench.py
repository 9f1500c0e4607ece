"""`bench`: figures of every model and length."""

from __future__ import annotations

import pytest

from longtake.benchmarking.bench import bench, bench_table, memory_growth
from longtake.core.errors import UserError


def video(frames, process, **more):
    return {"frames": frames, "memory_bytes": {"process": process, **more}}


def test_memory_growth_is_that_of_the_longest_over_64_frames():
    assert memory_growth([video(16, 90), video(64, 100), video(1024, 110)]) == pytest.approx(1.1)
    assert memory_growth([video(64, 100, cuda=10), video(256, 100, cuda=15)]) == pytest.approx(1.5)
    assert memory_growth([video(16, 90), video(64, 100)]) is None
    assert memory_growth([video(16, 90), video(256, 100)]) is None


def test_figures_of_every_family(toy_models, in_this_process):
    names = ["short", "tats", "r3"]
    heard = []
    figures = bench(
        [str(toy_models[name]) for name in names],
        (20, 4, 4),
        device="cpu",
        progress=lambda *state: heard.append(state),
    )
    assert [model["name"] for model in figures["models"]] == names
    for model in figures["models"]:
        assert [each["frames"] for each in model["videos"]] == [4, 20]
        for each in model["videos"]:
            assert 0 < each["first_seconds"] <= each["seconds"]
            assert each["memory_bytes"]["process"] >= each["memory_bytes"]["loaded"] > 0
    short, tats, r3 = figures["models"]
    assert [each.get("stretch", False) for each in short["videos"]] == [False, True]  # its span is 8 frames
    # 4 latent frames of 2 x 2 codes make the 16 frames of its span
    assert tats["tokens"]["count"] == 16
    assert "tokens" not in short.keys() | r3.keys()
    assert ("tats: frames", 24, 24) in heard
    table = bench_table(figures)
    assert [row[1] for row in table.rows] == [("4", ""), ("20", "stretched"), *[("4", ""), ("20", "")] * 2]
    assert sum("tokens/s" in line for line in table.lines) == 1


def test_model_that_needs_a_video_is_named(toy_models, in_this_process):
    with pytest.raises(UserError, match=r"^r2: a model 'r2' recreates a video"):
        bench([str(toy_models["r3"]), str(toy_models["r2"])], (4,))
