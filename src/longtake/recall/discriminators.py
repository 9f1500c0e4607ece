"""The discriminators: of whole clips and of single frames; high logits for real ones (Sec. 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.recall.attention import normal_conv
from longtake.recall.config import CLIP_FRAMES
from longtake.recall.layout import TemporalConv3d, channels_last

NUM_TEMPORAL_STAGES = 4  # each takes 3 frames off; with the last layer's 4 that is all 16
SLOPE = 0.2


class RecallVideoDiscriminator(ModelMixin, ConfigMixin):
    """A clip of 16 frames -> one logit. Also what picks among candidates when sampling (VDrej).

    Stages of a strided convolution in space and, in the first four, one in time, down to 4x4 pixels.

    Args:
        channels: channels of each stage; frames are 4 * 2^stages pixels wide and high.
    """

    @register_to_config
    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512, 1024)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        frames = CLIP_FRAMES
        for stage, (a, b) in enumerate(pairwise((3, *channels))):
            convs = [nn.Conv3d(a, b, (1, 4, 4), (1, 2, 2), (0, 1, 1))]
            if stage < NUM_TEMPORAL_STAGES:
                convs.append(TemporalConv3d(b, b, 4))
                frames -= 3
            for conv in convs:
                layers += [normal_conv(conv), nn.LeakyReLU(SLOPE)]
        layers += [normal_conv(nn.Conv3d(channels[-1], channels[-1], (1, 4, 4))), nn.LeakyReLU(SLOPE)]
        layers.append(normal_conv(nn.Conv3d(channels[-1], 1, (frames, 1, 1))))
        self.layers = nn.Sequential(*layers)

    def forward(self, clips: Float[Tensor, "b 3 16 h w"]) -> Float[Tensor, " b"]:
        """Return the logits of clips in [-1, 1]."""
        return rearrange(self.layers(channels_last(clips)), "b 1 1 1 1 -> b")


class RecallImageDiscriminator(ModelMixin, ConfigMixin):
    """A frame -> one logit.

    Args:
        channels: channels of each strided convolution; frames are 4 * 2^convolutions pixels wide and high.
    """

    @register_to_config
    def __init__(self, channels: Sequence[int] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise((3, *channels)):
            layers += [normal_conv(nn.Conv2d(a, b, 4, 2, 1)), nn.LeakyReLU(SLOPE)]
        layers.append(normal_conv(nn.Conv2d(channels[-1], 1, 4)))
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Return the logits of frames in [-1, 1]."""
        return rearrange(self.layers(channels_last(frames)), "b 1 1 1 -> b")
