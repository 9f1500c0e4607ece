"""Frames into a folder: 000000.png, 000001.png, ..."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

PNG_FRAME_NAME = r"\d{6,}\.png"
"""What the names of written frames look like."""


class PngFolderSink:
    """Writes each frame as a png of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._num_frames = 0
        path.mkdir()

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write the next frame."""
        Image.fromarray(frame).save(self._path / f"{self._num_frames:06d}.png", format="PNG")
        self._num_frames += 1

    def finish(self) -> None:
        """Every frame is on its place already."""

    def close(self) -> None:
        """Nothing is kept open."""
