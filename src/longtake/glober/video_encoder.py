"""The video encoder: latents of a few keyframes -> Gaussian over the video's global feature (Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.glober.blocks import (
    FrameConv3d,
    ResidualBlock,
    SpatialAttention,
    TemporalAttention,
    build_levels,
    check_level_size,
    group_norm,
    per_frame,
)
from longtake.glober.temporal_modes import channels_per_mode, check_modes, to_modes

LOGVAR_RANGE = (-30.0, 20.0)
# About the standard deviation of the input convolution's output, so that slots can be told apart from the first step.
SLOT_POSITION_STD = 0.5


class EncoderBlock(nn.Module):
    """Residual block per frame, then attention among pixels, then attention among frames (where the level has any)."""

    def __init__(self, in_channels: int, out_channels: int, head_channels: int | None) -> None:
        super().__init__()
        self.residual = ResidualBlock(in_channels, out_channels)
        self.spatial = SpatialAttention(out_channels, head_channels) if head_channels else None
        self.temporal = TemporalAttention(out_channels, head_channels) if head_channels else None

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h w"]:
        """Run the three parts in order."""
        x = per_frame(self.residual, x)
        if self.spatial is not None and self.temporal is not None:
            x = self.temporal(self.spatial(x))
        return x


def output_head(in_channels: int, channels: int) -> nn.Sequential:
    """Return the 3x3x3 convolution, normalisation, SiLU and 1x1x1 convolution that end the encoder."""
    return nn.Sequential(
        FrameConv3d(in_channels, channels),
        group_norm(channels),
        nn.SiLU(),
        nn.Conv3d(channels, channels, 1),
    )


class GloberVideoEncoder(ModelMixin, ConfigMixin):
    """Keyframe latents and a learned video token -> mean and log-variance of the global feature.

    The token (`video_token`, e_v in the paper) joins the keyframes as slot 0 of the time axis and slot 0 of the output
    is the feature. Time order is known through the 3x3x3 convolutions alone, as in the official code; `slot_positions`
    and `temporal_modes` are additions that make motion much faster to learn (see this folder's README).

    Args:
        latent_channels: channels of a frame's latent.
        latent_size: height and width of a frame's latent.
        num_keyframes: keyframes per clip.
        model_channels: channels of the first level.
        channel_mult: channels of every level, as multiples of `model_channels`; each level halves the size.
        num_res_blocks: blocks per level.
        attention_downsamples: the down-factors (1, 2, 4 ...) of the levels with attention.
        head_channels: channels of an attention head.
        feature_channels: channels of the global feature.
        separate_heads: one output head each for mean and log-variance, the latter starting at zero (variance 1);
            False is one head whose channels are halved.
        slot_positions: add a learned vector per slot after the input convolution (not in the paper).
        temporal_modes: add to the mean, as its channels "(modes c)", the cosine transform over time of a convolution of
            every keyframe slot (not in the paper; see `temporal_modes.py`). 0: no such path.
        initial_logvar: what the log-variance starts at with separate heads; 0 is official.

    Raises:
        UserError: if `latent_size` cannot be halved as often as there are levels, channels do not divide into heads or
            modes, or there are more modes than keyframes.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(  # noqa: PLR0913 (the arguments are the saved config)
        self,
        latent_channels: int = 4,
        latent_size: int = 32,
        num_keyframes: int = 4,
        model_channels: int = 320,
        channel_mult: Sequence[int] = (1, 2),
        num_res_blocks: int = 2,
        attention_downsamples: Sequence[int] = (1, 2),
        head_channels: int = 64,
        feature_channels: int = 16,
        separate_heads: bool = True,
        slot_positions: bool = False,
        temporal_modes: int = 0,
        initial_logvar: float = 0.0,
    ) -> None:
        super().__init__()
        check_level_size("latent_size", latent_size, len(channel_mult))
        check_modes(temporal_modes, num_keyframes)
        self.video_token = nn.Parameter(torch.randn(latent_channels, latent_size, latent_size))
        self.conv_in = FrameConv3d(latent_channels, model_channels)
        self.slot_embedding: nn.Parameter | None = None
        if slot_positions:
            self.slot_embedding = nn.Parameter(SLOT_POSITION_STD * torch.randn(model_channels, num_keyframes + 1, 1, 1))
        self.levels = build_levels(
            EncoderBlock, model_channels, channel_mult, num_res_blocks, attention_downsamples, head_channels
        )
        channels = model_channels * channel_mult[-1]
        if separate_heads:
            self.mean_head = output_head(channels, feature_channels)
            self.logvar_head = output_head(channels, feature_channels)
            last = self.logvar_head[-1]
            assert isinstance(last, nn.Conv3d)
            assert last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, initial_logvar)
        else:
            self.shared_head = output_head(channels, 2 * feature_channels)
        self.slot_head: nn.Module | None = None
        if temporal_modes:
            out_channels = channels_per_mode(feature_channels, temporal_modes)
            self.slot_head = nn.Sequential(
                group_norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
            )

    def forward(
        self, keyframe_latents: Float[Tensor, "b c k h w"]
    ) -> tuple[Float[Tensor, "b f h2 w2"], Float[Tensor, "b f h2 w2"]]:
        """Return mean and log-variance (clamped to [-30, 20]) of the global feature.

        The feature's height and width are `latent_size` / 2 ** (levels - 1). Latents of zeros are the null video.
        Raises `UserError` if the number of keyframes is not the one the encoder was built for.
        """
        batch, _, num_keyframes, _, _ = keyframe_latents.shape
        if num_keyframes != self.config.num_keyframes:
            raise UserError(
                f"the video encoder takes {counted(self.config.num_keyframes, 'keyframe')}, not {num_keyframes}"
            )
        token = repeat(self.video_token, "c h w -> b c 1 h w", b=batch).to(keyframe_latents.dtype)
        x = self.conv_in(torch.cat([token, keyframe_latents], dim=2))
        if self.slot_embedding is not None:
            x = x + self.slot_embedding
        for level in self.levels:
            x = level(x)
        if self.config.separate_heads:
            mean, logvar = self.mean_head(x)[:, :, 0], self.logvar_head(x)[:, :, 0]
        else:
            mean, logvar = self.shared_head(x)[:, :, 0].chunk(2, dim=1)
        if self.slot_head is not None:
            slots = per_frame(self.slot_head, x[:, :, 1:])
            mean = mean + to_modes(rearrange(slots, "b c k h w -> b k c h w"), self.config.temporal_modes)
        return mean, logvar.clamp(*LOGVAR_RANGE)
