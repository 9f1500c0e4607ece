"""Every recipe can be built, and has the sizes it states."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from longtake.data.index import VideoIndex
from longtake.tats import build, spectrogram_stage
from longtake.tats.config import SpectrogramRecipe
from longtake.tats.recipes import RECIPES


@pytest.fixture
def index(tmp_path):
    return VideoIndex(tmp_path, (), ("bend", "jack", "wave1", "wave2"), ())


def count(module: nn.Module) -> int:
    """Parameters and buffers: what a saved model holds."""
    return sum(value.numel() for value in module.state_dict().values())


def window_frames(recipe) -> dict[str, int]:
    names = ("transformer", "sparse", "interpolation")
    return {name: build.window_frames(recipe, name) for name in names if getattr(recipe, name) is not None}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipe_can_be_built(name, index, monkeypatch):
    monkeypatch.setattr(build, "check_perceptual", lambda: None)
    recipe = RECIPES[name]()
    if isinstance(recipe, SpectrogramRecipe):
        monkeypatch.setattr(spectrogram_stage, "check_perceptual", lambda: None)
        spectrogram_stage.check(recipe, index)
        return
    if recipe.condition in ("caption", "stft"):
        pytest.skip("needs captions or spectrograms")
    build.check(recipe, index)
    with torch.device("meta"):
        condition = build.condition(recipe, index)
        for transformer in window_frames(recipe):
            build.transformer(recipe, transformer, condition)


def test_windows_are_the_papers():
    assert window_frames(RECIPES["tats_sky_128"]()) == {"transformer": 16}
    expected = {"transformer": 16, "sparse": 64, "interpolation": 20}
    assert window_frames(RECIPES["tats_ucf_128_hierarchical"]()) == expected
    assert window_frames(RECIPES["tats_weizmann_64"]()) == expected


def test_shipped_model_is_under_10_megabytes_in_half_precision(index):
    recipe = RECIPES["tats_weizmann_64"]()
    with torch.device("meta"):
        condition = build.condition(recipe, index)
        parts = [build.vqgan(recipe)]
        parts += [build.transformer(recipe, name, condition) for name in window_frames(recipe)]
    assert len(parts) == 4
    assert 2 * sum(map(count, parts)) < 10e6


def test_taichi_takes_every_fourth_frame():
    recipe = RECIPES["tats_taichi_128"]()
    clip = build.clip(recipe, recipe.span)
    assert (clip.mode, clip.num_frames, clip.step) == ("step", 16, 4)


def test_recipes_load_neither_torch_nor_diffusers():
    code = "import sys, longtake.tats.recipes; sys.exit(bool({'torch', 'diffusers', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
