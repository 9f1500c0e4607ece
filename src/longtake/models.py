"""Trained models: those that ship with the package, and loading any of them, a folder or a hub id."""

from __future__ import annotations

import difflib
import importlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from longtake.core.errors import UserError
from longtake.core.wording import are, counted

if TYPE_CHECKING:  # torch and diffusers take seconds to import, and listing models needs neither
    import torch
    from diffusers import DiffusionPipeline

WEIGHTS = Path(__file__).parent / "weights"
INDEX = "model_index.json"
LIBRARIES = ("diffusers", "transformers", "longtake")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_TIMEOUT_S = 5

# what model_index.json calls a pipeline -> (family, module)
FAMILIES = {
    "GloberPipeline": ("glober", "longtake.glober.pipeline"),
    "TatsPipeline": ("tats", "longtake.tats.pipeline"),
    "RecallPipeline": ("recall", "longtake.recall.pipeline"),
}


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships with the package.

    Attributes:
        name: what `load` takes.
        family: folder of the package its code is in ("glober").
        description: one line about it.
        size: bytes of all its files.
        path: its pipeline folder.
    """

    name: str
    family: str
    description: str
    size: int
    path: Path


def available_models() -> list[ShippedModel]:
    """Return the models that ship with the package, by name; reads their indexes only, so it takes milliseconds."""
    models = []
    for index in sorted(WEIGHTS.glob(f"*/{INDEX}")):
        folder = index.parent
        config = read_index(folder)
        family, _ = FAMILIES[config["_class_name"]]
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        models.append(ShippedModel(folder.name, family, config.get("description", ""), size, folder))
    return models


def load(
    name_or_path: str | Path, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> DiffusionPipeline:
    """Load a pipeline, ready to sample.

    Args:
        name_or_path: name of a shipped model, a pipeline folder, a run folder, or a hub id "owner/name", which is
            the only thing that is ever downloaded.
        device: where to put it; None is a GPU if there is one, else the CPU.
        dtype: what it computes in; None is float32.

    Raises:
        UserError: if there is no such model, its folder is damaged, or the device is not there.
    """
    folder = find_folder(str(name_or_path))
    config = read_index(folder)
    for name, value in config.items():
        if is_component(value) and not (folder / name).is_dir():
            raise UserError(f"model folder {folder} is damaged: it has no {name}/")

    import torch
    from diffusers import ModelMixin
    from safetensors import SafetensorError

    from longtake.core.device import choose_device

    target = choose_device(device)
    with quiet_diffusers():
        try:
            pipeline = pipeline_class(config).from_pretrained(str(folder), dtype=dtype or torch.float32)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise UserError(f"model folder {folder} is damaged: {one_line(error)}") from error
    for name, component in pipeline.components.items():
        if isinstance(component, ModelMixin):
            check_weights(folder / name, set(component.state_dict()))
    return pipeline.to(target)


def find_folder(name_or_path: str) -> Path:
    """Return the pipeline folder of a shipped name, a folder, a run folder or a hub id; raises `UserError` if none."""
    shipped = sorted(index.parent.name for index in WEIGHTS.glob(f"*/{INDEX}"))
    if name_or_path in shipped:
        return WEIGHTS / name_or_path
    folder = Path(name_or_path)
    for candidate in (folder, folder / "model"):
        if (candidate / INDEX).exists():
            return candidate
    if (folder / "config.json").exists() and (folder / "components").exists():
        raise UserError(f"run folder {folder} has no model/ yet: its training has not finished")
    if folder.exists():
        raise UserError(f"{folder} is not a model: there is no {INDEX} in it")
    if HUB_ID.fullmatch(name_or_path) and not folder.parent.is_dir():  # else it is a mistyped path
        return download(name_or_path)
    nearest = difflib.get_close_matches(name_or_path, shipped, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise UserError(
        f"no model {name_or_path!r}{hint} (shipped: {', '.join(shipped) or 'none'}; "
        f"or give a pipeline folder, a run folder or a hub id)"
    )


def download(hub_id: str) -> Path:
    """Fetch a pipeline from the model hub and return its folder; without network, the one fetched earlier.

    Raises `UserError` if the hub has no such pipeline, or is out of reach and it was never fetched.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError

    offline = False
    try:
        try:  # one short question first: the hub's client spends half a minute on retries before it says "no network"
            get_hf_file_metadata(hf_hub_url(hub_id, INDEX), timeout=HUB_TIMEOUT_S)
        except HfHubHTTPError:
            raise
        except (OSError, HTTPError):
            offline = True
        index = hf_hub_download(hub_id, INDEX, local_files_only=offline)
        pipeline = pipeline_class(read_index(Path(index).parent))
        return Path(pipeline.download(hub_id, local_files_only=offline))
    except (OSError, HTTPError, HFValidationError) as error:
        reason = "out of reach" if offline else one_line(error)
        raise UserError(f"no folder {hub_id!r}, and none such from the model hub: {reason}") from error


def pipeline_class(config: dict[str, Any]) -> type[DiffusionPipeline]:
    """Return the class that model_index.json names (see `read_index`)."""
    name = config["_class_name"]
    _, module = FAMILIES[name]
    return getattr(importlib.import_module(module), name)


def read_index(folder: Path) -> dict[str, Any]:
    """Return a pipeline folder's model_index.json; raises `UserError` unless it names a pipeline we have."""
    try:
        config = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"model folder {folder} is damaged: cannot read {INDEX}: {one_line(error)}") from error
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in FAMILIES:
        raise UserError(f"{folder / INDEX} names the pipeline {name!r} (known: {', '.join(FAMILIES)})")
    return config


def is_component(value: Any) -> bool:  # noqa: ANN401
    """Whether a value of model_index.json is the [library, class] of a component rather than a setting."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and value[0].split(".")[0] in LIBRARIES
    )


def check_weights(folder: Path, expected: set[str]) -> None:
    """Raise `UserError` if a component's files lack weights: diffusers would leave them random with a mere warning."""
    from safetensors import safe_open

    stored: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            stored.update(weights.keys())
    missing = sorted(expected - stored)
    if missing:
        raise UserError(
            f"model folder {folder} is damaged: {counted(len(missing), 'weight')} {are(len(missing))} missing, "
            f"first {missing[0]}"
        )


@contextmanager
def quiet_diffusers() -> Iterator[None]:
    """Silence diffusers' progress bars and all that it logs: what it warns of is harmless, and what fails raises."""
    from diffusers.utils import logging

    with quiet(logging, logging.CRITICAL):
        yield


@contextmanager
def quiet(logging: ModuleType, verbosity: int) -> Iterator[None]:
    """Silence progress bars, and what is logged below `verbosity`; diffusers' and transformers' `logging` are alike."""
    was_enabled, before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(verbosity)
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if was_enabled:
            logging.enable_progress_bar()


def one_line(error: BaseException) -> str:
    """Return an error's message, on one line and not too long, or its type where it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
