"""G3AN's three-stream generator: content and motion latents -> a clip (Sec. 3.2).

A spatial stream grows a picture from the content, a temporal stream a rhythm from the motion, and a video stream the
clip from both; after every block the two side streams are fused into the video stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils.accelerate_utils import apply_forward_hook
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from longtake.recall.attention import CONV_STD, FactorisedSelfAttention
from longtake.recall.layout import add_everywhere, channels_last

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


@dataclass(frozen=True)
class FusedStreams:
    """A clip of which some channels are the same in every frame: those are kept as a single picture.

    Attributes:
        still: the channels without time, which come first; or none.
        moving: the others.
    """

    still: Float[Tensor, "b s 1 h w"] | None
    moving: Float[Tensor, "b c t h w"]

    def joined(self) -> Float[Tensor, "b d t h w"]:
        """Return the clip with all its channels, d = s + c."""
        if self.still is None:
            return self.moving
        still = self.still.expand(-1, -1, self.moving.shape[2], -1, -1)
        return torch.cat([still, self.moving], dim=1)

    def convolved(self, conv: nn.Conv3d | nn.ConvTranspose3d) -> Float[Tensor, "b e t2 h2 w2"]:
        """Return what `conv` makes of the clip.

        Where it sees one frame at a time, the picture is convolved once, not once for every frame.
        """
        if self.still is None or conv.kernel_size[0] > 1:
            return conv(channels_last(self.joined()))
        assert not isinstance(conv.padding, str), "the generator pads by numbers"
        is_transposed = isinstance(conv, nn.ConvTranspose3d)
        convolve = F.conv_transpose3d if is_transposed else F.conv3d
        sizes = [self.still.shape[1], self.moving.shape[1]]
        of_still, of_moving = conv.weight.split(sizes, dim=0 if is_transposed else 1)
        still = convolve(channels_last(self.still), of_still, conv.bias, conv.stride, conv.padding)
        return convolve(channels_last(self.moving), of_moving, None, conv.stride, conv.padding).add_(still)


@dataclass(frozen=True)
class Grown:
    """The three streams of clips after the blocks that mix time: what every single frame is made from.

    Attributes:
        spatial: the spatial stream, "b s 1 h w".
        video: the video stream.
        temporal: the temporal stream, "b m t 1 1".
    """

    spatial: Tensor
    video: FusedStreams
    temporal: Tensor

    def part(self, clips: slice, frames: slice) -> Grown:
        """Return some of the frames of some of the clips."""
        still = None if self.video.still is None else self.video.still[clips]
        video = FusedStreams(still, self.video.moving[clips, :, frames])
        return Grown(self.spatial[clips], video, self.temporal[clips, :, frames])


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
        video: FusedStreams,
        temporal: Float[Tensor, "b m t 1 1"],
    ) -> tuple[Float[Tensor, "b c 1 h2 w2"], FusedStreams, Float[Tensor, "b c t2 1 1"]]:
        """Return the three streams; the video holds 2 c channels, or c without a spatial stream."""
        first = self.video[0]
        assert isinstance(first, nn.ConvTranspose3d)
        grown = video.convolved(first)
        for layer in list(self.video)[1:]:
            grown = layer(grown)
        if self.temporal is not None:
            temporal = self.temporal(temporal)
            grown = add_everywhere(grown, temporal)
        if self.spatial is not None:
            spatial = self.spatial(spatial)
        return spatial, FusedStreams(None if self.spatial is None else spatial, grown), temporal


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
        # blocks up to the attention; what follows sees one frame at a time
        self.num_growing = min(ATTENTION_BLOCK, len(channels)) if self_attention else NUM_TEMPORAL_BLOCKS
        attended = streams * channels[self.num_growing - 1]
        self.attention = FactorisedSelfAttention(attended, legacy_fsa) if self_attention else None
        self.to_rgb = nn.Conv3d(streams * channels[-1], 3, (1, 3, 3), padding=(0, 1, 1))
        nn.init.normal_(self.to_rgb.weight, std=CONV_STD)

    @property
    def size(self) -> int:
        """Height and width of the frames."""
        return 4 * 2 ** (len(self.blocks) - 1)

    def forward(
        self,
        content: Float[Tensor, "b c_a"],
        motion: Float[Tensor, "b c_m"] | Float[Tensor, "b c_m n"],
    ) -> Float[Tensor, "b 3 t h w"]:
        """Return a clip of 16 frames; of 16 + 4 (n - 1) for motion latents at n points in time (EncGAN3, Fig. 3.13)."""
        return self.paint(self.grow(content, motion))

    @apply_forward_hook
    def grow(self, content: Float[Tensor, "b c_a"], motion: Float[Tensor, "b c_m"] | Float[Tensor, "b c_m n"]) -> Grown:
        """Return what the blocks that mix time make of the latents."""
        points = motion.shape[2] if motion.ndim == 3 else 1
        temporal = motion.reshape(*motion.shape[:2], points, 1, 1)
        spatial = content[:, :, None, None, None]
        video = FusedStreams(spatial, temporal)
        for block in self.blocks[: self.num_growing]:
            spatial, video, temporal = block(spatial, video, temporal)
        if self.attention is not None:
            video = FusedStreams(None, self.attention(video.joined()))
        return Grown(spatial, video, temporal)

    @apply_forward_hook
    def paint(self, grown: Grown) -> Float[Tensor, "b 3 t h w"]:
        """Return the frames: in eval mode, each is made from its own part alone."""
        spatial, video, temporal = grown.spatial, grown.video, grown.temporal
        for block in self.blocks[self.num_growing :]:
            spatial, video, temporal = block(spatial, video, temporal)
        return video.convolved(self.to_rgb).tanh()
