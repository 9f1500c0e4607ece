"""Arithmetic on latent spaces: what a clip shows and how it moves can be exchanged, mixed and added."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from longtake.core.errors import UserError
from longtake.recall.latents import LatentSpace


def swap_motion(first: LatentSpace, second: LatentSpace) -> tuple[LatentSpace, LatentSpace]:
    """Return the first's content with the second's motion, and the second's content with the first's motion."""
    return _with_motion_of(first, second), _with_motion_of(second, first)


def interpolate(first: LatentSpace, second: LatentSpace, weight: float) -> LatentSpace:
    """Return (1 - weight) first + weight second, of means and of log-variances.

    Raises `UserError` unless `weight` is in [0, 1].
    """
    if not 0 <= weight <= 1:
        raise UserError(f"weight must be in 0..1, not {weight}")
    parts = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in fields(LatentSpace)}
    return LatentSpace(**{name: torch.lerp(a, b, weight) for name, (a, b) in parts.items()})


def add(first: LatentSpace, second: LatentSpace) -> LatentSpace:
    """Return the distribution of the sum of a draw from each: means add up, and so do variances."""
    return LatentSpace(
        first.content_mean + second.content_mean,
        torch.logaddexp(first.content_logvar, second.content_logvar),
        first.motion_mean + second.motion_mean,
        torch.logaddexp(first.motion_logvar, second.motion_logvar),
    )


def _with_motion_of(content: LatentSpace, motion: LatentSpace) -> LatentSpace:
    return replace(content, motion_mean=motion.motion_mean, motion_logvar=motion.motion_logvar)
