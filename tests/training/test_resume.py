"""Exact resume: a run that was killed or stopped ends bit for bit where an uninterrupted one does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from toy_stages import CONFIG, Adversarial, Plain, Regression, main

from longtake.core.errors import UserError
from longtake.training.engine import train_stage
from longtake.training.interrupt import TrainingInterruptedError
from longtake.training.reporter import Reporter
from longtake.training.run import train_stages
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Player

SCRIPT = Path(__file__).with_name("toy_stages.py")
STAGES = ("regression", "adversarial")


def command(out: Path, *options: str, processes: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), str(out), *options]


def environment() -> dict[str, str]:
    return {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}


def train(out: Path, *options: str, processes: int = 1) -> None:
    if processes == 1:
        assert main([str(out), *options]) == 0
        return
    arguments = command(out, *options, processes=processes)
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr


def train_and_kill(out: Path, stage: str, step: int, *options: str, processes: int = 1) -> None:
    """Kill the launcher and its processes without warning soon after a checkpoint of `step` or later is there."""
    process = subprocess.Popen(command(out, "--pause", "0.05", *options, processes=processes), env=environment())
    deadline = time.monotonic() + 120
    while not any(int(p.name[5:]) >= step for p in (out / "checkpoints" / stage).glob("step-*")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    time.sleep(random.random() * 0.2)  # into a later step, wherever that is
    for started in [*psutil.Process(process.pid).children(recursive=True), process]:
        started.kill()
    process.wait()


def weights(out: Path, step: int = CONFIG.steps) -> dict[str, bytes]:
    files = {}
    for stage in STAGES:
        folder = out / "checkpoints" / stage / f"step-{step:08d}"
        files |= {
            f"{stage}/{name}": (folder / name).read_bytes() for name in ("modules.safetensors", "ema.safetensors")
        }
        files[f"{stage}/export"] = (out / "components" / stage / "network.safetensors").read_bytes()
    return files


def records(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return sorted(({k: v for k, v in r.items() if k != "time"} for r in lines), key=lambda r: (r["stage"], r["step"]))


def assert_equals_one_process_with_twice_the_batch(two: Path, one: Path, reporter: Reporter) -> None:
    config = replace(CONFIG, batch_size=2 * CONFIG.batch_size, ema_decay=0.9, accumulation=2)
    train_stages({"plain": lambda components: Plain(config)}, RunFolder(one), reporter=reporter)
    name = "checkpoints/plain/step-00000012/modules.safetensors"
    expected, found = load_file(one / name), load_file(two / name)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
    losses = [[r["train/loss_recon"] for r in records(out) if r["stage"] == "plain"] for out in (two, one)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_resume_after_kill_equals_straight_run(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(straight)
    train_and_kill(killed, "regression", 6)
    train_and_kill(killed, "adversarial", 3, "--resume")
    train(killed, "--resume")
    assert weights(killed) == weights(straight)
    assert records(killed) == records(straight)
    assert [r["step"] for r in records(killed) if r["stage"] == "adversarial"] == list(range(1, CONFIG.steps + 1))


@pytest.mark.slow
def test_resume_after_kill_equals_straight_run_on_two_processes(tmp_path, reporter):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(straight, processes=2)
    train_and_kill(killed, "adversarial", 6, processes=2)
    train(killed, "--resume", processes=2)
    assert weights(killed) == weights(straight)
    assert records(killed) == records(straight)
    assert_equals_one_process_with_twice_the_batch(straight, tmp_path / "single", reporter)
    trainer = json.loads((straight / "checkpoints/adversarial/step-00000012/trainer.json").read_text())
    assert trainer["world_size"] == 2


def test_resume_in_process_equals_straight_run(tmp_path, reporter):
    config = replace(CONFIG, ema_decay=0.99, precision="bf16")
    for out, stops in (("straight", [12]), ("stopped", [3, 7, 12])):
        for stop in stops:
            torch.manual_seed(0)
            train_stage(Adversarial(config), RunFolder(tmp_path / out), resume=True, max_steps=stop, reporter=reporter)
    name = "checkpoints/adversarial/step-00000012"
    for file in ("modules.safetensors", "ema.safetensors", "optimizers.pt"):
        assert (tmp_path / "straight" / name / file).read_bytes() == (tmp_path / "stopped" / name / file).read_bytes()


def test_previews_do_not_disturb_training(tmp_path, reporter):
    for out, every in (("with", 2), ("without", 0)):
        torch.manual_seed(0)
        config = replace(CONFIG, steps=4, sample_every=every)
        train_stage(Adversarial(config), RunFolder(tmp_path / out), reporter=reporter)
    name = "checkpoints/adversarial/step-00000004/modules.safetensors"
    assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    names = {path.name for path in (tmp_path / "with/samples/adversarial").iterdir()}
    assert names == {f"step-0000000{n}-noise.{suffix}" for n in (2, 4) for suffix in ("mp4", "png")}


def test_sigterm_saves_the_current_step_and_resumes(tmp_path, reporter):
    class Terminated(Regression):
        def loss(self, player, batch, step, generator):
            if step == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().loss(player, batch, step, generator)

    run = RunFolder(tmp_path)
    with pytest.raises(TrainingInterruptedError, match="after step 5, which is saved: continue with --resume"):
        train_stage(Terminated(), run, reporter=reporter)
    assert (run.checkpoints("regression") / "step-00000005").is_dir()
    train_stage(Regression(), run, resume=True, reporter=reporter)
    assert (run.checkpoints("regression") / "step-00000012").is_dir()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_changed_optimizer_settings_hold_after_resume(tmp_path, reporter):
    run = RunFolder(tmp_path)
    train_stage(Regression(), run, max_steps=3, reporter=reporter)
    before = load_file(run.checkpoints("regression") / "step-00000003" / "modules.safetensors")
    still = replace(CONFIG, optimizer=replace(CONFIG.optimizer, lr=0.0))
    stage = Regression(still)
    train_stage(stage, run, resume=True, reporter=reporter)
    for key, value in stage.network.state_dict().items():
        assert torch.equal(value, before[f"network.{key}"])


def test_engine_refuses_checkpoints_without_resume(tmp_path, reporter):
    run = RunFolder(tmp_path)
    train_stage(Regression(), run, max_steps=3, reporter=reporter)
    with pytest.raises(UserError, match="--resume"):
        train_stage(Regression(), run, reporter=reporter)


def test_other_network_is_refused(tmp_path, reporter):
    run = RunFolder(tmp_path)
    train_stage(Regression(), run, max_steps=3, reporter=reporter)
    stage = Regression()
    stage.network = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="step 3 does not fit these settings"):
        train_stage(stage, run, resume=True, reporter=reporter)


def test_moments_of_other_groups_are_refused(tmp_path, reporter):
    """They are stored by position: without the check each parameter would go on with the moments of another."""
    run = RunFolder(tmp_path)
    train_stage(Regression(), run, max_steps=3, reporter=reporter)
    stage = Regression()
    stage.players = lambda: [Player("network", list(stage.network.parameters()), CONFIG.optimizer)]
    with pytest.raises(UserError, match="step 3 does not fit these settings"):
        train_stage(stage, run, resume=True, reporter=reporter)
