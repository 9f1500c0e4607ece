"""The runs behind the paper's tables, by name. The sizes are Table 8's, resolved against the authors' code (README.md).

All start from Stable Diffusion v1: its VAE and CLIP's text encoder are used as they are, its UNet is where the frame
decoder starts. `--frame-vae.pretrained`, `--autoencoder.decoder.pretrained` and `--text-encoder` name them; one
diffusers folder of the whole of Stable Diffusion ("stable-diffusion-v1", unless told otherwise) is enough. Without them
these recipes stop at once. Batches are the paper's per process, on eight GPUs; docs/fine-tuning.md is about one.

Neither the GPU hours nor, but for what is said at a recipe, the scores of the paper's tables are on record here: look
them up in the table that a recipe names. None of these runs has been made with this package yet.
"""

from __future__ import annotations

from dataclasses import replace

from longtake.data.config import AugmentConfig
from longtake.glober.config import (
    AutoencoderConfig,
    DiscriminatorConfig,
    FrameDecoderConfig,
    FrameVAEConfig,
    GeneratorConfig,
    GloberRecipe,
    SamplingConfig,
)
from longtake.training.config import OptimizerConfig

STABLE_DIFFUSION = "stable-diffusion-v1"
MIRRORED = AugmentConfig(mirror=True)


def glober_sky_256() -> GloberRecipe:
    """Time-lapse skies at 256x256, 16 frames, one prompt for all: the paper's Sky Time-lapse model (Tables 1 and 8).

    Data: longtake data prepare sky-timelapse; the training videos. Score: FVD of Table 1.
    Learning rates are the paper's; the authors' own configuration of the autoencoder has 3e-5.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_sky_256 --data sky/train --out runs/sky
    """
    return _recipe(
        prompt="A time-lapse video of sky",
        autoencoder=_autoencoder(steps=40_000, lr=1e-4, batch_size=32),
        generator=_generator(steps=100_000, lr=5e-5, batch_size=32, hidden_size=1024, depth=20),
        decoder_guidance=3.0,
    )


def glober_sky_256_long() -> GloberRecipe:
    """Time-lapse skies at 256x256 with 128 frames in one feature (Table 5).

    The authors have no configuration of it; keyframes are spread as those of 16 frames are. Score: Table 5.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_sky_256_long --data sky/train --out runs/sky-long
    """
    return _long(glober_sky_256())


def glober_ucf101_256() -> GloberRecipe:
    """UCF-101 at 256x256, 16 frames, one prompt for all (Table 1, without classes).

    Data: longtake data prepare ucf101; the training videos. Score: FVD of Table 1.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_ucf101_256 --data ucf101/train --out runs/ucf
    """
    return _recipe(
        prompt="A video of a person",
        autoencoder=_autoencoder(steps=80_000, lr=1e-5, batch_size=40, augment=MIRRORED),
        generator=_generator(steps=200_000, lr=1e-4, batch_size=40, augment=MIRRORED),
        decoder_guidance=6.0,
    )


def glober_ucf101_256_classes() -> GloberRecipe:
    """UCF-101 at 256x256, 16 frames, conditioned on the class's name (Table 1, with classes; Table 7).

    The authors have no configuration of it: all but the condition is that of glober_ucf101_256, and the generator's
    guidance the one that is best in Table 7. Score: FVD of Table 1.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_ucf101_256_classes --data ucf101/train
        --out runs/ucf-classes
    """
    return _by_class(glober_ucf101_256())


def glober_ucf101_256_long() -> GloberRecipe:
    """UCF-101 at 256x256 with 128 frames in one feature (Table 5). Videos of fewer frames are played back and forth.

    The authors have no configuration of it; keyframes are spread as those of 16 frames are. Score: Table 5.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_ucf101_256_long --data ucf101/train
        --out runs/ucf-long
    """
    return replace(_long(glober_ucf101_256()), short_videos="reflect")


def glober_ucf101_256_no_cra() -> GloberRecipe:
    """UCF-101 at 256x256 without the CRA loss: the other row of its ablation (Table 3) is glober_ucf101_256.

    Score: Table 3.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_ucf101_256_no_cra --data ucf101/train
        --out runs/no-cra
    """
    recipe = glober_ucf101_256()
    return replace(recipe, autoencoder=replace(recipe.autoencoder, cra_weight=0.0))


def glober_ucf101_128() -> GloberRecipe:
    """UCF-101 at 128x128, 16 frames, one prompt for all (Table 1).

    The paper has a VAE of factor 4 and 4 channels here, which nobody has published; as in the authors' configurations
    of this size it is Stable Diffusion's, of factor 8, and the video encoder has one level of eight blocks, so that the
    feature is 16x16x16 again. Batch and learning rate are that configuration's, steps the paper's.
    Data: longtake data prepare ucf101; the training videos. Score: FVD of Table 1.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_ucf101_128 --data ucf101/train --out runs/ucf-128
    """
    recipe = _recipe(
        prompt="A video of a person",
        autoencoder=_autoencoder(steps=80_000, lr=1e-4, batch_size=224, augment=MIRRORED),
        generator=_generator(steps=200_000, lr=1e-4, batch_size=40, augment=MIRRORED),
        decoder_guidance=6.0,
    )
    return _at_128(recipe)


def glober_ucf101_128_classes() -> GloberRecipe:
    """UCF-101 at 128x128, 16 frames, conditioned on the class's name (Table 1); else as glober_ucf101_128.

    Score: FVD of Table 1.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_ucf101_128_classes --data ucf101/train
        --out runs/ucf-128-c
    """
    return _by_class(glober_ucf101_128())


def glober_ucf101_128_feature_8x8x64() -> GloberRecipe:
    """UCF-101 at 128x128 with a global feature of 8x8x64, as many values as 16x16x16 (Table 4).

    Two levels of four blocks in the video encoder. As for all of Table 4, settings are those of the authors'
    configurations: two GPUs, class names as prompts, steps by their limits of epochs.
    Score: Table 4.
    Command: torchrun --nproc_per_node 2 -m longtake train glober_ucf101_128_feature_8x8x64 --data ucf101/train
        --out runs/8x8x64
    """
    recipe = _with_feature(_of_table_4(), channels=64, channel_mult=(1, 2), num_res_blocks=4)
    return replace(recipe, generator=replace(recipe.generator, steps=138_000))


def glober_ucf101_128_feature_16x16x16() -> GloberRecipe:
    """UCF-101 at 128x128 with the global feature of 16x16x16 that all other tables have (Table 4).

    Score: Table 4; the paper's text says that generated videos are better by 39.2 in FVD than with 16x16x32.
    Command: torchrun --nproc_per_node 2 -m longtake train glober_ucf101_128_feature_16x16x16 --data ucf101/train
        --out runs/16x16x16
    """
    return _of_table_4()


def glober_ucf101_128_feature_16x16x32() -> GloberRecipe:
    """UCF-101 at 128x128 with a global feature of 16x16x32 (Table 4).

    Score: Table 4; see glober_ucf101_128_feature_16x16x16.
    Command: torchrun --nproc_per_node 2 -m longtake train glober_ucf101_128_feature_16x16x32 --data ucf101/train
        --out runs/16x16x32
    """
    recipe = _with_feature(_of_table_4(), channels=32, channel_mult=(1,), num_res_blocks=8)
    return replace(recipe, generator=replace(recipe.generator, steps=138_000, batch_size=48))


def glober_taichi_128() -> GloberRecipe:
    """TaiChi-HD at 128x128, 16 frames, one prompt for all (Table 1).

    The authors have no configuration of it: sizes and rates are the paper's, the VAE and the video encoder as in
    glober_ucf101_128, the prompt our own. Data: longtake data prepare taichi-hd; the training videos.
    Score: FVD of Table 1.
    Command: torchrun --nproc_per_node 8 -m longtake train glober_taichi_128 --data taichi/train --out runs/taichi
    """
    recipe = _recipe(
        prompt="A video of a person doing tai chi",
        autoencoder=_autoencoder(steps=40_000, lr=5e-5, batch_size=32),
        generator=_generator(steps=100_000, lr=5e-5, batch_size=32, hidden_size=1024, depth=20),
        decoder_guidance=3.0,
    )
    return _at_128(recipe)


def glober_finetune_256() -> GloberRecipe:
    """Your own captioned videos at 256x256 on one GPU of 24 GB, from Stable Diffusion v1's weights.

    Data: a folder of videos of at least 16 frames, with captions.json, captions.csv or metadata.jsonl.
    docs/fine-tuning.md says how, and what memory and time to expect.
    Command: longtake train glober_finetune_256 --data my-videos --out runs/mine
    """
    # one clip of two frames at a time: it is the memory that is short, and eight of them make a step
    optimizer = OptimizerConfig(lr=1e-5, warmup_steps=500, clip_norm=1.0)
    return GloberRecipe(
        condition="caption",
        text_encoder=STABLE_DIFFUSION,
        frame_vae=FrameVAEConfig(pretrained=STABLE_DIFFUSION),
        autoencoder=AutoencoderConfig(
            steps=20_000,
            optimizer=optimizer,
            decoder=FrameDecoderConfig(pretrained=STABLE_DIFFUSION),
            discriminator=DiscriminatorConfig(optimizer=optimizer),
            batch_size=1,
            accumulation=8,
            precision="bf16",
            gradient_checkpointing=True,
        ),
        generator=GeneratorConfig(
            steps=50_000,
            optimizer=OptimizerConfig(lr=1e-4, warmup_steps=500, clip_norm=1.0),
            hidden_size=1024,
            depth=20,
            batch_size=8,
            accumulation=4,
            precision="bf16",
            gradient_checkpointing=True,
        ),
        sampling=SamplingConfig(guidance_scale=9.0, decoder_guidance_scale=3.0),
    )


def _recipe(
    prompt: str, autoencoder: AutoencoderConfig, generator: GeneratorConfig, decoder_guidance: float
) -> GloberRecipe:
    return GloberRecipe(
        condition="prompt",
        prompt=prompt,
        text_encoder=STABLE_DIFFUSION,
        frame_vae=FrameVAEConfig(pretrained=STABLE_DIFFUSION),
        autoencoder=autoencoder,
        generator=generator,
        sampling=SamplingConfig(guidance_scale=9.0, decoder_guidance_scale=decoder_guidance),
    )


def _autoencoder(steps: int, lr: float, batch_size: int, augment: AugmentConfig | None = None) -> AutoencoderConfig:
    # the warm-up is the authors'
    optimizer = OptimizerConfig(lr=lr, warmup_steps=1000)
    return AutoencoderConfig(
        steps=steps,
        batch_size=batch_size,
        optimizer=optimizer,
        precision="fp16",
        decoder=FrameDecoderConfig(pretrained=STABLE_DIFFUSION),
        discriminator=DiscriminatorConfig(optimizer=optimizer),
        augment=augment or AugmentConfig(),
    )


def _generator(
    steps: int,
    lr: float,
    batch_size: int,
    hidden_size: int = 1152,
    depth: int = 28,
    augment: AugmentConfig | None = None,
) -> GeneratorConfig:
    return GeneratorConfig(
        steps=steps,
        batch_size=batch_size,
        optimizer=OptimizerConfig(lr=lr, warmup_steps=1000),
        precision="fp16",
        hidden_size=hidden_size,
        depth=depth,
        augment=augment or AugmentConfig(),
    )


def _by_class(recipe: GloberRecipe) -> GloberRecipe:
    sampling = replace(recipe.sampling, guidance_scale=12.0)
    return replace(recipe, condition="label", prompt="", sampling=sampling)


def _long(recipe: GloberRecipe) -> GloberRecipe:
    return replace(recipe, span=128, keyframes=(0, 42, 85, 127))


def _with_feature(
    recipe: GloberRecipe, channels: int, channel_mult: tuple[int, ...], num_res_blocks: int
) -> GloberRecipe:
    encoder = replace(
        recipe.autoencoder.encoder,
        feature_channels=channels,
        channel_mult=channel_mult,
        num_res_blocks=num_res_blocks,
        attention_downsamples=tuple(2**level for level in range(len(channel_mult))),
    )
    return replace(recipe, autoencoder=replace(recipe.autoencoder, encoder=encoder))


def _at_128(recipe: GloberRecipe) -> GloberRecipe:
    # latents are 16x16 here, and so is the feature: there is no second level to halve it
    return _with_feature(replace(recipe, size=128), channels=16, channel_mult=(1,), num_res_blocks=8)


def _of_table_4() -> GloberRecipe:
    # the authors' limits of 500 and 1,000 epochs, over 13,320 videos in batches of 2 x 256 and 2 x 96
    recipe = _recipe(
        prompt="",
        autoencoder=_autoencoder(steps=13_000, lr=1e-4, batch_size=256, augment=MIRRORED),
        generator=_generator(steps=69_000, lr=1e-4, batch_size=96, augment=MIRRORED),
        decoder_guidance=3.0,
    )
    return _by_class(_at_128(recipe))


PAPER_RECIPES = (
    glober_ucf101_256,
    glober_ucf101_256_classes,
    glober_ucf101_128,
    glober_ucf101_128_classes,
    glober_sky_256,
    glober_taichi_128,
    glober_ucf101_256_no_cra,
    glober_ucf101_128_feature_8x8x64,
    glober_ucf101_128_feature_16x16x16,
    glober_ucf101_128_feature_16x16x32,
    glober_ucf101_256_long,
    glober_sky_256_long,
    glober_finetune_256,
)
"""In the order of the tables; the last one is for videos of your own."""
