"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from longtake.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """Return the rate of step `step` (from 0) in a stage of `num_steps`.

    Warm-up: lr * (step + 1) / warmup_steps, so that no step is wasted on a rate of 0. Cosine: a half cosine from lr
    at the end of warm-up to 0 at `num_steps`.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    progress = (step - config.warmup_steps) / max(num_steps - config.warmup_steps, 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
