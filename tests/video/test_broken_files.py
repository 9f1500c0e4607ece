"""Whatever is wrong with a file: one line `FILE: reason`, the frames that do decode, and never a hang."""

from __future__ import annotations

import itertools
import os
import pickle

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.video import VideoError, VideoReader, probe, read_video


def _reason(path, action=None):
    """Check that opening fails as it should and return the reason."""
    with pytest.raises(VideoError) as caught:
        (action or probe)(path)
    message = str(caught.value)
    assert isinstance(caught.value, UserError)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message  # noqa: S301 (it must cross worker processes)
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm", ".mov", ".gif", ".npy"])
def test_files_that_are_no_videos(tmp_path, suffix):
    empty, text, noise, missing = (tmp_path / f"{name}{suffix}" for name in ("empty", "text", "noise", "missing"))
    empty.touch()
    text.write_text("not a video at all\n" * 50)
    noise.write_bytes(np.random.default_rng(0).bytes(20000))
    assert "empty" in _reason(empty)
    assert "not a readable" in _reason(text)
    _reason(noise)
    assert _reason(missing) == "no such file"
    for path in (empty, text, noise, missing):
        _reason(path, VideoReader)
        _reason(path, read_video)


def test_playlist_is_not_followed(encode, tmp_path):
    encode(tmp_path / "real.mp4", "libx264", 5)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n")
    _reason(playlist)


def test_unknown_suffix_and_pipes(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert ".mp4" in _reason(tmp_path / "a.txt")
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    assert _reason(pipe) == "not a file"


def test_permission_denied(encode, tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", "libx264", 5)
    if os.geteuid() == 0:  # root reads everything: let the operating system say no

        def refuse(*_args, **_kwargs):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(type(path), "open", refuse)
    else:
        path.chmod(0)
    assert _reason(path) == "permission denied"


@pytest.mark.parametrize("has_cover", [False, True])
def test_no_video_stream(tmp_path, has_cover):
    av = pytest.importorskip("av")
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=16000, layout="mono")
        if has_cover:
            cover = container.add_stream("mjpeg", rate=1, options={"color_range": "2"})
            cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
        if has_cover:
            container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
            container.mux(cover.encode(None))
    expected = "no video stream that can be decoded" + ", only a cover picture" * has_cover
    assert _reason(path) == _reason(path, VideoReader) == expected


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "5"}),
        ("a.mp4", "libx264", {"movflags": "+faststart"}),
        ("a.avi", "mpeg4", {"b": "5M", "qmax": "3"}),
        ("a.mkv", "libx264", {}),
        ("a.gif", "gif", {}),
    ],
)
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_truncated_file(encode, tmp_path, numbers_in, name, codec, options, part):
    """A truncated file has fewer frames without any error from the demuxer: the counts say so."""
    pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
    path = encode(tmp_path / name, codec, 60, size=(96, 128), pix_fmt=pix_fmt, options=options, b_frames=0)
    if name.endswith(".mp4"):
        _move_index_to_front(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    info = probe(path, decode=True)
    assert 0 < info.num_frames < 60
    assert probe(path).num_frames == info.num_frames
    if name not in ("a.gif", "a.mkv", "a.webm"):
        assert info.announced_frames == 60
    whole = read_video(path)
    # a gif does not say how long its last frame is: that one may be painted in part
    num_sure = info.num_frames - (codec == "gif")
    assert numbers_in(whole)[:num_sure] == list(range(num_sure))
    np.testing.assert_array_equal(read_video(path, [info.num_frames - 1])[0], whole[-1])
    assert f"the video has {info.num_frames}" in _reason(path, lambda path: read_video(path, [info.num_frames]))


def _move_index_to_front(path):
    """Rewrite an mp4 with its index first, so that a truncated copy can be opened at all."""
    av = pytest.importorskip("av")
    whole = path.with_name("front.mp4")
    with av.open(str(path)) as source, av.open(str(whole), "w", options={"movflags": "+faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    whole.rename(path)


def test_truncated_webm_announces_what_is_missing(encode, tmp_path):
    """WebM holds no frame count, but its duration times its rate is one."""
    path = encode(tmp_path / "a.webm", "libvpx-vp9", 60, options={"deadline": "realtime", "cpu-used": "5"})
    assert probe(path).announced_frames == probe(path).num_frames == 60
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert probe(path).announced_frames == 60
    assert probe(path).num_frames < 60


def test_frames_that_do_not_decode_are_noticed(encode, tmp_path, numbers_in):
    """Packets whose data is gone count as frames until they are decoded; then the error names wanted and available."""
    path = encode(tmp_path / "a.mp4", "mjpeg", 30, pix_fmt="yuvj420p", options={"color_range": "2"})
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data)) if data[place : place + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 30
    for start, end in itertools.pairwise(starts[20:26]):
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    assert probe(path).num_frames == probe(path).announced_frames == 30
    assert probe(path, decode=True).num_frames == 25
    reason = _reason(path, read_video)
    assert "frame 25 is wanted" in reason
    assert "25 frames can be decoded" in reason
    assert "promises 30" in reason
    with VideoReader(path) as reader:
        assert numbers_in(reader.read(range(22))) == [*range(20), 25, 26]
        assert reader.info.num_frames == 25


def test_damaged_bytes_never_hang_and_never_crash(encode, tmp_path):
    """Flipped bytes anywhere: frames or a `VideoError`, for every container."""
    rng = np.random.default_rng(0)
    codecs = {"a.mp4": "libx264", "a.webm": "libvpx-vp9", "a.avi": "mpeg4", "a.mkv": "ffv1", "a.gif": "gif"}
    for name, codec in codecs.items():
        data = encode(tmp_path / name, codec, 20, pix_fmt="rgb8" if codec == "gif" else "yuv420p").read_bytes()
        for trial in range(12):
            damaged = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, len(data), 1 + 4 * trial)
            damaged[places] = rng.integers(0, 256, len(places))
            path = tmp_path / f"damaged{trial}{name}"
            path.write_bytes(damaged.tobytes())
            try:
                info = probe(path)
                frames = read_video(path)
                assert frames.shape[1:] == (info.height, info.width, 3)
            except VideoError as error:
                assert str(error).startswith(f"{path}: ")  # noqa: PT017 (either outcome is right)


def test_index_outside(encode, tmp_path):
    path = encode(tmp_path / "a.mp4", "libx264", 10)
    for wanted in ([10], [-1], [3, 99]):
        assert "the video has 10" in _reason(path, lambda path, wanted=wanted: read_video(path, wanted))
    with VideoReader(path) as reader:
        for start, stop in ((0, 11), (5, 3), (-1, 4)):
            with pytest.raises(VideoError, match="the video has 10"):
                reader.frames(start, stop)


def test_file_replaced_between_reads(encode, tmp_path, numbers_in):
    """The remembered index belongs to the file's content, not to its name."""
    path = encode(tmp_path / "a.mp4", "libx264", 10)
    assert probe(path).num_frames == 10
    encode(path, "libx264", 17)
    assert numbers_in(read_video(path)) == list(range(17))
