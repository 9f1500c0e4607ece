"""Recall runs by name: `longtake train NAME --data DIR --out RUN`.

Those named after UvA-NEMO, KTH, UCF-101, Taichi and Sky have the thesis' sizes and settings, batch sizes per GPU; the
others are small, for a CPU. Scores are the thesis' FVD of the first 16 / 128 frames (Table 5.5) or video FID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from longtake.data.config import AugmentConfig
from longtake.recall.config import (
    GAN_OPTIMIZER,
    GPT_OPTIMIZER,
    DiscriminatorConfig,
    EncoderConfig,
    GANConfig,
    GeneratorConfig,
    GPTConfig,
    RecallRecipe,
    SamplingConfig,
)

ENCODER_64 = EncoderConfig(
    channels=(8, 8, 16, 16, 32, 32), content_features=(256,), motion_features=(256,), content_frame=0
)
GENERATOR_64 = GeneratorConfig(content_channels=128, motion_channels=10, channels=(512, 512, 256, 128, 64), mode="1p2d")
DISCRIMINATORS_64 = DiscriminatorConfig(
    video_channels=(64, 128, 256, 512),
    image_channels=(64, 128, 256, 512),
)


def g3an_uva_64() -> RecallRecipe:
    """G3AN itself at 64x64, from noise, no encoder: the baseline of the thesis' chapter 3.

    Data: UvA-NEMO, all 1240 videos in one folder; 5000 epochs of batches of 25. Video FID with encoder: 86.21.
    Command: longtake train g3an_uva_64 --data uva --out runs/g3an-uva
    """
    gan = GANConfig(steps=248_000, batch_size=25, anchor_frame=None, joint=False, noise_terms=True)
    return RecallRecipe(
        model="g3an",
        size=64,
        frames="random_step",
        steps=(2, 3),
        encoder=ENCODER_64,
        generator=GENERATOR_64,
        discriminators=DISCRIMINATORS_64,
        gan=gan,
    )


def encgan3_uva_64() -> RecallRecipe:
    """EncGAN3 at 64x64: smiling faces, 16 frames (thesis chapter 3).

    Data: UvA-NEMO, all 1240 videos in one folder, which are also what it is measured on; 3000 epochs of batches of 10.
    Expected: video FID 86.21.
    Command: longtake train encgan3_uva_64 --data uva --out runs/encgan3-uva
    """
    recipe = g3an_uva_64()
    return replace(recipe, model="encgan3", gan=replace(recipe.gan, steps=372_000, batch_size=10))


def encgan3_weizmann_full_64() -> RecallRecipe:
    """EncGAN3 at the thesis' size on the Weizmann actions (chapter 3).

    Data: all 93 Weizmann videos, ten actions, 20 pixels cut off each edge. Expected: video FID 78.93.
    Command: longtake train encgan3_weizmann_full_64 --data weizmann --out runs/encgan3-weizmann
    """
    recipe = encgan3_uva_64()
    return replace(recipe, steps=(1, 2, 3), gan=replace(recipe.gan, steps=28_000))


def encgan3_kth_64() -> RecallRecipe:
    """EncGAN3 on the KTH actions (thesis chapter 3).

    Data: all 599 KTH videos. Expected: video FID 66.62.
    Command: longtake train encgan3_kth_64 --data kth --out runs/encgan3-kth
    """
    recipe = encgan3_uva_64()
    return replace(recipe, steps=(1, 2, 3, 4, 5, 6), gan=replace(recipe.gan, steps=180_000))


def encgan3_ucf101_64() -> RecallRecipe:
    """EncGAN3 on UCF-101 (thesis chapter 3); the thesis does not say for how long, here 300 epochs.

    Data: all 13320 UCF-101 videos. Expected: video FID 91.18.
    Command: longtake train encgan3_ucf101_64 --data ucf101 --out runs/encgan3-ucf
    """
    recipe = encgan3_kth_64()
    return replace(recipe, gan=replace(recipe.gan, steps=400_000))


def lencgan_taichi_64() -> RecallRecipe:
    """LEncGAN: EncGAN3 with LSTMs that carry their states from clip to clip, one video at a time (thesis Sec. 3.3).

    Data: the 31 Taichi videos of Table 4.1. The thesis gives no length of training.
    Command: longtake train lencgan_taichi_64 --data taichi --out runs/lencgan
    """
    recipe = encgan3_uva_64()
    return replace(
        recipe,
        model="lencgan",
        frames="windows",
        steps=(1,),
        encoder=replace(recipe.encoder, content_features=(512,), motion_features=(512,)),
        gan=replace(recipe.gan, steps=100_000, batch_size=1, noise_terms=False, anchor_frame=7),
    )


def r2_taichi_128() -> RecallRecipe:
    """The original R2 (REncGAN): overlapping clips, encoder and generator in one step (thesis chapter 4).

    Data: the 31 Taichi videos of Table 4.1. Expected: FVD 113.5 / 145.9.
    Command: torchrun --nproc_per_node 3 -m longtake train r2_taichi_128 --data taichi --out runs/r2
    """
    return RecallRecipe(generator=GeneratorConfig(mode="1p2d"), gan=GANConfig(steps=47_640, batch_size=25))


def improved_r2_taichi_128() -> RecallRecipe:
    """Improved R2: 3d generator, and the clip discriminator picks the best of 20 clips for sampling (thesis chapter 5).

    Data: the 31 Taichi videos of Table 4.1. 3970 epochs of 12 batches. Expected: FVD 101.1 / 108.9.
    Command: torchrun --nproc_per_node 3 -m longtake train improved_r2_taichi_128 --data taichi --out runs/r2
    """
    recipe = r2_taichi_128()
    return replace(recipe, generator=GeneratorConfig(), sampling=SamplingConfig(num_candidates=20))


def improved_r2_sky_128() -> RecallRecipe:
    """Improved R2 on time-lapse skies (thesis chapter 5).

    Data: Sky Time-lapse, its training videos in one folder. 215 epochs of 1883 batches. Expected: FVD 293.9 / 591.5.
    Command: torchrun --nproc_per_node 3 -m longtake train improved_r2_sky_128 --data sky/train --out runs/r2-sky
    """
    recipe = improved_r2_taichi_128()
    return replace(recipe, gan=replace(recipe.gan, steps=405_000))


def ar2_taichi_128() -> RecallRecipe:
    """AR2: the next clip predicted from the last, without an input video (thesis Sec. 5.2).

    Data: the 31 Taichi videos of Table 4.1. 700 epochs of 10 batches. Expected: FVD 1258.5 / 1986.3.
    Command: torchrun --nproc_per_node 3 -m longtake train ar2_taichi_128 --data taichi --out runs/ar2
    """
    recipe = improved_r2_taichi_128()
    gan = replace(recipe.gan, steps=7_000, batch_size=30, recon_loss="smooth_l1", noise_terms=True)
    return replace(recipe, model="ar2", gan=gan)


def ar2_sky_128() -> RecallRecipe:
    """AR2 on time-lapse skies (thesis Sec. 5.2).

    Data: Sky Time-lapse, its training videos in one folder. 13 epochs of 1284 batches. Expected: FVD 445.8 / 840.4.
    Command: torchrun --nproc_per_node 2 -m longtake train ar2_sky_128 --data sky/train --out runs/ar2-sky
    """
    recipe = ar2_taichi_128()
    return replace(recipe, gan=replace(recipe.gan, steps=16_700, batch_size=55))


def r3_taichi_128() -> RecallRecipe:
    """R3: improved R2, and a GPT of 1.36 billion parameters that writes its latent spaces (thesis Sec. 5.3).

    Data: the 31 Taichi videos of Table 4.1. The GPT: 4800 epochs of 2 batches of up to 30. Expected: FVD 160.4 / 385.1.
    Command: torchrun --nproc_per_node 3 -m longtake train r3_taichi_128 --data taichi --out runs/r3
    """
    return replace(improved_r2_taichi_128(), model="r3", gpt=GPTConfig(steps=9_600, batch_size=30))


def r3_sky_128() -> RecallRecipe:
    """R3 on time-lapse skies (thesis Sec. 5.3).

    Data: Sky Time-lapse, its training videos in one folder. The GPT: 1290 epochs. Expected: FVD 256.9 / 433.8.
    Command: torchrun --nproc_per_node 3 -m longtake train r3_sky_128 --data sky/train --out runs/r3-sky
    """
    return replace(improved_r2_sky_128(), model="r3", gpt=GPTConfig(steps=179_000, batch_size=5))


def r3_weizmann_64() -> RecallRecipe:
    """Human actions at 64x64, any length, from a first clip: 3.3 million parameters in all.

    Data: the Weizmann actions bend, jack, wave1 and wave2, 25 frames/s; videos of 24 frames and more.
    Command: longtake train r3_weizmann_64 --data weizmann-actions --out runs/r3
        (with --gan.precision bf16 nearly twice as fast on CPUs that have it)
    Then, to wipe away the stripes that the discriminators leave, 500 more steps without them, and the GPT anew:
        longtake train r3_weizmann_64 --data weizmann-actions --out runs/r3 --resume --gan.steps 5000
        --gan.adversarial-start 5000 --gan.optimizer.lr 1e-4 --gan.optimizer.schedule constant
    """
    # few people: small changes of each clip keep the encoder from knowing them by heart
    varied = AugmentConfig(zoom=0.06, shift=0.04, colour=0.08)
    return RecallRecipe(
        model="r3",
        size=64,
        encoder=EncoderConfig(
            channels=(8, 8, 16, 16, 32, 32),
            content_features=(96,),
            motion_features=(96,),
            clip_features=96,
            initial_logvar=-4.0,
        ),
        generator=GeneratorConfig(
            content_channels=48, motion_channels=16, channels=(96, 64, 48, 32, 16), self_attention=False
        ),
        discriminators=DiscriminatorConfig(
            video_channels=(16, 24, 32, 48),
            image_channels=(16, 32, 64, 96),
            optimizer=replace(GAN_OPTIMIZER, lr=1e-4),
        ),
        gan=GANConfig(
            steps=4_500,
            batch_size=8,
            optimizer=replace(GAN_OPTIMIZER, lr=1e-3, schedule="cosine", warmup_steps=100, clip_norm=2_500.0),
            adversarial_start=3_750,
            ema_decay=0.995,
            checkpoint_every=250,
            sample_every=500,
            # with weights nearer to the thesis' equal ones the discriminators win against so small a generator, which
            # answers with spots and stripes; and its motion latents stay unused where noise and KL term are not small
            recon_weight=1000.0,
            motion_weight=1.0,
            kl_weight=0.25,
            augment=varied,
        ),
        gpt=GPTConfig(
            steps=8_000,
            batch_size=16,
            optimizer=replace(GPT_OPTIMIZER, lr=1e-3, schedule="cosine", warmup_steps=100),
            ema_decay=0.995,
            checkpoint_every=500,
            sample_every=1000,
            depth=5,
            num_heads=4,
            max_tokens=8,  # the videos have 5 to 17: each position is trained by many
            keep_first=True,
            own_share=0.5,
            cached_variants=16,
            augment=varied,
        ),
        sampling=SamplingConfig(num_candidates=8),
    )


def ar2_weizmann_64() -> RecallRecipe:
    """AR2 in the small: human actions at 64x64, each clip predicted from the last.

    Data and command: as `r3_weizmann_64`.
    """
    recipe = r3_weizmann_64()
    gan = replace(
        recipe.gan,
        steps=2_200,
        adversarial_start=1_800,
        recon_loss="smooth_l1",
        recon_weight=10_000.0,  # smooth L1 of errors near 0.1 has a tenth of L1's slope
        noise_terms=True,
    )
    return replace(recipe, model="ar2", gan=gan)


def encgan3_weizmann_64() -> RecallRecipe:
    """EncGAN3 in the small: human actions at 64x64, 16 frames.

    Data and command: as `r3_weizmann_64`.
    """
    recipe = r3_weizmann_64()
    gan = replace(
        recipe.gan,
        steps=2_750,
        adversarial_start=2_000,
        anchor_frame=None,
        joint=False,
        noise_terms=True,
    )
    encoder = replace(recipe.encoder, content_frame=0)
    return replace(recipe, model="encgan3", encoder=encoder, gan=gan, sampling=SamplingConfig())


def g3an_weizmann_64() -> RecallRecipe:
    """G3AN in the small: human actions at 64x64, 16 frames from noise; the baseline without an encoder.

    Data and command: as `r3_weizmann_64`.
    """
    recipe = encgan3_weizmann_64()
    return replace(recipe, model="g3an", gan=replace(recipe.gan, adversarial_start=0))


def r3_sky_mini_64() -> RecallRecipe:
    """Time-lapse skies at 64x64 from 48 clips of 32 frames, 3 tokens each: R3 on a set too small to learn much from.

    Data: sky-mini. Command: longtake train r3_sky_mini_64 --data sky-mini --out runs/r3-sky
    """
    recipe = r3_weizmann_64()
    varied = AugmentConfig(mirror=True, zoom=0.2, shift=0.05, colour=0.1)
    return replace(
        recipe,
        gan=replace(recipe.gan, steps=2_750, adversarial_start=2_000, augment=varied),
        gpt=replace(recipe.gpt, steps=1_500, augment=varied),
    )


RECIPES: Mapping[str, Callable[[], RecallRecipe]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            r3_weizmann_64,
            ar2_weizmann_64,
            encgan3_weizmann_64,
            g3an_weizmann_64,
            r3_sky_mini_64,
            g3an_uva_64,
            encgan3_uva_64,
            encgan3_weizmann_full_64,
            encgan3_kth_64,
            encgan3_ucf101_64,
            lencgan_taichi_64,
            r2_taichi_128,
            improved_r2_taichi_128,
            improved_r2_sky_128,
            ar2_taichi_128,
            ar2_sky_128,
            r3_taichi_128,
            r3_sky_128,
        )
    }
)
"""Name -> recipe."""
