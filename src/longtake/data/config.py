"""What a clip is and how it may be varied. Plain dataclasses: importing this loads neither torch nor numpy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from longtake.core.errors import UserError, choose_one_of

ClipMode = Literal["contiguous", "step", "random_step", "uniform", "bins", "windows"]
ShortVideos = Literal["leave_out", "reflect"]


@dataclass(frozen=True)
class ClipConfig:
    """Which frames of a video make a clip, and their size."""

    num_frames: int = 16
    """Frames in the clip that comes out, whatever the mode."""
    mode: ClipMode = "contiguous"
    """contiguous: consecutive frames from a random start; step: every `step`-th frame from a random start;
    random_step: the same, the step drawn anew for each clip; uniform: spread evenly over the whole video, first and
    last frame included; bins: one random frame out of each of `num_frames` equal parts of the video; windows:
    consecutive frames from every `stride`-th start, so that an epoch shows each window of each video once."""
    step: int = 1
    """Distance in the file between two frames of the clip; only for mode `step`."""
    steps: tuple[int, ...] = (1, 2, 3)
    """Distances of which mode `random_step` draws one per clip; one that a video is too short for becomes the largest
    it has room for."""
    stride: int = 8
    """Distance between the starts of neighbouring windows; only for mode `windows`."""
    size: int = 64
    """Height and width in pixels: centre square crop, then bicubic resize with antialiasing."""
    short_videos: ShortVideos = "leave_out"
    """Videos with fewer frames than the clip spans: leave them out, or let them run on backwards from their last
    frame (and forwards again from their first) until the clip is full; one of a single frame stands still."""

    def __post_init__(self) -> None:
        choose_one_of("clip mode", self.mode, get_args(ClipMode))
        choose_one_of("short_videos", self.short_videos, get_args(ShortVideos))
        for name in ("num_frames", "step", "size", "stride"):
            if getattr(self, name) < 1:
                raise UserError(f"clip {name} is {getattr(self, name)}; it must be at least 1")
        if not self.steps or min(self.steps) < 1:
            raise UserError(f"clip steps are {self.steps}; there must be some, each at least 1")
        defaults = {field.name: field.default for field in fields(self)}
        for name, mode in {"step": "step", "steps": "random_step", "stride": "windows"}.items():
            if self.mode != mode and getattr(self, name) != defaults[name]:
                value = getattr(self, name)
                raise UserError(f"clip {name} is {value}, but mode {self.mode!r} takes none; use mode {mode!r}")


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes drawn once per clip, the same for all its frames. The defaults change nothing."""

    mirror: bool = False
    """Flip left and right with probability 1/2."""
    reverse: bool = False
    """Play backwards with probability 1/2."""
    zoom: float = 0.0
    """Cut a random square of side scale in [1 - zoom, 1] and resize it back."""
    shift: float = 0.0
    """Move the picture by up to this fraction of its side, each way; the edge is repeated."""
    colour: float = 0.0
    """Brightness, contrast and saturation are multiplied by factors drawn from [1 - colour, 1 + colour]."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < 1 and field.name not in ("mirror", "reverse"):
                raise UserError(f"augment {field.name} is {value}; it must be in [0, 1)")
