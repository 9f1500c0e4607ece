"""What a training step draws at random, each from an explicit generator and on its device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def draw_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape, dtype and device of `like`."""
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)


def draw_timesteps(count: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """Uniform over 0..999, for each sample on its own."""
    return torch.randint(1000, (count,), generator=generator, device=generator.device)


def draw_kept(count: int, dropout: float, generator: torch.Generator) -> Bool[Tensor, " b"]:
    """Bool "n": false with probability `dropout`."""
    return torch.rand(count, generator=generator, device=generator.device) >= dropout


def draw_targets(lengths: Sequence[int], num_targets: int, generator: torch.Generator) -> Int[Tensor, "b n"]:
    """Draw `num_targets` different frames of each clip, uniformly; the first two of a row are in order of time.

    The CRA loss pairs those two. The authors draw with replacement, which now and then pairs a frame with itself.
    `lengths` are the clips' numbers of frames, none below `num_targets`.
    """
    scores = torch.rand(len(lengths), max(lengths), generator=generator, device=generator.device)
    ends = torch.tensor(lengths, device=scores.device)
    beyond = torch.arange(scores.shape[1], device=scores.device) >= ends[:, None]
    frames = scores.masked_fill(beyond, math.inf).argsort(dim=1)[:, :num_targets]
    return torch.cat([frames[:, :2].sort(dim=1).values, frames[:, 2:]], dim=1)
