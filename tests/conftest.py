"""Tiny pipelines that any test can sample from in well under a second."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# One thread in every process, before torch starts any: tests compare processes bit for bit, and sums depend on it.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import pytest
import torch
from torch import nn

CLASSES = ("bend", "jump", "walk", "wave2")


def randomise(*networks: nn.Module) -> None:
    """Fill everything zero-initialised with noise: untrained networks ignore their conditions otherwise."""
    for network in networks:
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.5)


@pytest.fixture(scope="session")
def build_glober() -> Callable[..., Any]:
    """Return `build(captions=False, text_decoder=False, ...)`, which makes a random 16x16 `GloberPipeline`."""

    def build(
        *,
        captions: bool = False,
        text_decoder: bool = False,
        endless: bool = False,
        prediction: str = "v_prediction",
        **settings,
    ):
        from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
        from longtake.glober.feature_generator import GloberFeatureGenerator
        from longtake.glober.frame_decoder import GloberFrameDecoder
        from longtake.glober.frame_vae import build_frame_vae
        from longtake.glober.pipeline import GloberPipeline
        from longtake.glober.sampling import build_scheduler
        from longtake.glober.video_encoder import GloberVideoEncoder

        with torch.random.fork_rng():
            torch.manual_seed(0)
            encoder = GloberVideoEncoder(
                latent_size=8, num_keyframes=3, model_channels=8, num_res_blocks=1, head_channels=8, feature_channels=4
            )
            decoder = GloberFrameDecoder(
                latent_size=8,
                block_out_channels=(8, 16),
                layers_per_block=1,
                attention=(False, True),
                num_heads=2,
                norm_groups=4,
                context_dim=8 if text_decoder else None,
                feature_channels=4,
                feature_size=4,
                index_scale=1000,
                index_modulation="scale_shift",  # with so few channels group norm would undo an added index
            )
            feature_generator = GloberFeatureGenerator(
                feature_channels=4,
                feature_size=4,
                hidden_size=16,
                depth=1,
                num_heads=2,
                context_dim=8,
                previous_window=endless,
            )
            feature_generator.feature_mean.fill_(0.5)
            feature_generator.feature_std.fill_(2)
            condition = GloberTextEncoder(8, 1, 2, max_length=12) if captions else GloberLabelEncoder(len(CLASSES), 8)
            randomise(encoder, decoder, feature_generator)
            settings = {
                "span": 8,
                "keyframes": (0, 3, 7),
                "num_inference_steps": 3,
                "classes": None if captions else CLASSES,
                **settings,
            }
            return GloberPipeline(
                build_frame_vae(block_out_channels=(8, 8), norm_groups=4),
                encoder,
                decoder,
                feature_generator,
                condition,
                build_scheduler(prediction),
                build_scheduler(prediction),
                **settings,
            ).to("cpu")

    return build


@pytest.fixture(scope="session")
def glober(build_glober) -> Any:
    """A class-conditional tiny pipeline; do not change it."""
    return build_glober()
