"""A recipe's settings -> networks and pipeline."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from diffusers import AutoencoderKL, ModelMixin

from longtake.core.errors import UserError, choose_one_of
from longtake.data.index import VideoIndex, usable
from longtake.glober import pretrained
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.config import ClipFrames, GloberRecipe
from longtake.glober.discriminator import GloberDiscriminator
from longtake.glober.endless import hop_of
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.frame_vae import build_frame_vae
from longtake.glober.pipeline import GloberPipeline
from longtake.glober.sampling import build_scheduler
from longtake.glober.text_encoder import ConditionEncoder, check_clip, prompt_table, read_clip
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.models import find_folder, read_index
from longtake.nn import trained_parts
from longtake.training.optimizer import check_optimizer

TEXT_ENCODER_DEPTH = 2
TEXT_ENCODER_HEAD_DIM = 32
PREVIOUS_WEIGHT = "previous_embedding.weight"  # what makes a feature generator endless


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
    check_whole_videos(recipe)
    check_windows(recipe)
    check_condition(recipe, index)
    for config in (recipe.frame_vae, recipe.autoencoder, recipe.autoencoder.discriminator, recipe.generator):
        check_optimizer(config.optimizer)
    with torch.device("meta"):
        vae = frame_vae(recipe)
        decoder = frame_decoder(recipe, vae)
        networks = {"video_encoder": video_encoder(recipe, vae), "frame_decoder": decoder}
        feature_generator(recipe, vae)
        if not recipe.text_encoder:
            condition_encoder(recipe, index)
        if recipe.autoencoder.cra_weight:
            discriminator(recipe, vae)
    if recipe.autoencoder.decoder.pretrained and not recipe.autoencoder.pretrained:
        pretrained.check_unet(recipe.autoencoder.decoder.pretrained, decoder)
    if recipe.autoencoder.pretrained:
        check_pretrained(recipe, find_folder(recipe.autoencoder.pretrained), networks)


def check_whole_videos(recipe: GloberRecipe) -> None:
    """Raise `UserError` if clips are to be whole videos and that cannot be trained."""
    choose_one_of("frames", recipe.frames, get_args(ClipFrames))
    if recipe.frames != "whole_video":
        return
    for name, config in (("autoencoder", recipe.autoencoder), ("generator", recipe.generator)):
        if not (config.cached_variants or config.encoded or getattr(config, "pretrained", None)):
            raise UserError(f"frames whole_video needs latents of whole videos: set {name}.cached_variants or .encoded")
    if recipe.generator.previous_window:
        raise UserError("previous_window chains windows of a fixed length: it does not go with frames whole_video")
    if recipe.short_videos != "leave_out":
        raise UserError("short_videos fills up clips of a fixed length: it does not go with frames whole_video")
    if recipe.autoencoder.num_targets > len(recipe.keyframes):
        raise UserError(
            f"num_targets is {recipe.autoencoder.num_targets}; with frames whole_video it must be at most "
            f"{len(recipe.keyframes)}, the number of keyframes, which the shortest videos have frames for"
        )


def check_windows(recipe: GloberRecipe) -> None:
    """Raise `UserError` if a chain of windows is wanted and cannot be trained."""
    config = recipe.generator
    if not config.previous_window:
        return
    hop_of(recipe.span)
    if not (config.cached_variants or config.encoded):
        raise UserError("previous_window needs whole videos as latents: set cached_variants or encoded")
    if not 0 < config.previous_dropout <= 1:
        raise UserError(f"previous_dropout is {config.previous_dropout}; it must be above 0, and at most 1")


def check_pretrained(recipe: GloberRecipe, folder: Path, networks: Mapping[str, ModelMixin]) -> None:
    """Raise `UserError` if the networks that are used as they are differ from what the recipe describes."""
    index = read_index(folder)
    index = {"frames": "contiguous", **index}  # models made before there was a choice
    settings = [(name, getattr(recipe, name), index.get(name)) for name in ("frames", "span", "keyframes")]
    trained_parts.check_fits(folder, networks, settings)


def start_from(folder: Path, networks: Mapping[str, ModelMixin]) -> None:
    """Load the weights of a trained pipeline's parts into networks of the same names.

    What only a network with `previous_window` has stays as it is, or is left out if the pipeline's alone has it. An
    encoder of captions stays as it is where the pipeline's is one of labels, or the other way round. Raises `UserError`
    if anything else does not fit.
    """
    saved = read_index(folder)
    kinds = {"condition_encoder": saved.get("condition_encoder", [])[-1:]}
    alike = {name: network for name, network in networks.items() if kinds.get(name) in (None, [type(network).__name__])}
    trained_parts.start_from(folder, alike, optional=[PREVIOUS_WEIGHT])


def frame_vae(recipe: GloberRecipe) -> AutoencoderKL:
    """The frame VAE in its shape, untrained: the recipe's own, or as the pretrained folder describes it."""
    config, folder = recipe.frame_vae, frame_vae_folder(recipe)
    if folder:
        return pretrained.frame_vae_shape(folder)
    return build_frame_vae(
        config.block_out_channels,
        config.layers_per_block,
        config.latent_channels,
        config.norm_groups,
        config.mid_attention,
    )


def frame_vae_folder(recipe: GloberRecipe) -> str | None:
    """Folder or checkpoint of the frame VAE that is used as it is; None if it is to be trained."""
    if recipe.autoencoder.pretrained:
        return str(find_folder(recipe.autoencoder.pretrained) / "frame_vae")
    return recipe.frame_vae.pretrained


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


def conditioned(recipe: GloberRecipe, index: VideoIndex) -> VideoIndex:
    """Return the videos as the recipe's condition sees them: under one prompt for all, that prompt is their class."""
    if recipe.condition != "prompt":
        return index
    entries = tuple(replace(entry, label=0) for entry in index.entries)
    return replace(index, entries=entries, classes=(recipe.prompt,))


def condition_encoder(recipe: GloberRecipe, index: VideoIndex) -> ConditionEncoder:
    """The encoder of labels or captions; without a condition it knows the null condition alone.

    Untrained; or frozen, with a pretrained text encoder: that one for captions, and a table of its states for the
    names of classes or the prompt. Raises `UserError` as `check_condition` does.
    """
    check_condition(recipe, index)
    if recipe.text_encoder:
        clip = read_clip(recipe.text_encoder)
        return (
            clip if recipe.condition == "caption" else prompt_table(clip, index.classes if has_classes(recipe) else ())
        )
    if recipe.condition == "caption":
        num_heads = max(1, recipe.condition_dim // TEXT_ENCODER_HEAD_DIM)
        return GloberTextEncoder(recipe.condition_dim, TEXT_ENCODER_DEPTH, num_heads)
    return GloberLabelEncoder(len(index.classes) if has_classes(recipe) else 0, recipe.condition_dim)


def has_classes(recipe: GloberRecipe) -> bool:
    """Whether the model is steered by a choice among known texts (see `conditioned`)."""
    return recipe.condition in ("label", "prompt")


def check_condition(recipe: GloberRecipe, index: VideoIndex) -> None:
    """Raise `UserError` if the data or the text encoder lack what the recipe's condition needs."""
    if recipe.text_encoder:
        check_clip(recipe.text_encoder, recipe.condition_dim)
    if recipe.condition == "prompt" and not (recipe.prompt and recipe.text_encoder):
        raise UserError("condition prompt needs the text and its encoder: --prompt TEXT --text-encoder DIR")
    if recipe.condition == "caption" and not any(entry.text for entry in index.entries):
        raise UserError(
            f"the recipe needs captions, but {index.root} has none (captions.json, captions.csv, metadata.jsonl); "
            "train without with --condition none"
        )
    if recipe.condition == "label" and not index.classes:
        raise UserError(
            f"the recipe needs classes, but {index.root} has no sub-folders (a video's folder is its class); "
            "train without with --condition none"
        )


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
        previous_window=config.previous_window,
    )


def real_time_fps(recipe: GloberRecipe, index: VideoIndex) -> float:
    """Return the rate at which `span` frames show real time: the median over the videos.

    For whole videos it is the rate at which `span` frames last as long as the video.
    """
    if recipe.frames == "whole_video":
        infos = [entry.info for entry in usable(index, len(recipe.keyframes))[0].entries]
        return statistics.median(recipe.span * info.fps / info.num_frames for info in infos)
    return statistics.median(entry.info.fps for entry in index.entries)


def pipeline(
    recipe: GloberRecipe,
    index: VideoIndex,
    frame_vae: AutoencoderKL,
    video_encoder: GloberVideoEncoder,
    frame_decoder: GloberFrameDecoder,
    feature_generator: GloberFeatureGenerator | None,
    condition_encoder: ConditionEncoder,
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
        frames=recipe.frames,
        keyframes=recipe.keyframes,
        fps=real_time_fps(recipe, index),
        classes=index.classes if has_classes(recipe) else None,
        num_inference_steps=sampling.num_inference_steps,
        feature_inference_steps=sampling.feature_inference_steps,
        guidance_scale=sampling.guidance_scale,
        decoder_guidance_scale=sampling.decoder_guidance_scale,
        decoder_feature_guidance_scale=sampling.decoder_feature_guidance_scale,
        shared_noise=sampling.shared_noise,
    )
