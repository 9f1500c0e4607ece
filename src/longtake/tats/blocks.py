"""Parts of the 3D autoencoder: convolutions that pad for themselves, norms, residual blocks."""

from __future__ import annotations

from typing import get_args

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from longtake.core.errors import UserError, choose_one_of
from longtake.tats.config import Norm, Padding

Stride = tuple[int, int, int]

PAD_MODES = {"replicate": "replicate", "zero": "constant", "reflect": "reflect", "real": "replicate"}


def same_padding(kernel: int, stride: int) -> tuple[int, int]:
    """Return what to add (before, after) an axis so that n inputs give n / stride outputs; an odd rest goes before."""
    total = kernel - stride
    return total - total // 2, total // 2


class _Padded(nn.Module):
    """Pads all three axes so that a convolution keeps their lengths, up to its stride."""

    def __init__(self, kernel: int, stride: Stride, padding: Padding) -> None:
        super().__init__()
        self.pad_mode = PAD_MODES[choose_one_of("padding", padding, get_args(Padding))]
        # F.pad wants the last axis first
        self.amounts = [amount for step in reversed(stride) for amount in same_padding(kernel, step)]

    def pad(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        return F.pad(x, self.amounts, mode=self.pad_mode) if any(self.amounts) else x


class PaddedConv(_Padded):
    """3D convolution: n -> n / stride on every axis."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, padding: Padding, stride: Stride = (1, 1, 1)
    ) -> None:
        super().__init__(kernel, stride, padding)
        self.conv = nn.Conv3d(in_channels, out_channels, kernel, stride)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Pad and convolve."""
        return self.conv(self.pad(x))


class PaddedConvTranspose(_Padded):
    """Transposed 3D convolution: n -> n * stride on every axis. The input is padded, and what that adds is cut off."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, padding: Padding, stride: Stride) -> None:
        super().__init__(kernel, stride, padding)
        self.conv = nn.ConvTranspose3d(in_channels, out_channels, kernel, stride, padding=kernel - 1)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Pad and convolve."""
        return self.conv(self.pad(x))


class BatchNorm(_BatchNorm):
    """Batch norm over any number of axes, whose statistics in training are those of all processes' batches.

    torch's own synchronised norm does not run on CPUs. Every process must hold as many elements.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        assert x.ndim >= 3, x.shape

    def forward(self, x: Float[Tensor, "b c ..."]) -> Float[Tensor, "b c ..."]:
        """Normalise; in training also move the running statistics."""
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(x)
        flat = rearrange(x.float(), "b c ... -> b c (...)")
        world_size = dist.get_world_size()
        mean = all_reduce(flat.mean((0, 2))) / world_size
        centred = flat - mean[:, None]
        variance = all_reduce(centred.square().mean((0, 2))) / world_size
        self._follow(mean.detach(), variance.detach(), world_size * flat.shape[0] * flat.shape[2])
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None] + self.bias[:, None]).reshape(x.shape).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"], count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)


def build_norm(norm: Norm, channels: int, groups: int) -> nn.Module:
    """Return a norm of `channels`. Raises `UserError` if they cannot be split into `groups`, where that matters."""
    if choose_one_of("norm", norm, get_args(Norm)) == "batch":
        return BatchNorm(channels)
    if channels % groups:
        raise UserError(f"{channels} channels cannot be split into {groups} normalisation groups (norm_groups)")
    return nn.GroupNorm(groups, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """x + two times (norm, SiLU, 3x3x3 convolution)."""

    def __init__(self, channels: int, norm: Norm, norm_groups: int, padding: Padding) -> None:
        super().__init__()
        self.norm1 = build_norm(norm, channels, norm_groups)
        self.conv1 = PaddedConv(channels, channels, 3, padding)
        self.norm2 = build_norm(norm, channels, norm_groups)
        self.conv2 = PaddedConv(channels, channels, 3, padding)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Add the residual."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))
