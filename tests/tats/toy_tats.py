"""A TATS VQGAN so small that it trains in seconds, and videos for it; as a script it trains, for tests to kill it."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longtake.data.index import VideoIndex, index_folder
from longtake.tats import stages
from longtake.tats.config import CodebookConfig, DiscriminatorConfig, TatsRecipe, TransformerConfig, VQGANConfig
from longtake.tats.train import train
from longtake.tats.vqgan import TatsVQGAN
from longtake.training.config import OptimizerConfig
from longtake.training.processes import process_state
from longtake.training.stage import Stage
from longtake.training.trainer import Trainer
from longtake.video import write_video

SIZE, SPAN = 16, 8
OPTIMIZER = OptimizerConfig(lr=3e-3, betas=(0.5, 0.9), weight_decay=0.0)
JUDGE = DiscriminatorConfig(channels=4, num_layers=2, start=0, optimizer=OPTIMIZER)
NO_JUDGE = DiscriminatorConfig(image_weight=0.0, video_weight=0.0)

RECIPE = TatsRecipe(
    size=SIZE,
    span=SPAN,
    condition="label",
    vqgan=VQGANConfig(
        batch_size=2,
        optimizer=OPTIMIZER,
        sample_every=0,
        base_channels=4,
        downsample=(2, 4, 4),
        codebook=CodebookConfig(num_codes=16, dim=8),
        perceptual_weight=0.0,
        discriminator=JUDGE,
    ),
    transformer=TransformerConfig(
        batch_size=2, optimizer=OPTIMIZER, sample_every=0, hidden_size=16, depth=1, num_heads=2
    ),
)


def changed(recipe: Any = RECIPE, **changes: Any) -> Any:
    """`dataclasses.replace` with dotted names, the dots written as double underscores."""
    for name, value in changes.items():
        first, _, rest = name.partition("__")
        recipe = dataclasses.replace(
            recipe, **{first: changed(getattr(recipe, first), **{rest: value}) if rest else value}
        )
    return recipe


def moving_square(axis: int, start: int, num_frames: int) -> np.ndarray:
    """A bright square that crosses a dark frame and comes back in on the other side."""
    frame = np.full((SIZE, SIZE, 3), 30, np.uint8)
    frame[4:10, 4:10] = (230, 200, 40) if axis == 0 else (40, 120, 230)
    return np.stack([np.roll(frame, start + 2 * number, axis) for number in range(num_frames)])


def write_videos(root: Path, num_per_class: int = 2, num_frames: int = 11) -> Path:
    """Write one folder of videos per class."""
    for axis, name in enumerate(("down", "right")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(num_per_class):
            write_video(root / name / f"{number}.npy", moving_square(axis, 3 * number, num_frames + number), 10)
    return root


def write_index(root: Path, **options: int) -> VideoIndex:
    """Write videos and index them."""
    return index_folder(write_videos(root, **options))


def random_vqgan(**settings: Any) -> TatsVQGAN:
    """A VQGAN with random weights, norms included, in eval mode."""
    settings = {"base_channels": 4, "num_codes": 64, "code_dim": 8, **settings}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TatsVQGAN(**settings)
        for name, value in model.state_dict().items():
            if "norm" in name and value.is_floating_point():
                value.copy_(0.5 + torch.rand_like(value))
    return model.eval()


def begun(stage: Stage) -> Trainer:
    """A trainer that has prepared the stage."""
    trainer = Trainer(stage, process_state())
    trainer.begin(None)
    return trainer


def short_recipe() -> TatsRecipe:
    """Six steps, a checkpoint after the third, every kind of state that a checkpoint must hold."""
    return changed(
        vqgan__steps=6,
        vqgan__checkpoint_every=3,
        vqgan__log_every=1,
        vqgan__ema_decay=0.9,
        vqgan__accumulation=2,
        vqgan__discriminator__start=2,
        vqgan__codebook=CodebookConfig(num_codes=16, dim=8, restart_dead_codes=True, restart_threshold=0.97),
        vqgan__augment__mirror=True,
    )


def hang(step: int) -> None:
    """Make the stage stop for ever in `step`, so that it can be killed before it gets any further."""
    loss = stages.VQGANStage.loss

    def hanging(self, player, batch, current, generator):
        while current >= step:
            time.sleep(1)
        return loss(self, player, batch, current, generator)

    stages.VQGANStage.loss = hanging


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--hang", action="store_true")
    args = parser.parse_args(arguments)
    if args.hang:
        hang(step=4)
    train(short_recipe(), "toy", args.data, args.out, resume=args.resume, only=["vqgan"])


if __name__ == "__main__":
    main()
