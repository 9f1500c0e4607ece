"""What may be asked of a preparation. Plain values: importing this loads neither numpy nor PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from longtake.core.errors import UserError

DataSetName = Literal["ucf101", "sky-timelapse", "taichi-hd", "uva-nemo", "weizmann", "kth", "audioset-drum", "mugen"]


@dataclass(frozen=True)
class PrepareOptions:
    """What is changed in the videos. The defaults change nothing: files are linked or copied, bit for bit."""

    fps: float | None = None
    """Frames per second of the result: frame k is the one that is shown at time k / fps. Without it frames are taken
    by their number alone. Folders of frames carry no rate, so they keep all frames and are written at this one."""
    margin: int = 0
    """Pixels cut off each of the four edges before anything else."""
    size: int | None = None
    """Height and width in pixels: centre square crop, then bicubic resize with antialiasing. Even, as H.264 needs."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 0.001 <= self.fps <= 1000:  # what video files hold
            raise UserError(f"fps is {self.fps:g}; it must be from 0.001 to 1000")
        if self.margin < 0:
            raise UserError(f"margin is {self.margin}; it must be at least 0")
        if self.size is not None and (self.size < 2 or self.size % 2):
            raise UserError(f"size is {self.size}; it must be an even number of pixels, at least 2")
