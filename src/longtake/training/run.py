"""All stages of a run, in order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from longtake.core.errors import UserError, choose_one_of
from longtake.core.files import remove, write_json
from longtake.core.randomness import derive_seed
from longtake.training.checkpoint import Identity, newest_checkpoint, stored_upstream
from longtake.training.engine import default_reporter, train_stage
from longtake.training.processes import run_on_main
from longtake.training.reporter import Reporter
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Stage
from longtake.training.trainer import name_key


class Components:
    """What the stages of a run have exported, and which of it was asked for: who asks depends on it.

    Attributes:
        used: names of the stages whose export was asked for, in order.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.used: list[str] = []

    def find(self, stage: str) -> Path:
        """Return where `stage` was exported to; raise `UserError` if it was not trained yet."""
        if not (self._folder / stage).is_dir():
            raise UserError(f"stage {stage!r} is not trained in this run yet: train it first (--stage {stage})")
        if stage not in self.used:
            self.used.append(stage)
        return self._folder / stage


Factory = Callable[[Components], Stage[Any]]
"""Builds a stage from what earlier stages exported."""


def choose_stages(stages: Mapping[str, Factory], only: Sequence[str] | None) -> dict[str, Factory]:
    """Return the stages named in `only`, in their own order; all of them for None. Raises `UserError` for others."""
    for stage in only or ():
        choose_one_of("stage", stage, stages)
    return {stage: factory for stage, factory in stages.items() if only is None or stage in only}


def run_config(recipe: Any, name: str, data: Path) -> dict[str, Any]:  # noqa: ANN401 (each family has its own type)
    """Return what config.json says of a run; the family is the folder that the recipe's type is defined in."""
    family = type(recipe).__module__.split(".")[-2]
    return {"recipe": name, "family": family, "data": str(data), "settings": dataclasses.asdict(recipe)}


def export_if_complete(stages: Iterable[str], run: RunFolder, export: Callable[[], None]) -> None:
    """Call `export` in the main process once every stage of the recipe has exported its part."""

    def export_complete_run() -> None:
        if all((run.components / stage).is_dir() for stage in stages):
            export()

    run_on_main(export_complete_run)


def train_stages(
    factories: Mapping[str, Factory],
    run: RunFolder,
    *,
    resume: bool = False,
    max_steps: int | None = None,
    config: Mapping[str, Any] | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> None:
    """Train stages in order, each built when its turn comes from what the earlier ones exported.

    Args:
        factories: stage name -> function that builds the stage from the run's components. Initial weights may
            be drawn from torch's global random state, which is seeded from `seed` and the stage's name.
        run: the folder; it must be empty or missing unless `resume`.
        resume: go on where the run stopped. Finished stages are skipped; a stage whose earlier stages changed since
            is put aside and trained afresh, whether or not those are among `factories`. A missing or empty folder is
            started.
        max_steps: caps every stage; schedules still follow the stage's `steps`.
        config: settings of the run, JSON-able, written to config.json; on resume, changes are reported.
        seed: of initial weights.
        reporter: where messages and progress go.

    Raises `UserError` as `RunFolder.start` and `train_stage` do.
    """
    reporter = reporter or default_reporter()
    changes = run_on_main(lambda: run.start(config or {}, resume=resume))
    if changes:
        reporter.message(f"warning: settings changed since this run was last started: {', '.join(changes)}")
    for name, factory in factories.items():
        torch.manual_seed(derive_seed(seed, name_key(name)))
        components = Components(run.components)
        stage = factory(components)
        assert stage.name == name, f"factory {name!r} built stage {stage.name!r}"
        upstream = run_on_main(partial(_identities, run, components.used))
        moved_to = run_on_main(partial(_put_stale_aside, run, name, upstream))
        if moved_to:
            reporter.message(
                f"stage {name!r} starts afresh: the earlier stages it was trained on have changed "
                f"(its old checkpoints are in {moved_to})"
            )
        last_step = min(stage.config.steps, max_steps or stage.config.steps)
        finished = run_on_main(partial(_read_finished, run, name))
        if finished and finished.step >= last_step:
            reporter.message(f"stage {name!r} is finished (step {finished.step})")
            continue
        run_on_main(partial(remove, _finished_path(run, name)))
        train_stage(stage, run, resume=resume, max_steps=max_steps, upstream=upstream, reporter=reporter)
        run_on_main(partial(_write_finished, run, name))


def _finished_path(run: RunFolder, stage: str) -> Path:
    return run.checkpoints(stage) / "finished.json"


def _write_finished(run: RunFolder, stage: str) -> None:
    checkpoint, _ = newest_checkpoint(run.checkpoints(stage))
    assert checkpoint is not None, f"stage {stage!r} left no checkpoint"
    write_json(_finished_path(run, stage), vars(checkpoint.identity))


def _read_finished(run: RunFolder, stage: str) -> Identity | None:
    path = _finished_path(run, stage)
    if not path.is_file() or not (run.components / stage).is_dir():
        return None
    return Identity(**json.loads(path.read_text()))


def _identities(run: RunFolder, stages: Sequence[str]) -> dict[str, Identity]:
    """What the finished ones of `stages` ended with; parts that were put there by hand have no identity."""
    return {stage: identity for stage in stages if (identity := _read_finished(run, stage))}


def _put_stale_aside(run: RunFolder, stage: str, upstream: Mapping[str, Identity]) -> Path | None:
    """Move the checkpoints of a stage that was trained on other weights than `upstream`; return where to."""
    folder = run.checkpoints(stage)
    stored = stored_upstream(folder)
    if stored is None or stored == dict(upstream):
        return None
    number = 1
    while (aside := folder.with_name(f"{stage}.stale-{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside
