"""Blocks that GLOBER's video encoder, control branch, discriminator and generator are built from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.core.errors import UserError


def norm_groups(channels: int, most: int = 32) -> int:
    """Return the largest divisor of `channels` that is at most `most`.

    The official rule is min(32, channels), which this equals wherever that rule can be built at all.
    """
    return next(groups for groups in range(min(most, channels), 0, -1) if channels % groups == 0)


def group_norm(channels: int) -> nn.GroupNorm:
    """Return the group normalisation of every network but the frame decoder's UNet (eps 1e-5, as the official code)."""
    return nn.GroupNorm(norm_groups(channels), channels, eps=1e-5)


def zero_init(layer: nn.Module) -> nn.Module:
    """Set weight and bias of `layer` to zero and return it: the block it ends starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def sinusoid_embedding(position: Shaped[Tensor, " n"], dim: int) -> Float[Tensor, "n {dim}"]:
    """Embed positions as [cos, sin] of `dim`/2 frequencies falling from 1 to 1/10000 (fp32); `dim` must be even."""
    assert dim % 2 == 0, f"sinusoid_embedding needs an even dim, not {dim}"
    half = dim // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=position.device, dtype=torch.float32) / half)
    angles = position.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class SinusoidMLP(nn.Sequential):
    """Linear, SiLU, Linear on a sinusoid embedding: how a timestep or a frame index enters a network."""

    def __init__(self, sinusoid_dim: int, dim: int) -> None:
        super().__init__(nn.Linear(sinusoid_dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, position: Shaped[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Embed positions, in the dtype of the weights."""
        first = self[0]
        assert isinstance(first, nn.Linear)
        return super().forward(sinusoid_embedding(position, first.in_features).to(first.weight.dtype))


class SelfAttention(nn.Module):
    """Multi-head self-attention over tokens, through torch's scaled dot product attention."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise UserError(f"{dim} channels cannot be split into {num_heads} attention heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, "n l d"]) -> Float[Tensor, "n l d"]:
        """Attend every token to every token of the same sequence."""
        query, key, value = rearrange(
            self.qkv(tokens), "n l (qkv heads d) -> qkv n heads l d", qkv=3, heads=self.num_heads
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(rearrange(attended, "n heads l d -> n l (heads d)"))


class AttentionBlock(nn.Module):
    """Residual self-attention over positions of a feature map: x + proj(attention(norm(x))), proj zero-initialised.

    There is no position embedding: on its own the block cannot tell the order of its positions.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise UserError(f"{channels} channels cannot be split into attention heads of {head_channels} channels")
        self.norm = group_norm(channels)
        self.attention = SelfAttention(channels, channels // head_channels)
        zero_init(self.attention.proj)

    def forward(self, x: Float[Tensor, "n c l"]) -> Float[Tensor, "n c l"]:
        """Attend over l; the normalisation, too, is over l."""
        tokens = rearrange(self.norm(x), "n c l -> n l c")
        return x + rearrange(self.attention(tokens), "n l c -> n c l")


class SpatialAttention(AttentionBlock):
    """Attention among the pixels of each frame."""

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Attend within each frame."""
        batch, _, _, height, _ = x.shape
        attended = super().forward(rearrange(x, "b c t h w -> (b t) c (h w)"))
        return rearrange(attended, "(b t) c (h w) -> b c t h w", b=batch, h=height)


class TemporalAttention(AttentionBlock):
    """Attention among the frames at each pixel."""

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Attend within each pixel."""
        batch, _, _, height, _ = x.shape
        attended = super().forward(rearrange(x, "b c t h w -> (b h w) c t"))
        return rearrange(attended, "(b h w) c t -> b c t h w", b=batch, h=height)


class SpaceTimeAttention(AttentionBlock):
    """Attention among all pixels of all frames."""

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        """Attend over the whole volume."""
        _, _, frames, height, _ = x.shape
        attended = super().forward(rearrange(x, "b c t h w -> b c (t h w)"))
        return rearrange(attended, "b c (t h w) -> b c t h w", t=frames, h=height)


def resize(x: Float[Tensor, "n c h w"], size: int) -> Float[Tensor, "n c {size} {size}"]:
    """Resize a square map by a whole factor: nearest neighbour up, mean of each cell down."""
    current = x.shape[-1]
    if size > current:
        return F.interpolate(x, size=(size, size), mode="nearest")
    return F.avg_pool2d(x, current // size) if size < current else x


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip, the second zero-initialised; can resize and be modulated by an embedding.

    Modulation "add" adds a projection of the embedding after the first convolution (official); "scale_shift" (FiLM)
    replaces the second normalisation's output y by y * (1 + scale) + shift.
    """

    def __init__(
        self, in_channels: int, out_channels: int, embedding_dim: int | None = None, modulation: str = "add"
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.scale_shift = modulation == "scale_shift"
        self.embedding: nn.Linear | None = None
        if embedding_dim is not None:
            self.embedding = nn.Linear(embedding_dim, 2 * out_channels if self.scale_shift else out_channels)
        self.norm2 = group_norm(out_channels)
        self.conv2 = zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(
        self, x: Float[Tensor, "n c h w"], embedding: Float[Tensor, "n d"] | None = None, size: int | None = None
    ) -> Float[Tensor, "n out_c out_h out_w"]:
        """Return the block's output at `size` (default: the input's); the resize precedes the first convolution."""
        hidden = F.silu(self.norm1(x))
        if size is not None:
            hidden, x = resize(hidden, size), resize(x, size)
        hidden = self.conv1(hidden)
        if self.embedding is None:
            hidden = self.norm2(hidden)
        else:
            assert embedding is not None
            projected = self.embedding(F.silu(embedding))[:, :, None, None]
            if self.scale_shift:
                scale, shift = projected.chunk(2, dim=1)
                hidden = self.norm2(hidden) * (1 + scale) + shift
            else:
                hidden = self.norm2(hidden + projected)
        return self.skip(x) + self.conv2(F.silu(hidden))


def check_level_size(what: str, size: int, num_levels: int) -> None:
    """Raise a `UserError` unless `size` can be halved `num_levels` - 1 times."""
    factor = 2 ** (num_levels - 1)
    if size % factor:
        raise UserError(f"{what} {size} cannot be halved {num_levels - 1} times: use a multiple of {factor}")


def per_frame(block: nn.Module, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h w"]:
    """Apply a 2D block to every frame."""
    frames = block(rearrange(x, "b c t h w -> (b t) c h w"))
    return rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])


def run_block(owner: nn.Module, block: nn.Module, *inputs: Tensor | int | None) -> Tensor:
    """Run a block of `owner`; under gradient checkpointing nothing within it is kept for the backward pass.

    diffusers' `enable_gradient_checkpointing` switches it on for every module with the two attributes.
    """
    if owner.gradient_checkpointing and torch.is_grad_enabled():
        checkpoint: Any = owner._gradient_checkpointing_func
        return checkpoint(block, *inputs)
    return block(*inputs)


class FrameConv3d(nn.Conv3d):
    """3x3x3 convolution that keeps every frame, and of every `stride`-th row and column one.

    The time axis of two frames is padded beforehand on a CPU: oneDNN's gradient of the weights in bf16, if padding is
    left to it, is then any numbers at all (torch 2.13).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, (1, stride, stride), padding=1)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h2 w2"]:
        """Convolve."""
        if x.device.type == "cpu" and x.shape[2] == 2:
            padded = F.pad(x, (0, 0, 0, 0, 1, 1))
            return F.conv3d(padded, self.weight, self.bias, self.stride, (0, 1, 1))
        return super().forward(x)


class Level(nn.Module):
    """The blocks at one resolution, behind the 3x3x3 convolution that halves height and width and keeps every frame."""

    def __init__(self, blocks: Sequence[nn.Module], downsampled_channels: int | None) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.downsample: FrameConv3d | None = None
        if downsampled_channels is not None:
            self.downsample = FrameConv3d(downsampled_channels, downsampled_channels, stride=2)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h2 w2"]:
        """Downsample, then run the blocks."""
        x = x if self.downsample is None else self.downsample(x)
        for block in self.blocks:
            x = run_block(self, block, x)
        return x


def build_levels(
    block: Callable[[int, int, int | None], nn.Module],
    model_channels: int,
    channel_mult: Sequence[int],
    num_blocks: int,
    attention_downsamples: Sequence[int],
    head_channels: int,
) -> nn.ModuleList:
    """Build levels of `num_blocks` blocks, each made by block(in_channels, out_channels, head_channels or None).

    A level has attention if its down-factor (1, 2, 4 ...) is among `attention_downsamples`.
    """
    levels = nn.ModuleList()
    channels = model_channels
    for index, multiple in enumerate(channel_mult):
        out_channels = multiple * model_channels
        heads = head_channels if 2**index in attention_downsamples else None
        blocks = [block(out_channels if number else channels, out_channels, heads) for number in range(num_blocks)]
        levels.append(Level(blocks, channels if index else None))
        channels = out_channels
    return levels
