"""Prompts steer: a whole model learns, from captions alone, which of two squares is meant."""

from __future__ import annotations

import numpy as np
import pytest
from toy_glober import CAPTIONS, RECIPE, changed, few_statistics, write_videos

import longtake
from longtake.glober.pipeline import GloberPipeline
from longtake.glober.train import train
from longtake.training.config import OptimizerConfig

NUM_SAMPLES = 8
STEPS = {
    "frame_vae": {"steps": 250, "batch_size": 8, "optimizer": OptimizerConfig(lr=1e-2, warmup_steps=20, clip_norm=1.0)},
    "autoencoder": {"steps": 150, "batch_size": 4, "optimizer": OptimizerConfig(lr=1e-2, clip_norm=1.0)},
    "generator": {"steps": 250, "batch_size": 16, "optimizer": OptimizerConfig(lr=4e-3, clip_norm=1.0)},
}
CAPTIONED = changed(
    RECIPE,
    condition="caption",
    condition_dim=32,
    autoencoder__prediction="v_prediction",
    autoencoder__num_targets=6,
    autoencoder__cra_weight=0.0,
    autoencoder__cached_variants=1,
    autoencoder__decoder__attention=(False, False),
    autoencoder__encoder__temporal_modes=4,
    autoencoder__encoder__initial_logvar=-5.0,
    generator__hidden_size=32,
    generator__depth=2,
    generator__cached_variants=1,
    sampling__num_inference_steps=6,
    sampling__guidance_scale=1.0,
    **{f"{stage}__{name}": value for stage, changes in STEPS.items() for name, value in changes.items()},
)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> GloberPipeline:
    """A model trained from nothing on yellow squares that fall and blue ones that go to the right."""
    root = tmp_path_factory.mktemp("prompts")
    with pytest.MonkeyPatch.context() as patch, few_statistics():
        patch.setenv("ACCELERATE_USE_CPU", "1")
        train(CAPTIONED, "toy", write_videos(root / "data"), root / "run")
    return longtake.load(root / "run", device="cpu")


def yellowness(frames: np.ndarray) -> float:
    """Red less blue: 27 for a yellow square, -27 for a blue one."""
    red, _, blue = frames.astype(float).mean(axis=(0, 1, 2))
    return red - blue


@pytest.mark.slow
def test_the_caption_says_which_square_is_made(pipe):
    """Every pair starts from the same noise, so that a model deaf to its prompt would make one video twice."""
    yellow, blue = (
        np.array([yellowness(pipe(prompt=caption, video=video).frames) for video in range(NUM_SAMPLES)])
        for caption in (CAPTIONS["down"], CAPTIONS["right"])
    )
    assert (yellow > blue).all()
    assert yellow.mean() > 13
    assert blue.mean() < -13
