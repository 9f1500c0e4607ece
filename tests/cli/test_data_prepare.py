import json

import numpy as np
import pytest

from longtake.video import probe, write_video


@pytest.fixture
def taichi(tmp_path):
    """TaiChi-HD as its script leaves it: two clips to train on, one to test on."""
    rng = np.random.default_rng(0)
    for name in ("train/a#000000#000006", "train/b#000000#000006", "test/c#000000#000006"):
        path = tmp_path / "taichi" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, rng.integers(0, 256, (6, 20, 24, 3), dtype=np.uint8), 25)
    return tmp_path / "taichi"


def test_summary_and_resume(longtake, taichi, tmp_path):
    command = ["data", "prepare", "taichi-hd", "--root", taichi, "--out", tmp_path / "out", "--workers", 0]
    outcome = longtake(*command)
    assert outcome.status == 0
    assert outcome.err == ""
    assert outcome.out.splitlines() == [
        f"{tmp_path / 'out'}: 3 written, 0 skipped (there already), 0 failed",
        f"{tmp_path / 'out' / 'test'}: 1 video",
        f"{tmp_path / 'out' / 'train'}: 2 videos",
    ]
    assert "0 written, 3 skipped" in longtake(*command).out


def test_options_reach_the_videos_and_failures_are_shown(longtake, taichi, tmp_path):
    (taichi / "train" / "b#000000#000006.mp4").write_text("broken")
    command = ["data", "prepare", "taichi-hd", "--root", taichi, "--out", tmp_path / "out", "--workers", 0]
    outcome = longtake(*command, "--size", 16, "--margin", 2, "--fps", 12.5)
    assert outcome.status == 0
    assert "2 written, 0 skipped (there already), 1 failed" in outcome.out
    assert "train/b#000000#000006" in outcome.out
    assert "not a readable video" in outcome.out
    info = probe(tmp_path / "out" / "train" / "a#000000#000006.mp4")
    assert (info.num_frames, info.height, info.width, info.fps) == (3, 16, 16, 12.5)
    options = json.loads((tmp_path / "out" / "prepared.json").read_text())["options"]
    assert options == {"fps": 12.5, "margin": 2, "size": 16}


def test_names_that_no_terminal_takes(longtake, taichi, tmp_path):
    for name in ("a\udcff", "two\nlines"):
        (taichi / "train" / f"{name}.mp4").write_text("broken")
    command = ("data", "prepare", "taichi-hd", "--root", taichi, "--out", tmp_path / "out", "--workers", 0)
    out = longtake(*command).out
    assert "3 written" in out
    assert "train/a\\xff" in out
    assert "train/two\\nlines" in out
    out.encode()  # as a terminal does
    failed = json.loads((tmp_path / "out" / "prepared.json").read_text())["failed"]
    assert sorted(failed) == ["train/a\\xff", "train/two\\nlines"]
    assert all("not a readable video" in reason and "\n" not in reason for reason in failed.values())


def test_status_1_where_nothing_was_prepared(longtake, taichi, tmp_path):
    for path in taichi.rglob("*.mp4"):
        path.write_text("broken")
    out = tmp_path / "out"
    outcome = longtake("data", "prepare", "taichi-hd", "--root", taichi, "--out", out, "--workers", 0)
    assert outcome.status == 1
    assert "3 failed" in outcome.out


def test_mistakes_are_one_line(longtake, taichi, tmp_path):
    def line(*arguments):
        return longtake("data", "prepare", *arguments).error_line

    there = ["--root", taichi, "--out", tmp_path / "out"]
    assert "--root" in line("kth", "--out", tmp_path / "out")
    assert "taichi-hd" in line("taichi", *there)
    assert line("taichi-hd", *there, "--size", 15).startswith("size is 15; it must be an even number")
    assert line("taichi-hd", *there, "--workers", -1) == "--workers is -1; it must be at least 0"
    assert "unknown split of taichi-hd 'half' (known: published)" in line("taichi-hd", *there, "--split", "half")
    assert str(tmp_path / "nowhere") in line("kth", "--root", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
