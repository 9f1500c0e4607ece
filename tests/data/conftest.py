from pathlib import Path

import numpy as np
import pytest


def numbered_video(number, num_frames, height=8, width=8):
    """Frames whose red says which video they are of and whose green says which frame; blue varies in place."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames[..., 0] = number
    frames[..., 1] = np.arange(num_frames)[:, None, None]
    frames[..., 2] = np.arange(height * width).reshape(height, width) % 256
    return frames


@pytest.fixture
def make_folder(tmp_path):
    """Function: {relative path of an .npy: number of frames} -> a folder of numbered videos."""

    def make(lengths, root=tmp_path / "videos", **size):
        for number, (name, num_frames) in enumerate(lengths.items()):
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, numbered_video(number, num_frames, **size))
        return root

    return make


@pytest.fixture
def cut_short():
    """Function that damages an .npy so that it still has a header but cannot be read."""

    def cut(path):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return cut
