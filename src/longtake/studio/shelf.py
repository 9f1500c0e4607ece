"""The models and runs that the page offers, each loaded when it is first used, and once."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake import models
from longtake.core.errors import UserError, choose_one_of
from longtake.training.run_folder import RunFolder

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from longtake.nn.stream_options import StreamOptions

_IMPORTING = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A model on the shelf, known by its model_index.json: nothing of it is loaded.

    Attributes:
        name: what `longtake.load` takes.
        folder: its pipeline folder.
        index: its model_index.json.
    """

    name: str
    folder: Path
    index: Mapping[str, Any]

    @property
    def family(self) -> str:
        """Name of the folder of the package that its code is in."""
        return models.FAMILIES[self.index["_class_name"]][0]

    @property
    def span(self) -> int:
        """Frames that it was trained on."""
        return self.index["span"]

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.index["fps"]

    @property
    def readme(self) -> str:
        """Its own page, or nothing."""
        file = self.folder / "README.md"
        return file.read_text(errors="replace") if file.is_file() else ""

    def pipeline_class(self) -> type[DiffusionPipeline]:
        """Return the class of its pipeline."""
        with _IMPORTING:  # diffusers cannot be imported by two threads at once
            return models.pipeline_class(dict(self.index))

    def size(self) -> int:
        """Return the bytes of all its files."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def options(self) -> StreamOptions:
        """Return what can be asked of its videos. The first call for a family imports its code: seconds."""
        return self.pipeline_class().stream_options(self.index)

    def recommended(self, setting: str) -> Any:  # noqa: ANN401 (any setting of a pipeline)
        """Return a setting that the model recommends: its own, or what its class takes where it says nothing."""
        parameters = inspect.signature(self.pipeline_class().__init__).parameters
        return self.index.get(setting, parameters[setting].default if setting in parameters else None)


class Shelf:
    """The shipped models, and what else the page was started with.

    Args:
        names: pipeline folders, run folders or hub ids.
        device: where models are loaded to; None is the best there is.
        load: loads a model by name, onto a device.

    Raises:
        UserError: for a name that is neither a model nor a run.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        device: str | None = None,
        load: Callable[..., DiffusionPipeline] = models.load,
    ) -> None:
        self.device = device
        self.runs = [name for name in names if is_run(Path(name))]
        # a run is a model once it has a pipeline folder; a hub id is asked for once
        self._folders = {
            name: RunFolder(Path(name)).model if name in self.runs else models.find_folder(name)
            for name in [*names, *(model.name for model in models.available_models())]
        }
        self._load = load
        self._loaded: dict[str, DiffusionPipeline] = {}
        self._loading = threading.Lock()

    def models(self) -> dict[str, Model]:
        """Return the models by name: those given first, and runs as soon as they have finished."""
        return {
            name: Model(name, folder, models.read_index(folder))
            for name, folder in self._folders.items()
            if (folder / models.INDEX).is_file()
        }

    def model(self, name: str) -> Model:
        """Return a model by name; raises `UserError` if it is not on the shelf."""
        found = self.models()
        return found[choose_one_of("model", name, found)]

    def load(self, name: str) -> DiffusionPipeline:
        """Return a model's pipeline, loaded when it is first asked for."""
        with self._loading:
            if name not in self._loaded:
                self.model(name).pipeline_class()
                self._loaded[name] = self._load(name, device=self.device)
            return self._loaded[name]

    def warm_up(self) -> None:
        """Import the code of all models, which takes seconds, before somebody waits for it."""
        for model in self.models().values():
            model.pipeline_class()


def is_run(folder: Path) -> bool:
    """Whether a folder holds a training run, finished or not."""
    run = RunFolder(folder)
    return run.config.is_file() and not (folder / models.INDEX).exists()


def check_run(folder: Path) -> Path:
    """Return `folder`; raise `UserError` unless it holds a run."""
    if not is_run(folder):
        raise UserError(f"{folder} is not a run folder: there is no config.json of a training in it")
    return folder
