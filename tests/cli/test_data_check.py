import json

import numpy as np

from longtake.video import write_video


def test_tables(longtake, videos):
    outcome = longtake("data", "check", videos, "--frames", 8)
    assert outcome.status == 0
    assert "3, 3 usable for clips of 8 frames" in outcome.out
    assert "24x20 (3)" in outcome.out
    assert "h264 (3)" in outcome.out
    assert outcome.err == ""


def test_histogram_of_lengths(longtake, tmp_path):
    for number, length in enumerate([4, 5, 6, 7, 20, 40, 40]):
        np.save(tmp_path / f"{number}.npy", np.zeros((length, 8, 8, 3), np.uint8))
    rows = [line.split() for line in longtake("data", "check", tmp_path, "--frames", 4).out.splitlines()]
    bars = {row[1]: (int(row[3]), row[5].count("#")) for row in rows if len(row) > 5 and row[5].startswith("#")}
    assert bars == {"1-15": (4, 40), "16-31": (1, 10), "32-63": (2, 20)}
    report = json.loads(longtake("data", "check", tmp_path, "--json", "--frames", 4).out)
    assert report["lengths"] == {"1-15": 4, "16-31": 1, "32-63": 2}
    assert report["fitting"] == {"16": 3, "32": 2, "64": 0, "128": 0, "256": 0, "512": 0, "1024": 0}


def test_json_names_the_broken_video_among_good_ones(longtake, videos):
    (videos / "walk" / "broken.mp4").write_bytes(b"not a video")
    outcome = longtake("data", "check", videos, "--json", "--frames", 8)
    assert outcome.status == 0
    report = json.loads(outcome.out)
    assert (report["num_videos"], report["num_usable"], report["num_frames"]) == (4, 3, 30)
    assert report["classes"] == {"bend": 2, "walk": 1}
    assert list(report["unreadable"]) == ["walk/broken.mp4"]
    assert "walk/broken.mp4" in longtake("data", "check", videos, "--workers", 1).out


def test_only_decoding_finds_what_only_decoding_can_find(longtake, tmp_path):
    write_video(tmp_path / "still.mp4", np.full((20, 16, 16, 3), 90, np.uint8), 25)
    quick = json.loads(longtake("data", "check", tmp_path, "--json").out)
    whole = json.loads(longtake("data", "check", tmp_path, "--json", "--decode").out)
    assert (quick["decoded"], whole["decoded"]) == (False, True)
    assert quick["suspicious"] == {}
    assert whole["suspicious"] == {"still.mp4": "all 20 frames are the same"}
    assert "still.mp4" in longtake("data", "check", tmp_path, "--decode").out


def test_suspicious_videos_are_used(longtake, videos):
    (videos / "walk" / "a.mp4").rename(videos / "walk" / "a.mkv")
    outcome = longtake("data", "check", videos, "--frames", 8)
    assert outcome.status == 0
    assert "3, 3 usable" in outcome.out
    assert "named .mkv, but its container is mov,mp4" in outcome.out


def test_status_1_where_nothing_is_usable(longtake, videos):
    outcome = longtake("data", "check", videos, "--frames", 11)
    assert outcome.status == 1
    assert "too short" in outcome.out


def test_a_long_list_of_short_videos_is_cut_on_the_terminal_alone(longtake, tmp_path):
    for number in range(30):
        np.save(tmp_path / f"{number:02}.npy", np.zeros((2, 8, 8, 3), np.uint8))
    out = longtake("data", "check", tmp_path).out
    assert "19.npy" in out
    assert "20.npy" not in out
    assert "and 10 more" in out
    assert len(json.loads(longtake("data", "check", tmp_path, "--json").out)["too_short"]) == 30


def test_names_that_no_terminal_takes(longtake, tmp_path):
    path = tmp_path / "a\udcff.npy"
    np.save(path, np.zeros((20, 8, 8, 3), np.uint8))
    (tmp_path / "b\udcfe.mp4").write_text("text")
    for options in ((), ("--json",), ("--decode",)):
        outcome = longtake("data", "check", tmp_path, *options)
        assert outcome.status == 0
        assert "b\\xfe.mp4" in outcome.out.replace("\\\\", "\\")


def test_folders_without_videos(longtake, tmp_path):
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    texts.mkdir()
    (texts / "notes.txt").write_text("no video")
    for folder, reason in ((empty, "is empty"), (texts, "holds no video, only files of type .txt (1)")):
        outcome = longtake("data", "check", folder)
        assert (outcome.status, outcome.err) == (1, "")
        assert f"folder {folder} {reason}" in outcome.out
        outcome = longtake("data", "check", folder, "--json")
        assert (outcome.status, outcome.err) == (1, "")
        report = json.loads(outcome.out)
        assert (report["num_videos"], report["num_usable"], report["num_frames"]) == (0, 0, 0)
        assert reason in report["problem"]
    assert str(tmp_path / "nowhere") in longtake("data", "check", tmp_path / "nowhere").error_line


def test_json_where_nothing_is_usable(longtake, tmp_path):
    (tmp_path / "a.mp4").touch()
    np.save(tmp_path / "b.npy", np.zeros((3, 8, 8, 3), np.uint8))
    outcome = longtake("data", "check", tmp_path, "--json")
    assert outcome.status == 1
    report = json.loads(outcome.out)
    assert report["unreadable"] == {"a.mp4": "the file is empty (0 bytes)"}
    assert list(report["too_short"]) == ["b.npy"]
    assert report["problem"].endswith("holds no usable video: 1 cannot be read, 1 shorter than 16 frames")


def test_wrong_options(longtake, videos):
    check = ("data", "check", videos)
    assert longtake(*check, "--frames", 0).error_line == "--frames must be at least 1, not 0"
    assert longtake(*check, "--workers", 0).error_line == "--workers must be at least 1, not 0"
    assert longtake(*check, "--time-limit", 0).error_line == "--time-limit must be above 0, not 0"
