"""A stage of every model that is stopped, and resumed by a new process' worth of objects, ends bit for bit the same."""

from __future__ import annotations

import json

import pytest
from toy_recall import RECIPES, changed

from longtake.recall.train import train


def recipe_for(model):
    # everything that a checkpoint must hold: running means, norms, random changes of the clips
    return changed(
        RECIPES[model],
        gan__steps=5,
        gan__checkpoint_every=2,
        gan__log_every=1,
        gan__ema_decay=0.9,
        gan__augment__zoom=0.2,
        gan__accumulation=2 if model == "lencgan" else 1,
    )


def weights(run):
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*.safetensors")}


def records(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


@pytest.mark.parametrize("model", RECIPES)
def test_resume_equals_straight_run(index, tmp_path, model):
    recipe, straight, stopped = recipe_for(model), tmp_path / "straight", tmp_path / "stopped"
    train(recipe, "toy", index.root, straight)
    train(recipe, "toy", index.root, stopped, max_steps=3)
    train(recipe, "toy", index.root, stopped, resume=True)
    found, expected = weights(stopped), weights(straight)
    last = {name: value for name, value in expected.items() if "step-00000005" in name or "components" in name}
    assert len(last) == 2 + (2 if model == "g3an" else 3)
    assert [name for name, value in last.items() if found[name] != value] == []
    assert records(stopped) == records(straight)
    assert [line["step"] for line in records(straight)] == [1, 2, 3, 4, 5]
