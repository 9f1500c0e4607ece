"""Encoder and generator learn two videos by heart: better than any still picture could show them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from toy_recall import RECIPES, SIZE, begun, build, changed, take_steps

from longtake.data.index import index_folder
from longtake.training.config import OptimizerConfig
from longtake.video import write_video

OPTIMIZER = OptimizerConfig(lr=5e-3, betas=(0.5, 0.99), weight_decay=0.0)


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory):
    """Stripes, of one video across, of the other upright, that swing between black and white."""
    root = tmp_path_factory.mktemp("two")
    stripes = np.where(np.arange(SIZE) % 8 < 4, 1.0, -1.0)
    for number, pattern in enumerate((stripes[:, None], stripes[None, :])):
        swing = np.cos(2 * np.pi * np.arange(24) / (24 - 8 * number))
        frames = 127.5 + 100 * swing[:, None, None, None] * np.broadcast_to(pattern, (SIZE, SIZE))[None, :, :, None]
        write_video(root / f"{number}.npy", np.repeat(frames, 3, axis=3).astype(np.uint8), 10)
    return index_folder(root)


def errors(stage):
    """Mean absolute error over all windows, decoded from draws of the latent space; and of each clip's best still."""
    generator, decoded, still = torch.Generator().manual_seed(0), [], []
    with torch.no_grad():
        for batch in itertools.islice(stage.batches(0, 0, 1), 4):
            found = stage._render(batch, generator, with_noise=False).decoded
            decoded.append((found.clips - found.targets).abs().mean())
            still.append((found.targets - found.targets.median(dim=2, keepdim=True).values).abs().mean())
    return torch.stack(decoded).mean().item(), torch.stack(still).mean().item()


@pytest.mark.parametrize(("model", "steps", "factor"), [("encgan3", 400, 1.25), ("r2", 60, 2), ("ar2", 60, 2)])
def test_reconstruction_beats_the_best_still_by_a_factor(two_videos, model, steps, factor):
    """1.7, 4.9 and 3.5 when this was written; after 100 steps EncGAN3 had 1.5 on one machine and 0.95 on another."""
    recipe = changed(
        RECIPES[model],
        gan__steps=steps,
        gan__optimizer=OPTIMIZER,
        gan__recon_weight=20.0,
        gan__kl_weight=0.01,
        gan__noise_terms=False,
        generator__mode="1p2d",
        generator__channels=(16, 16, 12),
        generator__self_attention=False,
    )
    stage = build(recipe, two_videos)
    trainer = begun(stage)
    take_steps(trainer, recipe.gan.steps)
    decoded, still = errors(stage)
    assert decoded < still / factor, (decoded, still)
