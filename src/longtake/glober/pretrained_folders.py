"""Folders of networks that diffusers or transformers wrote: which files to read, and in words what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longtake.core.errors import UserError
from longtake.models import one_line

# whole or in parts ("model-00001-of-00002"), and with a variant between its dots ("model.fp16")
WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(\.(?P<variant>\w+))?(-\d+-of-\d+)?\.(safetensors|bin)"
)


def find_network(source: str, part: str, kind: str, what: str, option: str) -> Path:
    """Return the diffusers folder of a network of class `kind`: `source`, or `part` in it.

    Raises `UserError` if neither is one, or of another class.
    """
    for folder in (Path(source) / part, Path(source)):
        if (folder / "config.json").is_file():
            found = read_config(folder).get("_class_name", kind)
            if found != kind:
                raise UserError(f"{folder} holds a network of the class {found}, but the {what} must be of {kind}")
            return folder
    raise UserError(
        f"no {what} in {source}: give a diffusers folder of one, or an original checkpoint, with {option} PATH"
    )


def read_config(folder: Path) -> dict[str, object]:
    """Return config.json. Raises `UserError` if it cannot be read, or is no table."""
    file = folder / "config.json"
    with in_one_line(f"cannot read {file}"):
        config = json.loads(file.read_text())
    if not isinstance(config, dict):
        raise UserError(f"{file} is not the config of a network")
    return config


def variant_of(folder: Path, what: str) -> str | None:
    """Return the `variant` to load weights with: None for files without one, else the first there is, such as "fp16".

    Raises `UserError` if there are no weights.
    """
    found = [match for file in folder.iterdir() if (match := WEIGHTS.fullmatch(file.name))]
    if not found:
        raise UserError(f"cannot load the {what} in {folder}: no weights beside its config.json")
    variants: Sequence[str | None] = [match["variant"] for match in found]
    return None if None in variants else min(variant for variant in variants if variant)


@contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """Make one line of any error inside, which begins with `what`; there is no list of how a damaged file can fail.

    Raises `UserError`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {one_line(error)}") from error
