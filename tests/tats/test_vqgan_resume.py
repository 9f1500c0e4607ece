"""A VQGAN that is killed while it trains ends, codebook included, bit for bit where an uninterrupted one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_tats
from safetensors.torch import load_file
from toy_tats import write_videos

from killed_runs import assert_same_run, records, runs_of


@pytest.fixture(scope="module")
def runs():
    with runs_of(toy_tats) as runs:
        yield runs


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"))


def kill_after_step_3(runs, count: int, data: Path, out: Path) -> None:
    """Kill the run after the checkpoint of step 3; it hangs in its fifth step."""
    runs.kill_at(out / "checkpoints" / "vqgan" / "step-00000003", count, data, out, "--hang")
    assert not (out / "components" / "vqgan").exists()


def assert_same_training(killed: Path, straight: Path) -> None:
    assert_same_run(killed, straight)
    assert [line["step"] for line in records(killed)] == [1, 2, 3, 4, 5, 6]
    trained = load_file(straight / "checkpoints" / "vqgan" / "step-00000006" / "modules.safetensors")
    halfway = load_file(straight / "checkpoints" / "vqgan" / "step-00000003" / "modules.safetensors")
    assert trained["vqgan.codebook.is_initialized"]
    # a restarted initialisation would set these back to 1
    assert (trained["vqgan.codebook.counts"] > 1.05).any()
    assert not (trained["vqgan.codebook.embeddings"] == halfway["vqgan.codebook.embeddings"]).all()


def test_resume_after_kill_equals_straight_run(runs, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    runs.finish(1, data, straight)
    kill_after_step_3(runs, 1, data, killed)
    runs.finish(1, data, killed, "--resume")
    assert_same_training(killed, straight)


@pytest.mark.slow
def test_resume_after_kill_equals_straight_run_on_two_processes(runs, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    runs.finish(2, data, straight)
    kill_after_step_3(runs, 2, data, killed)
    runs.finish(2, data, killed, "--resume")
    assert_same_training(killed, straight)
