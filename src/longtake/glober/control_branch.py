"""The control branch: global feature and frame index -> what is added to every input block of the frame decoder.

The paper's "additional modules" (Sec. 3.1), in the form of the code behind its numbers: one independent branch per
input block, nothing for the middle and the output blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.errors import UserError, choose_one_of
from longtake.glober.blocks import ResidualBlock, SinusoidMLP, run_block, zero_init
from longtake.glober.temporal_modes import at_time, channels_per_mode

INDEX_MODULATIONS = ("add", "scale_shift")


class GloberControlBranch(nn.Module):
    """One residual block per input block of the UNet, each followed by a zero-initialised 1x1 convolution.

    Args:
        feature_channels: channels of the global feature.
        feature_size: height and width of the global feature.
        block_channels: channels of every input block.
        block_sizes: height and width of every input block.
        index_dim: size of the frame index's sinusoid embedding; its MLP is four times as wide.
        index_scale: factor on the frame index before its sinusoid embedding; 1 is official, where neighbouring frames
            of a clip differ by 1.5 % of the embedding's norm, 1000 spreads them.
        index_modulation: "add" (official) or "scale_shift" (FiLM), how the index enters the residual blocks.
        temporal_modes: the feature's channels are so many modes of a cosine series in time, and its value at the
            frame's time joins it as further channels (not in the paper; see `temporal_modes.py`). 0: no such thing.

    Raises:
        UserError: if `index_modulation` is unknown or a block's size is no whole multiple or fraction of the feature's.
    """

    def __init__(
        self,
        feature_channels: int,
        feature_size: int,
        block_channels: Sequence[int],
        block_sizes: Sequence[int],
        index_dim: int,
        index_scale: float = 1.0,
        index_modulation: str = "add",
        temporal_modes: int = 0,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        choose_one_of("index_modulation", index_modulation, INDEX_MODULATIONS)
        for size in block_sizes:
            if max(size, feature_size) % min(size, feature_size):
                raise UserError(f"feature_size {feature_size} does not fit the decoder's sizes {list(block_sizes)}")
        self.index_scale = index_scale
        self.temporal_modes = temporal_modes
        if temporal_modes:
            feature_channels += channels_per_mode(feature_channels, temporal_modes)
        self.block_sizes = tuple(block_sizes)
        self.index_mlp = SinusoidMLP(index_dim, 4 * index_dim)
        self.blocks = nn.ModuleList(
            ResidualBlock(feature_channels, channels, 4 * index_dim, index_modulation) for channels in block_channels
        )
        self.zero_convs = nn.ModuleList(zero_init(nn.Conv2d(channels, channels, 1)) for channels in block_channels)

    def forward(self, feature: Float[Tensor, "n c h w"], frame_index: Float[Tensor, " n"]) -> list[Tensor]:
        """Return one feature per input block, at its channels and size.

        `frame_index` is the frame's time in [0, 1): k / F for frame k of F.
        """
        embedding = self.index_mlp(frame_index.float() * self.index_scale)
        if self.temporal_modes:
            feature = torch.cat([feature, at_time(feature, frame_index, self.temporal_modes)], dim=1)
        return [
            zero_conv(run_block(self, block, feature, embedding, size))
            for block, zero_conv, size in zip(self.blocks, self.zero_convs, self.block_sizes, strict=True)
        ]
