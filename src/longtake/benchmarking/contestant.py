"""A model that takes part: what it is called, what is known of it, and which videos are asked of it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake import models
from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.metrics.networks.weights import sha256_of

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

RUN_MODEL = "model"  # the folder of a run that holds its pipeline


@dataclass(frozen=True)
class Contestant:
    """A model whose folder was found; nothing is loaded yet.

    Attributes:
        name: what the table and the folder of its videos call it.
        model: as the user named it.
        folder: its pipeline folder.
        family: folder of the package that its code is in ("glober").
        span: frames it was trained on.
        classes: names of its classes; none where it has none.
    """

    name: str
    model: str
    folder: Path
    family: str
    span: int
    classes: tuple[str, ...]

    def label(self, video: int) -> str | None:
        """Return the class that video number `video` is of: one after the other, so that all have their share."""
        return self.classes[video % len(self.classes)] if self.classes else None

    def load(self, device: str) -> DiffusionPipeline:
        """Load the model. Raises `UserError` for a damaged one."""
        return models.load(self.folder, device=device)

    def options(self, seed: int, video: int) -> dict[str, Any]:
        """Return the arguments of `stream` that make video number `video`."""
        label = self.label(video)
        return {"seed": seed, "video": video} | ({} if label is None else {"label": label})

    def check(self, pipe: DiffusionPipeline, seed: int, num_videos: int, num_frames: int) -> None:
        """Raise `UserError`, with the model's name, unless it can make these videos of real time."""
        if num_frames > self.span and not can_go_on(pipe):
            raise UserError(f"{self.name} makes {counted(self.span, 'frame')} of real time at most, not {num_frames}")
        try:
            for video in range(min(num_videos, max(1, len(self.classes)))):
                pipe.stream(num_frames, **self.options(seed, video))
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from error

    def sha256(self) -> str:
        """Return a hash of all files of the pipeline folder that loading reads."""
        whole = hashlib.sha256()
        for file in sorted(self.folder.rglob("*")):
            if file.suffix in (".json", ".safetensors", ".txt"):
                whole.update(f"{file.relative_to(self.folder).as_posix()} {sha256_of(file)}\n".encode())
        return whole.hexdigest()


def find_contestants(given: Sequence[str]) -> list[Contestant]:
    """Find every model's folder; raises `UserError` for one that is not there, or is given twice."""
    folders = [models.find_folder(model) for model in given]
    for folder, count in Counter(folder.resolve() for folder in folders).items():
        if count > 1:
            raise UserError(f"the model in {folder} is given {count} times")
    found = []
    for name, model, folder in zip(short_names(given), given, folders, strict=True):
        index = models.read_index(folder)
        family, _ = models.FAMILIES[index["_class_name"]]
        if "span" not in index:
            raise UserError(f"model folder {folder} is damaged: {models.INDEX} has no span")
        found.append(Contestant(name, model, folder, family, index["span"], tuple(index.get("classes") or ())))
    return found


def short_names(given: Sequence[str]) -> list[str]:
    """Name each model by as many of the last parts of its path as tell it from the others."""
    paths = [path_parts(model) for model in given]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["-".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            break
    return names


def path_parts(model: str) -> tuple[str, ...]:
    """Return the parts of a folder's whole path, without a run's model/; of a name or a hub id its own."""
    whole = Path(os.path.abspath(model))  # noqa: PTH100 (".." is no name, and a link's own is better than its aim's)
    parts = whole.parts[1:] if Path(model).is_dir() else Path(model).parts
    return parts[:-1] if len(parts) > 1 and parts[-1] == RUN_MODEL else parts


def can_go_on(pipe: DiffusionPipeline) -> bool:
    """Whether a model makes real time of any length; of a GLOBER only an endless one does."""
    return getattr(pipe, "is_endless", True)


def num_parameters(pipe: DiffusionPipeline) -> int:
    """Return the number of weights of all networks in the pipeline."""
    networks = [part for part in pipe.components.values() if hasattr(part, "parameters")]
    return sum(weight.numel() for network in networks for weight in network.parameters())
