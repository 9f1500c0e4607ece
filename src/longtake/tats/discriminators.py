"""The VQGAN's two PatchGAN discriminators: one looks at single frames, one at clips."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn

from longtake.tats.blocks import BatchNorm

KERNEL, PADDING, SLOPE = 4, 2, 0.2


class Verdict(NamedTuple):
    """What a discriminator says of its input.

    Attributes:
        logits: one per patch, high for real; the last axes are those of the patches.
        features: outputs of all layers before, in order, for feature matching.
    """

    logits: Float[Tensor, "b 1 ..."]
    features: list[Float[Tensor, "b c ..."]]


class TatsDiscriminator(ModelMixin, ConfigMixin):
    """Frames "b c h w" or clips "b c t h w" in [-0.5, 0.5] -> a logit per patch (the layers of pix2pixHD, one scale).

    Convolutions of width 4: `num_layers` with stride 2 on all axes, one with stride 1, one to the logits. All but the
    first and the last are batch normalised.

    Args:
        num_axes: 2 for frames, 3 for clips.
        in_channels: channels of a frame.
        channels: channels of the first layer; they double from layer to layer, up to eight times as many.
        num_layers: strided convolutions.
    """

    @register_to_config
    def __init__(self, num_axes: int = 3, in_channels: int = 3, channels: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        assert num_axes in (2, 3), num_axes
        assert num_layers >= 1, num_layers
        convolution = nn.Conv2d if num_axes == 2 else nn.Conv3d
        widths = [channels * min(2**layer, 8) for layer in range(num_layers + 1)]
        layers: list[nn.Module] = [
            nn.Sequential(convolution(in_channels, channels, KERNEL, 2, PADDING), nn.LeakyReLU(SLOPE))
        ]
        for layer, (narrow, wide) in enumerate(pairwise(widths), 1):
            stride = 2 if layer < num_layers else 1
            layers.append(
                nn.Sequential(convolution(narrow, wide, KERNEL, stride, PADDING), BatchNorm(wide), nn.LeakyReLU(SLOPE))
            )
        self.layers = nn.ModuleList(layers)
        self.logits = convolution(widths[-1], 1, KERNEL, 1, PADDING)

    def forward(self, x: Float[Tensor, "b c ..."]) -> Verdict:
        """Judge every patch."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return Verdict(self.logits(x), features)
