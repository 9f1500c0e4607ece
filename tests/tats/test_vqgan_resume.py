"""A VQGAN that is killed while it trains ends, codebook included, bit for bit where an uninterrupted one does."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest
import toy_tats
from safetensors.torch import load_file
from toy_tats import write_videos


@pytest.fixture(scope="module")
def processes():
    """Starts processes by forking one that has imported everything, which takes longer than the training itself."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(Path(toy_tats.__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("ACCELERATE_USE_CPU", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["toy_tats", "torch.utils.tensorboard"])
        yield context


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"))


def start(processes, count: int, *arguments: object):
    """Start a run on `count` processes, each with the environment that torchrun would give it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        environment = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": count,
            "LOCAL_WORLD_SIZE": count,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        shared = {name: str(value) for name, value in environment.items()} if count > 1 else {}
        process = processes.Process(target=toy_tats.main_with, args=([str(argument) for argument in arguments], shared))
        process.start()
        started.append(process)
    return started


def finish(processes, count: int, *arguments: object) -> None:
    for process in start(processes, count, *arguments):
        process.join(300)
        assert process.exitcode == 0


def kill_after_step_3(processes, count: int, data: Path, out: Path) -> None:
    """Kill the run after the checkpoint of step 3; it hangs in its fifth step."""
    started = start(processes, count, data, out, "--hang")
    checkpoints, deadline = out / "checkpoints" / "vqgan", time.monotonic() + 300
    while not (checkpoints / "step-00000003").is_dir():
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert all(process.is_alive() for process in started), "the run ended before it could be killed"
        time.sleep(0.01)
    for process in started:
        process.kill()
    for process in started:
        process.join()
        assert process.exitcode == -9
    assert not (out / "components" / "vqgan").exists()


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.safetensors")}


def records(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["time"]
    return lines


def assert_same_run(killed: Path, straight: Path) -> None:
    found, expected = contents(killed), contents(straight)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert records(killed) == records(straight)
    assert [line["step"] for line in records(killed)] == [1, 2, 3, 4, 5, 6]
    trained = load_file(straight / "checkpoints" / "vqgan" / "step-00000006" / "modules.safetensors")
    halfway = load_file(straight / "checkpoints" / "vqgan" / "step-00000003" / "modules.safetensors")
    assert trained["vqgan.codebook.is_initialized"]
    # a restarted initialisation would set these back to 1
    assert (trained["vqgan.codebook.counts"] > 1.05).any()
    assert not (trained["vqgan.codebook.embeddings"] == halfway["vqgan.codebook.embeddings"]).all()


def test_resume_after_kill_equals_straight_run(processes, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(processes, 1, data, straight)
    kill_after_step_3(processes, 1, data, killed)
    finish(processes, 1, data, killed, "--resume")
    assert_same_run(killed, straight)


@pytest.mark.slow
def test_resume_after_kill_equals_straight_run_on_two_processes(processes, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(processes, 2, data, straight)
    kill_after_step_3(processes, 2, data, killed)
    finish(processes, 2, data, killed, "--resume")
    assert_same_run(killed, straight)
