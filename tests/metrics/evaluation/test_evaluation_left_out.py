"""What an evaluation leaves out, notes or refuses: short, broken and single videos, unequal sets, wrong settings."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from toy_evaluation import ToyNetwork, moving_bars, write_bars, write_broken

from longtake.core.errors import UserError
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.video import write_video

QUICK = EvaluationConfig(frames=4, resamples=0)


def test_short_and_broken_videos_are_left_out_and_listed(folders, network, tmp_path):
    mixed = tmp_path / "mixed"
    write_bars(mixed, range(3), num_frames=3)
    write_bars(mixed, range(3, 8), num_frames=9)
    (mixed / "empty.mp4").touch()
    config = replace(QUICK, metrics=("frechet_distance",), count=5)
    report = evaluate(folders["a"], mixed, config, network=network)
    left_out = {item["file"]: item["reason"] for item in report.facts["fake"]["left_out"]}
    assert set(left_out) == {"empty.mp4", "class-0/bars-000.npy", "class-1/bars-001.npy", "class-0/bars-002.npy"}
    assert "3 frames, 4 are needed" in left_out["class-0/bars-000.npy"]
    assert "empty" in left_out["empty.mp4"]
    assert any("4 fake videos are left out" in note for note in report.notes)
    assert report.numbers[0].conditions["fake"]["n"] == 5


def test_a_video_that_breaks_in_the_middle_is_left_out_as_if_it_were_not_there(tmp_path, network):
    names = "real", "fake", "whole"
    real, fake, whole = (write_bars(tmp_path / name, range(5), num_frames=10) for name in names)
    write_bars(real, range(5, 6), num_frames=10)
    paths = [write_broken(fake / name, num_frames=10) for name in ("class-0/broken", "class-1/another")]
    write_broken(real / "broken", num_frames=10)
    config = replace(QUICK, metrics=("frechet_distance", "segments", "flickering"), count=5, batch_size=2)
    report = evaluate(real, fake, config, network=network)
    left_out = {item["file"]: item["reason"] for item in report.facts["fake"]["left_out"]}
    assert set(left_out) == {path.relative_to(fake).as_posix() for path in paths}
    assert all("cannot be read (image file is truncated" in reason for reason in left_out.values())
    assert report.facts["fake"]["videos"] == 7
    assert any("2 fake videos are left out, such as class-" in note for note in report.notes)
    with pytest.raises(
        UserError, match=r"fake gives only 5 clips \(of 7 videos: 2 unreadable, such as class-.*truncated"
    ):
        evaluate(real, fake, replace(config, count=6), network=network)
    with pytest.raises(UserError, match=r"real gives 6 clips.* and .*fake 5 \(of 7 videos: 2 unreadable, such as"):
        evaluate(real, fake, replace(config, count=None), network=network)
    shutil.rmtree(real / "broken")
    expected = evaluate(real, whole, config, network=network)
    assert [number.value for number in report.numbers] == [number.value for number in expected.numbers]
    assert report.curves[0].values == expected.curves[0].values
    assert report.clip_lists["fake"] == expected.clip_lists["fake"]


def test_pairs_with_a_video_that_breaks_and_folders_of_nothing_else(tmp_path):
    real, fake = (write_bars(tmp_path / name, range(3)) for name in ("real", "fake"))
    write_bars(real, range(4, 5))
    write_broken(fake / "class-0" / "bars-004")
    report = evaluate(real, fake, EvaluationConfig(metrics=("psnr",), resamples=0))
    assert report.number("psnr_mean").conditions["fake"]["n"] == 3
    write_broken(tmp_path / "nothing" / "else")
    with pytest.raises(UserError, match=r"none of 1 video can be read, such as else: frame 1\.jpg"):
        evaluate(real, tmp_path / "nothing", EvaluationConfig(metrics=("flickering",)))


def test_a_single_frame_is_left_out_where_change_is_measured_and_not_else(tmp_path):
    folder = write_bars(tmp_path / "videos", range(3))
    write_video(folder / "still.npy", moving_bars(3, 1), 25)
    (folder / "two\nlines.mp4").touch()
    for metric, left_out in (("flickering", ["two\\nlines.mp4", "still.npy"]), ("psnr", ["two\\nlines.mp4"])):
        report = evaluate(folder, folder, replace(QUICK, frames=None, metrics=(metric,)))
        assert [item["file"] for item in report.facts["real"]["left_out"]] == left_out
        assert not any("\n" in note for note in report.notes)


def test_what_moves_the_numbers_is_noted(folders, tmp_path):
    write_bars(tmp_path / "large", range(16), size=32)
    config = replace(QUICK, protocol="styleganv", metrics=("frechet_distance",))
    report = evaluate(folders["a"], tmp_path / "large", config, network=ToyNetwork(dim=16))
    notes = "\n".join(report.notes)
    for part in (
        "first 2048 real folders",
        "frames is 4",
        "N = 16 samples for D = 16",
        "16 fake clips, where 2048",
        "resolution 16x16, fake 32x32",
    ):
        assert part in notes


def test_videos_of_another_size_than_the_protocol_measures_are_noted(folders, tmp_path, network):
    write_bars(tmp_path / "full", range(16), size=256, num_frames=4)
    report = evaluate(tmp_path / "full", folders["b"], replace(QUICK, protocol="glober"), network=network)
    notes = [note for note in report.notes if "where protocol glober measures 256x256" in note]
    assert [note.split(",")[0] for note in notes] == ["fake videos are 16x16"]
    report = evaluate(tmp_path / "full", folders["b"], replace(QUICK, protocol="styleganv"), network=network)
    assert not any("256x256:" in note for note in report.notes)


@pytest.mark.parametrize(
    ("fake", "changes", "message"),
    [
        ("mixed", {}, r"16 clips and .*mixed 5 .*, .*--count 5\), or ask for it \(--allow-unequal\)"),
        ("mixed", {"count": 6}, r"gives only 5 clips \(of 8 videos: 3 of fewer than 4 frames\)"),
        ("mixed", {"frames": 10}, "none of 8 videos is long enough: 10 frames are needed, the longest has 9"),
        ("b", {"count": 17}, "count is 17, but .* gives only 16 clips"),
        ("b", {"frames": 1}, "toy takes clips of at least 2 frames, not 1"),
        ("b", {"frames": 8, "metrics": ("segments",)}, "segments cannot be computed: .* has 12 frames, and 2 segments"),
        ("b", {"protocol": "styleganv", "count": 9, "metrics": ("is",)}, "gives 9 clips, at least 10 are needed"),
        ("b", {"metrics": ("fvdd",)}, "unknown metric 'fvdd'"),
        ("b", {"metrics": ("segmentz",)}, "did you mean 'segments'"),
        ("missing", {}, "missing does not exist"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(folders, network, tmp_path, fake, changes, message):
    with pytest.raises(UserError, match=message):
        evaluate(folders["a"], folders.get(fake, tmp_path / fake), replace(QUICK, **changes), network=network)


@pytest.mark.parametrize("metric", ["frechet_distance", "segments"])
def test_distances_of_one_video_are_refused_in_one_line(tmp_path, network, metric):
    real, fake = write_bars(tmp_path / "r", range(1)), write_bars(tmp_path / "f", range(1, 2))
    write_bars(fake, range(2, 3), num_frames=2)  # too short to be used
    with pytest.raises(UserError, match=f"{metric} cannot be computed: .* gives 1 clip, at least 2 are needed"):
        evaluate(real, fake, replace(QUICK, metrics=(metric,)), network=network)


def test_what_was_not_asked_for_and_cannot_be_computed_is_named(tmp_path, network):
    real, fake = write_bars(tmp_path / "r", range(1), num_frames=7), write_bars(tmp_path / "f", range(1, 2), 7)
    report = evaluate(real, fake, replace(QUICK, resamples=10), network=network)
    assert {number.name for number in report.numbers} == {
        f"{name}[{side}]"
        for name in ("temporal_flickering", "histogram_correlation", "channel_histogram_correlation")
        for side in ("real", "fake")
    }
    assert f"left out: frechet_distance, kvd, segments ({real} gives 1 clip, at least 2 are needed)" in report.notes
    assert f"left out: is ({fake} gives 1 clip, at least 2 are needed)" in report.notes
    (segments,) = (note for note in report.notes if "ccs" in note)
    assert "cosine_by_lag, ccs, ics (class-1/bars-001.npy has 7 frames, and 2 segments" in segments
    assert not any("intervals" in note for note in report.notes)  # there is none of one video
    write_bars(real, range(2, 3), num_frames=7)
    report = evaluate(real, fake, replace(QUICK, resamples=10, allow_unequal=True), network=network)
    assert any("intervals: 95 %, 10 resamples" in note for note in report.notes)


def test_clip_lengths_of_one_long_video_are_refused_in_one_line(tmp_path, network):
    folder = write_bars(tmp_path / "videos", range(3), num_frames=16)
    write_bars(folder, range(3, 4), num_frames=128)
    with pytest.raises(UserError, match=r"videos has 1 video of 128 frames or more, at least 2 are needed"):
        evaluate(folder, folder, replace(QUICK, metrics=("clip_lengths",)), network=network)


def test_wrong_settings():
    with pytest.raises(UserError, match="unknown protocol 'stylegan'; did you mean 'styleganv'"):
        EvaluationConfig(protocol="stylegan")
    for changes, message in (({"count": 1}, "count must be at least 2"), ({"resamples": 1}, "resamples must be 0")):
        with pytest.raises(UserError, match=message):
            EvaluationConfig(**changes)


def test_unequal_sets_when_asked_for(folders, network):
    config = replace(QUICK, allow_unequal=True, metrics=("frechet_distance",))
    report = evaluate(folders["a"], folders["mixed"], config, network=network)
    assert "the sets differ in size: 16 real and 5 fake clips" in report.notes
