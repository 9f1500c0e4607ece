"""TATS runs by name: `longtake train NAME --data DIR --out RUN`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from longtake.data.config import AugmentConfig
from longtake.tats.config import (
    CodebookConfig,
    DiscriminatorConfig,
    SamplingConfig,
    SpectrogramRecipe,
    TatsRecipe,
    TransformerConfig,
    VQGANConfig,
)
from longtake.training.config import OptimizerConfig


def tats_weizmann_64() -> TatsRecipe:
    """Class-conditional human actions at 64x64, base and hierarchical: the shipped model `tats-weizmann`.

    Data: the Weizmann actions bend, jack, wave1 and wave2 as one folder of videos per action, 25 frames/s.
    Command: longtake train tats_weizmann_64 --data weizmann-actions --out runs/weizmann
        (with --vqgan.precision bf16 twice as fast on CPUs that have it)
    """
    augment = AugmentConfig(zoom=0.08, shift=0.06, colour=0.04, reverse=True)
    optimizer = OptimizerConfig(lr=1e-3, betas=(0.9, 0.95), warmup_steps=100, schedule="cosine", clip_norm=1.0)
    transformer = TransformerConfig(
        steps=8000,
        batch_size=16,
        optimizer=optimizer,
        ema_decay=0.995,
        checkpoint_every=200,
        sample_every=500,
        hidden_size=112,
        depth=4,
        num_heads=4,
        dropout=0.1,
        cached_variants=2,
        augment=augment,
    )
    return TatsRecipe(
        size=64,
        span=16,
        short_videos="reflect",
        condition="label",
        vqgan=VQGANConfig(
            steps=2800,
            batch_size=4,
            optimizer=OptimizerConfig(
                lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0, warmup_steps=100, schedule="cosine", clip_norm=1.0
            ),
            ema_decay=0.995,
            checkpoint_every=100,
            sample_every=250,
            base_channels=8,
            motion_weight=1.0,
            codebook=CodebookConfig(
                num_codes=1024, dim=32, decay=0.98, start=800, restart_dead_codes=True, restart_threshold=0.05
            ),
            perceptual_weight=0.0,
            discriminator=DiscriminatorConfig(image_weight=0.0, video_weight=0.0),
            augment=augment,
        ),
        transformer=transformer,
        sparse=replace(transformer, steps=6500, latent_step=4),
        interpolation=replace(transformer, steps=2500, num_latents=5),
        sampling=SamplingConfig(temperature=0.8, top_k=None, top_p=0.8),
    )


def tats_sky_mini_64() -> TatsRecipe:
    """Unconditional skies at 64x64, base model: any folder of videos of at least 16 frames, on a CPU.

    Labels: --condition label, with one sub-folder per class. Captions: --condition caption, with captions.json,
    captions.csv or metadata.jsonl in the folder.
    Command: longtake train tats_sky_mini_64 --data sky-mini --out runs/sky-mini
    """
    recipe = tats_weizmann_64()
    augment = AugmentConfig(mirror=True, zoom=0.1)
    return replace(
        recipe,
        short_videos="leave_out",
        condition="none",
        vqgan=replace(recipe.vqgan, augment=augment),
        transformer=replace(recipe.transformer, steps=2500, augment=augment),
        sparse=None,
        interpolation=None,
    )


def tats_sky_128() -> TatsRecipe:
    """Unconditional time-lapse skies at 128x128, 16 frames: the paper's TATS-base.

    Data: Sky Time-lapse, its training videos as one folder. Needs the extra `perceptual`. The authors trained on 8
    GPUs: 96 clips per VQGAN step, 24 per transformer step; batch sizes here are per process.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_sky_128 --data sky/train --out runs/sky
    """
    return TatsRecipe(
        vqgan=VQGANConfig(steps=300_000, batch_size=2, accumulation=6, checkpoint_every=2000, sample_every=2000),
        transformer=TransformerConfig(steps=500_000, batch_size=3, checkpoint_every=2000, sample_every=5000),
    )


def tats_sky_128_hierarchical() -> TatsRecipe:
    """Skies at 128x128 in 1024 frames and more: the paper's TATS-hierarchical, sparse and interpolation transformer.

    As tats_sky_128, for videos of at least 64 frames.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_sky_128_hierarchical --data sky/train --out runs/sky
    """
    return hierarchical(tats_sky_128())


def tats_ucf_128() -> TatsRecipe:
    """Class-conditional actions at 128x128, 16 frames: the paper's TATS-base on UCF-101.

    Data: the 9,537 videos of UCF-101's first training split, one folder per class. Needs the extra `perceptual`.
    The authors report 10 days on 8 GPUs.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_ucf_128 --data ucf101/train --out runs/ucf
    """
    return replace(tats_sky_128(), condition="label")


def tats_ucf_128_hierarchical() -> TatsRecipe:
    """Class-conditional actions at 128x128, long: the paper's TATS-hierarchical on UCF-101. As tats_ucf_128.

    Command: torchrun --nproc_per_node 8 -m longtake train tats_ucf_128_hierarchical --data ucf101/train --out runs/ucf
    """
    return hierarchical(tats_ucf_128())


def tats_taichi_128() -> TatsRecipe:
    """Unconditional Tai-Chi at 128x128, every fourth frame: the paper's TATS-base on TaiChi-HD.

    Data: TaiChi-HD, its training videos as one folder. Needs the extra `perceptual`.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_taichi_128 --data taichi/train --out runs/taichi
    """
    return replace(tats_sky_128(), sample_step=4)


def tats_taichi_128_hierarchical() -> TatsRecipe:
    """Tai-Chi at 128x128, every fourth frame, long: the paper's TATS-hierarchical. As tats_taichi_128.

    Command: torchrun --nproc_per_node 8 -m longtake train tats_taichi_128_hierarchical --data taichi/train
        --out runs/taichi
    """
    return hierarchical(tats_taichi_128())


def tats_drum_64() -> TatsRecipe:
    """Drumming at 64x64 to its sound: the paper's TATS on AudioSet-Drum.

    Data: AudioSet-Drum's training videos, as `longtake data prepare audioset-drum` writes them with the spectra of
    their sound; first train tats_drum_stft on them. Needs the extra `perceptual`.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_drum_64 --data drum/train --out runs/drum
        --conditioning.stft-vqgan runs/drum-stft/model
    """
    return replace(tats_sky_128(), size=64, condition="stft")


def tats_drum_stft() -> SpectrogramRecipe:
    """The sound of drumming as codes: the paper's VQGAN of spectrograms, which tats_drum_64 needs.

    Data: as tats_drum_64. Needs the extra `perceptual`. The authors trained on 8 GPUs, 96 clips per step, without
    discriminators.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_drum_stft --data drum/train --out runs/drum-stft
    """
    return SpectrogramRecipe(
        vqgan=VQGANConfig(
            steps=300_000,
            batch_size=6,
            accumulation=2,
            checkpoint_every=2000,
            sample_every=2000,
            codebook=CodebookConfig(num_codes=1024),
            discriminator=DiscriminatorConfig(image_weight=0.0, video_weight=0.0),
        )
    )


def tats_mugen_256() -> TatsRecipe:
    """Captioned games at 256x256: the paper's TATS on MUGEN.

    Data: as longtake data prepare mugen writes it. Needs the extra `perceptual`. Codes are 16 pixels apart here, so
    that a clip keeps its 4x16x16 codes. The authors' captions are CLIP's ids: --conditioning.clip-tokenizer FOLDER.
    Command: torchrun --nproc_per_node 8 -m longtake train tats_mugen_256 --data mugen/train --out runs/mugen
    """
    recipe = tats_sky_128()
    return replace(recipe, size=256, condition="caption", vqgan=replace(recipe.vqgan, downsample=(4, 16, 16)))


def hierarchical(recipe: TatsRecipe) -> TatsRecipe:
    """Add the paper's pair: windows of 4 latent frames, 4 apart (64 frames), and of 5 neighbouring ones (20 frames)."""
    return replace(
        recipe,
        sparse=replace(recipe.transformer, latent_step=4),
        interpolation=replace(recipe.transformer, num_latents=5),
    )


RECIPES: Mapping[str, Callable[[], TatsRecipe | SpectrogramRecipe]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            tats_weizmann_64,
            tats_sky_mini_64,
            tats_sky_128,
            tats_sky_128_hierarchical,
            tats_ucf_128,
            tats_ucf_128_hierarchical,
            tats_taichi_128,
            tats_taichi_128_hierarchical,
            tats_drum_64,
            tats_drum_stft,
            tats_mugen_256,
        )
    }
)
"""Name -> recipe."""
