"""Videos that are not coded: folders of images and npy arrays; and what counts as a video at all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from longtake.video import UNKNOWN_FPS, VIDEO_SUFFIXES, VideoError, VideoReader, is_video, probe, read_video


@pytest.fixture
def folder(tmp_path, numbered_frames):
    """Frames 0..11 named without leading zeros, so that names sort otherwise than numbers."""
    path = tmp_path / "frames"
    path.mkdir()
    for number, frame in enumerate(numbered_frames(12)):
        Image.fromarray(frame).save(path / f"shot2_{number}.png")
    (path / ".hidden.png").write_bytes(b"x")
    (path / "notes.txt").write_text("not a frame")
    return path


def test_folder_in_natural_order_and_exact(folder, numbered_frames):
    np.testing.assert_array_equal(read_video(folder), numbered_frames(12))
    np.testing.assert_array_equal(read_video(folder, [11, 2, 2]), numbered_frames(12)[[11, 2, 2]])
    with VideoReader(folder) as reader:
        np.testing.assert_array_equal(np.stack(list(reader.frames(3, 6))), numbered_frames(12)[3:6])
    info = probe(folder, decode=True)
    assert (info.num_frames, info.height, info.width, info.fps) == (12, 48, 64, UNKNOWN_FPS)


def test_image_kinds_become_rgb(tmp_path):
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (24, 32), np.uint8), rng.integers(0, 256, (24, 32, 3), np.uint8)
    images = {
        "0": (Image.fromarray(grey), np.stack([grey] * 3, -1)),
        "1": (Image.fromarray(grey.astype(np.uint16) * 257), np.stack([grey] * 3, -1)),
        "2": (Image.fromarray(np.dstack([colour, grey])), colour),
        "3": (Image.fromarray(colour).quantize(200), None),
    }
    for name, (image, _) in images.items():
        image.save(tmp_path / f"{name}.png")
    frames = read_video(tmp_path)
    for frame, (_, truth) in zip(frames[:3], list(images.values())[:3], strict=True):
        np.testing.assert_array_equal(frame, truth)
    np.testing.assert_array_equal(frames[3], np.array(images["3"][0].convert("RGB")))


def test_jpeg_orientation_is_honoured(tmp_path, numbered_frames, numbers_in):
    image = Image.fromarray(np.rot90(numbered_frames(6)[5]))  # stored turned counter-clockwise
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn clockwise to show"
    image.save(tmp_path / "5.JPG", quality=95, exif=exif)
    info = probe(tmp_path)
    assert (info.height, info.width) == (48, 64)
    assert numbers_in(read_video(tmp_path)) == [5]


def test_folder_failures(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="empty: the folder holds no frames"):
        probe(tmp_path / "empty")
    Image.new("RGB", (20, 10)).save(folder / "shot2_7.png")
    for action in (probe, read_video):
        with pytest.raises(VideoError, match=r"frames: frame shot2_7.png is 20x10, the first one 64x48"):
            action(folder)
    data = (folder / "shot2_3.png").read_bytes()
    (folder / "shot2_3.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"frames: frame shot2_3.png cannot be read"):
        read_video(folder, [3])
    (folder / "shot2_0.png").write_text("no image")
    with pytest.raises(VideoError, match=r"frames: frame shot2_0.png cannot be read"):
        VideoReader(folder)


def test_npy_is_exact(tmp_path, numbered_frames):
    np.save(tmp_path / "a.npy", numbered_frames(9))
    np.testing.assert_array_equal(read_video(tmp_path / "a.npy"), numbered_frames(9))
    np.testing.assert_array_equal(read_video(tmp_path / "a.npy", [8, 0, 8]), numbered_frames(9)[[8, 0, 8]])
    info = probe(tmp_path / "a.npy")
    assert (info.num_frames, info.height, info.width, info.announced_frames) == (9, 48, 64, 9)
    with VideoReader(tmp_path / "a.npy") as reader:
        frame = reader.read([0])
        frame += 1  # the file must not follow
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), numbered_frames(9))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 8, 8, 3), np.float32),
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((2, 4, 8, 8, 3), np.uint8),
        np.zeros((4, 8, 8, 4), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
    ids=lambda array: f"{array.shape}{array.dtype}",
)
def test_npy_of_another_kind(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(VideoError, match=r"a.npy: (holds .* a video is|not a readable)"):
        probe(tmp_path / "a.npy")


def test_npy_with_pickled_objects_or_cut_short(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(VideoError, match=r"a.npy: not a readable npy file"):
        probe(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((4, 8, 8, 3), np.uint8))
    data = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(data[:-10])
    with pytest.raises(VideoError, match=r"b.npy: not a readable npy file"):
        probe(tmp_path / "b.npy")


def test_what_counts_as_a_video(folder, tmp_path):
    for suffix in VIDEO_SUFFIXES:
        assert is_video(tmp_path / f"a{suffix}")
        assert is_video(tmp_path / f"a{suffix.upper()}")
        assert not is_video(tmp_path / f".a{suffix}")
    assert not is_video(tmp_path / "a.txt")
    assert is_video(folder)
    (tmp_path / "preview.png").touch()
    assert not is_video(tmp_path), "a stray image beside subfolders does not make a data set a video"
    (folder / "clip.mp4").touch()
    assert not is_video(folder), "nor does one beside video files"


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8, 3",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 08, 8, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 8, 8, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 10**9, 8, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999999999999, 8, 8, 3), }",
        "('descr'" * 2000,
        "\0",
    ],
)
def test_a_damaged_npy_header_is_one_line(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(768))
    with pytest.raises(VideoError, match="not a readable npy file") as failure:
        probe(path)
    assert "\n" not in str(failure.value)
