"""Tiny videos in the layouts of published data sets; every frame is one grey that tells its number."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from longtake.video import read_video, write_video

FIRST_GREY, GREY_STEP = 20, 4


def grey_frames(num_frames, height=32, width=32):
    greys = FIRST_GREY + GREY_STEP * np.arange(num_frames)
    assert greys[-1] < 256
    return np.broadcast_to(greys.astype(np.uint8)[:, None, None, None], (num_frames, height, width, 3)).copy()


@pytest.fixture
def frames():
    """Function (number of frames, height, width) -> frames whose grey is their number."""
    return grey_frames


@pytest.fixture
def make_video():
    """Function that writes numbered frames: .avi (lossless), .mp4, or a folder of png where there is no suffix."""

    def make(path, num_frames=6, height=32, width=32, fps=25, pictures=None):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = grey_frames(num_frames, height, width) if pictures is None else pictures
        if path.suffix == ".avi":
            with av.open(str(path), "w") as container:
                stream = container.add_stream("ffv1", rate=fps)
                stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "bgr0"
                for picture in pictures:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                container.mux(stream.encode(None))
        else:
            write_video(path, pictures, fps)
        return path

    return make


@pytest.fixture
def make_frame_folder():
    """Function that writes numbered frames as png files with names of the set's own."""

    def make(folder, num_frames, prefix="", digits=7):
        folder.mkdir(parents=True)
        for number, picture in enumerate(grey_frames(num_frames)):
            Image.fromarray(picture).save(folder / f"{prefix}{number:0{digits}d}.png")
        return folder

    return make


@pytest.fixture
def numbers_of():
    """Function that reads the frame numbers back out of a video, whatever a codec did to the greys."""

    def read(path):
        means = read_video(path).mean(axis=(1, 2, 3))
        numbers = (means - FIRST_GREY) / GREY_STEP
        assert np.abs(numbers - numbers.round()).max() < 0.35, numbers
        return numbers.round().astype(int).tolist()

    return read


@pytest.fixture
def targets():
    """Function: items -> their places in the prepared folder, sorted."""
    return lambda items: sorted(item.target for item in items)
