"""G3AN's three-stream generator: content and motion latents -> a clip (Sec. 3.2).

A spatial stream grows a picture from the content, a temporal stream a rhythm from the motion, and a video stream the
clip from both; after every block the two side streams are fused into the video stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from longtake.recall.attention import CONV_STD, FactorisedSelfAttention

Mode = Literal["1p2d", "2p1d", "3d"]
Geometry = tuple[int, int, int]  # kernel, stride, padding

NUM_TEMPORAL_BLOCKS = 3  # 1 -> 4 -> 8 -> 16 frames; blocks after these leave the time axis alone
ATTENTION_BLOCK = 4  # F-SA follows this block, counted from 1, or the last of a shorter generator
FIRST, DOUBLING, NONE = (4, 1, 0), (4, 2, 1), (1, 1, 0)


def deconv_set(in_channels: int, out_channels: int, time: Geometry, space: Geometry) -> nn.Sequential:
    """Return a transposed convolution with spectral norm, batch norm and ReLU."""
    kernel, stride, padding = ((t, s, s) for t, s in zip(time, space, strict=True))
    norm = nn.BatchNorm3d(out_channels)
    nn.init.normal_(norm.weight, mean=1.0, std=CONV_STD)
    conv = nn.ConvTranspose3d(in_channels, out_channels, kernel, stride, padding)
    return nn.Sequential(spectral_norm(conv), norm, nn.ReLU(inplace=True))


class G3Block(nn.Module):
    """One step of the three streams, and their fusion.

    Args:
        in_spatial: channels of the spatial stream's input.
        in_video: channels of the video stream's input.
        in_temporal: channels of the temporal stream's input.
        channels: channels of every stream's output, before the spatial one is concatenated to the video.
        mode: how the video stream convolves.
        time: kernel, stride and padding in time.
        space: the same in space.
        spatial_stream: there is a spatial stream.
        temporal_stream: there is a temporal stream.
    """

    def __init__(  # noqa: PLR0913
        self,
        in_spatial: int,
        in_video: int,
        in_temporal: int,
        channels: int,
        mode: Mode,
        time: Geometry,
        space: Geometry,
        spatial_stream: bool = True,
        temporal_stream: bool = True,
    ) -> None:
        super().__init__()
        self.spatial = deconv_set(in_spatial, channels, NONE, space) if spatial_stream else None
        self.temporal = deconv_set(in_temporal, channels, time, NONE) if temporal_stream else None
        steps = {"1p2d": [(time, NONE), (NONE, space)], "2p1d": [(NONE, space), (time, NONE)], "3d": [(time, space)]}
        layers: list[nn.Module] = []
        for in_time, in_space in steps[mode]:
            layers += deconv_set(channels if layers else in_video, channels, in_time, in_space)
        self.video = nn.Sequential(*layers)

    def forward(
        self,
        spatial: Float[Tensor, "b s 1 h w"],
        video: Float[Tensor, "b v t h w"],
        temporal: Float[Tensor, "b m t 1 1"],
    ) -> tuple[Float[Tensor, "b c 1 h2 w2"], Float[Tensor, "b d t2 h2 w2"], Float[Tensor, "b c t2 1 1"]]:
        """Return the three streams; the video holds 2 c channels, or c without a spatial stream."""
        video = self.video(video)
        if self.temporal is not None:
            temporal = self.temporal(temporal)
            video = video + temporal
        if self.spatial is not None:
            spatial = self.spatial(spatial)
            video = torch.cat([spatial.expand(-1, -1, video.shape[2], -1, -1), video], dim=1)
        return spatial, video, temporal


class RecallGenerator(ModelMixin, ConfigMixin):
    """Content and motion latents -> 16 frames in [-1, 1].

    Args:
        content_channels: channels of the content latents.
        motion_channels: channels of the motion latents.
        channels: channels of each block, three at least; the frames are 4 * 2^(blocks - 1) pixels wide and high.
        mode: "1p2d", "2p1d" or "3d", see `GeneratorConfig`.
        spatial_stream: fuse a spatial stream.
        temporal_stream: fuse a temporal stream.
        self_attention: attention after the fourth block.
        legacy_fsa: the attention of G3AN's published code.
    """

    @register_to_config
    def __init__(
        self,
        content_channels: int = 512,
        motion_channels: int = 256,
        channels: Sequence[int] = (512, 512, 256, 128, 64, 32),
        mode: Mode = "3d",
        spatial_stream: bool = True,
        temporal_stream: bool = True,
        self_attention: bool = True,
        legacy_fsa: bool = False,
    ) -> None:
        super().__init__()
        assert len(channels) >= NUM_TEMPORAL_BLOCKS, "three blocks double time"
        streams = 1 + spatial_stream
        in_spatial, in_video, in_temporal = content_channels, content_channels + motion_channels, motion_channels
        self.blocks = nn.ModuleList()
        for number, width in enumerate(channels):
            doubling = FIRST if number == 0 else DOUBLING
            time = doubling if number < NUM_TEMPORAL_BLOCKS else NONE
            self.blocks.append(
                G3Block(in_spatial, in_video, in_temporal, width, mode, time, doubling, spatial_stream, temporal_stream)
            )
            in_spatial, in_video, in_temporal = width, streams * width, width
        self.attention_block = min(ATTENTION_BLOCK, len(channels)) - 1
        attended = streams * channels[self.attention_block]
        self.attention = FactorisedSelfAttention(attended, legacy_fsa) if self_attention else None
        self.to_rgb = nn.Conv3d(streams * channels[-1], 3, (1, 3, 3), padding=(0, 1, 1))
        nn.init.normal_(self.to_rgb.weight, std=CONV_STD)

    @property
    def size(self) -> int:
        """Height and width of the frames."""
        return 4 * 2 ** (len(self.blocks) - 1)

    def forward(
        self, content: Float[Tensor, "b c_a"], motion: Float[Tensor, "b c_m"] | Float[Tensor, "b c_m n"]
    ) -> Float[Tensor, "b 3 t h w"]:
        """Return a clip of 16 frames; of 16 + 4 (n - 1) for motion latents at n points in time (EncGAN3, Fig. 3.13)."""
        points = motion.shape[2] if motion.ndim == 3 else 1
        temporal = motion.reshape(*motion.shape[:2], points, 1, 1)
        spatial = content[:, :, None, None, None]
        video = torch.cat([repeat(content, "b c -> b c n 1 1", n=points), temporal], dim=1)
        for number, block in enumerate(self.blocks):
            spatial, video, temporal = block(spatial, video, temporal)
            if self.attention is not None and number == self.attention_block:
                video = self.attention(video)
        return self.to_rgb(video).tanh()
