"""An evaluator so small that it trains in seconds, and videos for it: squares that fall or go to the right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from longtake.data.config import AugmentConfig
from longtake.evaluator.config import ClassifierConfig, EvaluatorRecipe
from longtake.training.config import OptimizerConfig

SIZE, SPAN, NUM_FRAMES = 16, 6, 14
HELD_OUT = "person2*"

RECIPE = EvaluatorRecipe(
    size=SIZE,
    span=SPAN,
    held_out=HELD_OUT,
    classifier=ClassifierConfig(
        steps=60,
        batch_size=4,
        optimizer=OptimizerConfig(lr=1e-2),
        checkpoint_every=30,
        sample_every=0,
        channels=(8, 8, 8),
        dropout=0.1,
        augment=AugmentConfig(mirror=False, shift=0.05, colour=0.1),
    ),
)


def changed(recipe: EvaluatorRecipe = RECIPE, **changes: object) -> EvaluatorRecipe:
    """Return the recipe with changes to its stage."""
    return dataclasses.replace(recipe, classifier=dataclasses.replace(recipe.classifier, **changes))


def write_videos(root: Path) -> Path:
    """Write three people's videos of two actions, 14 frames each: two clips and a rest."""
    for action in ("down", "right"):
        (root / action).mkdir(parents=True)
        for person in range(3):
            frames = np.full((NUM_FRAMES, SIZE, SIZE, 3), 30 + 20 * person, np.uint8)
            for time in range(NUM_FRAMES):
                along, across = time % (SIZE - 4), 3 + 3 * person
                row, column = (along, across) if action == "down" else (across, along)
                frames[time, row : row + 4, column : column + 4] = 220
            np.save(root / action / f"person{person}.npy", frames)
    return root
