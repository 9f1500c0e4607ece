"""Small coded videos whose frames carry their own number, written with PyAV alone (not with the writer under test)."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from longtake.video import container_source as container_source_module

NUM_BITS = 12
BLOCK = 16


def _numbered_frame(number, height=48, width=64):
    """Frame `number`: a grid of 4 x 3 blocks of 16 pixels, dark or bright by the number's bits, over moving texture."""
    ramp = np.add.outer(np.arange(height), np.arange(width)) + 3 * number
    frame = np.stack([ramp % 50, (2 * ramp) % 50, (ramp + 17) % 50], axis=-1).astype(np.uint8)
    for bit in range(NUM_BITS):
        row, column = divmod(bit, 4)
        if number >> bit & 1:
            frame[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK] += 180
    return frame


@pytest.fixture(scope="session")
def numbered_frames():
    """Return a function (n, height, width) -> uint8 (n, h, w, 3); at least 48 x 64."""
    return lambda num, height=48, width=64: np.stack([_numbered_frame(k, height, width) for k in range(num)])


@pytest.fixture(scope="session")
def numbers_in():
    """Return a function that reads the numbers back out of frames (t, h, w, 3), whatever a codec did to them."""

    def read(frames):
        numbers = []
        for frame in frames:
            grid = frame[: 3 * BLOCK, : 4 * BLOCK].reshape(3, BLOCK, 4, BLOCK, 3)[:, 4:-4, :, 4:-4].mean(axis=(1, 3, 4))
            numbers.append(sum(1 << bit for bit, value in enumerate(grid.reshape(-1)) if value > 115))
        return numbers

    return read


@pytest.fixture(scope="session")
def encode():
    """Return a function that writes numbered frames with any codec; skips the test where the codec is not built in."""

    def write(
        path,
        codec,
        num_frames=40,
        *,
        size=(48, 64),
        pix_fmt="yuv420p",
        options=None,
        gop=12,
        b_frames=None,
        stamps=None,
        rate=25,
        edit=None,
    ):
        try:
            av.Codec(codec, "w")
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"this PyAV cannot write {codec}")
        height, width = size
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
            stream.codec_context.gop_size = gop
            if b_frames is not None:
                stream.codec_context.max_b_frames = b_frames
            if stamps is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            for number in range(num_frames):
                array = _numbered_frame(number, height, width)
                if edit is not None:
                    array = edit(array)
                frame = av.VideoFrame.from_ndarray(array, format="rgb24")
                if stamps is not None:
                    frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def decode_in_order():
    """Return a function that decodes a file from its start with PyAV alone: the truth for all other ways of reading."""

    def decode(path):
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

    return decode


@pytest.fixture(params=[4, 0], ids=["seek when it pays", "seek always"])
def eagerness(request, monkeypatch):
    monkeypatch.setattr(container_source_module, "_SEEK_WORTH_FRAMES", request.param)
