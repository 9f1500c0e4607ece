"""A run that is killed in every stage ends bit for bit where an uninterrupted one does, on one process and on two."""

from __future__ import annotations

import json

import pytest
import toy_runs
from toy_runs import CHECKPOINT_EVERY, STAGES, STEPS

from killed_runs import assert_same_run, records, runs_of, weights


@pytest.fixture(scope="module")
def runs():
    with runs_of(toy_runs) as runs:
        yield runs


def kill_in_every_stage(runs, count, model, data, out):
    for stage in STAGES[model]:
        checkpoint = out / "checkpoints" / stage / f"step-{CHECKPOINT_EVERY:08d}"
        runs.kill_at(checkpoint, count, model, data, out, "--resume", "--hang-in", stage)
        assert not (out / "components" / stage).exists()
        assert not (out / "model").exists()


def assert_complete(run, model):
    files = weights(run)
    exported = {"r3": 4, "ar2": 3, "encgan3": 2, "lencgan": 2}[model]
    assert len([name for name in files if name.startswith("model/")]) == exported
    for stage in STAGES[model]:
        for step in (CHECKPOINT_EVERY, STEPS):
            assert len([name for name in files if name.startswith(f"checkpoints/{stage}/step-{step:08d}/")]) == 2
    lines = [(line["stage"], line["step"]) for line in records(run)]
    assert lines == [(stage, step) for stage in STAGES[model] for step in range(1, STEPS + 1)]


@pytest.mark.parametrize("model", STAGES)
def test_resume_after_kill_in_every_stage_equals_straight_run(runs, index, tmp_path, model):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    runs.finish(1, model, index.root, straight)
    kill_in_every_stage(runs, 1, model, index.root, killed)
    runs.finish(1, model, index.root, killed, "--resume")
    assert_complete(straight, model)
    assert_same_run(killed, straight)


@pytest.mark.slow
@pytest.mark.parametrize("model", STAGES)
def test_resume_after_kill_in_every_stage_equals_straight_run_on_two_processes(runs, index, tmp_path, model):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    runs.finish(2, model, index.root, straight)
    kill_in_every_stage(runs, 2, model, index.root, killed)
    runs.torchrun(model, index.root, killed, "--resume")
    assert_complete(straight, model)
    assert_same_run(killed, straight)
    for stage in STAGES[model]:
        trainer = json.loads((killed / "checkpoints" / stage / f"step-{STEPS:08d}" / "trainer.json").read_text())
        assert trainer["world_size"] == 2
