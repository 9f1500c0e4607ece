"""One stage: accumulation, clipping, players, running mean, stops on bad numbers."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn
from toy_stages import CONFIG, Adversarial, Regression

from longtake.core.errors import UserError
from longtake.training.config import OptimizerConfig, StageConfig
from longtake.training.ema import RunningMean
from longtake.training.engine import train_stage
from longtake.training.processes import process_state
from longtake.training.reporter import Reporter
from longtake.training.run_folder import RunFolder
from longtake.training.schedule import learning_rate
from longtake.training.trainer import Trainer, TrainingDivergedError


def trained(tmp_path, reporter, config, make=Regression, **options):
    torch.manual_seed(0)
    stage = make(config, **options)
    train_stage(stage, RunFolder(tmp_path), reporter=reporter)
    return stage


def started(stage):
    trainer = Trainer(stage, process_state())
    trainer.begin(None)
    return trainer


def test_accumulation_equals_big_batch(tmp_path, reporter):
    small = trained(tmp_path / "a", reporter, replace(CONFIG, batch_size=2, accumulation=4))
    large = trained(tmp_path / "b", reporter, replace(CONFIG, batch_size=8))
    for a, b in zip(small.network.parameters(), large.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_clipping_closed_form():
    config = replace(CONFIG, optimizer=OptimizerConfig(lr=0.1, clip_norm=0.5))
    stage = Regression(config)
    stage.network = nn.Linear(1, 1, bias=False)
    # d loss / d weight = 3; AdamW is blind to the gradient's scale, so look at its first moment: 0.1 * clipped gradient
    stage.loss = lambda player, batch, step, generator: (3 * stage.network.weight.sum(), {})
    trainer = started(stage)
    values = trainer.step(0, [None])
    moment = trainer.optimizers["network"].state[stage.network.weight]["exp_avg"]
    assert values["grad_norm/network"].item() == pytest.approx(3.0)
    assert moment.item() == pytest.approx(0.1 * 0.5, rel=1e-5)


def test_weight_decay_closed_form():
    config = replace(CONFIG, optimizer=OptimizerConfig(lr=0.1, weight_decay=0.5))
    stage = Regression(config)
    # no gradient: AdamW shrinks what it decays by 1 - lr * weight_decay, and nothing else happens
    stage.loss = lambda player, batch, step, generator: (0 * sum(p.sum() for p in stage.network.parameters()), {})
    before = {name: value.clone() for name, value in stage.network.named_parameters()}
    started(stage).step(0, [None])
    for name, value in stage.network.named_parameters():
        torch.testing.assert_close(value, before[name] * (0.95 if name.endswith("weight") else 1.0))


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 0, 0.25),
        ("constant", 3, 1.0),
        ("constant", 99, 1.0),
        ("cosine", 1, 0.5),
        ("cosine", 4, 1.0),
        ("cosine", 52, 0.5),
        ("cosine", 100, 0.0),
    ],
)
def test_learning_rate_values(schedule, step, expected):
    config = OptimizerConfig(lr=1.0, warmup_steps=4, schedule=schedule)
    assert learning_rate(config, step, 100) == pytest.approx(expected)


def test_running_mean_closed_form():
    module = nn.Linear(1, 1, bias=False)
    module.register_buffer("count", torch.zeros((), dtype=torch.long))
    weights = [1.0, 2.0, 4.0, 8.0]
    nn.init.constant_(module.weight, weights[0])
    mean = RunningMean({"m": module}, decay=0.2)
    expected = weights[0]
    for step, weight in enumerate(weights[1:]):
        nn.init.constant_(module.weight, weight)
        module.count += 1
        mean.update(step)
        decay = min(0.2, [1 / 10, 2 / 11, 3 / 12][step])
        expected = decay * expected + (1 - decay) * weight
    with mean.swapped():
        assert module.weight.item() == pytest.approx(expected)
        assert module.count.item() == 3
    assert module.weight.item() == 8.0


def test_running_mean_of_shared_network_swaps_back():
    shared = nn.Linear(1, 1)
    mean = RunningMean({"a": nn.Sequential(shared), "b": nn.Sequential(shared)}, decay=0.0)
    nn.init.constant_(shared.weight, 5.0)
    mean.update(0)
    nn.init.constant_(shared.weight, 7.0)
    with mean.swapped():
        assert shared.weight.item() == 5.0
    assert shared.weight.item() == 7.0


def test_players_change_only_their_own_parameters():
    torch.manual_seed(0)
    stage = Adversarial(replace(CONFIG, ema_decay=0.9))
    trainer = started(stage)
    batch = next(stage.batches(0, 0, 1))
    critic = {k: v.clone() for k, v in stage.critic.named_parameters()}
    network = {k: v.clone() for k, v in stage.network.named_parameters()}
    values = trainer.step(0, [batch])  # the critic steps in every second step only
    assert "train/loss_critic" not in values
    assert all(torch.equal(v, critic[k]) for k, v in stage.critic.named_parameters())
    assert not any(torch.equal(v, network[k]) for k, v in stage.network.named_parameters())
    assert all(p.grad is None for p in stage.critic.parameters())
    assert "train/loss_critic" in trainer.step(1, [batch])
    assert not any(torch.equal(v, critic[k]) for k, v in stage.critic.named_parameters() if not k.startswith("0.bias"))


def test_nan_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path, reporter):
    run = RunFolder(tmp_path)
    message = r"stage 'regression', player 'network', step 8: the loss is not finite \(.*train/loss_recon = nan.*step 6"
    with pytest.raises(TrainingDivergedError, match=message):
        train_stage(Regression(nan_at=7), run, reporter=reporter)
    assert sorted(p.name for p in run.checkpoints("regression").iterdir()) == ["step-00000003", "step-00000006"]
    assert not run.components.exists()
    train_stage(Regression(), run, resume=True, reporter=reporter)
    assert (run.components / "regression").is_dir()


def test_gradient_that_is_not_finite_stops(tmp_path, reporter):
    class Root(Regression):
        def loss(self, player, batch, step, generator):
            return self.network[0].weight.mul(0.0).sum().sqrt(), {}

    with pytest.raises(TrainingDivergedError, match=r"step 1: the gradient norm is nan.*no checkpoint yet"):
        train_stage(Root(), RunFolder(tmp_path), reporter=reporter)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_computes_low_and_stores_fp32(precision):
    seen = []
    stage = Regression(replace(CONFIG, precision=precision))
    stage.network.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer = started(stage)
    loss = trainer.step(0, [next(stage.batches(0, 0, 1))])["train/loss_network"]
    assert seen == [{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]]
    assert {p.dtype for p in stage.network.parameters()} == {torch.float32}
    assert loss.isfinite()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("native", [True, False])
def test_arithmetic_that_the_device_only_emulates_is_warned_of(tmp_path, reporter, monkeypatch, precision, native):
    monkeypatch.setattr("longtake.training.engine.is_native", lambda dtype, device: native)
    trained(tmp_path, reporter, replace(CONFIG, precision=precision))
    warning = f"warning: this cpu has no {precision} arithmetic and emulates it: steps are faster with "
    is_warned = warning + "--regression.precision fp32" in reporter.console.file.getvalue()
    assert is_warned == (precision != "fp32" and not native)


def test_fp16_scaler_skips_a_step_that_overflows():
    stage = Regression(replace(CONFIG, precision="fp16"))
    stage.loss = lambda player, batch, step, generator: (1e37 * stage.network[0].weight.sum(), {})
    trainer = started(stage)
    before = stage.network[0].weight.clone()
    trainer.step(0, [None])
    assert torch.equal(stage.network[0].weight, before)
    assert trainer.scaler.get_scale() == 2.0**15


def test_frozen_networks_get_no_gradient_and_no_checkpoint(tmp_path, reporter):
    class WithFrozen(Regression):
        def __init__(self):
            super().__init__()
            self.teacher = nn.Linear(2, 2)

        def frozen(self):
            return {"teacher": self.teacher}

    stage = WithFrozen()
    train_stage(stage, RunFolder(tmp_path), max_steps=3, reporter=reporter)
    assert not stage.teacher.training
    assert not any(p.requires_grad for p in stage.teacher.parameters())


def test_progress_is_silent_lines_without_a_terminal(tmp_path, reporter):
    trained(tmp_path, reporter, CONFIG)
    text = reporter.console.file.getvalue()
    assert "regression: preparing" in text
    assert "step 12/12  network " in text
    assert text.count("\n") == 2


def test_progress_bar_on_a_terminal_shows_loss_and_time_left(tmp_path):
    reporter = Reporter(Console(file=io.StringIO(), force_terminal=True, color_system=None, width=120))
    trained(tmp_path, reporter, CONFIG)
    assert re.search(
        r"regression .*12/12 +network 0\.\d+ +[\d.]+ steps/s +left 0:00:00", reporter.console.file.getvalue()
    )


class Caching(Regression):
    """Tells three times how far its preparation is."""

    def prepare(self, device):
        for done in (1, 2, 3):
            self.tell(f"encoded {done} of 3 [videos]")


@pytest.mark.parametrize(("line_every", "lines"), [(0.0, 3), (60.0, 0)])
def test_preparation_tells_how_far_it_is(tmp_path, line_every, lines):
    """As lines no more often than progress, and not at all where that would be too soon."""
    reporter = Reporter(Console(file=io.StringIO(), width=200), line_every=line_every)
    trained(tmp_path, reporter, CONFIG, Caching)
    text = reporter.console.file.getvalue()
    assert text.startswith("regression: preparing\n")
    told = [line for line in text.splitlines() if "encoded" in line]
    assert told == [f"regression: preparing: encoded {done} of 3 [videos]" for done in (1, 2, 3)][:lines]


def test_preparation_tells_how_far_it_is_on_a_terminal():
    reporter = Reporter(Console(file=io.StringIO(), force_terminal=True, color_system=None, width=120))
    with reporter.status("regression: preparing") as tell:
        tell("encoded 1 of 2 [videos]")
        tell("encoded 2 of 2 [videos]")
    assert "regression: preparing: encoded 2 of 2 [videos]" in reporter.console.file.getvalue()


def test_log_records_lr_norm_and_losses(tmp_path, reporter):
    trained(tmp_path, reporter, replace(CONFIG, log_every=5), Adversarial)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 5, 10]
    assert records[0]["lr/network"] == pytest.approx(1e-2 / 3)
    assert {"train/loss_adversarial", "grad_norm/critic", "train/loss_critic", "lr/critic", "time"} <= set(records[2])


def test_world_size_is_asserted(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE is 2 but this process has no LOCAL_RANK"):
        process_state()
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(UserError, match=r"announces 2 processes .* but there is 1:"):
        process_state()


@pytest.mark.parametrize("change", [{"steps": 0}, {"ema_decay": 1.0}, {"accumulation": 0}, {"log_every": 0}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(UserError, match=next(iter(change))):
        StageConfig(**change)
