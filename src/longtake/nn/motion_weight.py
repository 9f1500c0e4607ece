"""Pixel errors weighted towards what moves: of a small mover, still ground is nearly all there is to see."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def motion_weights(video: Float[Tensor, "b c t h w"], strength: float) -> Float[Tensor, "b 1 t h w"]:
    """Return weights of mean 1 for the error of each pixel of a clip.

    (1 + strength d / mean(d)) / (1 + strength), where d is a pixel's distance from its own mean over the clip, averaged
    over the channels, and mean(d) is over the clip. Strength 0, and a clip without motion, give 1 everywhere.
    """
    distance = (video - video.mean(dim=2, keepdim=True)).abs().mean(dim=1, keepdim=True)
    mean = distance.mean(dim=(1, 2, 3, 4), keepdim=True)
    relative = torch.where(mean > 0, distance / mean.clamp_min(torch.finfo(mean.dtype).tiny), 1.0)
    return (1 + strength * relative) / (1 + strength)
