"""What a run folder says of a training, whether it goes on or has ended."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.core.errors import UserError
from longtake.studio.shelf import check_run
from longtake.training.run_folder import RunFolder

STEP_NAME = re.compile(r"step-(?P<step>\d+)(?:-(?P<name>.+))?")
HEAD = {"stage": str, "step": int, "time": int | float}  # of a record, whose other entries are values

Curve = list[tuple[int, float]]
"""(step, value), steps ascending."""


@dataclass(frozen=True)
class StageState:
    """How far a stage is.

    Attributes:
        name: of the stage.
        step: of the last record.
        steps: that it is to have; None if the settings do not say.
        seconds_left: estimate from the pace of the last records; None before there are two.
        curves: what was recorded, by name.
    """

    name: str
    step: int
    steps: int | None
    seconds_left: float | None
    curves: dict[str, Curve]


@dataclass(frozen=True)
class Preview:
    """A video that a stage showed of its work, with its contact sheet beside it."""

    stage: str
    name: str
    step: int
    video: Path

    @property
    def sheet(self) -> Path:
        """Frames over time."""
        return self.video.with_suffix(".png")


@dataclass(frozen=True)
class Checkpoint:
    """Where `--resume` would go on."""

    stage: str
    step: int
    written: float


@dataclass(frozen=True)
class RunState:
    """A run at one moment.

    Attributes:
        recipe: its recipe's name.
        family: its recipe's family.
        data: what it learns from.
        stages: those with records, the one at work last.
        previews: the newest of each name, the stage at work first.
        checkpoints: newest first.
        quiet_s: seconds since anything was recorded; None if nothing was.
        is_finished: whether the whole model is there.
    """

    recipe: str
    family: str
    data: str
    stages: list[StageState]
    previews: list[Preview]
    checkpoints: list[Checkpoint]
    quiet_s: float | None
    is_finished: bool


def read_run(folder: Path) -> RunState:
    """Read a run folder; raises `UserError` if it is none."""
    run = RunFolder(check_run(folder))
    try:
        config = json.loads(run.config.read_text())
    except ValueError as error:
        raise UserError(f"{run.config}: not valid JSON ({error})") from error
    if not isinstance(config, dict) or not isinstance(settings := config.get("settings", {}), dict):
        raise UserError(f"{run.config} holds no settings of a training")
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in read_records(run.metrics):
        records[record["stage"]].append(record)
    last = max((record["time"] for rows in records.values() for record in rows), default=None)
    order = sorted(records, key=lambda stage: records[stage][-1]["time"])
    newest_first = {stage: -place for place, stage in enumerate(order)}
    return RunState(
        recipe=str(config.get("recipe", "")),
        family=str(config.get("family", "")),
        data=str(config.get("data", "")),
        stages=[_stage(stage, records[stage], settings) for stage in order],
        previews=sorted(_previews(run), key=lambda preview: (newest_first.get(preview.stage, 1), preview.name)),
        checkpoints=sorted(_checkpoints(run), key=lambda checkpoint: -checkpoint.written),
        quiet_s=None if last is None else max(0.0, time.time() - last),
        is_finished=run.model.is_dir(),
    )


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a metrics.jsonl; the last line may still be on its way."""
    if not path.is_file():
        return
    with path.open(errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and all(isinstance(record.get(name), kind) for name, kind in HEAD.items()):
                yield record


def _stage(name: str, records: list[dict[str, Any]], settings: dict[str, Any]) -> StageState:
    curves: dict[str, Curve] = defaultdict(list)
    for record in records:
        for key, value in record.items():
            if key not in HEAD and isinstance(value, int | float) and math.isfinite(value):
                curves[key].append((record["step"], value))
    step = records[-1]["step"]
    config = settings.get(name)
    steps = config.get("steps") if isinstance(config, dict) else None
    recent = records[-20:]
    num_steps, seconds = step - recent[0]["step"], records[-1]["time"] - recent[0]["time"]
    left = (steps - step) * seconds / num_steps if steps is not None and num_steps > 0 else None
    return StageState(name, step, steps, left, dict(curves))


def _previews(run: RunFolder) -> Iterator[Preview]:
    """The newest preview of every stage and name."""
    found: dict[tuple[str, str], Preview] = {}
    for video in sorted((run.path / "samples").glob("*/step-*.mp4")):
        if match := STEP_NAME.fullmatch(video.stem):
            name = match["name"] or ""
            found[video.parent.name, name] = Preview(video.parent.name, name, int(match["step"]), video)
    yield from found.values()


def _checkpoints(run: RunFolder) -> Iterator[Checkpoint]:
    for folder in (run.path / "checkpoints").glob("*/step-*"):
        if match := STEP_NAME.fullmatch(folder.name):
            with contextlib.suppress(FileNotFoundError):  # a newer one has just taken its place
                yield Checkpoint(folder.parent.name, int(match["step"]), folder.stat().st_mtime)
