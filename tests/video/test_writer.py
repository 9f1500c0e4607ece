"""Writing: round trips, whole files or none, flat memory."""

from __future__ import annotations

import tracemalloc

import av
import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.video import VideoError, open_writer, probe, read_video, write_video


def _psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.fixture(scope="module")
def smooth_video():
    """Photo-like content: slow colour gradients with a disc that moves; 20 frames of 64 x 96."""
    rows, columns = np.mgrid[0:64, 0:96]
    frames = []
    for time in range(20):
        disc = (rows - 32) ** 2 + (columns - 20 - 3 * time) ** 2 < 150
        frame = np.stack([60 + rows, 60 + columns, 120 + rows // 2 + time], axis=-1)
        frame[disc] = (190, 170, 150)
        frames.append(frame.astype(np.uint8))
    return np.stack(frames)


@pytest.mark.parametrize("name", ["a.npy", "frames", "deep/folder/a.npy"])
def test_lossless_round_trip_in_chunks(tmp_path, numbered_frames, name):
    truth = numbered_frames(23, 51, 65)
    with open_writer(tmp_path / name, 25) as writer:
        for start in range(0, 23, 5):
            writer.write(truth[start : start + 5])
        writer.write(truth[:0])
        assert writer.num_frames == 23
    np.testing.assert_array_equal(read_video(tmp_path / name), truth)
    assert sorted(path.name for path in (tmp_path / name).parent.iterdir()) == [(tmp_path / name).name]


@pytest.mark.parametrize(("name", "lowest"), [("a.mp4", 38), ("a.webm", 36), ("a.gif", 33)])
def test_lossy_round_trip(tmp_path, smooth_video, numbered_frames, numbers_in, name, lowest):
    write_video(tmp_path / name, smooth_video, 25)
    back = read_video(tmp_path / name)
    assert back.shape == smooth_video.shape
    assert _psnr(back, smooth_video) > lowest
    assert np.abs(back.mean(axis=(0, 1, 2)) - smooth_video.mean(axis=(0, 1, 2))).max() < 1.5, "no colour cast"
    write_video(tmp_path / name, numbered_frames(40), 25)  # replaces
    assert numbers_in(read_video(tmp_path / name)) == list(range(40))
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif"])
def test_still_picture_keeps_all_its_frames(tmp_path, name):
    write_video(tmp_path / name, np.full((30, 32, 32, 3), 90, np.uint8), 25)
    assert read_video(tmp_path / name).shape == (30, 32, 32, 3)
    assert probe(tmp_path / name, decode=True).num_frames == 30


@pytest.mark.parametrize("size", [(63, 65), (64, 65), (63, 64), (17, 33)])
def test_odd_sizes(tmp_path, smooth_video, size):
    height, width = size
    video = smooth_video[:, :height, :width]
    write_video(tmp_path / "a.webm", video, 25)
    assert read_video(tmp_path / "a.webm").shape == video.shape
    write_video(tmp_path / "a.gif", video, 25)
    assert read_video(tmp_path / "a.gif").shape == video.shape
    write_video(tmp_path / "a.mp4", video, 25)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape[1:3] == (height + height % 2, width + width % 2)
    assert _psnr(back[:, :height, :width], video) > 34
    assert _psnr(back, np.pad(video, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")) > 34


@pytest.mark.parametrize("fps", [29.97, 23.976, 12.5, 1, 60, 7.3, 0.001, 1000])
@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_fractional_rates(tmp_path, smooth_video, name, fps):
    write_video(tmp_path / name, smooth_video, fps)
    info = probe(tmp_path / name)
    assert info.fps == pytest.approx(fps, rel=0.03 if name == "a.webm" else 1e-3)
    assert info.num_frames == 20


def test_gif_rates(tmp_path, smooth_video):
    for fps in (50, 30, 8, 100 / 65535):
        write_video(tmp_path / "a.gif", smooth_video, fps)
        info = probe(tmp_path / "a.gif")
        assert info.num_frames == 20
        assert info.fps == pytest.approx(fps, rel=0.05)


def test_mp4_is_playable_everywhere(tmp_path, smooth_video):
    """4:2:0 H.264 with the colour matrix written down and the index in front."""
    path = tmp_path / "a.mp4"
    write_video(path, smooth_video, 25)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (6, 1)  # BT.601, limited range


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.npy", "frames"])
def test_nothing_is_left_after_a_failure(tmp_path, smooth_video, name):
    def fail_in_the_middle():
        with open_writer(tmp_path / name, 25) as writer:
            writer.write(smooth_video)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_middle()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no frames"), open_writer(tmp_path / name, 25):
        pass
    with pytest.raises(UserError, match="no frames"), open_writer(tmp_path / name, 25) as writer:
        writer.write(smooth_video[:0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.npy", "frames"])
def test_earlier_file_survives_a_failure(tmp_path, smooth_video, name):
    write_video(tmp_path / name, smooth_video, 25)
    before = read_video(tmp_path / name)

    def fail():
        with open_writer(tmp_path / name, 25) as writer:
            writer.write(smooth_video[:3])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    np.testing.assert_array_equal(read_video(tmp_path / name), before)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_full_disk_is_one_line(tmp_path, smooth_video, monkeypatch):
    from longtake.video.array_sink import ArraySink

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArraySink, "write", full)
    with pytest.raises(VideoError, match=r"a.npy: cannot write \(No space left on device\)"):
        write_video(tmp_path / "a.npy", smooth_video, 25)
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_rates_and_places(tmp_path, smooth_video):
    with pytest.raises(UserError, match=r"\.mkv \(known: \.mp4, \.webm, \.gif, \.npy"):
        open_writer(tmp_path / "a.mkv", 25)
    for fps in (0, -1, float("nan"), 1e9, 1e-9):
        with pytest.raises(UserError, match=r"frames per second \(allowed: 0.001 to 1000\)"):
            open_writer(tmp_path / "a.mp4", fps)
    for fps in (60, 0.001):
        with pytest.raises(UserError, match=r"allowed: 0.0015\d* to 50\)"):
            open_writer(tmp_path / "a.gif", fps)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        open_writer(tmp_path / "folder.mp4", 25)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        open_writer(tmp_path / "file", 25)
    with pytest.raises(UserError, match="only a folder of frames is replaced"):
        open_writer(tmp_path, 25)
    write_video(tmp_path / "frames", smooth_video, 25)
    write_video(tmp_path / "frames", smooth_video[:4], 25)
    assert read_video(tmp_path / "frames").shape[0] == 4


def test_wrong_chunks(tmp_path, smooth_video):
    for chunk in (smooth_video.astype(np.float32), smooth_video[0], smooth_video[..., :1]):
        with pytest.raises(VideoError, match="uint8"):
            write_video(tmp_path / "a.mp4", chunk, 25)
    with open_writer(tmp_path / "b.mp4", 25) as writer:
        writer.write(smooth_video)
        with pytest.raises(VideoError, match="after frames"):
            writer.write(smooth_video[:, :32])
    (tmp_path / "b.mp4").unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif"])
def test_the_same_frames_are_the_same_video(tmp_path, name):
    """Processors with AVX-512 made another mp4 of these moving ramps nearly every time."""
    rows, columns = np.mgrid[0:64, 0:64]
    pictures = [(3 * columns + 5 * t, 4 * rows + 3 * t, columns + rows + 7 * t) for t in range(16)]
    frames = (np.stack([np.stack(picture, -1) for picture in pictures]) % 200).astype(np.uint8)
    made = set()
    for _ in range(12 if name == "a.mp4" else 2):
        write_video(tmp_path / name, frames, 25)
        made.add(read_video(tmp_path / name).tobytes())
    assert len(made) == 1


def test_npy_of_several_videos(tmp_path, numbered_frames):
    truth = numbered_frames(12).reshape(3, 4, 48, 64, 3)
    with open_writer(tmp_path / "a.npy", 25, num_videos=3) as writer:
        for video in truth:
            writer.write(video[:3])
            writer.write(video[3:])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), truth)
    writer = open_writer(tmp_path / "b.npy", 25, num_videos=3)
    with pytest.raises(VideoError, match="11 frames do not make 3 videos"), writer:
        writer.write(numbered_frames(11))
    with pytest.raises(UserError, match=r"only \.npy holds several"):
        open_writer(tmp_path / "a.mp4", 25, num_videos=3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_npy_is_a_plain_mappable_array(tmp_path, numbered_frames):
    write_video(tmp_path / "a.npy", numbered_frames(5), 25)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert (mapped.dtype, mapped.flags.c_contiguous, mapped.offset % 64) == (np.uint8, True, 0)
    np.testing.assert_array_equal(mapped, numbered_frames(5))


@pytest.mark.parametrize("name", ["a.npy", "a.mp4", "frames"])
def test_memory_does_not_grow_with_frames(tmp_path, smooth_video, name):
    peaks = []
    for repeats in (1, 12):
        tracemalloc.start()
        with open_writer(tmp_path / name, 25) as writer:
            for _ in range(repeats):
                writer.write(smooth_video)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.15 * peaks[0] + smooth_video.nbytes / 2
