"""The one batch type that data hands to training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class VideoBatch:
    """Clips of equal length and size.

    Attributes:
        video: frames in [-1, 1], "b c t h w".
        label: class index of each clip (-1 where a clip has none), "b".
        text: caption of each clip ("" where a clip has none).
        fps: frames per second of each clip as given (after the sampler's step).
        path: the file each clip was read from.
        start: index in the file of the clip's first frame, "b".
    """

    video: Float[Tensor, "b c t h w"]
    label: Int[Tensor, " b"]
    text: list[str]
    fps: Float[Tensor, " b"]
    path: list[str]
    start: Int[Tensor, " b"]

    def to(self, device: torch.device | str) -> VideoBatch:
        """Return the batch with its tensors on `device`."""
        return replace(
            self,
            video=self.video.to(device),
            label=self.label.to(device),
            fps=self.fps.to(device),
            start=self.start.to(device),
        )
