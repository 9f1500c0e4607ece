"""A whole GLOBER run that is killed in every stage ends bit for bit where an uninterrupted one does."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import toy_glober
from toy_glober import write_videos

STAGES = ("frame_vae", "autoencoder", "generator")
SCRIPT = Path(toy_glober.__file__)


@pytest.fixture(scope="module")
def processes():
    """Starts processes by forking one that has imported everything, which takes longer than the training itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("ACCELERATE_USE_CPU", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["toy_glober", "torch.utils.tensorboard"])
        yield context


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"))


def start(processes, count: int, *arguments: object) -> list[BaseProcess]:
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
        process = processes.Process(
            target=toy_glober.main_with, args=([str(argument) for argument in arguments], shared)
        )
        process.start()
        started.append(process)
    return started


def finish(processes, count: int, *arguments: object) -> None:
    for process in start(processes, count, *arguments):
        process.join(120)
        assert process.exitcode == 0


def kill_in(stage: str, processes, count: int, data: Path, out: Path) -> None:
    """Resume the run and kill it soon after the checkpoint of step 3; it hangs in its fifth step at the latest."""
    started = start(processes, count, data, out, "--resume", "--hang-in", stage)
    checkpoints, deadline = out / "checkpoints" / stage, time.monotonic() + 120
    while not (checkpoints / "step-00000003").is_dir():
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert all(process.is_alive() for process in started), "the run ended before it could be killed"
        time.sleep(0.01)
    time.sleep(random.random() * 0.2)  # into the fourth step, or the fifth
    for process in started:
        process.kill()
    for process in started:
        process.join()
        assert process.exitcode == -9
    assert [path.name for path in checkpoints.glob("step-*")] == ["step-00000003"]
    assert not (out / "components" / stage).exists()
    assert not (out / "model").exists()


def torchrun(*arguments: object) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(SCRIPT), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def contents(out: Path) -> dict[str, bytes]:
    """Every file with weights: checkpoints, components, the pipeline."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.safetensors")}
    assert len(files) == 2 * 3 * 2 + (1 + 2 + 2) + 5
    return files


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
    assert [(line["stage"], line["step"]) for line in records(killed)] == [
        (stage, step) for stage in STAGES for step in range(1, 7)
    ]


def test_resume_after_kill_in_every_stage_equals_straight_run(processes, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(processes, 1, data, straight)
    for stage in STAGES:
        kill_in(stage, processes, 1, data, killed)
    finish(processes, 1, data, killed, "--resume")
    assert_same_run(killed, straight)


@pytest.mark.slow
def test_resume_after_kill_in_every_stage_equals_straight_run_on_two_processes(processes, data, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(processes, 2, data, straight)
    for stage in STAGES:
        kill_in(stage, processes, 2, data, killed)
    torchrun(data, killed, "--resume")
    assert_same_run(killed, straight)
    for stage in STAGES:
        trainer = json.loads((killed / "checkpoints" / stage / "step-00000006" / "trainer.json").read_text())
        assert trainer["world_size"] == 2
