"""What a user may ask of a GLOBER pipeline: each mistake is one line that names the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from longtake.core.errors import UserError
from longtake.core.randomness import generator
from longtake.glober.sampling import DRAW_LABEL, FIRST_WINDOW
from longtake.nn.checks import check_at_least, check_key, class_index

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
    return class_index(label, classes)


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample, apart from what. None is the value the model recommends.

    Attributes:
        seed: what makes one series of videos different from another.
        video: which video of the series.
        num_inference_steps: sampling steps; the feature generator may have a number of its own in the model's config.
        guidance_scale: guidance of the feature generator (1 is none).
        decoder_guidance_scale: guidance of the frame decoder, condition and feature dropped together (1 is none).
        decoder_feature_guidance_scale: further guidance of the frame decoder, the feature alone dropped (0 is none).
        chunk: frames rendered at once: speed against memory.

    Raises:
        UserError: for a value out of its range.
    """

    seed: int = 0
    video: int = 0
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    decoder_guidance_scale: float | None = None
    decoder_feature_guidance_scale: float | None = None
    chunk: int = 16

    def __post_init__(self) -> None:
        check_at_least("chunk", self.chunk, 1)
        if self.num_inference_steps is not None and not 1 <= self.num_inference_steps <= MAX_STEPS:
            raise UserError(f"number of steps must be in 1..{MAX_STEPS}, not {self.num_inference_steps}")
        for name in ("guidance_scale", "decoder_guidance_scale", "decoder_feature_guidance_scale"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise UserError(f"{name} must be a number, not {value}")
        check_key("seed", self.seed)
        check_key("video number", self.video)


RECOMMENDED = SamplingOptions()
