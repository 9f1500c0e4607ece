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

# kind -> module and function of (source, destination); it may return what is still missing. The modules load torch
KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "tats-vqgan": ("longtake.tats.convert", "convert_vqgan"),
        "tats-transformer": ("longtake.tats.convert_transformer", "convert_transformer"),
        "tats-stft-vqgan": ("longtake.tats.convert", "convert_stft_vqgan"),
        "tats-tokenizer": ("longtake.tats.convert", "convert_tokenizer"),
        "sd-unet": ("longtake.glober.pretrained", "convert_unet"),
        "sd-vae": ("longtake.glober.pretrained", "convert_vae"),
    }
)
FOLDERS = ("tats-tokenizer",)  # kinds whose source is one


@dataclass(frozen=True)
class Convert(Command):
    """Turn an official checkpoint into a part of a pipeline folder."""

    kind: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")]
    """tats-vqgan, or tats-transformer (into the folder of its VQGAN; base, sparse or interpolation, as it says), for
    one with sound also tats-stft-vqgan, for one with captions tats-tokenizer (from the folder of CLIP's tokenizer);
    sd-unet or sd-vae: Stable Diffusion v1's, of an original checkpoint, into DST/unet or DST/vae in diffusers' form."""
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """The checkpoint. It is read without running what is in it."""
    destination: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DST")]
    """The pipeline folder; it may hold other converted parts."""

    def run(self) -> None:
        """Convert."""
        module, function = KINDS[choose_one_of("kind", self.kind, KINDS)]
        what, is_there = ("folder", Path.is_dir) if self.kind in FOLDERS else ("file", Path.is_file)
        if not is_there(self.source):
            other = f"; {self.kind} is of a {what}" if self.source.exists() else ""
            raise UserError(f"no such {what}: {self.source}{other}")
        if self.destination.exists() and not self.destination.is_dir():
            raise UserError(f"{self.destination} is a file; DST is a folder")
        convert: Callable[[Path, Path], str | None] = getattr(importlib.import_module(module), function)
        missing = convert(self.source, self.destination)
        if (self.destination / "model_index.json").is_file():
            say(f"model: {self.destination} (longtake sample {self.destination} --out video.mp4)")
        else:
            say(f"part of a model: {self.destination}" + (f"; it still needs {missing}" if missing else ""))
