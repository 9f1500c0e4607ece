"""What a user may ask of a TATS pipeline: each mistake is one line that names the value and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.core.errors import UserError, choose_one_of
from longtake.core.randomness import generator
from longtake.core.wording import counted
from longtake.nn.checks import check_at_least, check_key, class_index
from longtake.tats.sampling import DRAW_LABEL
from longtake.tats.sound import read_sound

Mode = Literal["sliding", "hierarchical"]
Story = Sequence[tuple[int, str | int]]
"""(first frame, caption or class), the first from frame 0."""
Steer = list[tuple[int, int]] | list[tuple[int, str]] | Float[Tensor, "t h w"] | None
"""What steers a video: classes or captions with their first frames, spectrograms, or None for nothing."""

TAKES = {"none": "no condition", "label": "a label or a story", "caption": "a prompt or a story", "stft": "audio"}
TAKERS = {"label": ["label"], "prompt": ["caption"], "story": ["label", "caption"], "audio": ["stft"]}
"""Which conditions take what of a `Wish`."""


@dataclass(frozen=True)
class Wish:
    """What one video is to be, as the user says it. None is nothing in particular.

    Attributes:
        label: class name or index, for a model with classes.
        prompt: caption, for a model with captions.
        story: classes or captions, each with its first frame, in place of one of them.
        audio: file with sound or its spectra (see `sound.read_sound`), for a model with sound.
        first_clip: video to go on from: the new one begins with (at most a window of) its end.
    """

    label: int | str | None = None
    prompt: str | None = None
    story: Story | None = None
    audio: str | Path | None = None
    first_clip: UInt8[np.ndarray, "t h w 3"] | None = None


def resolve_steer(config: Mapping[str, Any], wish: Wish, num_frames: int, *, seed: int, video: int) -> Steer:
    """Return what is asked for in the form that the model's condition takes (see `Condition.course`).

    `config` is the pipeline's. Raises `UserError` for a condition that the model does not take, and for a wrong one.
    """
    check_key("video number", video)
    kind = config["condition"]
    for name, kinds in TAKERS.items():
        value = getattr(wish, name)
        if value is not None and kind not in kinds:
            raise UserError(f"this model takes no {name} ({str(value)!r}), only {TAKES[kind]}")
    if wish.story is not None:
        check_story(wish.story, num_frames)
        if wish.label is not None or wish.prompt is not None:
            raise UserError("a story says all that a label or a prompt could: give one of them")
    if kind == "label":
        classes, weights = config["classes"], config["class_weights"]
        story = wish.story or [(0, resolve_label(wish.label, classes, weights, seed=seed, video=video))]
        return [(frame, class_index(label, classes)) for frame, label in story]
    if kind == "caption":
        return [(frame, str(text)) for frame, text in wish.story or [(0, wish.prompt or "")]]
    if kind == "stft":
        if wish.audio is None:
            raise UserError("this model needs audio: a sound file, a video with sound, or an .npz file with spectra")
        height, width = config["stft_size"]
        return read_sound(Path(wish.audio), (height, width), config["fps"])
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


def check_story(story: Story, num_frames: int) -> None:
    """Raise `UserError` unless the frames of a story rise from 0 and are frames of the video."""
    frames = [frame for frame, _ in story]
    if not frames or frames[0] != 0 or sorted(set(frames)) != frames:
        raise UserError(f"the parts of a story begin at frames {frames}; they must rise from 0")
    if frames[-1] >= num_frames:
        raise UserError(
            f"a part of the story begins at frame {frames[-1]}, but the video has {counted(num_frames, 'frame')}"
        )


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
