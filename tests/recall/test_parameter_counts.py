"""Parameter counts at published sizes, on the meta device (thesis Table 5.3, G3AN's code)."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parametrizations

from longtake.recall import build, recipes
from longtake.recall.discriminators import RecallImageDiscriminator, RecallVideoDiscriminator
from longtake.recall.encoder import RecallEncoder
from longtake.recall.generator import RecallGenerator
from longtake.recall.lstm_encoder import RecallLSTMEncoder


@pytest.fixture(autouse=True)
def no_power_iterations(monkeypatch):
    """Without numbers there are no singular values to find, only time to lose."""
    monkeypatch.setattr(parametrizations._SpectralNorm, "_power_method", lambda *_: None)


WIDTHS_64 = (512, 512, 256, 128, 64)


def count(kind, **config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in kind(**config).parameters())


def test_thesis_counts_at_128():
    parts = [count(kind) for kind in (RecallGenerator, RecallVideoDiscriminator, RecallImageDiscriminator)]
    assert parts == [90_367_525, 29_322_113, 6_959_553]
    assert count(RecallEncoder) == 2_056_144
    assert [round(part / 1e6, 2) for part in parts] == [90.37, 29.32, 6.96]
    # the thesis' sum, of its rounded terms, is 128.71 M
    assert sum(parts) + count(RecallEncoder) == 128_705_335


def test_official_counts_at_64():
    official = {"content_channels": 128, "motion_channels": 10, "channels": WIDTHS_64}
    assert count(RecallGenerator, **official, mode="1p2d") == 23_090_437
    assert count(RecallGenerator, **official, mode="1p2d", self_attention=False) == 22_925_955
    assert count(RecallGenerator, **official, mode="3d") == 65_975_237
    assert count(RecallVideoDiscriminator, channels=(64, 128, 256, 512)) == 8_347_009
    assert count(RecallImageDiscriminator, channels=(64, 128, 256, 512)) == 2_764_737


def test_other_generators():
    assert count(RecallGenerator, mode="1p2d") == 28_084_165
    assert count(RecallGenerator, mode="1p2d", channels=WIDTHS_64) == 28_030_213


def test_encoders():
    small = {"size": 64, "channels": (8, 8, 16, 16, 32, 32), "content_features": (256,), "motion_features": (256,)}
    assert count(RecallEncoder, **small) == 1_550_032
    assert count(RecallEncoder, **small, content_channels=128, motion_channels=10) == 1_226_212
    other = {"channels": (8, 8, 8, 8, 16, 16, 16, 16), "content_features": (512, 512)}
    assert count(RecallEncoder, **other) == 2_061_168
    with torch.device("meta"):
        encoder = RecallLSTMEncoder()
    for lstm in (encoder.content_lstm, encoder.motion_lstm):
        assert sum(parameter.numel() for parameter in lstm.parameters()) == 2_101_248


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_settings_of_every_recipe_agree(name):
    build.check(recipes.RECIPES[name]())


def test_the_shipped_recipe_stays_within_eight_megabytes_in_half_precision():
    recipe = recipes.r3_weizmann_64()
    parts = (build.encoder, build.generator, build.video_discriminator)
    shipped = sum(count(part, recipe=recipe) for part in parts)
    config = recipe.gpt
    width = 2 * (recipe.generator.content_channels + recipe.generator.motion_channels)
    gpt = config.depth * (12 * width**2 + 13 * width) + width**2 + config.max_tokens * width
    assert 2 * (shipped + gpt) < 8e6
