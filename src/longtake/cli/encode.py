"""`longtake data encode`: videos encoded once, for training to read."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from longtake import models
from longtake.cli.parsing import Command, OptionalInt, OptionalText
from longtake.cli.terminal import Stopwatch, progress_bar, say
from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.data.config import AugmentConfig

# family -> its module with a function `encode_dataset`
ENCODERS = {"glober": "longtake.glober.encode", "tats": "longtake.tats.encode"}
# diffusers class of a lone autoencoder -> the family that trains on its encodings
AUTOENCODERS = {"AutoencoderKL": "glober", "TatsVQGAN": "tats"}


@dataclass(frozen=True)
class DataEncode(Command):
    """Encode every video of a folder once, with a trained autoencoder, for later stages to train on."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder whose first stage is trained; for GLOBER also a pipeline folder, a shipped model's name, or a
    pretrained autoencoder, as --frame-vae.pretrained takes it. Of a run, size, changes and seed are those of its
    recipe."""
    data: Path
    """Folder of videos."""
    out: Path
    """Folder for the encodings: give it to training as --autoencoder.encoded and --generator.encoded (GLOBER), or
    --transformer.encoded, --sparse.encoded, --interpolation.encoded (TATS). An interrupted command goes on where it
    stopped."""
    variants: int = 1
    """How often each video is encoded, each time changed anew by --augment."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes to each variant (default: those of the run, and none without a run)."""
    size: OptionalInt = None
    """Height and width of the frames (default: the model's)."""
    seed: OptionalInt = None
    """Seed of the changes (default: that of the run, and 0 without a run)."""
    workers: int = 1
    """Processes that decode videos ahead; 0: none, everything happens in turn."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""

    def run(self) -> None:
        """Encode; name every video that was left out."""
        for option, value, least in (
            ("--variants", self.variants, 1),
            ("--size", self.size, 1),
            ("--seed", self.seed, 0),
            ("--workers", self.workers, 0),
        ):
            if value is not None and value < least:
                raise UserError(f"{option} must be at least {least}, not {value}")
        encoder = importlib.import_module(ENCODERS[find_family(self.model)])

        import torch

        from longtake.data.variants import EncodeReport, EncodeSettings

        settings = EncodeSettings(
            num_variants=self.variants,
            size=self.size,
            augment=None if self.augment == AugmentConfig() else self.augment,
            seed=self.seed,
            num_workers=self.workers,
            device=self.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        )
        clock = Stopwatch()
        with progress_bar() as progress:
            task = progress.add_task("videos", total=None)
            report: EncodeReport = encoder.encode_dataset(
                self.model,
                self.data,
                self.out,
                settings,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        for name, reason in report.unreadable.items():
            say(f"left out: {name}: {reason}")
        say(
            f"wrote {self.out}: {counted(report.num_videos, 'video')} x {self.variants}, "
            f"{report.num_bytes / 1e6:.1f} MB; {report.num_arrays} encoded now, in {clock}"
        )


def find_family(model: str) -> str:
    """Return the family of a run folder, an autoencoder, or a pipeline; raises `UserError` if it is none of them."""
    folder = Path(model)
    if folder.is_file() or (folder / "vae").is_dir():  # Stable Diffusion, as GLOBER starts from it
        return "glober"
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        config = {}
    family = config.get("family") or AUTOENCODERS.get(config.get("_class_name"))
    if family is None:
        family, _ = models.FAMILIES[models.read_index(models.find_folder(model))["_class_name"]]
    if family not in ENCODERS:
        raise UserError(f"{model} is a {family} model; videos are encoded for {', '.join(ENCODERS)}")
    return family
