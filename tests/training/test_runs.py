"""Run folders, checkpoints on disk, and stages in order."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from toy_stages import CONFIG, Adversarial, Plain, Regression

from longtake.core.errors import UserError
from longtake.training.checkpoint import CheckpointContents, newest_checkpoint, write_checkpoint
from longtake.training.engine import train_stage
from longtake.training.log import truncate_log
from longtake.training.run import train_stages
from longtake.training.run_folder import RunFolder
from longtake.training.samples import video_grid

FACTORIES = {
    "regression": lambda components: Regression(),
    "adversarial": lambda components: Adversarial(components=components),
}

LONGER = replace(CONFIG, steps=CONFIG.steps + 2)


def said(reporter):
    return reporter.console.file.getvalue()


def write(folder, step, keep=3):
    tied = nn.Linear(2, 2).weight
    return write_checkpoint(folder, CheckpointContents(step, {"a": tied, "b": tied}, {}, {}, 1), keep)


def test_checkpoint_round_trip_and_pruning(tmp_path):
    contents = CheckpointContents(
        7, {"m.w": torch.randn(3), "m.flag": torch.tensor(True)}, {"m.w": torch.ones(3)}, {"players": {"p": {0: 1}}}, 2
    )
    write_checkpoint(tmp_path, contents, 1)
    read = newest_checkpoint(tmp_path)[0].read()
    assert torch.equal(read.modules["m.w"], contents.modules["m.w"])
    assert read.modules["m.flag"].item() is True
    assert read.optimizers == contents.optimizers
    assert (read.step, read.world_size) == (7, 2)
    for step in (8, 9, 10):
        write(tmp_path, step, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000009", "step-00000010"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "missing", "empty_json", "no_json"])
def test_damaged_newest_checkpoint_is_skipped(tmp_path, damage):
    write(tmp_path, 1)
    newest = write(tmp_path, 2)
    file = newest / "modules.safetensors"
    data = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(data[:-1])
    elif damage == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "missing":
        file.unlink()
    elif damage == "empty_json":
        (newest / "trainer.json").write_text("")
    else:
        (newest / "trainer.json").unlink()
    checkpoint, problems = newest_checkpoint(tmp_path)
    assert checkpoint.step == 1
    assert len(problems) == 1
    assert str(newest) in problems[0]


def test_resume_from_before_damage_replaces_the_damaged_checkpoint(tmp_path, reporter):
    run = RunFolder(tmp_path)
    torch.manual_seed(0)
    train_stage(Regression(), run, reporter=reporter)
    file = run.checkpoints("regression") / "step-00000012" / "modules.safetensors"
    good = file.read_bytes()
    file.write_bytes(good[:100])
    train_stage(Regression(), run, resume=True, reporter=reporter)
    assert file.read_bytes() == good
    assert "warning: skipped damaged checkpoint" in said(reporter)


def test_half_written_checkpoints_are_removed(tmp_path, reporter):
    run = RunFolder(tmp_path)
    leftover = run.checkpoints("regression") / ".step-00000003.abcdef01.partial"
    leftover.mkdir(parents=True)
    train_stage(Regression(), run, max_steps=3, reporter=reporter)
    assert not leftover.exists()


def test_truncate_log_forgets_later_records_and_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"stage": s, "step": n}) for s, n in (("a", 1), ("b", 5), ("a", 2), ("a", 3))]
    path.write_text("\n".join(lines) + '\n{"stage": "b", "st')
    truncate_log(path, "a", 2)
    assert path.read_text() == "\n".join(lines[:3]) + "\n"


def test_stages_train_in_order_and_finished_ones_are_skipped(tmp_path, reporter):
    run = RunFolder(tmp_path)
    train_stages(FACTORIES, run, reporter=reporter)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    train_stages(FACTORIES, run, resume=True, reporter=reporter)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == files
    assert "stage 'adversarial' is finished (step 12)" in said(reporter)


def test_stage_whose_upstream_was_trained_further_starts_afresh(tmp_path, reporter):
    straight, capped = RunFolder(tmp_path / "straight"), RunFolder(tmp_path / "capped")
    train_stages(FACTORIES, straight, reporter=reporter)
    train_stages(FACTORIES, capped, max_steps=5, reporter=reporter)
    train_stages(FACTORIES, capped, resume=True, reporter=reporter)
    assert "stage 'adversarial' starts afresh" in said(reporter)
    assert (capped.checkpoints("adversarial.stale-1") / "step-00000005").is_dir()
    name = "components/adversarial/network.safetensors"
    assert (capped.path / name).read_bytes() == (straight.path / name).read_bytes()


def test_stage_trained_alone_knows_what_it_was_trained_on(tmp_path, reporter):
    run = RunFolder(tmp_path)
    for name, factory in FACTORIES.items():
        train_stages({name: factory}, run, resume=True, reporter=reporter)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    train_stages(FACTORIES, run, resume=True, reporter=reporter)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == files
    train_stages({"regression": lambda components: Regression(LONGER)}, run, resume=True, reporter=reporter)
    assert "starts afresh" not in said(reporter)
    train_stages({"adversarial": FACTORIES["adversarial"]}, run, resume=True, reporter=reporter)
    assert "stage 'adversarial' starts afresh" in said(reporter)


def test_stage_that_does_not_use_an_earlier_one_is_not_stale_when_that_one_changes(tmp_path, reporter):
    run = RunFolder(tmp_path)
    siblings = {"plain": lambda components: Plain(CONFIG), "regression": lambda components: Regression()}
    train_stages(siblings, run, reporter=reporter)
    longer = {**siblings, "plain": lambda components: Plain(LONGER)}
    train_stages(longer, run, resume=True, reporter=reporter)
    assert "stage 'regression' is finished" in said(reporter)


def test_export_that_was_cut_off_is_repeated(tmp_path, reporter):
    class Unwritable(Regression):
        def export(self, folder):
            raise UserError("disk full")

    run = RunFolder(tmp_path)
    with pytest.raises(UserError, match="disk full"):
        train_stages({"regression": lambda components: Unwritable()}, run, reporter=reporter)
    assert list(run.components.iterdir()) == []
    train_stages({"regression": lambda components: Regression()}, run, resume=True, reporter=reporter)
    assert (run.components / "regression" / "network.safetensors").is_file()


def test_seed_draws_the_initial_weights(tmp_path, reporter):
    names = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        run = RunFolder(tmp_path / out)
        config = replace(CONFIG, optimizer=replace(CONFIG.optimizer, lr=0.0), steps=1)
        train_stages({"regression": lambda components: Regression(config)}, run, seed=seed, reporter=reporter)  # noqa: B023
        names.append((run.components / "regression" / "network.safetensors").read_bytes())
    assert names[0] == names[1] != names[2]


def test_run_folder_start(tmp_path):
    run = RunFolder(tmp_path / "new" / "run")
    settings = {"steps": 5, "stage": {"lr": 0.1, "betas": (0.9, 0.99)}}
    assert run.start(settings, resume=True) == []
    with pytest.raises(UserError, match="--resume"):
        run.start(settings, resume=False)
    assert run.start(settings, resume=True) == []
    changed = {"steps": 5, "stage": {"lr": 0.2, "betas": (0.9, 0.99)}, "new": True}
    assert run.start(changed, resume=True) == ["stage.lr: 0.1 -> 0.2", "new: null -> true"]


def test_run_folder_refuses_what_is_no_run(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds no run"):
        RunFolder(tmp_path).start({}, resume=True)
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex").start({}, resume=False)


def test_video_grid_places_videos_row_by_row():
    videos = np.arange(3, dtype=np.uint8)[:, None, None, None, None] + np.zeros((3, 2, 4, 6, 3), np.uint8) + 1
    grid = video_grid(videos)
    assert grid.shape == (2, 8, 12, 3)
    assert [grid[0, 0, 0, 0], grid[0, 0, 6, 0], grid[1, 4, 0, 0], grid[1, 4, 6, 0]] == [1, 2, 3, 0]
