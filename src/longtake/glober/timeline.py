"""Which moment each frame of a video shows: real time at any rate, slow motion, backwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.nn.checks import check_range


@dataclass(frozen=True)
class Timeline:
    """The moments of a video's frames, in units of the span that one global feature covers.

    Frame k shows the moment k * step / span: with step 1 every frame of real time as in training, with a smaller one
    slow motion or more frames per second. Played backwards, frame k of N is frame N - 1 - k, its noise included.

    Attributes:
        num_frames: frames of the whole video.
        span: frames of real time that one feature covers.
        step: training frames from one frame to the next.
        reverse: play backwards.
    """

    num_frames: int
    span: int
    step: float = 1.0
    reverse: bool = False

    @classmethod
    def of(
        cls,
        num_frames: int | None,
        span: int,
        model_fps: float,
        *,
        fps: float | None = None,
        speed: float = 1.0,
        stretch: bool = False,
        reverse: bool = False,
    ) -> Timeline:
        """Return the timeline of what was asked for; as long as the span where `num_frames` is None.

        Raises `UserError` for a rate or a speed that is not above 0, and for both `stretch` and a speed.
        """
        for name, value in (("fps", model_fps if fps is None else fps), ("speed", speed)):
            if not 0 < value < math.inf:
                raise UserError(f"{name} must be above 0, not {value}")
        if stretch and speed != 1:
            raise UserError(f"--stretch and --speed {speed:g} both say how fast time goes by: give one of them")
        step = speed if fps is None else speed * model_fps / fps
        if num_frames is None:
            num_frames = span if stretch else frames_that_fit(span, step)
        if stretch:
            step = span / max(1, num_frames)
        return cls(num_frames, span, step, reverse)

    def check_within_span(self) -> None:
        """Raise `UserError` if a single feature does not cover the video."""
        most = frames_that_fit(self.span, self.step)
        if self.num_frames > most:
            rate = "" if self.step == 1 else f" in steps of {self.step:g}"
            raise UserError(
                f"cannot make {counted(self.num_frames, 'frame')}{rate}: this model was trained on "
                f"{counted(self.span, 'frame')} of real "
                f"time; give at most {most}, or --stretch (stretch=True) to spread {self.num_frames} over them in slow "
                "motion"
            )

    def frames(self, start: int, stop: int | None) -> range:
        """Return which frames of the video played forwards are its frames start..stop (None: the end), in order.

        Raises `UserError` unless that is a range of frames of the video.
        """
        stop = self.num_frames if stop is None else stop
        check_range(start, stop, self.num_frames)
        return range(self.num_frames)[::-1][start:stop] if self.reverse else range(start, stop)

    def times(self, frames: Sequence[int]) -> Float[Tensor, " n"]:
        """Return the moments of frames (played forwards), in spans, in double precision."""
        return torch.tensor(frames, dtype=torch.float64) * self.step / self.span


def frames_that_fit(span: int, step: float) -> int:
    """Return how many frames lie within the span; the first, at time 0, always does."""
    return max(1, math.ceil(span / step - 1e-9))
