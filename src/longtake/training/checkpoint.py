"""Checkpoints on disk: written whole, checked when read, the newest good one found, the oldest removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longtake.core.files import atomic_path, remove

MODULES, EMA, OPTIMIZERS, TRAINER = "modules.safetensors", "ema.safetensors", "optimizers.pt", "trainer.json"


@dataclass(frozen=True)
class Identity:
    """Names the weights that a stage ended with, so that later stages know what they were trained on.

    Attributes:
        step: steps behind them.
        digest: hash of weights and running mean.
    """

    step: int
    digest: str


@dataclass(frozen=True)
class CheckpointContents:
    """What a checkpoint holds.

    Attributes:
        step: steps done.
        modules: weights and buffers by "<module>.<key>".
        ema: the running mean in the same form, empty if there is none.
        optimizers: optimizer states by player; tensors, numbers and containers of them only.
        world_size: processes that trained.
        upstream: identities of the earlier stages.
    """

    step: int
    modules: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    optimizers: Mapping[str, Any]
    world_size: int
    upstream: Mapping[str, Identity] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A good checkpoint on disk."""

    path: Path
    step: int
    world_size: int
    upstream: dict[str, Identity]
    identity: Identity

    def read(self) -> CheckpointContents:
        """Read everything, onto the CPU."""
        return CheckpointContents(
            self.step,
            load_file(self.path / MODULES),
            load_file(self.path / EMA),
            torch.load(self.path / OPTIMIZERS, map_location="cpu", weights_only=True),
            self.world_size,
            self.upstream,
        )


def write_checkpoint(folder: Path, contents: CheckpointContents, keep: int) -> Path:
    """Write `folder`/step-<step>, whole or not at all; then remove all but the newest `keep` up to that step."""
    path = folder / f"step-{contents.step:08d}"
    with atomic_path(path) as partial:
        partial.mkdir()
        save_file(_copies(contents.modules), partial / MODULES)
        save_file(_copies(contents.ema), partial / EMA)
        torch.save(contents.optimizers, partial / OPTIMIZERS)
        trainer = {
            "step": contents.step,
            "world_size": contents.world_size,
            "upstream": {name: vars(identity) for name, identity in contents.upstream.items()},
            "files": {name: _describe(partial / name) for name in (MODULES, EMA, OPTIMIZERS)},
        }
        (partial / TRAINER).write_text(json.dumps(trainer, indent=2) + "\n")
    for old in [old for old in _newest_first(folder) if _step(old) <= contents.step][keep:]:
        remove(old)
    return path


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest good checkpoint, if any, and one line for each newer one that is damaged."""
    problems: list[str] = []
    for path in _newest_first(folder):
        try:
            return _check(path), problems
        except _DamagedError as error:
            problems.append(f"skipped damaged checkpoint {path}: {error}")
    return None, problems


def stored_upstream(folder: Path) -> dict[str, Identity] | None:
    """Return the upstream of the newest checkpoint whose trainer.json can be read, without checking its other files."""
    for path in _newest_first(folder):
        try:
            return _read_upstream(json.loads((path / TRAINER).read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written."""
    for leftover in folder.glob(".*.partial*"):
        remove(leftover)


class _DamagedError(Exception):
    """A checkpoint is incomplete or was changed after it was written."""


def _check(path: Path) -> Checkpoint:
    try:
        trainer = json.loads((path / TRAINER).read_text())
        files: dict[str, dict[str, Any]] = trainer["files"]
        upstream = _read_upstream(trainer)
        step, world_size = trainer["step"], trainer["world_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"{TRAINER} cannot be read") from error
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            raise _DamagedError(f"{name} is missing")
        # the size first: it is known without reading gigabytes
        if file.stat().st_size != expected["size"]:
            raise _DamagedError(f"{name} has {file.stat().st_size} bytes, not {expected['size']}")
        if _describe(file) != expected:
            raise _DamagedError(f"{name} does not match its checksum")
    digest = hashlib.sha256((files[MODULES]["sha256"] + files[EMA]["sha256"]).encode()).hexdigest()
    return Checkpoint(path, step, world_size, upstream, Identity(step, digest))


def _read_upstream(trainer: dict[str, Any]) -> dict[str, Identity]:
    return {name: Identity(**identity) for name, identity in trainer["upstream"].items()}


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        return {"size": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # copies, since safetensors refuses tensors that share memory, as tied weights do
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-" + "[0-9]" * 8), key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
