"""Files whose headers and packets are whole but whose pictures are not."""

from __future__ import annotations

import logging

import av
import av.logging
import numpy as np
import pytest

from longtake.data.check import check_folder
from longtake.video import count_damaged, probe, read_video

NUM_FRAMES = 24


def write(path, codec, pix_fmt, **options):
    """Write moving noise, so that every packet is long."""
    try:
        av.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this PyAV cannot write {codec}")
    noise = np.random.default_rng(0).integers(40, 200, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 64, 96, pix_fmt
        stream.codec_context.gop_size = 8
        for number in range(NUM_FRAMES):
            frame = np.roll(noise, 2 * number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def damage(path, *numbers):
    """Overwrite 20 bytes within each of these packets."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for number in numbers:
        start, size = packets[number]
        place = start + 3 * size // 10
        data[place : place + 20] = rng.bytes(20)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("a.mp4", "libx264", "yuv420p", {"x264-params": "bframes=0:log-level=none"}),
        ("a.avi", "mpeg4", "yuv420p", {}),
        ("a.mkv", "mpeg2video", "yuv420p", {}),
        ("a.mkv", "ffv1", "yuv420p", {}),
        ("a.mov", "mjpeg", "yuvj420p", {"color_range": "2"}),
        ("a.gif", "gif", "rgb8", {}),
    ],
)
def test_damaged_pictures_make_a_video_suspicious(tmp_path, name, codec, pix_fmt, options):
    path = tmp_path / name
    write(path, codec, pix_fmt, **options)
    whole = read_video(path)
    assert count_damaged(path) == (0, NUM_FRAMES)
    assert check_folder(tmp_path, decode=True).suspicious == {}
    damage(path, 5, 13)
    assert probe(path).num_frames == NUM_FRAMES
    num_wrong = sum(not np.array_equal(one, other) for one, other in zip(whole, read_video(path), strict=True))
    assert num_wrong >= 2
    num_damaged, num_pictures = count_damaged(path)
    assert num_pictures == NUM_FRAMES
    assert 1 <= num_damaged <= num_wrong
    verb = "is" if num_damaged == 1 else "are"
    reason = f"{num_damaged} of {NUM_FRAMES} frames {verb} damaged"
    assert check_folder(tmp_path, decode=True).suspicious == {name: reason}
    assert check_folder(tmp_path).suspicious == {}


def test_packets_that_the_decoder_rejects_count(tmp_path):
    """VP8 may have packets without a picture, so that reading does not miss one."""
    path = tmp_path / "a.webm"
    write(path, "libvpx", "yuv420p", deadline="realtime")
    with av.open(str(path)) as container:
        start, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][8]
    data = bytearray(path.read_bytes())
    data[start + 4 : start + size] = b"\xff" * (size - 4)
    path.write_bytes(data)
    assert probe(path).num_frames == NUM_FRAMES - 1
    assert count_damaged(path) == (1, NUM_FRAMES)


def test_the_log_of_ffmpeg_is_left_as_it_was(tmp_path, caplog):
    path = tmp_path / "a.mkv"
    write(path, "ffv1", "yuv420p")
    damage(path, 5)
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    with caplog.at_level(logging.DEBUG):
        assert count_damaged(path)[0] == 1
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before
    assert caplog.records == []


def test_only_coded_files_have_damaged_pictures(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((3, 4, 4, 3), np.uint8))
    assert count_damaged(path) == (0, 0)
