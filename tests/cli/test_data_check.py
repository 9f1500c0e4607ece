import json


def test_tables(longtake, videos):
    outcome = longtake("data", "check", videos, "--frames", 8)
    assert outcome.status == 0
    assert "3, 3 usable for clips of 8 frames" in outcome.out
    assert "24x20 (3)" in outcome.out
    assert outcome.err == ""


def test_json_names_the_broken_video_among_good_ones(longtake, videos):
    (videos / "walk" / "broken.mp4").write_bytes(b"not a video")
    outcome = longtake("data", "check", videos, "--json", "--frames", 8)
    assert outcome.status == 0
    report = json.loads(outcome.out)
    assert (report["num_videos"], report["num_usable"], report["num_frames"]) == (4, 3, 30)
    assert report["classes"] == {"bend": 2, "walk": 1}
    assert list(report["unreadable"]) == ["walk/broken.mp4"]
    assert "walk/broken.mp4" in longtake("data", "check", videos, "--headers-only").out


def test_status_1_where_nothing_is_usable(longtake, videos):
    outcome = longtake("data", "check", videos, "--frames", 11)
    assert outcome.status == 1
    assert "too short" in outcome.out


def test_folders_without_videos(longtake, tmp_path):
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    texts.mkdir()
    (texts / "notes.txt").write_text("no video")
    for folder in (empty, texts, tmp_path / "nowhere"):
        assert str(folder) in longtake("data", "check", folder).error_line
    assert longtake("data", "check", empty, "--frames", 0).error_line == "--frames must be at least 1, not 0"
