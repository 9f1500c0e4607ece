"""A whole run: every stage in order, then a pipeline that samples; and what is refused before it starts."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn
from toy_tats import RECIPE, changed, write_videos

import longtake
from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.tats import build
from longtake.tats.encode import find_run
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.train import train
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vqgan import TatsVQGAN

pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"), num_frames=20)


@pytest.fixture(scope="module")
def recipe():
    window = dataclasses.replace(RECIPE.transformer, num_latents=3)
    return changed(
        RECIPE,
        transformer=window,
        sparse=dataclasses.replace(window, latent_step=2),
        interpolation=window,
        sampling__context_latents=2,
    )


def test_all_stages_make_a_pipeline_that_samples(recipe, data, tmp_path):
    run = tmp_path / "run"
    train(recipe, "toy", data, run, max_steps=1, device="cpu")
    stages = ["vqgan", "transformer", "sparse", "interpolation"]
    assert sorted(path.name for path in (run / "components").iterdir()) == sorted(stages)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == stages
    assert json.loads((run / "config.json").read_text())["family"] == "tats"
    pipeline = TatsPipeline.from_pretrained(run / "model")
    assert pipeline.config.classes == ["down", "right"]
    assert pipeline(label="right", num_frames=14).frames.shape == (14, 16, 16, 3)
    for name in stages:
        part = getattr(pipeline, name)
        trained = type(part).from_pretrained(run / "components" / name / name).state_dict()
        assert all(torch.equal(value, trained[key]) for key, value in part.state_dict().items())


def test_one_stage_at_a_time(recipe, data, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(UserError, match="stage 'vqgan' is not trained in this run yet"):
        train(recipe, "toy", data, run, max_steps=1, only=["transformer"], device="cpu")
    train(recipe, "toy", data, run, max_steps=1, only=["vqgan"], device="cpu", resume=True)
    assert not (run / "model").exists()
    with pytest.raises(UserError, match="unknown stage 'vqgam'; did you mean 'vqgan'"):
        train(recipe, "toy", data, run, only=["vqgam"], device="cpu", resume=True)


def test_wrong_settings_are_refused_before_a_run_is_made(recipe, data, tmp_path):
    with pytest.raises(UserError, match="size is 18"):
        train(changed(recipe, size=18), "toy", data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_trained_vqgan_is_used_as_it_is_and_transformers_go_on_from_trained_ones(data, recipe, tmp_path):
    train(recipe, "toy", data, tmp_path / "a", device="cpu", max_steps=2)
    given = str(tmp_path / "a")
    further = changed(recipe, vqgan__pretrained=given, transformer__init=given, sparse__init=given)
    train(further, "toy", data, tmp_path / "b", device="cpu", max_steps=1)
    train(further, "toy", data, tmp_path / "b", device="cpu", resume=True, max_steps=2)
    assert sorted(path.name for path in (tmp_path / "b" / "components").iterdir()) == sorted(
        ["transformer", "sparse", "interpolation"]
    )
    first, second = (longtake.load(tmp_path / run, device="cpu") for run in "ab")
    assert same(first.vqgan, second.vqgan)
    assert not same(first.transformer, second.transformer)

    standing = changed(further, transformer__optimizer__lr=0.0)
    train(standing, "toy", data, tmp_path / "c", device="cpu", only=["transformer"], max_steps=1)
    assert same(
        first.transformer, TatsTransformer.from_pretrained(tmp_path / "c" / "components/transformer/transformer")
    )

    index = index_folder(data)
    build.check(changed(further, vqgan__pretrained=str(tmp_path / "a" / "components" / "vqgan")), index)
    folder, _ = find_run(str(tmp_path / "b"))
    assert same(first.vqgan, TatsVQGAN.from_pretrained(folder))
    with pytest.raises(UserError, match="does not fit the recipe: its num_codes is 16, not 32"):
        build.check(changed(further, vqgan__codebook__num_codes=32), index)
    with pytest.raises(UserError, match=r"cannot start from .*transformer: .*size mismatch"):
        train(changed(further, transformer__hidden_size=32), "toy", data, tmp_path / "d", device="cpu")
    with pytest.raises(UserError, match="no model 'nowhere'"):
        build.check(changed(further, vqgan__pretrained="nowhere"), index)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have equal weights."""
    mine, others = one.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[key], others[key]) for key in mine)
