"""GLOBER runs by name: `longtake train NAME --data DIR --out RUN`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from longtake.data.config import AugmentConfig
from longtake.glober.config import (
    AutoencoderConfig,
    DiscriminatorConfig,
    FrameDecoderConfig,
    FrameVAEConfig,
    GeneratorConfig,
    GloberRecipe,
    SamplingConfig,
    VideoEncoderConfig,
)
from longtake.glober.paper_recipes import PAPER_RECIPES
from longtake.training.config import OptimizerConfig


def glober_weizmann_64() -> GloberRecipe:
    """Class-conditional human actions at 64x64, 64 frames (2.6 s) in one feature: what the shipped model began as.

    Data: the Weizmann actions bend, jack, wave1 and wave2 as one folder of videos per action, 25 frames/s.
    Command: longtake train glober_weizmann_64 --data weizmann-actions --out runs/weizmann
    """
    # few people: the autoencoders learn on more looks than there are, the generator on hardly more
    frames = AugmentConfig(zoom=0.08, shift=0.06, colour=0.12, reverse=True)
    varied = AugmentConfig(zoom=0.1, shift=0.08, colour=0.2, reverse=True)
    natural = AugmentConfig(zoom=0.04, shift=0.03, colour=0.05, reverse=True)
    return GloberRecipe(
        size=64,
        span=64,
        # every fourth frame; temporal modes want frame (k + 1/2) * span / 16
        keyframes=tuple(range(2, 64, 4)),
        short_videos="reflect",
        condition="label",
        condition_dim=128,
        frame_vae=FrameVAEConfig(
            steps=2400,
            batch_size=16,
            optimizer=OptimizerConfig(lr=2e-3, betas=(0.9, 0.99), warmup_steps=50, schedule="cosine", clip_norm=1.0),
            ema_decay=0.99,
            checkpoint_every=100,
            sample_every=250,
            block_out_channels=(24, 48, 72),
            layers_per_block=1,
            norm_groups=8,
            mid_attention=False,
            kl_weight=3e-4,
            augment=frames,
        ),
        autoencoder=AutoencoderConfig(
            steps=4000,
            batch_size=8,
            optimizer=OptimizerConfig(lr=1.5e-3, betas=(0.9, 0.99), warmup_steps=50, schedule="cosine", clip_norm=1.0),
            ema_decay=0.995,
            checkpoint_every=200,
            sample_every=500,
            encoder=VideoEncoderConfig(
                model_channels=48,
                channel_mult=(1, 2),
                num_res_blocks=1,
                attention_downsamples=(2,),
                head_channels=24,
                feature_channels=64,
                slot_positions=True,
                temporal_modes=16,
                initial_logvar=-5.0,
            ),
            decoder=FrameDecoderConfig(
                block_out_channels=(64, 112),
                layers_per_block=1,
                attention=(False, True),
                num_heads=4,
                norm_groups=16,
                index_scale=50.0,  # at most 8 cycles over the span, so that times between frames are known too
                index_modulation="scale_shift",
                reads_condition=False,
            ),
            prediction="v_prediction",
            num_targets=8,
            cra_weight=0.0,
            discriminator=DiscriminatorConfig(
                model_channels=32, channel_mult=(1, 2, 2), attention_downsamples=(2, 4), head_channels=32
            ),
            feature_dropout=0.05,
            cached_variants=10,
            augment=varied,
        ),
        generator=GeneratorConfig(
            steps=8000,
            batch_size=32,
            optimizer=OptimizerConfig(lr=1e-3, betas=(0.9, 0.99), warmup_steps=50, schedule="cosine", clip_norm=1.0),
            ema_decay=0.999,
            checkpoint_every=500,
            sample_every=1000,
            hidden_size=192,
            depth=4,
            num_heads=6,
            shared_modulation=True,
            prediction="v_prediction",
            cached_variants=6,
            augment=natural,
        ),
        sampling=SamplingConfig(
            num_inference_steps=8,
            feature_inference_steps=50,
            guidance_scale=2.0,
            decoder_guidance_scale=1.5,
            shared_noise=0.9,
        ),
    )


def glober_weizmann_64_endless() -> GloberRecipe:
    """A trained glober_weizmann_64 made endless: its generator learns to go on from the window before.

    The shipped model `glober-weizmann` was made so, and is what training starts from if nothing else is given. Data: as
    glober_weizmann_64, whose other networks stay as they are. Videos are played back and forth.
    Command: longtake train glober_weizmann_64_endless --data weizmann-actions --out runs/endless
        --autoencoder.pretrained runs/weizmann --generator.init runs/weizmann
    """
    recipe = _from_shipped()
    return replace(recipe, generator=replace(recipe.generator, previous_window=True))


def glober_weizmann_64_captions() -> GloberRecipe:
    """The shipped `glober-weizmann` steered by text: its generator learns captions instead of classes.

    Data: as glober_weizmann_64, whose other networks stay as they are, with a captions file in the folder
    (captions.json, captions.csv or metadata.jsonl; glober/README.md writes one).
    Command: longtake train glober_weizmann_64_captions --data weizmann-captions --out runs/captions
    """
    return replace(_from_shipped(), condition="caption")


def _from_shipped() -> GloberRecipe:
    """The generator alone, trained on from the shipped model."""
    recipe = glober_weizmann_64()
    optimizer = replace(recipe.generator.optimizer, lr=5e-4)
    generator = replace(recipe.generator, steps=4000, optimizer=optimizer, init="glober-weizmann")
    return replace(recipe, autoencoder=replace(recipe.autoencoder, pretrained="glober-weizmann"), generator=generator)


def glober_small_64() -> GloberRecipe:
    """Any folder of videos at 64x64, 16 frames in one feature, no condition: a first model of your own on a CPU.

    Data: a folder of videos of at least 16 frames. Labels: --condition label, with one sub-folder per class.
    Captions: --condition caption, with captions.json, captions.csv or metadata.jsonl in the folder.
    Command: longtake train glober_small_64 --data my-videos --out runs/mine
    """
    recipe = glober_weizmann_64()
    encoder = replace(recipe.autoencoder.encoder, feature_channels=32, temporal_modes=8)
    decoder = replace(recipe.autoencoder.decoder, index_scale=12.0)
    return replace(
        recipe,
        span=16,
        keyframes=tuple(range(1, 16, 2)),
        short_videos="leave_out",
        condition="none",
        autoencoder=replace(
            recipe.autoencoder,
            encoder=encoder,
            decoder=decoder,
            cached_variants=0,
            augment=AugmentConfig(mirror=True),
        ),
        generator=replace(recipe.generator, cached_variants=0, augment=AugmentConfig(mirror=True)),
        frame_vae=replace(recipe.frame_vae, augment=AugmentConfig(mirror=True)),
    )


RECIPES: Mapping[str, Callable[[], GloberRecipe]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            glober_weizmann_64,
            glober_weizmann_64_endless,
            glober_weizmann_64_captions,
            glober_small_64,
            *PAPER_RECIPES,
        )
    }
)
"""Name -> recipe."""
