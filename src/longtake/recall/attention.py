"""Factorised self-attention of G3AN: every pixel over time, then every frame over its pixels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CONV_STD = 0.02  # G3AN draws the weights of its (not transposed) convolutions from N(0, 0.02^2)


def normal_conv(conv: nn.Conv2d | nn.Conv3d) -> nn.Module:
    """Return a convolution with G3AN's initial weights and a spectral norm."""
    nn.init.normal_(conv.weight, std=CONV_STD)
    return spectral_norm(conv)


class AxisAttention(nn.Module):
    """gamma * attention(x) + x along one axis, a single head without scaling; gamma starts at 0.

    Args:
        channels: channels of x; queries and keys have an eighth as many.
        axis: attend over time at each pixel, or over the pixels of each frame.
        is_legacy: lay the attended features out as G3AN's published code does, which mixes up axes: for its weights.
    """

    def __init__(self, channels: int, axis: Literal["time", "space"], is_legacy: bool = False) -> None:
        super().__init__()
        self.axis = axis
        self.is_legacy = is_legacy
        hidden = max(1, channels // 8)
        self.query = normal_conv(nn.Conv3d(channels, hidden, 1))
        self.key = normal_conv(nn.Conv3d(channels, hidden, 1))
        self.value = normal_conv(nn.Conv3d(channels, channels, 1))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Add what each position attends to."""
        sizes = {name: length for name, length in zip("bcthw", x.shape, strict=True) if name != "c"}
        tokens = "(b h w) 1 t c" if self.axis == "time" else "(b t) 1 (h w) c"
        query, key, value = (
            rearrange(part(x), f"b c t h w -> {tokens}") for part in (self.query, self.key, self.value)
        )
        # zeros leave the products as they are; with equal widths a fused kernel runs that never holds all the scores
        query, key = (F.pad(part, (0, value.shape[-1] - part.shape[-1])) for part in (query, key))
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        if self.is_legacy:
            flat = "b (h w t c)" if self.axis == "time" else "b (t h w c)"
            attended = rearrange(attended, f"{tokens} -> {flat}", **sizes)
            attended = rearrange(attended, "b (h w c t) -> b c t h w", **{name: sizes[name] for name in "thw"})
        else:
            attended = rearrange(attended, f"{tokens} -> b c t h w", **sizes)
        return self.gamma * attended + x


class FactorisedSelfAttention(nn.Module):
    """F-SA: attention over time, then over space."""

    def __init__(self, channels: int, is_legacy: bool = False) -> None:
        super().__init__()
        self.temporal = AxisAttention(channels, "time", is_legacy)
        self.spatial = AxisAttention(channels, "space", is_legacy)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Attend over time, then over space."""
        return self.spatial(self.temporal(x))
