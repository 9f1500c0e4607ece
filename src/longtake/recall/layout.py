"""How tensors lie in memory: the same numbers, several times faster on a CPU."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

MEMORY_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def channels_last(x: Tensor) -> Tensor:
    """Return pictures or clips with their channels last in memory, if on a CPU; what follows keeps them so.

    Convolutions of few channels are two to four times as fast there. On a GPU, where that is not so of every
    convolution, nothing changes.
    """
    return x.contiguous(memory_format=MEMORY_FORMATS[x.ndim]) if x.device.type == "cpu" else x


def add_everywhere(clips: Float[Tensor, "b c t h w"], rhythm: Float[Tensor, "b c t 1 1"]) -> Tensor:
    """Return the sum. On a CPU a row of pixels is added at a time, not a pixel: channels alone make short loops."""
    if clips.device.type == "cpu":
        rhythm = channels_last(rhythm.expand(-1, -1, -1, -1, clips.shape[4]))
    return clips + rhythm


class TemporalConv3d(nn.Conv3d):
    """A convolution in time alone, computed as one of pictures whose rows are time: 3D ones have slower kernels."""

    def __init__(self, in_channels: int, out_channels: int, frames: int) -> None:
        super().__init__(in_channels, out_channels, (frames, 1, 1))

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h w"]:
        """Convolve every pixel over time."""
        rows = rearrange(x, "b c t h w -> b c t (h w)")
        y = F.conv2d(rows, self.weight.squeeze(-1), self.bias)
        return rearrange(y, "b d t (h w) -> b d t h w", h=x.shape[3])
