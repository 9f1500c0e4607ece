"""Frame-exact reading: every codec, every structure of a stream, against decoding from the start."""

from __future__ import annotations

import av
import numpy as np
import pytest

from longtake.video import VideoReader, probe, read_video
from longtake.video import container_source as container_source_module

X264_OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=12:min-keyint=12:scenecut=0:log-level=none"}
X264_PYRAMID = {"x264-params": "bframes=5:b-pyramid=normal:b-adapt=0:keyint=15:ref=4:log-level=none"}
X264_REFRESH = {"x264-params": "intra-refresh=1:keyint=12:bframes=0:log-level=none"}
X265_OPEN_GOP = {"x265-params": "open-gop=1:bframes=4:keyint=12:min-keyint=12:scenecut=0:log-level=none"}
VPX_HIDDEN_FRAMES = {"b": "200k", "auto-alt-ref": "1", "lag-in-frames": "16"}

STREAMS = {
    "h264 in mp4, B-frames": ("a.mp4", "libx264", {"options": X264_PYRAMID}),
    "h264 in mp4, open groups": ("a.mp4", "libx264", {"options": X264_OPEN_GOP}),
    "h264 in mkv, open groups": ("a.mkv", "libx264", {"options": X264_OPEN_GOP}),
    "h264 in mp4, rolling refresh, no keyframes": ("a.mp4", "libx264", {"options": X264_REFRESH}),
    "h264 in avi, B-frames without stamps": ("a.avi", "libx264", {"b_frames": 2}),
    "h264 in mov, every frame a keyframe": ("a.mov", "libx264", {"gop": 1}),
    "hevc in mp4, open groups": ("a.mp4", "libx265", {"options": X265_OPEN_GOP}),
    "vp9 in webm": ("a.webm", "libvpx-vp9", {"options": {"b": "200k", "deadline": "realtime", "cpu-used": "5"}}),
    "vp9 in webm, hidden frames": ("a.webm", "libvpx-vp9", {"options": VPX_HIDDEN_FRAMES}),
    "vp8 in webm, hidden frames": ("a.webm", "libvpx", {"options": VPX_HIDDEN_FRAMES}),
    "av1 in mp4": ("a.mp4", "libsvtav1", {"size": (64, 64), "options": {"preset": "10", "crf": "10"}}),
    "mpeg4 in avi": ("a.avi", "mpeg4", {"b_frames": 0}),
    "mpeg4 in avi, B-frames": ("a.avi", "mpeg4", {"b_frames": 2}),
    "mpeg4 in mov, B-frames": ("a.mov", "mpeg4", {"b_frames": 2}),
    "mpeg2 in mkv, B-frames": ("a.mkv", "mpeg2video", {"b_frames": 2}),
    "mjpeg in avi": ("a.avi", "mjpeg", {"pix_fmt": "yuvj420p", "options": {"color_range": "2"}}),
    "ffv1 in mkv": ("a.mkv", "ffv1", {}),
    "gif": ("a.gif", "gif", {"pix_fmt": "rgb8"}),
    "qtrle in mov, the palette in the first packet alone": ("a.mov", "qtrle", {"pix_fmt": "gray"}),
}


@pytest.fixture(params=STREAMS, scope="module")
def stream(request, encode, tmp_path_factory):
    """One coded video of 75 numbered frames for each kind of stream."""
    name, codec, settings = STREAMS[request.param]
    return encode(tmp_path_factory.mktemp("stream") / name, codec, 75, **settings)


def test_every_frame_comes_once_and_in_order(stream, numbers_in, decode_in_order):
    assert len(decode_in_order(stream)) == 75
    assert probe(stream).num_frames == probe(stream, decode=True).num_frames == 75
    assert numbers_in(read_video(stream)) == list(range(75))


@pytest.mark.usefixtures("eagerness")
def test_frames_read_alone_equal_frames_read_in_order(stream):
    whole = read_video(stream)
    rng = np.random.default_rng(0)
    with VideoReader(stream) as reader:
        for _ in range(6):
            indices = rng.integers(0, 75, size=5)
            np.testing.assert_array_equal(reader.read(indices), whole[indices])
        for number in (74, 0, 37, 36, 38, 12, 11, 13):
            np.testing.assert_array_equal(reader.read([number])[0], whole[number])
    with VideoReader(stream) as reader:  # a fresh decoder, straight to the middle
        np.testing.assert_array_equal(reader.read([60, 61, 20, 60]), whole[[60, 61, 20, 60]])


def test_frames_streams_a_range(stream):
    whole = read_video(stream)
    with VideoReader(stream) as reader:
        streamed = reader.frames(30, 45)
        first = next(streamed)
        reader.read([3])  # does not move the stream
        np.testing.assert_array_equal(np.stack([first, *streamed]), whole[30:45])
        assert len(list(reader.frames(start=70))) == 5
        assert list(reader.frames(10, 10)) == []


def test_seeking_saves_decoding(encode, tmp_path, monkeypatch):
    """Two frames near the end cost one group of pictures, not the file: the index is not for nothing."""
    path = encode(tmp_path / "a.mp4", "libx264", 200, gop=20, options={"sc_threshold": "0"})
    fed = []
    decode_packet = container_source_module.decode_packet
    monkeypatch.setattr(container_source_module, "decode_packet", lambda *args: fed.append(1) or decode_packet(*args))
    with VideoReader(path) as reader:
        reader.read([185, 190])
        assert len(fed) <= 11 + 6  # the group's frames up to 190, and what the decoder holds back to order them
        fed.clear()
        reader.read([191, 192])  # the decoder waits where the last read ended
        assert len(fed) <= 4


def test_variable_frame_rate(encode, tmp_path, numbers_in):
    gaps = np.random.default_rng(1).integers(5, 300, size=60)
    stamps = np.cumsum(gaps).tolist()
    for name in ("a.mkv", "a.mp4"):
        path = encode(tmp_path / name, "libx264", 60, stamps=stamps, rate=1000, gop=10)
        assert numbers_in(read_video(path)) == list(range(60))
        with VideoReader(path) as reader:
            assert numbers_in(reader.read([59, 3, 31, 30])) == [59, 3, 31, 30]
            assert reader.info.fps == pytest.approx(1000 * 59 / (stamps[-1] - stamps[0]), rel=0.05)


def test_negative_stamps(encode, tmp_path, numbers_in):
    path = encode(tmp_path / "a.mkv", "libx264", 40, stamps=[40 * k - 500 for k in range(40)], rate=1000, gop=8)
    assert numbers_in(read_video(path)) == list(range(40))
    assert numbers_in(read_video(path, [25, 2])) == [25, 2]


def _patch_edit_start(path, skipped_frames):
    """Move the start of the mp4's edit list, as cutting without coding again does."""
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 4
    assert data[place] == 0
    assert int.from_bytes(data[place + 4 : place + 8], "big") == 1, "one edit"
    duration = int.from_bytes(data[place + 8 : place + 12], "big")
    data[place + 8 : place + 12] = (duration - skipped_frames * 40).to_bytes(4, "big")
    media_time = int.from_bytes(data[place + 12 : place + 16], "big", signed=True)
    data[place + 12 : place + 16] = (media_time + skipped_frames * 512).to_bytes(4, "big", signed=True)
    path.write_bytes(data)


def test_edit_list_hides_frames_at_the_start(encode, tmp_path, numbers_in, decode_in_order):
    path = encode(tmp_path / "a.mp4", "libx264", 60, gop=20, b_frames=2)
    _patch_edit_start(path, skipped_frames=7)
    truth = numbers_in(decode_in_order(path))
    assert truth == list(range(7, 60))
    assert probe(path).num_frames == 53
    assert numbers_in(read_video(path)) == truth
    assert numbers_in(read_video(path, [0, 50, 13, 14])) == [7, 57, 20, 21]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("skipped_frames", [7, 20, 27, 43])
def test_edit_list_that_skips_whole_groups_is_no_damage(encode, tmp_path, numbers_in, skipped_frames, b_frames):
    path = encode(tmp_path / "a.mp4", "libx264", 60, gop=20, b_frames=b_frames, options={"sc_threshold": "0"})
    _patch_edit_start(path, skipped_frames)
    info = probe(path)
    assert info.num_frames == info.announced_frames == 60 - skipped_frames
    assert info.oddities == ()
    assert numbers_in(read_video(path)) == list(range(skipped_frames, 60))


def test_first_frame_not_a_keyframe_start(encode, tmp_path, numbers_in, decode_in_order):
    """A stream cut in the middle of a group: what decodes is what counts."""
    whole = encode(tmp_path / "whole.mkv", "libx264", 60, gop=20, options=X264_OPEN_GOP)
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for position, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and position >= 15:
                packet.stream = stream
                target.mux(packet)
    truth = numbers_in(decode_in_order(cut))
    assert numbers_in(read_video(cut)) == truth
    assert probe(cut).num_frames == probe(cut, decode=True).num_frames == len(truth)


def set_display_matrix(path, *corner):
    """Write the upper left corner (a, b, c, d) of the matrix in the track header, in units of 1."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(value * 0x10000) for value in corner)
    data[place : place + 36] = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    )
    path.write_bytes(data)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_display_matrix_is_honoured(encode, tmp_path, degrees, is_mirrored):
    """The matrix mirrors the picture left to right, then turns it clockwise by `degrees`."""
    path = encode(tmp_path / "a.mp4", "libx264", 3)
    stored = read_video(path)
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    # a point (x, y) is shown at (a x + c y, b x + d y), y downwards
    side = -1 if is_mirrored else 1
    set_display_matrix(path, side * cos, side * sin, -sin, cos)
    turned = read_video(path)
    expected = stored[:, :, ::-1] if is_mirrored else stored
    np.testing.assert_array_equal(turned, np.rot90(expected, -degrees // 90, axes=(1, 2)))
    info = probe(path)
    assert (info.height, info.width) == turned.shape[1:3]
    assert info.oddities == ()


@pytest.mark.parametrize(
    ("corner", "turns"),
    [
        ((0.6428, 0.766, -0.766, 0.6428), -1),  # 50 degrees
        ((0.766, 0.6428, -0.6428, 0.766), 0),  # 40 degrees
        ((1, 0, 0.5, 1), 0),  # sheared
        ((0, 0, 0, 0), 0),
    ],
)
def test_other_display_matrices_are_told(encode, tmp_path, corner, turns):
    path = encode(tmp_path / "a.mp4", "libx264", 3)
    stored = read_video(path)
    set_display_matrix(path, *corner)
    (oddity,) = probe(path).oddities
    assert oddity.startswith("its display matrix is no right angle and no mirror image")
    np.testing.assert_array_equal(read_video(path), np.rot90(stored, turns, axes=(1, 2)))


def test_display_matrices_may_be_rounded_and_scaled(encode, tmp_path):
    path = encode(tmp_path / "a.mp4", "libx264", 3)
    stored = read_video(path)
    set_display_matrix(path, 0.01, 1.2, -1, 0.01)
    assert probe(path).oddities == ()
    np.testing.assert_array_equal(read_video(path), np.rot90(stored, -1, axes=(1, 2)))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mp4", "libx264", "yuv444p"),
        ("a.mp4", "libx264", "yuv422p"),
        ("a.mp4", "libx264", "yuvj420p"),
        ("a.mp4", "libx264", "gray"),
        ("a.mp4", "libx265", "yuv420p12le"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.webm", "libvpx-vp9", "yuv444p"),
        ("a.mkv", "ffv1", "bgra"),
        ("a.mkv", "ffv1", "gray16le"),
        ("a.mkv", "ffv1", "gbrp10le"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "png", "rgb48be"),
        ("a.avi", "rawvideo", "bgr24"),
    ],
)
def test_pixel_formats_become_rgb(encode, tmp_path, numbered_frames, name, codec, pix_fmt):
    options = {"color_range": "2"} if pix_fmt == "gray" else {}  # what the conversion to grey gives
    path = encode(tmp_path / name, codec, 6, pix_fmt=pix_fmt, size=(64, 64), options=options)
    frames = read_video(path).astype(float)
    truth = numbered_frames(6, 64, 64).astype(float)
    if pix_fmt.startswith("gray"):
        truth = np.repeat(truth @ np.array([[0.299], [0.587], [0.114]]), 3, axis=-1)
    assert frames.shape == truth.shape
    exact = codec in ("ffv1", "qtrle", "png", "rawvideo")
    assert np.abs(frames - truth).mean() < (1.0 if exact else 6.0)


def test_palette_becomes_rgb(tmp_path):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (256, 4), dtype=np.uint8)
    palette[:, 0] = 255  # alpha first
    image = rng.integers(0, 256, (32, 48), dtype=np.uint8)
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "pal8"
        container.mux(stream.encode(av.VideoFrame.from_ndarray((image, palette), format="pal8")))
        container.mux(stream.encode(None))
    np.testing.assert_array_equal(read_video(path)[0], palette[image][..., 1:])


@pytest.mark.parametrize(("height", "width"), [(49, 65), (51, 64), (48, 67), (50, 81)])
@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx-vp9"), ("a.mkv", "ffv1")])
def test_odd_sizes(encode, tmp_path, numbered_frames, numbers_in, name, codec, height, width):
    path = encode(tmp_path / name, codec, 5, size=(height, width))
    frames = read_video(path)
    assert frames.shape == (5, height, width, 3)
    assert numbers_in(frames) == list(range(5))
    # the last row and column are there, not black or green; blocks off the number grid are left plain
    assert np.abs(frames[:, -1].astype(float) - numbered_frames(5, height, width)[:, -1]).mean() < 15


@pytest.mark.parametrize(("matrix", "weights"), [(1, (0.2126, 0.7152, 0.0722)), (6, (0.299, 0.587, 0.114))])
@pytest.mark.parametrize("full", [False, True])
def test_colour_matrix_and_range_of_the_file(tmp_path, matrix, weights, full):
    """Flat colours coded by hand with the BT.709 or BT.601 equations come back as they were."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]], float)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "x264-params": "log-level=none"})
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv444p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1
        for red, green, blue in colours / 255:
            luma = weights[0] * red + weights[1] * green + weights[2] * blue
            planes = [luma, (blue - luma) / (2 - 2 * weights[2]), (red - luma) / (2 - 2 * weights[0])]
            scale = (255, 255, 255) if full else (219, 224, 224)
            offset = (0, 128, 128) if full else (16, 128, 128)
            coded = [min(255, round(o + s * p)) for o, s, p in zip(offset, scale, planes, strict=True)]
            array = np.stack([np.full((32, 32), value, np.uint8) for value in coded])
            frame = av.VideoFrame.from_ndarray(array, format="yuv444p")
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.abs(read_video(path)[:, 16, 16].astype(float) - colours).max() <= 3


def _smooth_planes(rng, height, width):
    """Blocky luma and chroma that changes slowly enough not to matter how it is interpolated; limited range."""
    luma = np.kron(rng.integers(30, 220, (height // 8, width // 8)), np.ones((8, 8)))
    across, down = np.meshgrid(np.linspace(0, np.pi, width // 2), np.linspace(0, np.pi, height // 2))
    return luma, 128 + 12 * np.sin(across), 128 + 12 * np.cos(down)


def _rgb_by_equation(luma, blue, red):
    """BT.601, limited range, chroma at half size."""
    luma = (luma - 16) * 255 / 219
    blue, red = (np.kron(plane - 128, np.ones((2, 2))) * 255 / 224 for plane in (blue, red))
    green = -(0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587
    return np.stack([luma + 1.402 * red, luma + green, luma + 1.772 * blue], axis=-1)


@pytest.mark.parametrize(("height", "width"), [(96, 64), (240, 320), (360, 640)])
@pytest.mark.parametrize(("pix_fmt", "unit"), [("yuv420p", 1), ("yuv420p10le", 4)])
def test_brightness_is_right_at_every_size(tmp_path, height, width, pix_fmt, unit):
    """A lossless film, its YUV made by hand: on average no channel comes out darker or brighter."""
    path = tmp_path / "a.mkv"
    planes = [np.round(unit * plane) for plane in _smooth_planes(np.random.default_rng(0), height, width)]
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // (1 if unit == 1 else 2)), np.uint8 if unit == 1 else "<u2")
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    error = read_video(path)[0] - _rgb_by_equation(*(values / unit for values in planes))
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.1
    assert np.abs(error).mean() < 1


def test_no_indices_and_repeated_indices(encode, tmp_path, numbers_in):
    path = encode(tmp_path / "a.mp4", "libx264", 10)
    with VideoReader(path) as reader:
        assert reader.read([]).shape == (0, 48, 64, 3)
        assert numbers_in(reader.read([4, 4, 9, 4])) == [4, 4, 9, 4]


def test_info_of_a_file_with_audio(encode, tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.height = video.width = 32
        audio = container.add_stream("aac", rate=16000, layout="mono")
        for _ in range(15):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    info = probe(path)
    assert info.has_audio
    assert (info.codec, info.fps, info.num_frames, info.announced_frames) == ("h264", 30, 15, 15)
    assert read_video(path).shape == (15, 32, 32, 3)
    assert not probe(encode(tmp_path / "b.mp4", "libx264", 3)).has_audio
