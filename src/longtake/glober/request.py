"""What a user may ask of a GLOBER pipeline: each mistake is one line that names the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from longtake.core.errors import UserError, choose_one_of
from longtake.core.randomness import generator
from longtake.glober.sampling import DRAW_LABEL, FIRST_WINDOW

NO_LABEL = -1
NO_CAPTION = ""
MAX_STEPS = 1000  # the steps of the diffusion itself


def resolve_label(label: int | str | None, classes: Sequence[str], *, seed: int, video: int) -> int:
    """Return the index of a class given by name or index.

    None draws a class uniformly from (seed, video), or is `NO_LABEL` where there are no classes. Raises `UserError`
    for a label that is not there, naming the nearest.
    """
    if label is None:
        if not classes:
            return NO_LABEL
        return int(torch.randint(len(classes), (), generator=generator(seed, video, FIRST_WINDOW, DRAW_LABEL)))
    if not classes:
        raise UserError(f"this model has no classes, so it takes no label ({label!r})")
    if isinstance(label, str):
        if label in classes or not label.isdecimal():
            return list(classes).index(choose_one_of("label", label, classes))
        label = int(label)  # an index from the command line
    if not 0 <= label < len(classes):
        raise UserError(f"label {label} is out of range: the model has classes 0..{len(classes) - 1}")
    return label


def check_at_least(what: str, value: int, minimum: int) -> None:
    """Raise `UserError` if `value` is less than `minimum`."""
    if value < minimum:
        raise UserError(f"{what} must be at least {minimum}, not {value}")


def check_range(start: int, stop: int, num_frames: int) -> None:
    """Raise `UserError` unless start..stop is a range of at least one frame within a video of `num_frames`."""
    check_at_least("number of frames", num_frames, 1)
    if not 0 <= start < stop <= num_frames:
        raise UserError(
            f"cannot make frames {start}..{stop}: it must be 0 <= start < stop <= {num_frames} (all frames)"
        )


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample, apart from what. None is the value the model recommends.

    Attributes:
        seed: what makes one series of videos different from another.
        video: which video of the series.
        num_inference_steps: sampling steps; the feature generator may have a number of its own in the model's config.
        guidance_scale: guidance of the feature generator (1 is none).
        decoder_guidance_scale: guidance of the frame decoder, condition and feature dropped together (1 is none).
        chunk: frames rendered at once: speed against memory.

    Raises:
        UserError: for a value out of its range.
    """

    seed: int = 0
    video: int = 0
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    decoder_guidance_scale: float | None = None
    chunk: int = 16

    def __post_init__(self) -> None:
        check_at_least("chunk", self.chunk, 1)
        if self.num_inference_steps is not None and not 1 <= self.num_inference_steps <= MAX_STEPS:
            raise UserError(f"number of steps must be in 1..{MAX_STEPS}, not {self.num_inference_steps}")
        for what, value in (("seed", self.seed), ("video number", self.video)):
            if not 0 <= value < 2**64:
                raise UserError(f"{what} must be in 0..2**64-1, not {value}")


RECOMMENDED = SamplingOptions()


def check_video(video: np.ndarray, span: int) -> None:
    """Raise `UserError` unless `video` is uint8 "t h w 3" with at least `span` frames."""
    if video.ndim != 4 or video.shape[-1] != 3 or video.dtype != np.uint8:
        raise UserError(f"a video must be uint8 of shape (t, h, w, 3), not {video.dtype} of shape {video.shape}")
    if len(video) < span:
        raise UserError(f"the video has {len(video)} frames, but the model needs {span}")
