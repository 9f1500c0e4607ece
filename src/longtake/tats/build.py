"""A recipe's settings -> networks and pipeline."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

import torch

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.data.config import ClipConfig
from longtake.data.index import VideoIndex
from longtake.data.sets.stft import spectra_path
from longtake.models import find_folder
from longtake.nn.trained_parts import check_fits
from longtake.tats.condition import Condition, LabelCondition, NoCondition, TextCondition
from longtake.tats.config import ROLES, SpectrogramRecipe, TatsRecipe
from longtake.tats.discriminators import TatsDiscriminator
from longtake.tats.losses import check_perceptual
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.sound import SoundCondition
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vocabulary import BytePairs, ClipVocabulary
from longtake.tats.vqgan import TatsVQGAN

NUM_CAPTIONS = 2000


def check(recipe: TatsRecipe, index: VideoIndex) -> None:
    """Raise `UserError` for settings that cannot be built or do not suit the data, before hours are spent on training.

    Builds the networks without memory for their weights.
    """
    check_transformers(recipe)
    check_vqgan(recipe)
    if recipe.condition == "label" and not index.classes:
        raise UserError(
            f"the recipe needs classes, but {index.root} has no sub-folders (a video's folder is its class); "
            "train without with --condition none"
        )
    if recipe.condition == "caption" and not any(entry.text for entry in index.entries):
        raise UserError(
            f"the recipe needs captions, but {index.root} has none (captions.json, captions.csv, metadata.jsonl); "
            "train without with --condition none"
        )
    if recipe.condition == "stft":
        if recipe.sample_step != 1:
            raise UserError(f"sample_step is {recipe.sample_step}, but sound goes with every frame: it must be 1")
        check_sound(index)


def check_vqgan(recipe: TatsRecipe) -> None:
    """Raise `UserError` for a VQGAN that cannot be built, whose clips are too small, or that differs from the given."""
    config = recipe.vqgan
    if config.perceptual_weight and not config.pretrained:
        check_perceptual()
    with torch.device("meta"):
        model = vqgan(recipe)
        discriminators(recipe)
    if config.pretrained:
        check_fits(pretrained_folder(config.pretrained), {"vqgan": model})
    time, space = model.downsample
    if recipe.size % space:
        raise UserError(f"size is {recipe.size}; it must be a multiple of {space} (vqgan.downsample)")
    if recipe.span % time:
        raise UserError(f"span is {recipe.span}; it must be a multiple of {time} (vqgan.downsample)")
    num_latents = recipe.span // time
    if config.padding == "reflect" and min(num_latents, recipe.size // space) < 3:
        raise UserError(
            f"padding 'reflect' needs 3 codes along every axis: a span of {3 * time}, a size of {3 * space}"
        )
    margin = sum(model.encoder_context) + sum(model.decoder_context)
    if config.padding == "real" and num_latents <= margin:
        raise UserError(f"span is {recipe.span}; padding 'real' needs {(margin + 1) * time} frames at least")


def pretrained_folder(name: str) -> Path:
    """Folder with the vqgan/ of a trained TATS, or of a converted one that has no transformer yet.

    Raises `UserError` if there is none.
    """
    return Path(name) if (Path(name) / "vqgan" / "config.json").is_file() else find_folder(name)


def clip(recipe: TatsRecipe, num_frames: int) -> ClipConfig:
    """Clips of so many frames, `sample_step` apart in the video."""
    return ClipConfig(
        num_frames=num_frames,
        mode="contiguous" if recipe.sample_step == 1 else "step",
        step=recipe.sample_step,
        size=recipe.size,
        short_videos=recipe.short_videos,
    )


def vqgan(recipe: TatsRecipe | SpectrogramRecipe, channels: int = 3) -> TatsVQGAN:
    """The untrained VQGAN, of frames or of spectrograms."""
    config = recipe.vqgan
    if config.downsample[1] != config.downsample[2]:
        raise UserError(f"downsample is {list(config.downsample)}; height and width must have the same factor")
    return TatsVQGAN(
        in_channels=channels,
        base_channels=config.base_channels,
        downsample=config.downsample,
        num_codes=config.codebook.num_codes,
        code_dim=config.codebook.dim,
        norm=config.norm,
        norm_groups=config.norm_groups,
        padding=config.padding,
    )


def discriminators(recipe: TatsRecipe | SpectrogramRecipe, channels: int = 3) -> dict[str, TatsDiscriminator]:
    """The untrained discriminators whose weight is not 0: "image" of frames, "video" of clips."""
    config = recipe.vqgan.discriminator
    judges = {}
    if config.image_weight:
        judges["image"] = TatsDiscriminator(2, channels, config.channels, config.num_layers)
    if config.video_weight:
        judges["video"] = TatsDiscriminator(3, channels, config.channels, config.num_layers)
    return judges


def condition(recipe: TatsRecipe, index: VideoIndex) -> Condition:
    """What steers the transformers. Raises `UserError` if a tokenizer or VQGAN that it needs cannot be loaded."""
    settings = recipe.conditioning
    if recipe.condition == "label":
        return LabelCondition(len(index.classes))
    if recipe.condition == "caption":
        if settings.clip_tokenizer:
            return TextCondition(ClipVocabulary.from_folder(settings.clip_tokenizer), settings.num_text_tokens)
        # distinct ones, and not too many: what is frequent shows in some of them
        captions = sorted({entry.text for entry in index.entries})[:NUM_CAPTIONS]
        return TextCondition(BytePairs.learn(captions, settings.num_merges), settings.num_text_tokens)
    if recipe.condition == "stft":
        return SoundCondition(load_stft_vqgan(settings.stft_vqgan), settings.stft_size)
    return NoCondition()


def load_stft_vqgan(folder: str | None) -> TatsVQGAN:
    """Load the VQGAN of spectrograms. Raises `UserError` if there is none in the folder."""
    if folder is None or not next(Path(folder).glob("*.safetensors"), None):
        raise UserError(
            f"no VQGAN of spectrograms in {folder}: train one (longtake train tats_drum_stft --data DIR --out RUN) "
            "and give its folder with --conditioning.stft-vqgan RUN/model"
        )
    model = TatsVQGAN.from_pretrained(folder)
    if model.config.in_channels != 1:
        raise UserError(
            f"the VQGAN in {folder} is one of videos: it has {counted(model.config.in_channels, 'channel')}, not 1"
        )
    return model


def check_sound(index: VideoIndex) -> None:
    """Raise `UserError` if a video has no spectra beside it."""
    silent = [entry.path for entry in index.entries if not spectra_path(entry.path).is_file()]
    if silent:
        raise UserError(
            f"no spectra of the sound of {len(silent)} of {counted(len(index.entries), 'video')}, such as {silent[0]} "
            f"({spectra_path(silent[0]).name}): longtake data prepare audioset-drum writes them"
        )


def window_frames(recipe: TatsRecipe, name: str) -> int:
    """Video frames of the window of the transformer `name`."""
    config = getattr(recipe, name)
    return config.num_latents * config.latent_step * recipe.vqgan.downsample[0]


def transformer(recipe: TatsRecipe, name: str, condition: Condition) -> TatsTransformer:
    """The untrained transformer `name`: "transformer", "sparse" or "interpolation"."""
    config = getattr(recipe, name)
    _, height, width = recipe.vqgan.downsample
    return TatsTransformer(
        num_codes=recipe.vqgan.codebook.num_codes,
        latent_size=(recipe.size // height, recipe.size // width),
        num_latents=config.num_latents,
        latent_step=config.latent_step,
        condition_vocabulary=condition.vocabulary_size,
        condition_length=condition.length(window_frames(recipe, name)),
        interpolates=name == "interpolation",
        hidden_size=config.hidden_size,
        depth=config.depth,
        num_heads=config.num_heads,
        dropout=config.dropout,
    )


def check_transformers(recipe: TatsRecipe) -> None:
    """Raise `UserError` for windows that do not fit together, and for settings that no transformer can have."""
    sparse, interpolation, sampling = recipe.sparse, recipe.interpolation, recipe.sampling
    if (sparse is None) != (interpolation is None):
        raise UserError("a hierarchical model needs both, sparse and interpolation")
    if (
        sparse
        and interpolation
        and (sparse.latent_step, interpolation.latent_step) != (interpolation.num_latents - 1, 1)
    ):
        raise UserError(
            f"the sparse transformer takes every {sparse.latent_step}-th latent frame, so the interpolation's window "
            f"must be {sparse.latent_step + 1} neighbouring ones, not {interpolation.num_latents}, "
            f"{interpolation.latent_step} apart"
        )
    for name in ROLES:
        config = getattr(recipe, name)
        if config is None:
            continue
        if config.num_latents < 2 or config.hidden_size % config.num_heads:
            raise UserError(
                f"{name} has num_latents {config.num_latents}, hidden_size {config.hidden_size} and num_heads "
                f"{config.num_heads}; a window has 2 latent frames at least, and the heads divide the size"
            )
        if name != "interpolation" and not 1 <= sampling.context_latents < config.num_latents:
            raise UserError(
                f"context_latents is {sampling.context_latents}; the {name}'s window has room for "
                f"1 to {config.num_latents - 1}"
            )
        if recipe.condition == "stft" and config.augment.reverse:
            raise UserError(f"{name}.augment.reverse is set, but sound cannot be played backwards with the video")


def pipeline(
    recipe: TatsRecipe,
    index: VideoIndex,
    vqgan: TatsVQGAN,
    transformer: TatsTransformer,
    sparse: TatsTransformer | None = None,
    interpolation: TatsTransformer | None = None,
) -> TatsPipeline:
    """Put trained networks together."""
    steer, sampling = condition(recipe, index), recipe.sampling
    vocabulary = steer.vocabulary if isinstance(steer, TextCondition) else None
    counts = Counter(entry.label for entry in index.entries)
    names = ["transformer"] if sparse is None else ["transformer", "sparse"]
    return TatsPipeline(
        vqgan,
        transformer,
        sparse,
        interpolation,
        tokenizer=vocabulary.tokenizer if isinstance(vocabulary, ClipVocabulary) else None,
        stft_vqgan=steer.vqgan if isinstance(steer, SoundCondition) else None,
        condition=recipe.condition,
        span=max(window_frames(recipe, name) for name in names),
        fps=statistics.median(entry.info.fps for entry in index.entries) / recipe.sample_step,
        classes=index.classes if recipe.condition == "label" else None,
        class_weights=[counts[label] / len(index.entries) for label in range(len(index.classes))],
        merges=vocabulary.merges if isinstance(vocabulary, BytePairs) else None,
        stft_size=recipe.conditioning.stft_size,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        context=sampling.context_latents,
    )
