"""The discriminator of the coherence and realism adversarial (CRA) loss (Eq. 10): real pair of frames, in order?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from longtake.glober.blocks import (
    FrameConv3d,
    ResidualBlock,
    SpaceTimeAttention,
    build_levels,
    check_level_size,
    group_norm,
    per_frame,
)


class DiscriminatorBlock(nn.Module):
    """Residual block per frame, then attention among all pixels of both frames (where the level has any)."""

    def __init__(self, in_channels: int, out_channels: int, head_channels: int | None) -> None:
        super().__init__()
        self.residual = ResidualBlock(in_channels, out_channels)
        self.attention = SpaceTimeAttention(out_channels, head_channels) if head_channels else None

    def forward(self, x: Float[Tensor, "b c 2 h w"]) -> Float[Tensor, "b d 2 h w"]:
        """Run the two parts in order."""
        x = per_frame(self.residual, x)
        return x if self.attention is None else self.attention(x)


class GloberDiscriminator(ModelMixin, ConfigMixin):
    """A pair of frames (latents, or pixels with `in_channels` 3) -> one logit, high for a real pair in its real order.

    Args:
        in_channels: channels of a frame.
        size: height and width of a frame.
        model_channels: channels of the first level.
        channel_mult: channels of every level, as multiples of `model_channels`; each level halves the size.
        num_res_blocks: blocks per level.
        attention_downsamples: the down-factors (1, 2, 4 ...) of the levels with attention.
        head_channels: channels of an attention head.

    Raises:
        UserError: if `size` cannot be halved as often as there are levels, or channels do not divide into heads.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        size: int = 32,
        model_channels: int = 256,
        channel_mult: Sequence[int] = (1, 1, 2, 2, 2),
        num_res_blocks: int = 1,
        attention_downsamples: Sequence[int] = (2, 4, 8, 16),
        head_channels: int = 32,
    ) -> None:
        super().__init__()
        check_level_size("size", size, len(channel_mult))
        # e_0 and e_1 of the paper: which of the two frames claims to come first
        self.frame_embedding = nn.Parameter(torch.randn(1, in_channels, 2, size, size))
        self.conv_in = FrameConv3d(in_channels, model_channels)
        self.levels = build_levels(
            DiscriminatorBlock, model_channels, channel_mult, num_res_blocks, attention_downsamples, head_channels
        )
        self.conv_out = FrameConv3d(model_channels * channel_mult[-1], model_channels)
        self.norm_out = group_norm(model_channels)
        self.logit = nn.Linear(model_channels, 1)

    def forward(self, pairs: Float[Tensor, "b c 2 h w"]) -> Float[Tensor, " b"]:
        """Return the logits of pairs (first frame, second frame)."""
        x = self.conv_in(pairs + self.frame_embedding)
        for level in self.levels:
            x = level(x)
        x = nn.functional.silu(self.norm_out(self.conv_out(x)))
        return self.logit(x.mean(dim=(2, 3, 4))).squeeze(-1)
