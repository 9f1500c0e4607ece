"""One folder with every kind of trouble: each file is decoded right or listed with its reason, and nothing hangs."""

from __future__ import annotations

import os
import signal
import time

import av
import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.data import check
from longtake.data.check import check_folder
from longtake.data.index import index_folder
from longtake.video import probe, read_video, write_video

NUM_FRAMES = 20


def film(num_frames=NUM_FRAMES):
    """A bright bar that moves down a grey picture, 2 rows a frame."""
    frames = np.full((num_frames, 64, 64, 3), 60, np.uint8)
    for number, frame in enumerate(frames):
        frame[2 * number : 2 * number + 12] = 220
    return frames


def bar_rows(frames):
    """Return the first bright row of each frame."""
    return [int(np.argmax(frame.mean(axis=(1, 2)) > 140)) for frame in frames]


def code(path, codec, frames, pix_fmt="yuv420p", **options):
    """Write with any codec; false where this PyAV has no such encoder."""
    try:
        av.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return True


@pytest.fixture
def troubled(tmp_path):
    """The folder, with two good videos in it, and the names of the files that must decode."""
    root = tmp_path / "videos"
    good = {
        "good/h264.mp4": ("libx264", {}),
        "good/ten-bit.mp4": ("libx264", {"pix_fmt": "yuv420p10le"}),
        "good/hevc.mp4": ("libx265", {"x265-params": "log-level=none"}),
        "good/av1.mp4": ("libsvtav1", {"preset": "10", "crf": "20"}),
    }
    names = [name for name, (codec, options) in good.items() if code(root / name, codec, film(), **options)]
    content = (root / "good" / "h264.mp4").read_bytes()
    bad = root / "bad"
    bad.mkdir()
    write_video(bad / "one-frame.mp4", film(1), 25)
    (bad / "zero.mp4").touch()
    (bad / "text.mp4").write_text("this is no video\n" * 20)
    (bad / "truncated.mp4").write_bytes(content[: len(content) // 2])
    (bad / "gone.mp4").symlink_to(root / "missing.mp4")
    (bad / "loop.mp4").symlink_to(bad / "loop.mp4")
    (bad / "folder.mp4").mkdir()
    (bad / "up").symlink_to(root, target_is_directory=True)
    os.mkfifo(bad / "pipe.mp4")
    with open(os.fsencode(bad) + b"/\xff\xfe.mp4", "wb") as file:  # noqa: PTH123 (a name that is not UTF-8)
        file.write(b"text")
    (bad / "two\nlines.mp4").touch()
    code(bad / "real.mkv", "libx264", film())
    (bad / "real.mkv").rename(bad / "matroska.mp4")
    rng = np.random.default_rng(0)
    damaged = np.frombuffer(content, np.uint8).copy()
    damaged[rng.integers(0, len(damaged), 40)] = rng.integers(0, 256, 40)
    (bad / "damaged.mp4").write_bytes(damaged.tobytes())
    return root, names


@pytest.mark.parametrize("decode", [False, True])
def test_each_file_is_decoded_or_listed(troubled, decode):
    root, good = troubled
    report = check_folder(root, decode=decode, num_workers=2, time_limit=30)
    assert not {*report.unreadable, *report.suspicious, *report.too_short} & set(good)
    for name in good:
        assert np.abs(np.subtract(bar_rows(read_video(root / name)), 2 * np.arange(NUM_FRAMES))).max() <= 1
    reasons = {name.removeprefix("bad/"): reason for name, reason in report.unreadable.items()}
    damaged = reasons.pop("damaged.mp4", "")  # forty flipped bytes: whatever comes of them, it ended
    assert "\n" not in damaged
    assert reasons == {
        "zero.mp4": "the file is empty (0 bytes)",
        "two\\nlines.mp4": "the file is empty (0 bytes)",
        "text.mp4": "not a readable video but text that begins 'this is no video'",
        "\\xff\\xfe.mp4": "not a readable video but text that begins 'text'",
        "truncated.mp4": reasons["truncated.mp4"],
        "gone.mp4": "a link that leads nowhere",
        "loop.mp4": "a link that leads nowhere",
        "folder.mp4": "the folder holds no frames (.png, .jpg, .jpeg)",
        "pipe.mp4": "not a file",
    }
    assert "not a readable video" in reasons["truncated.mp4"]  # the index of an mp4 is at its end
    assert report.suspicious["bad/matroska.mp4"] == "named .mp4, but its container is matroska,webm"
    assert report.too_short["bad/one-frame.mp4"] == "too short: 1 frame, a clip needs 16"
    assert report.num_videos == len(good) + 12


def test_encoders_that_this_pyav_lacks(troubled):
    _, good = troubled
    missing = {"good/hevc.mp4", "good/av1.mp4"} - set(good)
    if missing:
        pytest.skip(f"no encoder for {sorted(missing)}")


def test_rotated_videos_are_upright_and_not_suspicious(tmp_path):
    write_video(tmp_path / "a.mp4", film()[:, :, :32], 25)
    content = (tmp_path / "a.mp4").read_bytes()
    identity = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    quarter = b"".join((value % 2**32).to_bytes(4, "big") for value in (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30))
    track = content.index(identity, content.index(b"tkhd"))
    (tmp_path / "a.mp4").write_bytes(content[:track] + quarter + content[track + len(quarter) :])
    report = check_folder(tmp_path, decode=True)
    assert report.sizes == {"64x32": 1}
    assert report.suspicious == report.unreadable == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_read_permission_are_listed(tmp_path):
    write_video(tmp_path / "a.mp4", film(), 25)
    write_video(tmp_path / "b.mp4", film(), 25)
    (tmp_path / "b.mp4").chmod(0)
    assert check_folder(tmp_path).unreadable == {"b.mp4": "permission denied"}


def look_slowly(path):
    """Probe, but never come to an end with one file and die of another."""
    if path.stem == "hangs":
        time.sleep(600)
    if path.stem == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    return probe(path)


def test_a_file_that_hangs_or_kills_the_decoder_is_listed(make_folder, monkeypatch):
    root = make_folder({"a.npy": 20, "hangs.npy": 20, "kills.npy": 20, "z.npy": 20})
    monkeypatch.setattr(check, "probe", look_slowly)
    start = time.monotonic()
    report = check_folder(root, num_workers=2, time_limit=0.5)
    assert time.monotonic() - start < 20
    assert report.num_usable == 2
    assert report.unreadable == {
        "hangs.npy": "the decoder is not done with it after 0.5 s",
        "kills.npy": "the decoder crashes on it (exit status -9)",
    }


def test_nothing_of_a_wrong_folder_is_looked_at(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path / "loop"):
        if folder.name == "loop":
            folder.symlink_to(folder)
        with pytest.raises(UserError, match="does not exist"):
            check_folder(folder)


def test_a_folder_of_frames_may_be_named_like_a_file(tmp_path):
    from PIL import Image

    for number, frame in enumerate(film()):
        path = tmp_path / "clip.mp4" / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(frame).save(path)
    index = index_folder(tmp_path)
    assert [entry.info.codec for entry in index.entries] == ["images"]
    assert bar_rows(read_video(tmp_path / "clip.mp4")) == [2 * number for number in range(NUM_FRAMES)]
