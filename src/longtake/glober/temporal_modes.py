"""A cosine series in time, as channels of the global feature: an option of ours that the paper does not have.

With R modes the C channels of the feature are R groups of C / R: the coefficients of an orthonormal cosine series

    y(t) = c_0 / sqrt(K) + sqrt(2 / K) sum_{r=1}^{R-1} c_r cos(pi r t),  t in [0, 1).

The video encoder transforms maps y_k of its K keyframes into coefficients (the type II discrete cosine transform), the
control branch evaluates the series at the time of the frame to be rendered. So motion passes through the feature from
the first step on, and what is between keyframes is band-limited interpolation that the decoder improves on. The paper's
own path, attention to slot 0 and an index embedding, has to discover this through several zero-initialised layers.
"""

from __future__ import annotations

import math

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from longtake.core.errors import UserError


def check_modes(num_modes: int, num_keyframes: int) -> None:
    """Raise `UserError` for more modes than keyframes: they could not be told apart."""
    if num_modes > num_keyframes:
        raise UserError(f"temporal_modes is {num_modes}; it must be at most {num_keyframes}, the number of keyframes")


def channels_per_mode(feature_channels: int, num_modes: int) -> int:
    """Return C / R; raise `UserError` unless it is whole."""
    if feature_channels % num_modes:
        raise UserError(f"temporal_modes is {num_modes}; it must divide the feature's {feature_channels} channels")
    return feature_channels // num_modes


def cosine_basis(time: Float[Tensor, " n"], num_modes: int, num_keyframes: int) -> Float[Tensor, "n r"]:
    """Return what each coefficient contributes at times in [0, 1); orthonormal over the times (k + 1/2) / K."""
    modes = torch.arange(num_modes, device=time.device)
    scale = torch.where(modes == 0, 1.0, 2.0) / num_keyframes
    return scale.sqrt() * torch.cos(math.pi * modes * time[:, None].float())


def to_modes(slots: Float[Tensor, "b k c h w"], num_modes: int) -> Float[Tensor, "b (r c) h w"]:
    """Return the coefficients of the series through maps at the times (k + 1/2) / K: the K keyframes, evenly spread.

    With as many modes as keyframes the series meets every map; with fewer it is the closest such series.
    """
    num_keyframes = slots.shape[1]
    time = (torch.arange(num_keyframes, device=slots.device) + 0.5) / num_keyframes
    basis = cosine_basis(time, num_modes, num_keyframes).to(slots.dtype)
    return rearrange(einsum(basis, slots, "k r, b k c h w -> b r c h w"), "b r c h w -> b (r c) h w")


def at_time(
    feature: Float[Tensor, "n (r c) h w"], time: Float[Tensor, " n"], num_modes: int
) -> Float[Tensor, "n c h w"]:
    """Return the value of the series at each sample's own time, up to a factor that depends on neither.

    The number of keyframes is not known here: the number of modes stands in for it.
    """
    coefficients = rearrange(feature, "n (r c) h w -> n r c h w", r=num_modes)
    basis = cosine_basis(time, num_modes, num_modes).to(feature.dtype)
    return einsum(basis, coefficients, "n r, n r c h w -> n c h w")
