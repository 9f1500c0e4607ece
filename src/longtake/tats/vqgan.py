"""The time-agnostic VQGAN: video <-> a grid of codes, by 3D convolutions alone, padded so that time looks alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.tats.blocks import PaddedConv, PaddedConvTranspose, ResidualBlock, build_norm
from longtake.tats.codebook import Codebook
from longtake.tats.config import Norm, Padding
from longtake.tats.receptive_field import RESAMPLING_KERNEL, decoder_context, encoder_context

Strides = list[tuple[int, int, int]]


def block_strides(downsample: Sequence[int]) -> Strides:
    """Split factors per axis into blocks that halve each axis that still needs it: (4, 8, 8) -> 222, 222, 122.

    Raises `UserError` unless they are three powers of two, one of them at least 2.
    """
    if len(downsample) != 3 or any(factor < 1 or factor & (factor - 1) for factor in downsample):
        raise UserError(f"downsample is {list(downsample)}; it must be three powers of two")
    halvings = [factor.bit_length() - 1 for factor in downsample]
    if not any(halvings):
        raise UserError(f"downsample is {list(downsample)}; at least one factor must be 2 or more")
    t, h, w = ([2 if block < count else 1 for block in range(max(halvings))] for count in halvings)
    return list(zip(t, h, w, strict=True))


class Encoder(nn.Module):
    """Convolution, then per block a strided convolution and a residual block, then norm and SiLU."""

    def __init__(
        self, in_channels: int, base_channels: int, strides: Strides, norm: Norm, norm_groups: int, padding: Padding
    ) -> None:
        super().__init__()
        channels = [base_channels * 2**level for level in range(len(strides) + 1)]
        self.conv_in = PaddedConv(in_channels, base_channels, 3, padding)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                PaddedConv(narrow, wide, RESAMPLING_KERNEL, padding, stride),
                ResidualBlock(wide, norm, norm_groups, padding),
            )
            for (narrow, wide), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.norm_out = build_norm(norm, channels[-1], norm_groups)

    def forward(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Encode frames in [-0.5, 0.5]."""
        h = self.conv_in(video)
        for block in self.blocks:
            h = block(h)
        return F.silu(self.norm_out(h))


class Decoder(nn.Module):
    """Norm and SiLU, then per block a transposed convolution and two residual blocks, then a convolution."""

    def __init__(
        self, out_channels: int, base_channels: int, strides: Strides, norm: Norm, norm_groups: int, padding: Padding
    ) -> None:
        super().__init__()
        widest = base_channels * 2 ** len(strides)
        # the first block keeps the width, so the last ends at twice `base_channels`
        channels = [widest, *(widest // 2**level for level in range(len(strides)))]
        self.norm_in = build_norm(norm, widest, norm_groups)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                PaddedConvTranspose(wide, narrow, RESAMPLING_KERNEL, padding, stride),
                ResidualBlock(narrow, norm, norm_groups, padding),
                ResidualBlock(narrow, norm, norm_groups, padding),
            )
            for (wide, narrow), stride in zip(pairwise(channels), strides, strict=True)
        )
        self.conv_out = PaddedConv(channels[-1], out_channels, 3, padding)

    def forward(self, h: Float[Tensor, "b d t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        """Decode to frames, in [-0.5, 0.5] up to overshoot."""
        h = F.silu(self.norm_in(h))
        for block in self.blocks:
            h = block(h)
        return self.conv_out(h)


class TatsVQGAN(ModelMixin, ConfigMixin):
    """Video in [-1, 1] <-> codes. Inside, frames lie in [-0.5, 0.5], as the released weights expect.

    Args:
        in_channels: channels of a frame.
        base_channels: channels at full resolution; each halving doubles them.
        downsample: pixels per code along time, height and width, powers of two.
        num_codes: codes.
        code_dim: channels of a code.
        norm: "batch" or "group".
        norm_groups: groups of the group norms.
        padding: what every convolution sees beyond the edges; "real" pads like "replicate" (see `VQGANConfig`).

    Raises:
        UserError: for factors that are not powers of two, an unknown norm or padding, channels that do not divide.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 32,
        downsample: tuple[int, int, int] = (4, 8, 8),
        num_codes: int = 16384,
        code_dim: int = 256,
        norm: Norm = "batch",
        norm_groups: int = 32,
        padding: Padding = "replicate",
    ) -> None:
        super().__init__()
        strides = block_strides(downsample)
        widest = base_channels * 2 ** len(strides)
        self.encoder = Encoder(in_channels, base_channels, strides, norm, norm_groups, padding)
        self.pre_vq = nn.Conv3d(widest, code_dim, 1)
        self.codebook = Codebook(num_codes, code_dim)
        self.post_vq = nn.Conv3d(code_dim, widest, 1)
        self.decoder = Decoder(in_channels, base_channels, strides, norm, norm_groups, padding)
        times = [time for time, _, _ in strides]
        self.encoder_context: tuple[int, int] = encoder_context(times)
        """Latent frames' worth of video before and after its own that a latent frame depends on."""
        self.decoder_context: tuple[int, int] = decoder_context(times)
        """Latent frames before and after a latent frame that its decoded frames depend on."""

    @property
    def num_codes(self) -> int:
        """Codes."""
        return self.config.num_codes

    @property
    def downsample(self) -> tuple[int, int]:
        """Frames per latent frame, and pixels per code along the height."""
        time, height, _ = self.config.downsample
        return time, height

    def pre_quant(self, video: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Return the vectors that are to be quantised, of video in [-1, 1].

        Raises `UserError` if a length is not a multiple of its downsampling factor.
        """
        for axis, length, factor in zip("thw", video.shape[2:], self.config.downsample, strict=True):
            if length % factor:
                raise UserError(
                    f"a video of {axis} = {length} cannot be encoded: {axis} must be a multiple of {factor}"
                )
        return self.pre_vq(self.encoder(video / 2))

    def encode(self, video: Float[Tensor, "b c t h w"]) -> Int[Tensor, "b t2 h2 w2"]:
        """Return the codes of video in [-1, 1], each below `num_codes`. Raises `UserError` as `pre_quant` does."""
        return self.codebook.nearest(self.pre_quant(video))

    def lookup(self, codes: Int[Tensor, "b t h w"]) -> Float[Tensor, "b d t h w"]:
        """Return the vectors of codes."""
        return self.codebook.lookup(codes)

    def decode_vectors(self, vectors: Float[Tensor, "b d t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        """Return video in [-1, 1] up to overshoot; differentiable."""
        return 2 * self.decoder(self.post_vq(vectors))

    def decode(self, codes: Int[Tensor, "b t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        """Return video clamped to [-1, 1], all at once."""
        return self.decode_vectors(self.lookup(codes)).clamp(-1, 1)

    def decode_part(self, codes: Int[Tensor, "b t h w"], start: int, stop: int) -> Float[Tensor, "b c t2 h2 w2"]:
        """Return the frames of the latent frames from `start` to `stop` of a longer video, as `decode` gives them.

        Only those and their context are decoded. Exact with batch norm in eval mode, where nothing further away has an
        influence: bit for bit if convolutions add up in the same order for every length, as on CPUs unless tiny.

        Raises `UserError` with group norm, whose statistics are those of the whole video.
        """
        if self.config.norm != "batch" and (start, stop) != (0, codes.shape[1]):
            raise UserError(
                "a VQGAN with group norm cannot decode a video in parts: the norm depends on the whole video"
            )
        assert not self.training, "in training the norm depends on the whole video"
        before, after = self.decoder_context
        first, last = max(0, start - before), min(codes.shape[1], stop + after)
        video = self.decode(codes[:, first:last])
        rate, _, _ = self.config.downsample
        return video[:, :, (start - first) * rate : (stop - first) * rate]

    def decode_stream(self, codes: Int[Tensor, "b t h w"], chunk: int = 8) -> Iterator[Float[Tensor, "b c t2 h2 w2"]]:
        """Yield the decoded video, `chunk` latent frames at a time: memory does not grow with the video's length.

        Each chunk is decoded with its context (6 latent frames on each side for the authors' sizes), see `decode_part`.
        """
        assert chunk >= 1, chunk
        for start in range(0, codes.shape[1], chunk):
            yield self.decode_part(codes, start, min(start + chunk, codes.shape[1]))
