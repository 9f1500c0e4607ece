import os

import numpy as np
import pytest
from PIL import Image

from longtake.core.errors import UserError
from longtake.video import VideoReader


def test_array_holds_the_frames_of_the_stream(longtake, tiny_model, glober, tmp_path):
    out = tmp_path / "new" / "x.npy"
    outcome = longtake("sample", tiny_model, "--out", out, "--label", "jump", "--seed", 3, "--steps", 2)
    assert outcome.status == 0, outcome.err
    expected = glober(label="jump", seed=3, num_inference_steps=2).frames
    np.testing.assert_array_equal(np.load(out), expected)
    assert outcome.err == ""
    assert outcome.out.startswith(f"wrote {out}: 8 frames, 0.32 s at 25 fps, made in ")
    assert outcome.out.count("\n") == 1


def test_several_videos_in_one_array(longtake, tiny_model, glober, tmp_path):
    out = tmp_path / "x.npy"
    longtake("sample", tiny_model, "--out", out, "--count", 3, "--start", 2, "--stop", 7, "--chunk", 2, "--label", "1")
    expected = glober(num_videos=3, start=2, stop=7, label=1).frames
    assert np.load(out).shape == (3, 5, 16, 16, 3)
    assert np.abs(np.load(out).astype(int) - expected).max() <= 1  # another chunk size rounds differently


def test_stretch_reaches_the_model(longtake, tiny_model, glober, tmp_path):
    longtake("sample", tiny_model, "--out", tmp_path / "x.npy", "--frames", 20, "--stretch", "--label", "bend")
    expected = glober(20, stretch=True, label="bend").frames
    assert np.abs(np.load(tmp_path / "x.npy").astype(int) - expected).max() <= 1


def test_fps_is_real_time_at_that_rate(longtake, tiny_model, glober, tmp_path):
    outcome = longtake("sample", tiny_model, "--out", tmp_path / "x.mp4", "--fps", 12.5)
    assert "4 frames, 0.32 s at 12.5 fps" in outcome.out  # the same 8 / 25 s
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert reader.info.num_frames == 4
        assert reader.info.fps == 12.5
    longtake("sample", tiny_model, "--out", tmp_path / "x.npy", "--fps", 12.5, "--label", "bend")
    assert np.abs(np.load(tmp_path / "x.npy").astype(int) - glober(4, fps=12.5, label="bend").frames).max() <= 1


def test_fps_changes_only_the_file_of_stretched_frames(longtake, tiny_model, tmp_path):
    outcome = longtake("sample", tiny_model, "--out", tmp_path / "x.mp4", "--stretch", "--fps", 8)
    assert "8 frames, 1.00 s at 8 fps" in outcome.out
    with VideoReader(tmp_path / "x.mp4") as reader:
        assert reader.info.num_frames == 8
        assert reader.info.fps == 8


def test_slow_motion_and_backwards(longtake, tiny_model, glober, tmp_path):
    options = ("--speed", 0.5, "--reverse", "--label", "bend", "--stop", 10)
    outcome = longtake("sample", tiny_model, "--out", tmp_path / "x.npy", *options)
    assert "10 frames, 0.40 s at 25 fps" in outcome.out
    expected = glober(16, speed=0.5, label="bend").frames[::-1][:10]
    assert np.abs(np.load(tmp_path / "x.npy").astype(int) - expected).max() <= 1


def test_several_files_are_numbered(longtake, tiny_model, tmp_path):
    outcome = longtake("sample", tiny_model, "--out", tmp_path / "x.mp4", "--count", 2, "--stop", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-000.mp4", "x-001.mp4"]
    assert f"{tmp_path}/x-000.mp4 .. x-001.mp4: 2 videos of 3 frames" in outcome.out


def test_folder_gets_a_file_per_video(longtake, tiny_model, tmp_path):
    longtake("sample", tiny_model, "--out", tmp_path / "videos", "--stop", 3)
    longtake("sample", tiny_model, "--out", tmp_path / "frames", "--stop", 3, "--count", 2, "--folder-format", "png")
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["video-000.mp4"]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["video-000", "video-001"]
    with VideoReader(tmp_path / "frames" / "video-001") as reader:
        assert reader.info.num_frames == 3


def test_contact_sheet_has_a_row_per_video(longtake, tiny_model, tmp_path):
    sheet = tmp_path / "sheet.png"
    outcome = longtake(
        *("sample", tiny_model, "--out", tmp_path / "x.npy", "--count", 2, "--contact-sheet", sheet, "--chunk", 3)
    )
    assert outcome.status == 0, outcome.err
    frames = np.load(tmp_path / "x.npy")
    picture = np.asarray(Image.open(sheet))
    assert picture.shape == (2 + 2 * 130, 2 + 8 * 130, 3)
    # 16 pixels are shown as 128, with 2 between; look at the middle of each block of the eighth frame of each row
    left = 2 + 7 * 130 + 4
    for row in range(2):
        top = 2 + row * 130 + 4
        np.testing.assert_array_equal(picture[top : top + 124 : 8, left : left + 124 : 8], frames[row, 7])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "0"], "--frames must be at least 1, not 0"),
        (["--frames", "-3"], "--frames must be at least 1, not -3"),
        (["--count", "0"], "--count must be at least 1, not 0"),
        (["--steps", "0"], "--steps must be at least 1, not 0"),
        (["--speed", "0"], "--speed must be above 0, not 0.0"),
        (["--fps", "0"], "{x}: 0 frames per second (allowed: 0.001 to 1000)"),
        (["--fps", "1e-9"], "{x}: 1e-09 frames per second (allowed: 0.001 to 1000)"),
        (["--fps", "nan"], "{x}: nan frames per second (allowed: 0.001 to 1000)"),
        (["--start", "-1"], "--start must be at least 0, not -1"),
        (["--start", "4", "--stop", "4"], "--stop must be above --start (4), not 4"),
        (["--frames", "some"], "--frames takes INT, not 'some'"),
        (["--contact-sheet", "sheet.jpg"], "unknown contact sheet format '.jpg'; did you mean '.png'? (known: .png)"),
    ],
)
def test_bad_options_before_any_model_is_loaded(longtake, monkeypatch, tmp_path, options, message):
    monkeypatch.setattr("longtake.load", lambda *_, **__: pytest.fail("the model was loaded"))
    out = tmp_path / "new" / "x.mp4"
    assert longtake("sample", "any", "--out", out, *options).error_line == message.format(x=out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "bent"], "unknown label 'bent'; did you mean 'bend'? (known: bend, jump, walk, wave2)"),
        (["--frames", "9"], "--stretch"),
        (["--start", "8"], "8"),
        (["--prompt", "a dog"], "prompt"),
    ],
)
def test_what_the_model_refuses_leaves_nothing_behind(longtake, tiny_model, tmp_path, options, message):
    line = longtake("sample", tiny_model, "--out", tmp_path / "new" / "x.mp4", *options).error_line
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_unknown_model(longtake, tmp_path):
    line = longtake("sample", "no-such-model", "--out", tmp_path / "x.mp4").error_line
    assert "no-such-model" in line
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_written(longtake, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.mp4").mkdir()
    for out, reason in (
        (tmp_path / "file" / "x.mp4", "is not a folder"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "folder.mp4", "is a folder"),
        (tmp_path / "x.mp5", "did you mean '.mp4'?"),
    ):
        line = longtake("sample", "any", "--out", out).error_line
        assert reason in line
        assert out.suffix in line
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_without_permission(longtake, tmp_path):
    tmp_path.chmod(0o500)
    assert "no permission" in longtake("sample", "any", "--out", tmp_path / "x.mp4").error_line


def test_failure_midway_leaves_nothing(longtake, monkeypatch, tmp_path):
    class Failing:
        class config:  # noqa: N801 -- stands in for the configuration object of a pipeline
            span, fps = 8, 25

        def stream(self, num_frames, *, video, start, stop, seed, chunk, preparing):
            yield np.zeros((4, 16, 16, 3), np.uint8)
            raise UserError("the second chunk fails")

    monkeypatch.setattr("longtake.load", lambda *_, **__: Failing())
    assert longtake("sample", "any", "--out", tmp_path / "x.mp4").error_line == "the second chunk fails"
    assert list(tmp_path.iterdir()) == []


def test_options_that_a_family_lacks_are_named(longtake, monkeypatch, tmp_path):
    class Unconditional:
        def stream(self, num_frames, *, video, start, stop, seed, chunk, preparing):
            return iter(())

    monkeypatch.setattr("longtake.load", lambda *_, **__: Unconditional())
    line = longtake("sample", "any", "--out", tmp_path / "x.mp4", "--guidance", 3).error_line
    assert line == "any (Unconditional) takes no --guidance"
    line = longtake("sample", "any", "--out", tmp_path / "x.mp4", "--top-k", 3).error_line
    assert line == "any (Unconditional) takes no --top-k"


def test_the_first_clip_is_read_and_handed_on(longtake, monkeypatch, tmp_path):
    given = []

    class GoesOn:
        config = type("Config", (), {"span": 2, "fps": 25.0})

        def stream(self, num_frames, *, first_clip, **_options):
            given.append(first_clip)
            return iter([first_clip[:2]])

    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.save(tmp_path / "clip.npy", frames)
    monkeypatch.setattr("longtake.load", lambda *_, **__: GoesOn())
    out = tmp_path / "x.npy"
    assert longtake("sample", "any", "--out", out, "--first-clip", tmp_path / "clip.npy").status == 0
    assert np.array_equal(given[0], frames)
    assert np.array_equal(np.load(out), frames[:2])
    missing = longtake("sample", "any", "--out", out, "--first-clip", tmp_path / "none.mp4")
    assert missing.status == 2
    assert "none.mp4" in missing.error_line


class Storyteller:
    """Takes a story and shows each frame in the brightness of its part's number."""

    config = type("Config", (), {"span": 12, "fps": 25.0})

    def __init__(self):
        self.stories = []

    def stream(self, num_frames, *, story, **_options):
        self.stories.append(story)
        frames = np.zeros((num_frames or 12, 16, 16, 3), np.uint8)
        for number, (frame, _) in enumerate(story):
            frames[frame:] = number
        return iter([frames])


@pytest.mark.parametrize(
    ("options", "story"),
    [
        (["--story", "a", "--story", "b", "--story", "c"], [(0, "a"), (4, "b"), (8, "c")]),
        (["--frames", "9", "--story", "a", "--story", "b"], [(0, "a"), (4, "b")]),
        (["--story", "0: at 12:30", "--story", "7:b"], [(0, "at 12:30"), (7, "b")]),
        (["--story", "only one"], [(0, "only one")]),
    ],
)
def test_story_is_spread_evenly_or_begins_where_it_says(longtake, monkeypatch, tmp_path, options, story):
    teller = Storyteller()
    monkeypatch.setattr("longtake.load", lambda *_, **__: teller)
    outcome = longtake("sample", "any", "--out", tmp_path / "x.npy", *options)
    assert outcome.status == 0, outcome.err
    assert teller.stories == [story]
    starts = np.flatnonzero(np.diff(np.load(tmp_path / "x.npy")[:, 0, 0, 0])) + 1
    assert starts.tolist() == [frame for frame, _ in story[1:]]


def test_story_whose_parts_disagree_or_that_no_family_takes(longtake, monkeypatch, tiny_model, tmp_path):
    out = tmp_path / "x.npy"
    line = longtake("sample", tiny_model, "--out", out, "--story", "bend", "--story", "walk").error_line
    assert line == "tiny (GloberPipeline) takes no --story"
    assert "unexpected argument 'b'" in longtake("sample", "any", "--out", out, "--story", "a", "b").error_line
    monkeypatch.setattr("longtake.load", lambda *_, **__: Storyteller())
    line = longtake("sample", "any", "--out", out, "--story", "0:a", "--story", "b").error_line
    assert line == "--story 'b' does not say at which frame it begins, but others do"
    assert list(tmp_path.iterdir()) == []


def test_guidance_of_each_of_the_two_networks(longtake, tiny_model, glober, tmp_path):
    options = ("--label", "jump", "--guidance", 2.5, "--decoder-guidance", 4)
    outcome = longtake("sample", tiny_model, "--out", tmp_path / "x.npy", *options)
    assert outcome.status == 0, outcome.err
    expected = glober(label="jump", guidance_scale=2.5, decoder_guidance_scale=4.0).frames
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    assert not np.array_equal(expected, glober(label="jump", guidance_scale=2.5).frames)
    for option in ("--guidance", "--decoder-guidance"):
        line = longtake("sample", "any", "--out", tmp_path / "y.npy", option, "nan").error_line
        assert line == f"{option} must be a number, not nan"
