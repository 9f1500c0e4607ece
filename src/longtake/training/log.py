"""metrics.jsonl and, where TensorBoard can be imported, its event files."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from longtake.core.files import atomic_path, ensure_writable_folder


class MetricsLog:
    """Appends the records of one stage; opening it forgets the stage's records after `last_step`."""

    def __init__(self, path: Path, tensorboard: Path, stage: str, last_step: int) -> None:
        truncate_log(path, stage, last_step)
        ensure_writable_folder(path.parent)
        self._stage = stage
        self._file = path.open("a")
        self._board = _open_tensorboard(tensorboard, last_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append {"stage", "step", "time" (since the epoch), **values}; a value that is not finite becomes null."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        record = {"stage": self._stage, "step": step, "time": round(time.time(), 3), **finite}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def truncate_log(path: Path, stage: str, last_step: int) -> None:
    """Remove the records of `stage` after `last_step`, and a last line that a killed process left unfinished."""
    if not path.exists():
        return
    text = path.read_text()
    kept = [line for line in text.splitlines() if _is_kept(line, stage, last_step)]
    new_text = "".join(f"{line}\n" for line in kept)
    if new_text != text:
        with atomic_path(path) as partial:
            partial.write_text(new_text)


def _is_kept(line: str, stage: str, last_step: int) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return record.get("stage") != stage or record["step"] <= last_step


def _open_tensorboard(folder: Path, first_step: int) -> Any:  # noqa: ANN401  (the class is not always there)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step)
