"""`longtake convert`: official checkpoints -> the parts of a pipeline folder."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import tyro

from longtake.cli.parsing import Command
from longtake.cli.terminal import say
from longtake.core.errors import UserError, choose_one_of

# kind -> module and function of (source, destination); the modules load torch
KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "tats-vqgan": ("longtake.tats.convert", "convert_vqgan"),
        "tats-transformer": ("longtake.tats.convert_transformer", "convert_transformer"),
    }
)


@dataclass(frozen=True)
class Convert(Command):
    """Turn an official checkpoint into a part of a pipeline folder."""

    kind: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")]
    """tats-vqgan, or tats-transformer (into the folder of its VQGAN; base, sparse or interpolation, as it says)."""
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """The checkpoint. It is read without running what is in it."""
    destination: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DST")]
    """The pipeline folder; it may hold other converted parts."""

    def run(self) -> None:
        """Convert."""
        module, function = KINDS[choose_one_of("kind", self.kind, KINDS)]
        if not self.source.is_file():
            raise UserError(f"no such file: {self.source}")
        if self.destination.exists() and not self.destination.is_dir():
            raise UserError(f"{self.destination} is a file; DST is a folder")
        convert: Callable[[Path, Path], None] = getattr(importlib.import_module(module), function)
        convert(self.source, self.destination)
        if (self.destination / "model_index.json").is_file():
            say(f"model: {self.destination} (longtake sample {self.destination} --out video.mp4)")
        else:
            say(f"part of a model: {self.destination}")
