"""Toy stages, and the folder of the toy recipe on the path: for tests here and for the processes they start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from toy_glober import RECIPE, changed, random_frame_vae, wake_up, write_index

from longtake.glober.generator_stage import GeneratorStage
from longtake.glober.stages import AutoencoderStage


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on the CPU everywhere: tests compare bit for bit."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")


@pytest.fixture(scope="session")
def index(tmp_path_factory):
    return write_index(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def frame_vae():
    return random_frame_vae()


@pytest.fixture
def build_autoencoder(index, frame_vae):
    """Function: changes to the recipe -> the autoencoder stage, with nothing left at zero."""

    def build(**changes):
        torch.manual_seed(0)
        stage = AutoencoderStage(changed(RECIPE, **changes), index, frame_vae)
        wake_up(*stage.modules().values())
        return stage

    return build


@pytest.fixture
def build_generator(index, build_autoencoder):
    """Function: changes to the recipe -> the generator stage on an untrained autoencoder."""

    def build(**changes):
        first = build_autoencoder(**changes)
        stage = GeneratorStage(
            first.recipe, index, first.frame_vae, first.video_encoder, first.frame_decoder, first.condition_encoder
        )
        wake_up(*stage.modules().values())
        return stage

    return build
