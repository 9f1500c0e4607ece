"""Training runs in processes of their own, alone or several as under torchrun, that can be killed and resumed."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATIENCE = 240  # seconds that a toy run may take on a busy machine
ON_CPU = {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}


class Runs:
    """Starts `script.main`, by forking a process that has imported everything: that takes longer than training."""

    def __init__(self, context: ForkServerContext, script: ModuleType) -> None:
        self._context = context
        self._script = script

    def start(self, count: int, *arguments: object) -> list[BaseProcess]:
        """Start a run on `count` processes, each with the environment that torchrun would give it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started = []
        for rank in range(count):
            environment = {"RANK": rank, "LOCAL_RANK": rank, **shared} if count > 1 else {}
            words = [str(argument) for argument in arguments]
            values = {name: str(value) for name, value in environment.items()}
            started.append(self._context.Process(target=main_with, args=(self._script.__name__, words, values)))
            started[-1].start()
        return started

    def finish(self, count: int, *arguments: object) -> None:
        """Let a run go to its end."""
        for process in self.start(count, *arguments):
            process.join(PATIENCE)
            assert process.exitcode == 0

    def kill_at(self, checkpoint: Path, count: int, *arguments: object) -> None:
        """Kill a run (signal 9) once the checkpoint is there; `arguments` make it hang in a later step."""
        started = self.start(count, *arguments)
        deadline = time.monotonic() + PATIENCE
        while not checkpoint.is_dir():
            assert time.monotonic() < deadline, "no checkpoint appeared"
            assert all(process.is_alive() for process in started), "the run ended before it could be killed"
            time.sleep(0.01)
        time.sleep(random.random() * 0.2)  # into the next step, or the one after
        for process in started:
            process.kill()
        for process in started:
            process.join()
            assert process.exitcode == -9
        assert [path.name for path in checkpoint.parent.glob("step-*")] == [checkpoint.name]

    def torchrun(self, *arguments: object) -> None:
        """Let a run go to its end on two processes that torchrun starts."""
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        script = str(self._script.__file__)
        done = subprocess.run(
            [*command, script, *map(str, arguments)],
            env=os.environ | ON_CPU,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def runs_of(script: ModuleType) -> Iterator[Runs]:
    """Yield what starts runs of a script with a function `main(arguments)`."""
    with pytest.MonkeyPatch.context() as patch:
        folders = [str(Path(__file__).parent), str(Path(str(script.__file__)).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))
        for name, value in ON_CPU.items():
            patch.setenv(name, value)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, script.__name__, "torch.utils.tensorboard"])
        yield Runs(context, script)


def hang_in(kinds: Iterable[type], stage_name: str, step: int) -> None:
    """Make the stage of that name stop for ever in `step`, so that it can be killed before it gets any further."""
    kind: Any = {kind.name: kind for kind in kinds}[stage_name]
    loss = kind.loss

    def hanging(self, player, batch, current, generator):
        while current >= step:
            time.sleep(1)
        return loss(self, player, batch, current, generator)

    kind.loss = hanging


def main_with(script: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Run as the script would in a process with these variables.

    The process may come from a server that other tests have started, without the script and the variables.
    """
    os.environ.update(ON_CPU | environment)
    importlib.import_module(script).main(arguments)


def weights(out: Path) -> dict[str, bytes]:
    """Every file with weights: checkpoints, components, the pipeline."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.safetensors")}


def records(out: Path) -> list[dict[str, float]]:
    """What was logged, without the time of day."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def assert_same_run(killed: Path, straight: Path) -> None:
    """Compare every weight and every logged number, bit for bit."""
    found, expected = weights(killed), weights(straight)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert records(killed) == records(straight)
