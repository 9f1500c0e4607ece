"""Randomness is explicit: every draw is a function of integers that say what it is for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def derive_seed(*key: int) -> int:
    """Hash integers in [0, 2**64) to one 63-bit seed; keys that differ, if only in order, give unrelated seeds."""
    words = [len(key)]
    for value in key:
        words += [value & 0xFFFFFFFF, value >> 32]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator seeded by `derive_seed(*key)`."""
    return torch.Generator(device).manual_seed(derive_seed(*key))


def frame_noise(
    shape: Sequence[int], seed: int, video: int, frames: Sequence[int], device: torch.device | str = "cpu"
) -> Float[Tensor, "n ..."]:
    """Standard normal noise of `shape` for each frame, a function of (seed, video, frame) alone.

    Drawn on the CPU so that a frame looks the same on every device, in every chunk and in every frame range.
    """
    noise = [torch.randn(*shape, generator=generator(seed, video, frame)) for frame in frames]
    return torch.stack(noise).to(device)
