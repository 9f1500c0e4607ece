"""A GLOBER so small that it trains in seconds, and videos for it; as a script it trains, for tests to kill it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from killed_runs import hang_in
from longtake.data.index import VideoIndex, index_folder
from longtake.glober import generator_stage, stages
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
from longtake.glober.frame_vae import build_frame_vae
from longtake.glober.latents import LatentBatch
from longtake.glober.train import train
from longtake.training.config import OptimizerConfig
from longtake.training.processes import process_state
from longtake.training.stage import Stage
from longtake.training.trainer import Trainer
from longtake.video import write_video

SIZE, SPAN = 16, 8
CAPTIONS = {"down": "a square falls", "right": "a square goes to the right"}

ENCODER = VideoEncoderConfig(
    model_channels=8,
    num_res_blocks=1,
    attention_downsamples=(2,),
    head_channels=8,
    feature_channels=4,
    slot_positions=True,
)
DECODER = FrameDecoderConfig(
    block_out_channels=(8, 16),
    layers_per_block=1,
    attention=(False, True),
    num_heads=2,
    norm_groups=4,
    index_scale=1000,
    index_modulation="scale_shift",
    reads_condition=False,
)
DISCRIMINATOR = DiscriminatorConfig(model_channels=8, channel_mult=(1, 2), attention_downsamples=(2,), head_channels=8)
OPTIMIZER = OptimizerConfig(lr=3e-3)

RECIPE = GloberRecipe(
    size=SIZE,
    span=SPAN,
    keyframes=(0, 2, 5, 7),
    condition="label",
    condition_dim=8,
    frame_vae=FrameVAEConfig(
        batch_size=2,
        optimizer=OPTIMIZER,
        sample_every=0,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_groups=4,
        mid_attention=False,
    ),
    autoencoder=AutoencoderConfig(
        batch_size=2,
        optimizer=OPTIMIZER,
        sample_every=0,
        encoder=ENCODER,
        decoder=DECODER,
        discriminator=DISCRIMINATOR,
        num_targets=3,
    ),
    generator=GeneratorConfig(
        batch_size=2,
        optimizer=OPTIMIZER,
        sample_every=0,
        hidden_size=16,
        depth=1,
        num_heads=2,
        prediction="v_prediction",
    ),
    sampling=SamplingConfig(num_inference_steps=2, guidance_scale=1.5, decoder_guidance_scale=1.0),
)


def changed(recipe: GloberRecipe = RECIPE, **changes) -> GloberRecipe:
    """`dataclasses.replace` with dotted names, the dots written as double underscores."""
    for name, value in changes.items():
        first, _, rest = name.partition("__")
        recipe = dataclasses.replace(
            recipe, **{first: changed(getattr(recipe, first), **{rest: value}) if rest else value}
        )
    return recipe


def moving_square(direction: str, start: int, num_frames: int) -> np.ndarray:
    """A bright square that crosses a dark frame and comes back in on the other side."""
    frame = np.full((SIZE, SIZE, 3), 30, np.uint8)
    frame[5:11, 5:11] = (230, 200, 40) if direction == "down" else (40, 120, 230)
    axis = 0 if direction == "down" else 1
    return np.stack([np.roll(frame, start + 2 * number, axis) for number in range(num_frames)])


def write_videos(root: Path, num_per_class: int = 2, num_frames: int = 11) -> Path:
    """Write one folder of videos per class, mp4 and npy in turn, with captions."""
    captions = {}
    for direction, caption in CAPTIONS.items():
        for number in range(num_per_class):
            name = f"{direction}/{number}.{'npy' if number % 2 else 'mp4'}"
            (root / direction).mkdir(parents=True, exist_ok=True)
            write_video(root / name, moving_square(direction, 3 * number, num_frames + number), 10)
            captions[name] = caption
    (root / "captions.json").write_text(json.dumps(captions))
    return root


def write_index(root: Path, **options) -> VideoIndex:
    """Write videos and index them."""
    return index_folder(write_videos(root, **options))


def random_frame_vae():
    """An untrained frame VAE, frozen, with the sizes of the recipe's."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = build_frame_vae((8, 16), 1, 4, 4, False)
    vae.register_to_config(latents_mean=[0.0] * 4, latents_std=[0.5] * 4)
    return vae.eval().requires_grad_(False)


def latent_batch(num_clips: int) -> LatentBatch:
    """Clips of random latents, of both classes in turn."""
    latents = torch.randn(num_clips, SPAN, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    clips = [(number, 0, 0) for number in range(num_clips)]
    return LatentBatch(latents, [SPAN] * num_clips, torch.arange(num_clips) % 2, ["a", "b"] * (num_clips // 2), clips)


def wake_up(*networks: nn.Module) -> None:
    """Fill what is initialised to zero, so that every input reaches the output and every parameter gets gradients."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def begun(stage: Stage) -> Trainer:
    """A trainer that has prepared the stage."""
    trainer = Trainer(stage, process_state())
    trainer.begin(None)
    return trainer


def take_steps(trainer: Trainer, count: int) -> None:
    """Train for `count` steps from the start."""
    batches = trainer.stage.batches(0, 0, 1)
    for step in range(count):
        trainer.step(step, [next(batches)])


def snapshot(*modules: nn.Module) -> list[torch.Tensor]:
    """Copies of all weights and buffers."""
    return [value.detach().clone() for module in modules for value in module.state_dict().values()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Whether two snapshots are equal."""
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@contextmanager
def few_statistics() -> Iterator[None]:
    """Measure features and latents on 32 clips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator_stage, "NUM_STATISTICS_CLIPS", 32)
        patch.setattr(stages, "NUM_STATISTICS_FRAMES", 32)
        yield


def short_recipe() -> GloberRecipe:
    """Six steps per stage, a checkpoint after the third, every kind of state that a checkpoint must hold."""
    recipe = changed(autoencoder__cra_start=2, autoencoder__augment__mirror=True, generator__cached_variants=2)
    for stage in ("frame_vae", "autoencoder", "generator"):
        recipe = changed(
            recipe,
            **{
                f"{stage}__steps": 6,
                f"{stage}__checkpoint_every": 3,
                f"{stage}__log_every": 1,
                f"{stage}__ema_decay": 0.9,
            },
        )
    return recipe


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--hang-in")
    args = parser.parse_args(arguments)
    if args.hang_in:
        kinds = stages.FrameVAEStage, stages.AutoencoderStage, generator_stage.GeneratorStage
        hang_in(kinds, args.hang_in, step=4)
    with few_statistics():
        train(short_recipe(), "toy", args.data, args.out, resume=args.resume)


if __name__ == "__main__":
    main()
