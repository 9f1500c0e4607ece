"""Where a run keeps what it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longtake.core.errors import UserError
from longtake.core.files import ensure_writable_folder, write_json


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run and the places in it."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings of the run."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON record per line."""
        return self.path / "metrics.jsonl"

    @property
    def components(self) -> Path:
        """Finished networks, one folder per stage."""
        return self.path / "components"

    @property
    def model(self) -> Path:
        """The finished pipeline, written by the family after the last stage."""
        return self.path / "model"

    def checkpoints(self, stage: str) -> Path:
        """The checkpoints of a stage."""
        return self.path / "checkpoints" / stage

    def samples(self, stage: str) -> Path:
        """The previews of a stage."""
        return self.path / "samples" / stage

    def tensorboard(self, stage: str) -> Path:
        """The TensorBoard log of a stage."""
        return self.path / "tensorboard" / stage

    def start(self, config: Mapping[str, Any], *, resume: bool) -> list[str]:
        """Write config.json; return the settings that differ from the run's earlier ones, "a.b: 1 -> 2" each.

        With `resume` a folder that does not exist or is empty is started afresh, so that a job that a cluster
        restarts can always be given --resume. Raises `UserError` if the folder is not empty and `resume` is false,
        or if it holds something else than a run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, not a run folder")
        ensure_writable_folder(self.path)
        is_empty = all(entry.name.startswith(".") for entry in self.path.iterdir())
        if not is_empty and not resume:
            raise UserError(f"{self.path} is not empty: continue that run with --resume or choose another folder")
        if not is_empty and not self.config.is_file():
            raise UserError(f"{self.path} holds no run to resume: there is no config.json in it")
        plain = json.loads(json.dumps(config, default=str))
        changes = [] if is_empty else _changes(self._read_config(), plain)
        write_json(self.config, plain)
        return changes

    def _read_config(self) -> dict[str, Any]:
        try:
            return json.loads(self.config.read_text())
        except ValueError as error:
            raise UserError(f"{self.config}: not valid JSON ({error})") from error


def _changes(old: Any, new: Any, name: str = "") -> list[str]:  # noqa: ANN401  (any JSON value)
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        prefix = f"{name}." if name else ""
        return [change for key in keys for change in _changes(old.get(key), new.get(key), f"{prefix}{key}")]
    return [] if old == new else [f"{name}: {json.dumps(old)} -> {json.dumps(new)}"]
