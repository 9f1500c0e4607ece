"""Other people's checkpoints: read without running what is in them, and copied into our networks by name."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.core.wording import first_and_more

State = Mapping[str, Tensor]
Rules = Mapping[str, str]

FORBIDDEN = re.compile(r"GLOBAL ([\w.]*\w)")  # in torch's complaint
LIGHTNING = ("pytorch_lightning.", "lightning.")  # whose callbacks keep notes in checkpoints


class Placeholder:
    """Stands for an object whose class is not looked up: takes whatever the pickle gives it, and keeps nothing."""

    def __new__(cls, *_: object) -> Self:
        """Ignore the arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `torch.save` or Lightning wrote, onto the CPU.

    A pickle is a program: this one may build tensors, plain containers and `argparse.Namespace`, in which Lightning
    keeps settings. Lightning's own classes, such as the callbacks in Stable Diffusion's checkpoints, become empty
    placeholders without being looked up. Anything else is refused, likewise, and nothing in the file runs.

    Raises `UserError` if the file cannot be read, is no checkpoint, or asks for anything else.
    """
    path = Path(path)
    try:
        contents = _load(path, (argparse.Namespace,))
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can fail in any way
        text = " ".join(str(error).split())
        if forbidden := FORBIDDEN.search(text):
            raise UserError(
                f"refused checkpoint {path}: it asks for {forbidden[1]}, and only tensors and "
                "argparse.Namespace are allowed; nothing in it was run"
            ) from error
        raise UserError(f"{path} is not a checkpoint, or damaged") from error
    if not isinstance(contents, dict):
        raise UserError(f"{path} holds a {type(contents).__name__}, not a checkpoint")
    return contents


def _load(path: Path, allowed: tuple[type, ...]) -> object:
    """Load with the weights-only unpickler, anew for every class of Lightning's that turns out to be asked for."""
    try:
        with torch.serialization.safe_globals([*allowed]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of the file's format
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        forbidden = FORBIDDEN.search(str(error))
        if forbidden is None or not forbidden[1].startswith(LIGHTNING):
            raise
        module, _, name = forbidden[1].rpartition(".")
        return _load(path, (*allowed, type(name, (Placeholder,), {"__module__": module})))


@contextmanager
def official_form(path: Path, what: str) -> Iterator[None]:
    """Make one line of whatever follows from settings or tensors that are none: `path` is not `what`.

    Raises `UserError`, also for any other error inside.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a number that is a text, a table without its axes: there is no list of what can be
        raise UserError(f"{path} is not {what}: its settings or tensors are of another form") from error


def load_official(model: nn.Module, official: State, rules: Rules, keep: tuple[str, ...] = ()) -> None:
    """Rename official keys by `rules` (module or tensor name -> ours) and copy the tensors into `model`.

    Raises `UserError` if a key has no rule, if a tensor of `model` other than those in `keep` gets no value, or if
    a shape differs; `model` is then unchanged.
    """
    own = model.state_dict()
    renamed: dict[str, Tensor] = {}
    for key, value in official.items():
        module, _, leaf = key.rpartition(".")
        name = rules[key] if key in rules else f"{rules[module]}.{leaf}" if module in rules else None
        if name not in own:
            raise UserError(f"official key {key!r} has no place in {type(model).__name__}")
        if value.shape != own[name].shape and value.squeeze().shape != own[name].squeeze().shape:
            shapes = f"shape {tuple(value.shape)}, not {tuple(own[name].shape)}"
            raise UserError(f"official key {key!r} has {shapes}: the model is configured differently")
        renamed[name] = value.reshape(own[name].shape)
    missing = own.keys() - renamed.keys() - set(keep)
    if missing:
        lacking = first_and_more(missing, "tensor")
        raise UserError(f"the official weights lack {lacking} of {type(model).__name__}")
    model.load_state_dict(renamed, strict=False)
