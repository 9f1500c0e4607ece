"""`compare`: the same real clips for all, numbers that are `evaluate`'s, a floor, and mistakes before anything long."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image
from toy_evaluation import write_bars, write_broken

from longtake.benchmarking import real_videos, samples
from longtake.benchmarking.compare import compare
from longtake.benchmarking.comparison import FLOOR
from longtake.benchmarking.comparison_table import comparison_table
from longtake.core.errors import UserError
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate

CONFIG = EvaluationConfig(frames=4, resamples=10, device="cpu", seed=3)


@pytest.fixture
def run(toy_models, real, tmp_path, network, in_this_process):
    def run(*names, config=CONFIG, folder=real, **options):
        models = [str(toy_models[name]) for name in names]
        return compare(models, folder, tmp_path / "out", config, **options)

    return run


@pytest.fixture
def nothing_sampled(monkeypatch):
    def fail(*_):
        raise AssertionError("a model samples, though the mistake could be seen before")

    monkeypatch.setattr(samples, "make_videos", fail)


def test_numbers_are_those_of_evaluate(run, real, tmp_path, network):
    comparison, files = run("glober", "tats", "r3")
    assert [row.name for row in comparison.rows] == ["glober", "tats", "r3", FLOOR]
    assert comparison.config.count == 5  # half of the real videos
    assert comparison.num_frames == 8  # the span of the GLOBER
    saved = json.loads(files[0].read_text())
    hashes = set()
    for row in saved["rows"][:3]:
        folder = tmp_path / "out" / row["name"]
        config = EvaluationConfig(frames=4, resamples=10, device="cpu", seed=3, count=5)
        expected = evaluate(real, folder, config, network=network).to_json()
        assert row["report"]["numbers"] == expected["numbers"]
        assert row["report"]["curves"] == expected["curves"]
        assert len(row["videos"]) == 5
        assert row["memory_bytes"]["process"] > 10**8
        hashes.add(row["report"]["real"]["clips_sha256"])
    assert len(hashes) == 1  # the same real clips
    assert saved["rows"][1]["parameters"] > saved["rows"][1]["span"] == 16
    assert saved["machine"]["device"] == "cpu"


def test_floor_is_other_real_videos_in_a_models_place(run, real, tmp_path, network):
    comparison, _ = run("tats")
    floor = comparison.rows[-1].report
    models = comparison.rows[0].report
    assert floor.clip_lists["real"] == models.clip_lists["real"]
    mine, others = ({clip.file for clip in floor.clip_lists[side].trials[0]} for side in ("real", "fake"))
    assert len(mine) == len(others) == 5
    assert not mine & others
    distance = floor.number("frechet_distance[toy]").value
    assert 0 < distance < models.number("frechet_distance[toy]").value


def test_floor_is_given_up_when_a_real_clip_is_lost_meanwhile(run, monkeypatch):
    """Nothing can be left out to meet the same clips again: trying on would never end."""
    evaluate_both = real_videos.evaluate

    def lose_a_clip(real, fake, *arguments, **options):
        report = evaluate_both(real, fake, *arguments, **options)
        if real is fake:
            return report
        clips = report.clip_lists["real"]
        return replace(report, clip_lists={"real": replace(clips, trials=(clips.trials[0][1:],))})

    monkeypatch.setattr(real_videos, "evaluate", lose_a_clip)
    comparison, _ = run("tats")
    assert [row.name for row in comparison.rows] == ["tats"]
    assert any("cannot be read again" in note for note in comparison.notes)


def test_too_few_real_videos_for_a_floor(run):
    comparison, _ = run("tats", config=EvaluationConfig(frames=4, resamples=0, device="cpu", count=6))
    assert [row.name for row in comparison.rows] == ["tats"]
    assert "no row of real videos: it takes 6 real videos beside the 6 that the models are measured against, and 4" in (
        "; ".join(comparison.notes)
    )


def test_rerun_samples_nothing_and_says_the_same(run, monkeypatch):
    _, files = run("tats", "r3")
    before = json.loads(files[0].read_text())

    def fail(*_):
        raise AssertionError("all videos are there")

    monkeypatch.setattr(samples, "make_videos", fail)
    run("tats", "r3")
    assert json.loads(files[0].read_text()) == before
    fewer, _ = run("tats", "r3", config=EvaluationConfig(frames=4, resamples=10, device="cpu", seed=3, count=3))
    assert [len(row.costs()) for row in fewer.rows] == [3, 3, 0]


def test_table_and_picture(run, tmp_path):
    comparison, files = run("tats", "r3")
    assert [file.name for file in files] == ["comparison.json", "comparison.md", "contact-sheet.png"]
    table = comparison_table(comparison)
    assert [row[0][0] for row in table.rows] == ["tats", "r3", FLOOR]
    tats = comparison.rows[0]
    seconds = [video["seconds"] for video in tats.costs().values()]
    rate = float(table.rows[0][-2][0])
    assert rate == pytest.approx(comparison.num_frames * len(seconds) / sum(seconds), rel=0.01)
    value = tats.report.number("frechet_distance[toy]").value
    assert float(table.rows[0][1][0]) == pytest.approx(value, rel=0.01)
    text = files[1].read_text()
    assert all(f"| {name} " in text for name in ("tats", "r3", FLOOR))
    assert "temporal_flickering" in text
    with Image.open(files[2]) as sheet:
        assert sheet.height >= 6 * 128  # two rows for each model and for the real videos
    assert "the models have different classes" in "; ".join(comparison.notes)


@pytest.mark.parametrize("breaks_at", [1, 11])  # within most clips, and after most of them
@pytest.mark.parametrize("place", range(9))
def test_real_clips_of_all_rows_are_the_same_whichever_video_breaks(run, tmp_path, place, breaks_at):
    """Leaving out a video draws the others anew: for the models and for the floor alike, without a video in both."""
    folder = write_bars(tmp_path / "mixed", range(9), num_frames=12)
    path = sorted(folder.rglob("*.npy"))[place]
    path.unlink()
    write_broken(path.with_suffix(""), first_broken=breaks_at)
    comparison, _ = run("tats", folder=folder, config=EvaluationConfig(frames=4, resamples=0, device="cpu", count=4))
    tats, floor = (row.report for row in comparison.rows)
    assert tats.clip_lists["real"].trials == floor.clip_lists["real"].trials
    real, others = ({clip.file for clip in floor.clip_lists[side].trials[0]} for side in ("real", "fake"))
    assert not real & others
    assert path.with_suffix("").relative_to(folder).as_posix() not in real | others


def test_floor_shows_real_motion_at_the_rate_of_the_real_clips(run):
    """Latte's models make every third frame of real time alone; real videos in their place are read so, too."""
    comparison, _ = run("tats", config=EvaluationConfig("latte", frames=4, resamples=0, device="cpu", count=4))
    sides = [(row.report.facts["real"]["stride"], row.report.facts["fake"]["stride"]) for row in comparison.rows]
    assert sides == [(3, 1), (3, 3)]


def test_videos_are_not_written_among_the_real_ones(real, nothing_sampled):
    for out in (real, real / "made"):
        with pytest.raises(UserError, match="lies in the folder of real videos"):
            compare(["tats-weizmann"], real, out, CONFIG)


def test_broken_real_video_is_left_out_for_all(run, real, tmp_path):
    folder = write_bars(tmp_path / "mixed", range(9), num_frames=12)
    write_broken(folder / "class-0" / "broken")
    comparison, _ = run("tats", folder=folder, config=EvaluationConfig(frames=4, resamples=0, device="cpu", count=4))
    for row in comparison.rows:
        for clips in row.report.clip_lists.values():
            assert not any("broken" in clip.file for clip in clips.trials[0])
    assert [row.name for row in comparison.rows] == ["tats", FLOOR]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["tats", "short"], {"num_frames": 9}, "short makes 8 frames of real time at most, not 9"),
        (["tats", "r2"], {"num_frames": 8}, "r2: a model 'r2' recreates a video"),
        (["tats"], {"num_frames": 3}, "videos of 3 frames are too short for clips of 4 at stride 1, which span 4"),
        (["tats"], {"config": EvaluationConfig(frames=4, count=11)}, "has 10 videos to compare with, and 11 of each"),
        (["tats"], {"config": EvaluationConfig(frames=13), "num_frames": 16}, "none of 10 videos is long enough: 13"),
        (["tats"], {"config": EvaluationConfig(frames=4, device="nowhere")}, "cannot use device 'nowhere'"),
        (["tats", "tats"], {}, "is given 2 times"),
    ],
)
def test_mistakes_are_seen_before_anything_is_sampled(run, nothing_sampled, names, options, message):
    with pytest.raises(UserError, match=message):
        run(*names, **options)


def test_damaged_model_is_seen_before_anything_is_sampled(run, toy_models, nothing_sampled, tmp_path, monkeypatch):
    shutil.copytree(toy_models["r3"], tmp_path / "damaged")
    next((tmp_path / "damaged" / "model").rglob("*.safetensors")).write_bytes(b"not weights")
    monkeypatch.setitem(toy_models, "damaged", tmp_path / "damaged")
    with pytest.raises(UserError, match=r"damaged/model is damaged"):
        run("tats", "damaged")
