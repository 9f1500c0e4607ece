"""What is said about files that can be read but look wrong, and about files that are no videos."""

from __future__ import annotations

import av
import numpy as np
import pytest

from longtake.video import VideoError, probe, read_video


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("a.mp4", "libx264", {"b_frames": 2}),
        ("a.MOV", "libx264", {}),
        ("a.avi", "mpeg4", {"b_frames": 2}),
        ("a.webm", "libvpx-vp9", {"rate": 30, "options": {"deadline": "realtime"}}),  # 33, 33, 34 ms
        ("a.mkv", "ffv1", {"rate": 24}),
        ("a.gif", "gif", {"pix_fmt": "rgb8", "rate": 30}),  # 3, 3, 4 hundredths
        ("a.mp4", "libx265", {"pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}}),
        ("a.mp4", "libsvtav1", {"size": (64, 64), "options": {"preset": "10"}}),
    ],
)
def test_ordinary_files_have_no_oddities(encode, tmp_path, name, codec, settings):
    info = probe(encode(tmp_path / name, codec, 20, **settings))
    assert info.num_frames == 20
    assert info.oddities == ()


@pytest.mark.parametrize(("name", "as_it_is"), [("a.mp4", "matroska,webm"), ("a.avi", "matroska,webm")])
def test_another_container_than_the_name_says(encode, tmp_path, numbers_in, name, as_it_is):
    encode(tmp_path / "real.mkv", "libx264", 10).rename(tmp_path / name)
    assert probe(tmp_path / name).oddities == (f"named {name[-4:]}, but its container is {as_it_is}",)
    assert numbers_in(read_video(tmp_path / name)) == list(range(10))


def test_several_video_streams_are_told(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for width, stream in zip((32, 64), streams, strict=True):
            stream.height, stream.width, stream.pix_fmt = 16, width, "yuv420p"
        for width, stream in zip((32, 64), streams, strict=True):
            picture = av.VideoFrame.from_ndarray(np.zeros((16, width, 3), np.uint8))
            container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    info = probe(path)
    assert info.width == 32
    assert info.oddities == ("it holds 2 video streams: only the first is read",)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_gif_without_its_end_is_told(encode, tmp_path, part):
    path = encode(tmp_path / "a.gif", "gif", 30, pix_fmt="rgb8")
    data = path.read_bytes()
    path.write_bytes(data + bytes(7))  # padding behind the end
    assert probe(path).oddities == ()
    path.write_bytes(data[: int(len(data) * part)])
    assert probe(path).oddities == ("the mark at its end is missing: cut short",)


def test_variable_frame_rate_names_its_gaps(encode, tmp_path):
    stamps = [40 * number + (60 if number > 10 else 0) for number in range(20)]
    info = probe(encode(tmp_path / "a.mkv", "libx264", 20, stamps=stamps, rate=1000))
    assert info.oddities == ("variable frame rate: 40 to 100 ms from frame to frame",)


def test_the_jitter_of_a_camera_is_no_variable_rate(encode, tmp_path):
    jitter = np.random.default_rng(0).integers(-1, 2, 20)
    stamps = (40 * np.arange(1, 21) + jitter).tolist()
    assert probe(encode(tmp_path / "a.mp4", "libx264", 20, stamps=stamps, rate=1000)).oddities == ()


def swap_stamps(path, first, second):
    """Exchange the time codes of two frames of an mkv; a packet begins with its track, then come two bytes of time."""
    with av.open(str(path)) as container:
        places = [packet.pos + 1 for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    one, other = (slice(places[number], places[number] + 2) for number in (first, second))
    data[one], data[other] = data[other], data[one]
    path.write_bytes(data)


def test_unordered_stamps_are_told_and_no_frame_is_lost(encode, tmp_path, numbers_in):
    path = encode(tmp_path / "a.mkv", "ffv1", 20)
    swap_stamps(path, 3, 4)
    assert probe(path).oddities == ("its time stamps are out of order",)
    # a codec without reordering gives frames as they lie in the file
    assert numbers_in(read_video(path)) == list(range(20))


def test_a_cut_file_says_how_much_is_missing(encode, tmp_path):
    path = encode(tmp_path / "a.webm", "libvpx-vp9", 60, options={"deadline": "realtime", "cpu-used": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    info = probe(path)
    assert info.oddities == (f"{info.num_frames} frames where its header announces 60: cut short or damaged",)


@pytest.mark.parametrize("has_tags", [True, False])
def test_sound_that_is_longer_than_the_pictures_is_no_damage(tmp_path, has_tags):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=16000, layout="mono")
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        for number in range(20):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * number, np.uint8))
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    if not has_tags:
        path.write_bytes(path.read_bytes().replace(b"DURATION", b"OTHERTAG"))
    info = probe(path)
    assert (info.num_frames, info.has_audio, info.oddities) == (20, True, ())
    assert info.announced_frames == (20 if has_tags else None)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_a_video_that_begins_late_is_not_called_cut(encode, tmp_path, name):
    """Cut out of a recording with its time stamps: a Matroska's duration is the time at which it ends."""
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    path = encode(tmp_path / name, codec, 60, stamps=[60_000 + 40 * number for number in range(60)])
    info = probe(path)
    assert (info.announced_frames, info.oddities) == (60, ())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "frames where its header announces 60: cut short or damaged" in probe(path).oddities[0]


def test_a_damaged_table_is_not_taken_for_an_edit_list(encode, tmp_path):
    """The size of one packet is impossible: the demuxer's index ends there, as it does where an edit list cuts."""
    path = encode(tmp_path / "a.mp4", "libx264", 60, gop=20, b_frames=2)
    data = bytearray(path.read_bytes())
    place = data.index(b"stsz") + 4 + 12 + 4 * 40
    data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    info = probe(path)
    assert (info.num_frames, info.announced_frames) == (40, 60)
    assert "40 frames where its header announces 60: cut short or damaged" in info.oddities


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:123\nsize 9", "text that begins 'version https://"),
        (b"\n\n<!DOCTYPE html><html>not found</html>", "text that begins '<!DOCTYPE html>"),
        ("ein längerer Text, dessen Umlaute zählen: äöü".encode() * 40, "text that begins 'ein längerer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"PK\x03\x04" + bytes(100), "a zip archive"),
    ],
)
def test_what_is_no_video_is_told_by_its_content(tmp_path, content, expected):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert str(caught.value).startswith(f"{path}: not a readable video but {expected}")
    assert "\n" not in str(caught.value)


def test_binary_rubbish_is_not_called_text(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(2000))
    with pytest.raises(VideoError, match="not a readable video \\("):
        probe(path)


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "missing.mp4")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    for name in ("gone.mp4", "loop.mp4"):
        with pytest.raises(VideoError, match="a link that leads nowhere"):
            probe(tmp_path / name)
