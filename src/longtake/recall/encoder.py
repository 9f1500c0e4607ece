"""The two-stream encoder: one frame of a clip -> content, the differences between its frames -> motion (Sec. 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.recall.config import CLIP_FRAMES
from longtake.recall.latents import LatentSpace
from longtake.recall.layout import channels_last

NUM_MAPS = CLIP_FRAMES - 1


def difference_maps(clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t-1 h w"]:
    """Return v_t = x_{t-1} - x_t for t = 1, 2, ...: earlier frame minus later (Eq. 3.3)."""
    return clips[:, :, :-1] - clips[:, :, 1:]


class FeatureNorm(nn.BatchNorm1d):
    """Batch norm that also trains on a batch of one, of which there is no variance: with its running statistics."""

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Normalise each channel over the batch."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def linear_set(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a linear layer, batch norm and ReLU."""
    return nn.Sequential(nn.Linear(in_channels, out_channels), FeatureNorm(out_channels), nn.ReLU())


def linear_sets(in_channels: int, channels: Sequence[int]) -> nn.Sequential:
    """Return a chain of `linear_set`."""
    return nn.Sequential(*(linear_set(a, b) for a, b in pairwise((in_channels, *channels))))


def conv_set(in_channels: int, out_channels: int, stride: int, padding: int) -> nn.Sequential:
    """Return a 3x3 convolution, batch norm and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


class ContentStream(nn.Module):
    """Frames -> features: strided convolutions down to 4x4 pixels, then linear layers."""

    def __init__(self, channels: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        # the first convolution and every second one halve the size
        strides = [2 if layer == 0 or layer % 2 else 1 for layer in range(len(channels))]
        layers = zip(pairwise((3, *channels)), strides, strict=True)
        self.convs = nn.Sequential(*(conv_set(a, b, stride, padding=1) for (a, b), stride in layers))
        self.linears = linear_sets(channels[-1] * 4 * 4, features)

    def forward(self, frames: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Return each frame's features."""
        return self.linears(self.convs(channels_last(frames)).flatten(1))


class MotionStream(nn.Module):
    """Difference maps -> features: unpadded convolutions, pooled after every second, then linear layers."""

    def __init__(self, channels: Sequence[int], features: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        side = 2 ** (len(channels) // 2 + 3)
        for layer, (a, b) in enumerate(pairwise((3, *channels))):
            layers.append(conv_set(a, b, stride=1, padding=0))
            side -= 2
            if layer % 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        self.convs = nn.Sequential(*layers)
        self.linears = linear_sets(channels[-1] * side**2, features)

    def forward(self, maps: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Return each map's features."""
        return self.linears(self.convs(channels_last(maps)).flatten(1))


def motion_head(in_channels: int, hidden: int, out_channels: int, has_relu: bool) -> nn.Sequential:
    """Return the two linear layers that give the motion's mean, or its log-variance."""
    between = [nn.ReLU()] if has_relu else []
    return nn.Sequential(nn.Linear(in_channels, hidden), *between, nn.Linear(hidden, out_channels))


def start_at(layer: nn.Module, value: float) -> None:
    """Let a linear layer's outputs lie around `value`."""
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.bias.add_(value)


def check_encoder_size(size: int, channels: Sequence[int]) -> None:
    """Raise `UserError` unless there are two convolutions for every halving of `size` down to 8."""
    if len(channels) % 2 or not channels or size != 2 ** (len(channels) // 2 + 3):
        count = 2 * round(math.log2(size) - 3) if size > 8 and math.log2(size).is_integer() else None
        wanted = counted(count, "convolution") if count else "a size of 16, 32, 64, 128 ..."
        raise UserError(
            f"an encoder of {counted(len(channels), 'convolution')} does not fit frames of {size}: it takes {wanted}"
        )


def check_clips(clips: Float[Tensor, "b c t h w"], size: int) -> None:
    """Raise `UserError` unless clips are 16 frames of `size` x `size`."""
    if clips.shape[2:] != (CLIP_FRAMES, size, size):
        frames, height, width = clips.shape[2:]
        wanted = f"{CLIP_FRAMES} frames of {size}x{size}"
        raise UserError(f"the encoder takes clips of {wanted}, not {counted(frames, 'frame')} of {width}x{height}")


class RecallEncoder(ModelMixin, ConfigMixin):
    """Clips of 16 frames -> their latent spaces.

    Content comes from one frame. Of motion, 15 difference maps pass the same network; their features are compressed
    pair by pair, which leaves 7 and the unpaired last one, and together they become mean and log-variance.

    Args:
        size: height and width of the frames.
        content_channels: channels of the content latents.
        motion_channels: channels of the motion latents.
        channels: channels of the convolutions of either stream.
        content_features: channels of the linear layers on a content frame.
        motion_features: channels of the linear layers on a difference map.
        clip_features: channels of the linear layers on all maps.
        motion_head_relu: a ReLU between the two layers of a motion head.
        content_frame: the frame of a clip that the content is taken from.
        initial_logvar: what the log-variances start at.

    Raises:
        UserError: if the number of convolutions does not fit `size`.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 (the arguments are the saved config)
        self,
        size: int = 128,
        content_channels: int = 512,
        motion_channels: int = 256,
        channels: Sequence[int] = (8, 8, 16, 16, 32, 32, 64, 64),
        content_features: Sequence[int] = (256, 256),
        motion_features: Sequence[int] = (256, 256),
        clip_features: int = 256,
        motion_head_relu: bool = True,
        content_frame: int = 8,
        initial_logvar: float = 0.0,
    ) -> None:
        super().__init__()
        check_encoder_size(size, channels)
        assert 0 <= content_frame < CLIP_FRAMES, content_frame
        self.content_stream = ContentStream(channels, content_features)
        self.content_mean = nn.Linear(content_features[-1], content_channels)
        self.content_logvar = nn.Linear(content_features[-1], content_channels)
        self.motion_stream = MotionStream(channels, motion_features)
        map_features = motion_features[-1]
        self.pair = linear_set(2 * map_features, map_features)
        num_compressed = NUM_MAPS // 2 + NUM_MAPS % 2
        self.clip = linear_sets(num_compressed * map_features, (clip_features, clip_features))
        self.motion_mean = motion_head(clip_features, clip_features, motion_channels, motion_head_relu)
        self.motion_logvar = motion_head(clip_features, clip_features, motion_channels, motion_head_relu)
        for layer in (self.content_logvar, self.motion_logvar[-1]):
            start_at(layer, initial_logvar)

    def forward(
        self, clips: Float[Tensor, "b 3 16 h w"], content: Float[Tensor, "b 3 h w"] | None = None
    ) -> LatentSpace:
        """Encode clips in [-1, 1]; `content` takes the place of each clip's own content frame.

        Raises `UserError` for clips of another length or size.
        """
        check_clips(clips, self.config.size)
        frames = clips[:, :, self.config.content_frame] if content is None else content
        content_features = self.content_stream(frames)
        motion = self.clip(self._compress(clips))
        return LatentSpace(
            self.content_mean(content_features),
            self.content_logvar(content_features),
            self.motion_mean(motion),
            self.motion_logvar(motion),
        )

    def _compress(self, clips: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        maps = rearrange(difference_maps(clips), "b c t h w -> (b t) c h w")
        features = rearrange(self.motion_stream(maps), "(b t) d -> b t d", t=NUM_MAPS)
        pairs, last = features[:, :-1], features[:, -1]
        compressed = self.pair(rearrange(pairs, "b (k two) d -> (b k) (two d)", two=2))
        compressed = rearrange(compressed, "(b k) d -> b (k d)", b=len(clips))
        return torch.cat([compressed, last], dim=1)
