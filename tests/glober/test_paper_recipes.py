"""The paper's recipes: they can be built, have the sizes they state, and stop at once without pretrained weights."""

from __future__ import annotations

import inspect

import pytest
import torch

from longtake.core.errors import UserError
from longtake.data.index import VideoIndex
from longtake.glober import build, memory
from longtake.glober.paper_recipes import PAPER_RECIPES, STABLE_DIFFUSION
from longtake.glober.recipes import RECIPES

NAMES = [function.__name__ for function in PAPER_RECIPES]


@pytest.mark.parametrize("name", NAMES)
def test_paper_recipe_needs_stable_diffusion_and_says_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = RECIPES[name]()
    assert (
        recipe.frame_vae.pretrained == recipe.autoencoder.decoder.pretrained == recipe.text_encoder == STABLE_DIFFUSION
    )
    index = VideoIndex(tmp_path, (), ("a", "b"), ())
    with pytest.raises(UserError, match=r"no text encoder in stable-diffusion-v1: .* --text-encoder DIR"):
        build.check(recipe, index)
    monkeypatch.setattr(build, "check_clip", lambda *_: None)
    frame_vae = build.frame_vae
    if recipe.condition != "caption":
        with pytest.raises(UserError, match=r"no frame VAE in stable-diffusion-v1: .* --frame-vae.pretrained PATH"):
            build.check(recipe, index)
        monkeypatch.setattr(build, "frame_vae", lambda recipe: frame_vae(memory.plain(recipe)))
        with pytest.raises(UserError, match=r"no UNet in stable-diffusion-v1: .* --autoencoder.decoder.pretr"):
            build.check(recipe, index)


@pytest.mark.parametrize("name", NAMES)
def test_paper_recipe_says_where_it_comes_from(name):
    text = inspect.getdoc(RECIPES[name])
    assert f"longtake train {name} " in text
    assert "Data: " in text or "ucf" in name or "sky" in name
    assert "Table" in text or name == "glober_finetune_256"


@pytest.mark.parametrize(
    ("name", "feature"),
    [
        ("glober_ucf101_256", (16, 16)),
        ("glober_ucf101_256_classes", (16, 16)),
        ("glober_ucf101_128_feature_16x16x32", (16, 32)),
        ("glober_ucf101_128_feature_16x16x16", (16, 16)),
        ("glober_ucf101_128_feature_8x8x64", (8, 64)),
        ("glober_ucf101_128", (16, 16)),
        ("glober_ucf101_128_classes", (16, 16)),
        ("glober_taichi_128", (16, 16)),
        ("glober_sky_256_long", (16, 16)),
    ],
)
def test_paper_recipe_has_the_feature_it_names(name, feature):
    recipe = memory.plain(RECIPES[name]())
    with torch.device("meta"):
        vae = build.frame_vae(recipe)
        encoder = build.video_encoder(recipe, vae)
        decoder = build.frame_decoder(recipe, vae)
    assert (decoder.config.feature_size, decoder.config.feature_channels) == feature
    assert (build.feature_size(recipe, vae), encoder.config.feature_channels) == feature


def test_paper_recipes_differ_where_the_tables_do():
    base, no_cra, long = (RECIPES[f"glober_ucf101_256{end}"]() for end in ("", "_no_cra", "_long"))
    assert (base.autoencoder.cra_weight, no_cra.autoencoder.cra_weight) == (0.1, 0.0)
    assert (base.span, base.keyframes) == (16, (0, 5, 10, 15))
    assert (long.span, long.keyframes, long.short_videos) == (128, (0, 42, 85, 127), "reflect")
    guidance = {
        name: (RECIPES[name]().sampling.guidance_scale, RECIPES[name]().sampling.decoder_guidance_scale)
        for name in NAMES
    }
    assert guidance["glober_ucf101_256"] == (9.0, 6.0)
    assert guidance["glober_ucf101_256_classes"] == (12.0, 6.0)
    assert guidance["glober_sky_256"] == guidance["glober_taichi_128"] == (9.0, 3.0)
    sizes = {name: (RECIPES[name]().generator.hidden_size, RECIPES[name]().generator.depth) for name in NAMES}
    assert sizes["glober_ucf101_128"] == (1152, 28)
    assert sizes["glober_sky_256"] == sizes["glober_taichi_128"] == (1024, 20)
