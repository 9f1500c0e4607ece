"""A whole GLOBER run that is killed in every stage ends bit for bit where an uninterrupted one does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_glober
from toy_glober import write_videos

from killed_runs import assert_same_run, records, runs_of, weights

STAGES = ("frame_vae", "autoencoder", "generator")


@pytest.fixture(scope="module")
def runs():
    with runs_of(toy_glober) as runs:
        yield runs


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"))


def kill_in(stage: str, runs, count: int, data: Path, out: Path) -> None:
    """Resume the run and kill it soon after the checkpoint of step 3; it hangs in its fifth step at the latest."""
    checkpoint = out / "checkpoints" / stage / "step-00000003"
    runs.kill_at(checkpoint, count, data, out, "--resume", "--hang-in", stage)
    assert not (out / "components" / stage).exists()
    assert not (out / "model").exists()


def assert_same_training(killed: Path, straight: Path) -> None:
    assert_same_run(killed, straight)
    assert len(weights(straight)) == 2 * 3 * 2 + (1 + 2 + 2) + 5
    assert [(line["stage"], line["step"]) for line in records(killed)] == [
        (stage, step) for stage in STAGES for step in range(1, 7)
    ]


def test_resume_after_kill_in_every_stage_equals_straight_run(runs, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    runs.finish(1, data, straight)
    for stage in STAGES:
        kill_in(stage, runs, 1, data, killed)
    runs.finish(1, data, killed, "--resume")
    assert_same_training(killed, straight)


@pytest.mark.slow
def test_resume_after_kill_in_every_stage_equals_straight_run_on_two_processes(runs, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    runs.finish(2, data, straight)
    for stage in STAGES:
        kill_in(stage, runs, 2, data, killed)
    runs.torchrun(data, killed, "--resume")
    assert_same_training(killed, straight)
    for stage in STAGES:
        trainer = json.loads((killed / "checkpoints" / stage / "step-00000006" / "trainer.json").read_text())
        assert trainer["world_size"] == 2
