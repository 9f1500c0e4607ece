"""What a user may ask of a TATS pipeline: each mistake is one line that names the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.core.errors import UserError, choose_one_of
from longtake.core.randomness import generator
from longtake.nn.checks import check_at_least, check_key, class_index
from longtake.tats.condition import read_spectrograms
from longtake.tats.sampling import DRAW_LABEL

Mode = Literal["sliding", "hierarchical"]
Story = list[tuple[int, str]]
"""(first frame, caption), the first from frame 0."""
Prompt = str | Sequence[tuple[int, str]]
Steer = int | Story | Float[Tensor, "t h w"] | None
"""What steers a video: class index, captions, spectrograms, or None where the model takes nothing."""

TAKES = {"none": "no condition", "label": "a label", "caption": "a prompt", "stft": "audio"}


def resolve_steer(
    config: Mapping[str, Any],
    *,
    label: int | str | None,
    prompt: Prompt | None,
    audio: str | Path | None,
    seed: int,
    video: int,
) -> Steer:
    """Return what is asked for in the form that the model's condition takes (see `Condition.course`).

    `config` is the pipeline's. Raises `UserError` for a condition that the model does not take, and for a wrong one.
    """
    check_key("video number", video)
    kind = config["condition"]
    for name, value, needed in (("label", label, "label"), ("prompt", prompt, "caption"), ("audio", audio, "stft")):
        if value is not None and kind != needed:
            raise UserError(f"this model takes no {name} ({str(value)!r}), only {TAKES[kind]}")
    if kind == "label":
        return resolve_label(label, config["classes"], config["class_weights"], seed=seed, video=video)
    if kind == "caption":
        return resolve_story(prompt)
    if kind == "stft":
        if audio is None:
            raise UserError("this model needs audio: an .npz file with spectrograms")
        height, width = config["stft_size"]
        return read_spectrograms(str(audio), (height, width))
    return None


def resolve_label(
    label: int | str | None, classes: Sequence[str], weights: Sequence[float] | None, *, seed: int, video: int
) -> int:
    """Return the index of a class given by name or index; None draws one from (seed, video).

    `weights` are the classes' shares of the training data, which the paper draws from; None: all alike. Raises
    `UserError` for a label that is not there, naming the nearest.
    """
    if label is None:
        shares = torch.tensor(weights or [1.0] * len(classes), dtype=torch.float64)
        return int(torch.multinomial(shares, 1, generator=generator(seed, video, DRAW_LABEL)))
    return class_index(label, classes)


def resolve_story(prompt: Prompt | None) -> Story:
    """Return what a prompt says, and from which frame on; None is no caption.

    Raises `UserError` if a story does not begin at frame 0 or its frames do not rise.
    """
    story = [(0, prompt or "")] if prompt is None or isinstance(prompt, str) else [*prompt]
    frames = [frame for frame, _ in story]
    if not frames or frames[0] != 0 or sorted(set(frames)) != frames:
        raise UserError(f"the captions of a story begin at frames {frames}; they must rise from 0")
    return story


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample, apart from what. None is the value the model recommends.

    Attributes:
        seed: what makes one series of videos different from another.
        mode: "sliding": latent frame after latent frame; "hierarchical": sparse ones, then those between.
        context: latent frames that a new one sees.
        temperature: divisor of the logits.
        top_k: draw among so many most likely codes; 0: all.
        top_p: draw among the most likely codes that together have this probability; 1: all.
        compat: fill in as the authors' code does (see `interpolation.fill_between`).
        chunk: frames decoded at once: speed against memory.

    Raises:
        UserError: for a value out of its range.
    """

    seed: int = 0
    mode: Mode | None = None
    context: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    compat: bool | None = None
    chunk: int = 16

    def __post_init__(self) -> None:
        check_at_least("chunk", self.chunk, 1)
        if self.mode is not None:
            choose_one_of("mode", self.mode, get_args(Mode))
        if self.context is not None:
            check_at_least("context", self.context, 1)
        if self.temperature is not None and not self.temperature > 0:
            raise UserError(f"temperature must be above 0, not {self.temperature}")
        if self.top_k is not None:
            check_at_least("top_k", self.top_k, 0)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        check_key("seed", self.seed)
