"""What the engine trains: the classifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longtake.core.batch import VideoBatch
from longtake.core.errors import UserError
from longtake.data.config import ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex
from longtake.data.loading import clip_batches
from longtake.evaluator.config import EvaluatorRecipe
from longtake.metrics.networks.local import LocalEvaluator
from longtake.training.stage import Player, Stage


class ClassifierStage(Stage):
    """Cross-entropy on random clips.

    Raises `UserError` for settings that make no network.
    """

    name = "classifier"

    def __init__(self, recipe: EvaluatorRecipe, dataset: ClipDataset) -> None:
        self.config = config = recipe.classifier
        self.label_smoothing = config.label_smoothing
        self.dataset = dataset
        self.network = LocalEvaluator(
            classes=dataset.index.classes,
            size=recipe.size,
            num_frames=recipe.span,
            channels=config.channels,
            dropout=config.dropout,
        )

    def modules(self) -> dict[str, nn.Module]:
        """The classifier."""
        return {"network": self.network}

    def players(self) -> list[Player]:
        """One optimizer."""
        return [Player("network", list(self.network.parameters()), self.config.optimizer)]

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[VideoBatch]:
        """Batches of clips with their labels."""
        return clip_batches(self.dataset, self.config.batch_size, first, rank, world_size, self.config.num_workers)

    def loss(
        self, player: str, batch: VideoBatch, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy; the accuracy on the training clips is logged."""
        logits = self.network(batch.video)
        loss = F.cross_entropy(logits, batch.label, label_smoothing=self.label_smoothing)
        return loss, {"train/accuracy": (logits.argmax(dim=-1) == batch.label).float().mean()}

    def export(self, folder: Path) -> None:
        """Save the classifier."""
        self.network.save_pretrained(folder)


def clip_of(recipe: EvaluatorRecipe) -> ClipConfig:
    """Return what a clip is."""
    return ClipConfig(num_frames=recipe.span, size=recipe.size, short_videos=recipe.short_videos)


def training_clips(recipe: EvaluatorRecipe, index: VideoIndex) -> ClipDataset:
    """Return the clips to train on. Raises `UserError` if a class has no usable video, or the clip's size is wrong."""
    dataset = ClipDataset(index, clip_of(recipe), recipe.classifier.augment, recipe.classifier.seed)
    labels = {entry.label for entry in dataset.entries}
    for label, name in enumerate(index.classes):
        if label not in labels:
            raise UserError(f"class {name!r} of {index.root} has no usable video to train on")
    return dataset
