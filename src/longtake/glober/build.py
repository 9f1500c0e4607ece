"""A recipe's settings -> networks and pipeline."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from longtake.core.errors import UserError
from longtake.data.index import VideoIndex
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.config import GloberRecipe
from longtake.glober.discriminator import GloberDiscriminator
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.frame_vae import build_frame_vae
from longtake.glober.pipeline import GloberPipeline
from longtake.glober.sampling import build_scheduler
from longtake.glober.video_encoder import GloberVideoEncoder

TEXT_ENCODER_DEPTH = 2
TEXT_ENCODER_HEAD_DIM = 32


def check(recipe: GloberRecipe, index: VideoIndex) -> None:
    """Raise `UserError` for settings that cannot be built or do not suit the data, before hours are spent on training.

    Builds every network without memory for its weights.
    """
    if not recipe.keyframes or not 0 <= min(recipe.keyframes) <= max(recipe.keyframes) < recipe.span:
        raise UserError(f"keyframes {list(recipe.keyframes)} do not lie within the span of {recipe.span} frames")
    if not 1 <= recipe.autoencoder.num_targets <= recipe.span:
        raise UserError(f"num_targets is {recipe.autoencoder.num_targets}; it must be 1 to {recipe.span} (the span)")
    if recipe.autoencoder.cra_weight and recipe.autoencoder.num_targets < 2:
        raise UserError("the CRA loss pairs frames, so num_targets must be at least 2 (or set cra_weight to 0)")
    with torch.device("meta"):
        vae = frame_vae(recipe)
        video_encoder(recipe, vae)
        frame_decoder(recipe, vae)
        feature_generator(recipe, vae)
        condition_encoder(recipe, index)
        if recipe.autoencoder.cra_weight:
            discriminator(recipe, vae)


def frame_vae(recipe: GloberRecipe) -> AutoencoderKL:
    """The frame VAE in its shape, untrained: the recipe's own, or as the pretrained folder describes it."""
    config = recipe.frame_vae
    if config.pretrained:
        return AutoencoderKL.from_config(_pretrained_config(config.pretrained))
    return build_frame_vae(
        config.block_out_channels,
        config.layers_per_block,
        config.latent_channels,
        config.norm_groups,
        config.mid_attention,
    )


def _pretrained_config(folder: str) -> dict[str, Any]:
    if not (Path(folder) / "config.json").is_file():
        raise UserError(f"no frame VAE in {folder}: give a diffusers folder of one with --frame-vae.pretrained DIR")
    try:
        return AutoencoderKL.load_config(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the frame VAE in {folder}: {' '.join(str(error).split())}") from error


def pretrained_frame_vae(folder: str) -> AutoencoderKL:
    """Load a frame VAE from a diffusers folder. Raises `UserError` if there is none: random weights would train on."""
    _pretrained_config(folder)
    try:
        return AutoencoderKL.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the frame VAE in {folder}: {' '.join(str(error).split())}") from error


def latent_size(recipe: GloberRecipe, frame_vae: AutoencoderKL) -> int:
    """Height and width of frame latents. Raises `UserError` if `size` cannot be halved as often as the VAE does."""
    factor = 2 ** (len(frame_vae.config.block_out_channels) - 1)
    if recipe.size % factor:
        raise UserError(f"size {recipe.size} is not a multiple of the frame VAE's downsampling factor {factor}")
    return recipe.size // factor


def feature_size(recipe: GloberRecipe, frame_vae: AutoencoderKL) -> int:
    """Height and width of the global feature."""
    return latent_size(recipe, frame_vae) // 2 ** (len(recipe.autoencoder.encoder.channel_mult) - 1)


def video_encoder(recipe: GloberRecipe, frame_vae: AutoencoderKL) -> GloberVideoEncoder:
    """The untrained video encoder."""
    config = recipe.autoencoder.encoder
    return GloberVideoEncoder(
        latent_channels=frame_vae.config.latent_channels,
        latent_size=latent_size(recipe, frame_vae),
        num_keyframes=len(recipe.keyframes),
        model_channels=config.model_channels,
        channel_mult=config.channel_mult,
        num_res_blocks=config.num_res_blocks,
        attention_downsamples=config.attention_downsamples,
        head_channels=config.head_channels,
        feature_channels=config.feature_channels,
        slot_positions=config.slot_positions,
        temporal_modes=config.temporal_modes,
        initial_logvar=config.initial_logvar,
    )


def frame_decoder(recipe: GloberRecipe, frame_vae: AutoencoderKL) -> GloberFrameDecoder:
    """The untrained frame decoder."""
    config = recipe.autoencoder.decoder
    return GloberFrameDecoder(
        latent_channels=frame_vae.config.latent_channels,
        latent_size=latent_size(recipe, frame_vae),
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        attention=config.attention,
        num_heads=config.num_heads,
        norm_groups=config.norm_groups,
        context_dim=recipe.condition_dim if config.reads_condition else None,
        feature_channels=recipe.autoencoder.encoder.feature_channels,
        feature_size=feature_size(recipe, frame_vae),
        index_scale=config.index_scale,
        index_modulation=config.index_modulation,
        temporal_modes=recipe.autoencoder.encoder.temporal_modes,
    )


def discriminator(recipe: GloberRecipe, frame_vae: AutoencoderKL) -> GloberDiscriminator:
    """The untrained CRA discriminator, of latents or of frames."""
    config = recipe.autoencoder.discriminator
    in_pixels = config.space == "pixel"
    return GloberDiscriminator(
        in_channels=3 if in_pixels else frame_vae.config.latent_channels,
        size=recipe.size if in_pixels else latent_size(recipe, frame_vae),
        model_channels=config.model_channels,
        channel_mult=config.channel_mult,
        num_res_blocks=config.num_res_blocks,
        attention_downsamples=config.attention_downsamples,
        head_channels=config.head_channels,
    )


def condition_encoder(recipe: GloberRecipe, index: VideoIndex) -> GloberLabelEncoder | GloberTextEncoder:
    """The untrained encoder of labels or captions; without a condition it knows the null condition alone.

    Raises `UserError` if the data has no classes, or no captions, where the recipe needs them.
    """
    if recipe.condition == "caption":
        if not any(entry.text for entry in index.entries):
            raise UserError(
                f"the recipe needs captions, but {index.root} has none (captions.json, captions.csv, metadata.jsonl); "
                "train without with --condition none"
            )
        num_heads = max(1, recipe.condition_dim // TEXT_ENCODER_HEAD_DIM)
        return GloberTextEncoder(recipe.condition_dim, TEXT_ENCODER_DEPTH, num_heads)
    if recipe.condition == "label" and not index.classes:
        raise UserError(
            f"the recipe needs classes, but {index.root} has no sub-folders (a video's folder is its class); "
            "train without with --condition none"
        )
    return GloberLabelEncoder(len(index.classes) if recipe.condition == "label" else 0, recipe.condition_dim)


def feature_generator(recipe: GloberRecipe, frame_vae: AutoencoderKL) -> GloberFeatureGenerator:
    """The untrained DiT."""
    config = recipe.generator
    return GloberFeatureGenerator(
        feature_channels=recipe.autoencoder.encoder.feature_channels,
        feature_size=feature_size(recipe, frame_vae),
        hidden_size=config.hidden_size,
        depth=config.depth,
        num_heads=config.num_heads,
        context_dim=recipe.condition_dim,
        shared_modulation=config.shared_modulation,
    )


def pipeline(
    recipe: GloberRecipe,
    index: VideoIndex,
    frame_vae: AutoencoderKL,
    video_encoder: GloberVideoEncoder,
    frame_decoder: GloberFrameDecoder,
    feature_generator: GloberFeatureGenerator | None,
    condition_encoder: GloberLabelEncoder | GloberTextEncoder,
) -> GloberPipeline:
    """Put trained networks together; without a feature generator the pipeline only reconstructs."""
    sampling = recipe.sampling
    return GloberPipeline(
        frame_vae=frame_vae,
        video_encoder=video_encoder,
        frame_decoder=frame_decoder,
        feature_generator=feature_generator,
        condition_encoder=condition_encoder,
        decoder_scheduler=build_scheduler(recipe.autoencoder.prediction),
        generator_scheduler=build_scheduler(recipe.generator.prediction),
        span=recipe.span,
        keyframes=recipe.keyframes,
        fps=statistics.median(entry.info.fps for entry in index.entries),
        classes=index.classes if recipe.condition == "label" else None,
        num_inference_steps=sampling.num_inference_steps,
        feature_inference_steps=sampling.feature_inference_steps,
        guidance_scale=sampling.guidance_scale,
        decoder_guidance_scale=sampling.decoder_guidance_scale,
        shared_noise=sampling.shared_noise,
    )
