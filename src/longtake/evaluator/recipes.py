"""Evaluators by name: `longtake train NAME --data DIR --out RUN`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from longtake.data.config import AugmentConfig
from longtake.evaluator.config import ClassifierConfig, EvaluatorRecipe
from longtake.training.config import OptimizerConfig


def evaluator_weizmann() -> EvaluatorRecipe:
    """Human actions at 64x64, 16 frames: the shipped evaluator `local:evaluator-weizmann`, tested on a person apart.

    Data: the Weizmann actions bend, jack, wave1 and wave2 as one folder of videos per action, named by person.
    Command: longtake train evaluator_weizmann --data weizmann-actions --out runs/evaluator
    Score: 28 of the 28 clips of subject8 told right.
    """
    return EvaluatorRecipe(
        held_out="subject8*",
        classifier=ClassifierConfig(
            steps=320,
            batch_size=8,
            optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.05, warmup_steps=30, schedule="cosine", clip_norm=1.0),
            checkpoint_every=80,
            sample_every=0,
            augment=AugmentConfig(mirror=True, zoom=0.15, shift=0.1, colour=0.3),
        ),
    )


def evaluator_small() -> EvaluatorRecipe:
    """Any folder of labelled videos at 64x64, 16 frames: an evaluator of your own, on a CPU.

    Data: one sub-folder of videos per class, at least two. Keep some for a test: --held-out "PATTERN of file names".
    Command: longtake train evaluator_small --data my-videos --out runs/evaluator
    Then: longtake evaluate --real my-videos --fake samples --out report.json
        --features local:runs/evaluator
    """
    return EvaluatorRecipe(
        classifier=ClassifierConfig(
            steps=2000,
            batch_size=16,
            optimizer=OptimizerConfig(lr=2e-3, weight_decay=0.05, warmup_steps=100, schedule="cosine", clip_norm=1.0),
            checkpoint_every=250,
            sample_every=0,
            augment=AugmentConfig(mirror=True, zoom=0.15, shift=0.1, colour=0.3),
        )
    )


RECIPES: Mapping[str, Callable[[], EvaluatorRecipe]] = MappingProxyType(
    {function.__name__: function for function in (evaluator_weizmann, evaluator_small)}
)
"""Name -> recipe."""
