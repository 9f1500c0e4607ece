"""A whole run: every stage in order, then a pipeline that samples; and what is refused before it starts."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from toy_tats import RECIPE, changed, write_videos

from longtake.core.errors import UserError
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.train import train

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
