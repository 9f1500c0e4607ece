"""The preparation itself: what is linked, what is coded anew, what an interruption leaves, what fails."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.data import prepare as preparation
from longtake.data.index import index_folder
from longtake.data.prepare import prepare
from longtake.data.sets.options import PrepareOptions
from longtake.data.sets.writing import shown_frames, write_item
from longtake.data.transforms import resize_and_crop
from longtake.video import probe, read_video, write_video

NAMES = ("bend/daria_bend", "jack/eli_jack", "run/ido_run", "walk/moshe_walk")


def textured(num_frames, height=40, width=64):
    """Frames that move, so that a wrong crop, order or size shows."""
    rows, columns, number = np.mgrid[0:height, 0:width], None, np.arange(num_frames)
    picture = rows[0] * 3 + rows[1] * 2
    columns = (picture[None] + 5 * number[:, None, None]) % 256
    return np.stack([columns, 255 - columns, columns // 2], -1).astype(np.uint8)


@pytest.fixture
def weizmann(tmp_path):
    """Four videos of the Weizmann layout, 10 to 13 frames at 25 per second."""
    import av

    root = tmp_path / "weizmann"
    for number, name in enumerate(NAMES):
        path = root / f"{name}.avi"
        path.parent.mkdir(parents=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.height, stream.width, stream.pix_fmt = 40, 64, "bgr0"
            for picture in textured(10 + number):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    return root


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_videos_that_need_no_change_are_the_same_bytes_on_the_disk(weizmann, out):
    result = prepare("weizmann", weizmann, out)
    assert files_in(out) == sorted(["prepared.json", *(f"{name}.avi" for name in NAMES)])
    for name in NAMES:
        assert (out / f"{name}.avi").samefile(weizmann / f"{name}.avi")
    assert (result.written, result.skipped, result.failed) == ({"": 4}, {}, {})
    index = index_folder(out)
    assert index.classes == ("bend", "jack", "run", "walk")
    assert np.array_equal(read_video(index.entries[2].path), textured(12))


def test_where_links_are_impossible_the_bytes_are_copied(weizmann, out, monkeypatch):
    def refuse(source, target):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    prepare("weizmann", weizmann, out)
    for name in NAMES:
        assert not (out / f"{name}.avi").samefile(weizmann / f"{name}.avi")
        assert (out / f"{name}.avi").read_bytes() == (weizmann / f"{name}.avi").read_bytes()


def test_the_record_says_what_was_done(weizmann, out):
    prepare("weizmann", weizmann, out, PrepareOptions(size=32), split="ido")
    record = json.loads((out / "prepared.json").read_text())
    assert record == {
        "set": "weizmann",
        "split": "ido",
        "options": {"fps": None, "margin": 0, "size": 32},
        "root": str(weizmann),
        "finished": True,
        "videos": {"train": 3, "test": 1},
        "failed": {},
    }


def test_size_and_margin_change_every_frame_and_no_number(weizmann, out):
    prepare("weizmann", weizmann, out, PrepareOptions(size=16, margin=4))
    for number, name in enumerate(NAMES):
        made = read_video(out / f"{name}.mp4")
        wanted = resize_and_crop(textured(10 + number)[:, 4:-4, 4:-4], 16)
        assert made.shape == wanted.shape
        each = [psnr(a, b) for a, b in zip(made, wanted, strict=True)]
        assert min(each) > 28, each
        assert probe(out / f"{name}.mp4").fps == 25


def test_a_margin_alone_keeps_the_shape_of_what_is_left(weizmann, out):
    prepare("weizmann", weizmann, out, PrepareOptions(margin=2))
    made = read_video(out / f"{NAMES[0]}.mp4")
    assert made.shape == (10, 36, 60, 3)
    assert psnr(made, textured(10)[:, 2:-2, 2:-2]) > 30


def test_a_margin_larger_than_the_picture_fails_every_video(weizmann, out):
    result = prepare("weizmann", weizmann, out, PrepareOptions(margin=20))
    assert result.num_prepared == 0
    assert "nothing is left of its 64x40 pixels" in result.failed[NAMES[0]]


def test_videos_of_the_wanted_size_and_rate_are_not_coded_again(tmp_path, out):
    for part in ("train", "test"):
        (tmp_path / "taichi" / part).mkdir(parents=True)
        write_video(tmp_path / "taichi" / part / f"{part}#000000#000009.mp4", textured(9, 32, 32), 25)
    prepare("taichi-hd", tmp_path / "taichi", out, PrepareOptions(size=32, fps=25))
    name = "train/train#000000#000009.mp4"
    assert (out / name).samefile(tmp_path / "taichi" / name)


@pytest.mark.parametrize("fps", [5, 10, 12.5, 24, 25, 30, 50, 60])
def test_shown_frames_against_a_clock(fps):
    """The frame on the screen at time t is the last one whose time has come."""
    begins = [number / 25 for number in range(40)]
    clock = []
    while len(clock) / fps < 40 / 25 - 1e-9:
        clock.append(max(number for number, begin in enumerate(begins) if begin <= len(clock) / fps + 1e-9))
    assert shown_frames(40, 25.0, fps).tolist() == clock


def test_rates_that_are_rounded_fractions_lose_no_frame():
    ntsc = 30000 / 1001
    assert shown_frames(300, float(f"{ntsc:.6f}"), ntsc).tolist() == list(range(300))
    assert shown_frames(300, ntsc, ntsc / 2).tolist() == list(range(0, 300, 2))
    assert shown_frames(1, 25, 1).tolist() == [0]


def test_fps_takes_the_frames_that_are_shown(weizmann, out):
    prepare("weizmann", weizmann, out, PrepareOptions(fps=10))
    made = out / f"{NAMES[0]}.mp4"
    assert probe(made).fps == 10
    frames = read_video(made)
    originals = textured(10)
    nearest = [max(range(10), key=lambda number, frame=frame: psnr(frame, originals[number])) for frame in frames]
    assert nearest == [0, 2, 5, 7]


def test_folders_of_frames_have_no_rate_and_keep_every_frame(tmp_path, out):
    for part in ("sky_train", "sky_test"):
        write_video(tmp_path / "sky" / part / "clip_1", textured(7), 25)
    prepare("sky-timelapse", tmp_path / "sky", out, PrepareOptions(fps=10))
    made = out / "train" / "clip_1.mp4"
    assert (probe(made).num_frames, probe(made).fps) == (7, 10)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_video_among_good_ones_is_listed_with_its_reason(weizmann, out, num_workers):
    (weizmann / "jack" / "eli_jack.avi").write_bytes(b"")
    (weizmann / "run" / "ido_run.avi").write_text("this is no video")
    calls = []
    result = prepare(
        "weizmann",
        weizmann,
        out,
        PrepareOptions(margin=2),
        num_workers=num_workers,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert result.written == {"": 2}
    assert list(result.failed) == ["jack/eli_jack", "run/ido_run"]
    assert "empty" in result.failed["jack/eli_jack"]
    assert "not a readable video" in result.failed["run/ido_run"]
    assert files_in(out) == ["bend/daria_bend.mp4", "prepared.json", "walk/moshe_walk.mp4"]
    assert json.loads((out / "prepared.json").read_text())["failed"] == result.failed
    assert calls == [(done, 4) for done in range(5)]


def test_a_video_that_hangs_is_given_up_and_leaves_nothing(weizmann, out, monkeypatch):
    def hang_on_eli(folder, item, options):
        if "eli" in item.name:
            (folder / ".eli_jack.01234567.partial.mp4").touch()
            time.sleep(600)
        write_item(folder, item, options)

    monkeypatch.setattr(preparation, "write_item", hang_on_eli)
    monkeypatch.setattr(preparation, "TIME_LIMIT", 1.5)
    result = prepare("weizmann", weizmann, out, num_workers=2)
    assert result.written == {"": 3}
    assert list(result.failed) == ["jack/eli_jack"]
    assert "after 1.5 s" in result.failed["jack/eli_jack"]
    assert files_in(out) == sorted(["prepared.json", *(f"{name}.avi" for name in NAMES if "eli" not in name)])


def test_resume_skips_what_is_finished_and_tries_again_what_failed(weizmann, out):
    good = (weizmann / "run" / "ido_run.avi").read_bytes()
    (weizmann / "run" / "ido_run.avi").write_bytes(good[:40])
    options = PrepareOptions(size=16)
    assert list(prepare("weizmann", weizmann, out, options).failed) == ["run/ido_run"]
    before = {name: (out / name).stat().st_mtime_ns for name in files_in(out) if name.endswith(".mp4")}
    (weizmann / "run" / "ido_run.avi").unlink()
    (weizmann / "run" / "ido_run.avi").write_bytes(good)
    again = prepare("weizmann", weizmann, out, options)
    assert (again.written, again.skipped, again.failed) == ({"": 1}, {"": 3}, {})
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in before.items())
    assert json.loads((out / "prepared.json").read_text())["videos"] == {"": 4}


KILLED = """
import sys, time
from pathlib import Path
from longtake.core import files
from longtake.data.prepare import prepare
from longtake.data.sets.options import PrepareOptions

flush, videos = files.flush_to_disk, 0
def slow(path):
    global videos
    videos += path.suffix == ".mp4"
    if videos == 2:
        Path(sys.argv[3]).touch()
        time.sleep(600)
    flush(path)

files.flush_to_disk = slow
prepare("weizmann", Path(sys.argv[1]), Path(sys.argv[2]), PrepareOptions(margin=2))
"""


def test_resume_after_a_kill_before_the_second_video_has_its_name(weizmann, out, tmp_path):
    signal_file = tmp_path / "now"
    process = subprocess.Popen([sys.executable, "-c", KILLED, weizmann, out, signal_file])
    try:
        for _ in range(600):
            if signal_file.exists():
                break
            time.sleep(0.1)
        assert signal_file.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = files_in(out)
    assert "bend/daria_bend.mp4" in left
    assert not any(name.startswith("jack/eli") for name in left)
    assert any(".partial" in name for name in left)  # hidden, so nothing takes it for a video
    assert [entry.path.stem for entry in index_folder(out).entries] == ["daria_bend"]
    assert not json.loads((out / "prepared.json").read_text())["finished"]

    result = prepare("weizmann", weizmann, out, PrepareOptions(margin=2))
    assert (result.written, result.skipped) == ({"": 3}, {"": 1})
    assert files_in(out) == sorted(["prepared.json", *(f"{name}.mp4" for name in NAMES)])
    assert [entry.info.num_frames for entry in index_folder(out).entries] == [10, 11, 12, 13]


def test_another_preparation_in_the_same_folder_is_refused(weizmann, out):
    prepare("weizmann", weizmann, out)
    with pytest.raises(UserError, match=r"was prepared with options .*'size': None.* not .*'size': 16"):
        prepare("weizmann", weizmann, out, PrepareOptions(size=16))
    with pytest.raises(UserError, match="was prepared with split all, not ido"):
        prepare("weizmann", weizmann, out, split="ido")
    (out / "prepared.json").write_text("[]")
    with pytest.raises(UserError, match="is not the record of a preparation"):
        prepare("weizmann", weizmann, out)


def test_folders_that_are_not_ours_or_in_the_way_are_refused(weizmann, out):
    out.mkdir()
    (out / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        prepare("weizmann", weizmann, out)
    with pytest.raises(UserError, match="lies in"):
        prepare("weizmann", weizmann, weizmann / "prepared")
    with pytest.raises(UserError, match="is not a folder"):
        prepare("weizmann", weizmann / "nowhere", out)


def test_two_videos_of_one_place_are_refused(weizmann, out):
    path = weizmann / "elsewhere" / "DARIA_bend.AVI"
    path.parent.mkdir()
    path.write_bytes((weizmann / "bend" / "daria_bend.avi").read_bytes())
    path.with_name("daria_bend.AVI").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="two videos would both become bend/daria_bend"):
        prepare("weizmann", weizmann, out)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 63}, "size is 63; it must be an even number"),
        ({"size": 0}, "size is 0"),
        ({"margin": -1}, "margin is -1"),
        ({"fps": 0}, "fps is 0"),
    ],
)
def test_impossible_options_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        PrepareOptions(**fields)


def test_unknown_sets_and_splits_are_named(weizmann, out):
    with pytest.raises(UserError, match="unknown data set 'wiezmann'; did you mean 'weizmann'"):
        prepare("wiezmann", weizmann, out)
    with pytest.raises(UserError, match=r"unknown split of ucf101 '4' \(known: 1, 2, 3\)"):
        prepare("ucf101", weizmann, out, split="4")


@pytest.mark.parametrize("fps", [0, 1e-9, 1001, float("nan")])
def test_rates_that_no_file_holds(fps):
    with pytest.raises(UserError, match=r"it must be from 0\.001 to 1000"):
        PrepareOptions(fps=fps)
