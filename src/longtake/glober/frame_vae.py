"""The frame VAE: frames <-> latents, one frame at a time, on diffusers' AutoencoderKL.

GLOBER keeps Stable Diffusion v1's frozen VAE; `build_frame_vae` makes a small one for small videos. Latents leave
`encode_frames` normalised: by the per-channel `latents_mean` and `latents_std` in the VAE's config where they
are set, else by its `scaling_factor` (and `shift_factor`, where there is one), as Stable Diffusion does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor

from longtake.core.errors import UserError


def build_frame_vae(
    block_out_channels: Sequence[int] = (32, 64, 96),
    layers_per_block: int = 1,
    latent_channels: int = 4,
    norm_groups: int = 8,
    mid_attention: bool = False,
) -> AutoencoderKL:
    """Return an untrained KL autoencoder of RGB frames that downsamples by 2 ** (levels - 1).

    Raises `UserError` if channels cannot be split into `norm_groups`.
    """
    for channels in block_out_channels:
        if channels % norm_groups:
            raise UserError(f"{channels} channels cannot be split into {norm_groups} normalisation groups")
    return AutoencoderKL(
        latent_channels=latent_channels,
        block_out_channels=tuple(block_out_channels),
        down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
        up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
        layers_per_block=layers_per_block,
        norm_num_groups=norm_groups,
        mid_block_add_attention=mid_attention,
    )


def latent_affine(vae: AutoencoderKL, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return (mean, std), shaped to broadcast over `latents`, that normalise raw latents."""
    config = vae.config
    if config.latents_mean is None or config.latents_std is None:
        shift = config.shift_factor or 0.0
        return latents.new_full((1, 1, 1), shift), latents.new_full((1, 1, 1), 1 / config.scaling_factor)
    return latents.new_tensor(config.latents_mean)[:, None, None], latents.new_tensor(config.latents_std)[:, None, None]


def encode_frames(
    vae: AutoencoderKL,
    frames: Float[Tensor, "n 3 height width"],
    generator: torch.Generator | None = None,
    chunk: int = 32,
) -> Float[Tensor, "n c h w"]:
    """Return normalised latents of frames in [-1, 1]: the posterior's mode, or a sample of it given a `generator`.

    Frames pass through `chunk` at a time, so that memory is bounded where no gradient is recorded; the result does not
    depend on `chunk`.
    """
    posteriors = [vae.encode(part).latent_dist for part in frames.split(chunk)]
    latents = torch.cat([posterior.mean for posterior in posteriors])
    if generator is not None:
        std = torch.cat([posterior.std for posterior in posteriors])
        noise = torch.randn(latents.shape, generator=generator, device=generator.device)
        latents = latents + std * noise.to(latents)
    mean, scale = latent_affine(vae, latents)
    return (latents - mean) / scale


def decode_frames(vae: AutoencoderKL, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 height width"]:
    """Return frames, clamped to [-1, 1], of normalised latents; differentiable, all in one batch."""
    mean, std = latent_affine(vae, latents)
    return vae.decode(latents * std + mean).sample.clamp(-1, 1)
