"""Recall models so small that they train in seconds, and videos for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import nn

from longtake.core.batch import VideoBatch
from longtake.data.index import VideoIndex, index_folder
from longtake.recall.config import (
    DiscriminatorConfig,
    EncoderConfig,
    GANConfig,
    GeneratorConfig,
    RecallRecipe,
)
from longtake.recall.sequences import SequenceBatch
from longtake.recall.stages import GANStage, Rendering
from longtake.training.config import OptimizerConfig
from longtake.training.processes import process_state
from longtake.training.stage import Stage
from longtake.training.trainer import Trainer
from longtake.video import write_video

SIZE = 16
OPTIMIZER = OptimizerConfig(lr=2e-3, betas=(0.5, 0.999), weight_decay=0.0)

RECIPE = RecallRecipe(
    model="r2",
    size=SIZE,
    encoder=EncoderConfig(
        channels=(4, 4), content_features=(12,), motion_features=(12,), clip_features=12, lstm_channels=12
    ),
    generator=GeneratorConfig(content_channels=6, motion_channels=4, channels=(8, 8, 8)),
    discriminators=DiscriminatorConfig(video_channels=(4, 8), image_channels=(4, 8), optimizer=OPTIMIZER),
    gan=GANConfig(batch_size=2, optimizer=OPTIMIZER, sample_every=0),
)


def changed(recipe: RecallRecipe = RECIPE, **changes) -> RecallRecipe:
    """`dataclasses.replace` with dotted names, the dots written as double underscores."""
    for name, value in changes.items():
        first, _, rest = name.partition("__")
        recipe = dataclasses.replace(
            recipe, **{first: changed(getattr(recipe, first), **{rest: value}) if rest else value}
        )
    return recipe


EARLY = {"gan__joint": False, "gan__anchor_frame": None, "encoder__content_frame": 0}

RECIPES = {
    "g3an": changed(model="g3an", gan__noise_terms=True, **EARLY),
    "encgan3": changed(model="encgan3", gan__noise_terms=True, **EARLY),
    "lencgan": changed(model="lencgan", **EARLY),
    "r2": RECIPE,
    "ar2": changed(model="ar2", gan__noise_terms=True, gan__recon_loss="smooth_l1"),
}


def moving_square(start: int, num_frames: int, axis: int = 1, size: int = SIZE) -> np.ndarray:
    """A bright square that crosses a dark frame and comes back in on the other side."""
    frame = np.full((size, size, 3), 30, np.uint8)
    frame[5:11, 5:11] = (230, 200, 40) if axis else (40, 120, 230)
    return np.stack([np.roll(frame, start + number, axis) for number in range(num_frames)])


def write_index(root: Path, num_videos: int = 4, num_frames: int = 40) -> VideoIndex:
    """Write videos of different lengths, from `num_frames` on, and index them."""
    for number in range(num_videos):
        write_video(root / f"{number}.npy", moving_square(3 * number, num_frames + 5 * number, number % 2), 10)
    return index_folder(root)


def random_batch(num_clips: int, num_frames: int) -> VideoBatch:
    """Clips of noise in [-1, 1]."""
    video = torch.rand(num_clips, 3, num_frames, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    nothing = torch.zeros(num_clips, dtype=torch.long)
    return VideoBatch(video, nothing, [""] * num_clips, nothing.float(), [""] * num_clips, nothing)


def build(recipe: RecallRecipe, index: VideoIndex) -> GANStage:
    """A stage with always the same weights."""
    torch.manual_seed(0)
    return GANStage(recipe, index)


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


def snapshot(module: nn.Module) -> list[torch.Tensor]:
    """Copies of all weights, without buffers."""
    return [value.detach().clone() for value in module.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Whether two snapshots are equal."""
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


WINDOW = {"g3an": 16, "encgan3": 16, "lencgan": 16, "r2": 24, "ar2": 24}


def batch_for(model: str, count: int = 2) -> VideoBatch | SequenceBatch:
    """Random clips such as the model learns on; of LEncGAN, the first has two clips before it, the others none."""
    batch = random_batch(count, WINDOW[model])
    if model == "lencgan":
        return SequenceBatch(batch.video, [random_batch(2, 16).video, *[batch.video[:0]] * (count - 1)])
    return batch


def of(model: str, index: VideoIndex, **changes) -> GANStage:
    """The stage of a model's toy recipe with some settings changed."""
    return build(changed(RECIPES[model], **changes), index)


def terms_of(stage: GANStage, player: str, model: str, seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A player's loss and its terms on random clips."""
    with torch.no_grad():
        return stage.loss(player, batch_for(model), 0, torch.Generator().manual_seed(seed))


def render(stage: GANStage, batch: VideoBatch | SequenceBatch, *, with_noise: bool = False) -> Rendering:
    """One pass through encoder and generator."""
    with torch.no_grad():
        return stage._render(batch, torch.Generator().manual_seed(0), with_noise=with_noise)
