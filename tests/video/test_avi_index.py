"""An AVI's table of contents may be cut off, doubled or wrong: frames are the same in any order of reading."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.video import VideoReader, read_video
from longtake.video.packet_index import packet_index


@pytest.mark.usefixtures("eagerness")
@pytest.mark.parametrize("codec", ["msmpeg4", "wmv2", "zmbv"])
@pytest.mark.parametrize("has_half_an_index", [False, True])
def test_an_avi_without_its_whole_index_reads_the_same_in_any_order(
    encode, tmp_path, numbers_in, codec, has_half_an_index
):
    """What the index does not list the demuxer calls keyframes, and these decoders take anything for one."""
    path = encode(tmp_path / "a.avi", codec, 75, pix_fmt="bgr0" if codec == "zmbv" else "yuv420p")
    assert len(packet_index(path).keyframes) > 1
    data = path.read_bytes()
    frames, index = data.index(b"movi"), data.rindex(b"idx1")
    path.write_bytes(data[: (index + len(data)) // 2 if has_half_an_index else (frames + index) // 2])
    whole = read_video(path)
    assert len(whole) == 75 if has_half_an_index else 10 < len(whole) < 75
    assert numbers_in(whole) == list(range(len(whole)))
    with VideoReader(path) as reader:
        for number in np.random.default_rng(0).permutation(len(whole))[:25].tolist():
            np.testing.assert_array_equal(reader.read([number])[0], whole[number])


def test_two_avis_in_one_file_read_the_same_in_any_order(encode, tmp_path, numbers_in):
    path = encode(tmp_path / "a.avi", "rawvideo", 20, pix_fmt="gray")
    path.write_bytes(2 * path.read_bytes())
    assert numbers_in(read_video(path)) == 2 * list(range(20))
    assert [numbers_in(read_video(path, [number])) for number in range(18, 40)] == [
        [number % 20] for number in range(18, 40)
    ]


def test_an_avi_whose_index_leads_astray_reads_the_same_in_any_order(encode, tmp_path, numbers_in):
    """An entry of the index points behind the end of the file; what the demuxer finds instead gets its time stamp."""
    path = encode(tmp_path / "a.avi", "rawvideo", 30, pix_fmt="gray")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"idx1") + 8 + 23 * 16  # a name, flags, the offset, the length; each of 4 bytes
    data[entry + 11] = 0xBE  # the offset's highest byte
    path.write_bytes(data)
    assert numbers_in(read_video(path)) == list(range(30))
    assert [numbers_in(read_video(path, [number])) for number in range(30)] == [[number] for number in range(30)]
