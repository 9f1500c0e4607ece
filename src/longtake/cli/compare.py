"""`longtake compare`: one table over models: quality, speed, memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from longtake.cli.output import check_can_create_folder
from longtake.cli.parsing import Command, Flag, OptionalInt, OptionalPath, OptionalText
from longtake.cli.terminal import Stopwatch, one_bar, say, show_table
from longtake.core.errors import UserError


@dataclass(frozen=True)
class Compare(Command):
    """Sample from several models, measure all against the same real clips, and print one table."""

    shares_work = True
    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL [MODEL ...]", help_behavior_hint="")
    ]
    """Shipped models' names (see `longtake models`), pipeline folders, run folders, or hub ids."""
    real: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of real videos."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("comparison")
    """Folder for the sampled videos, a folder per model, and for comparison.json, comparison.md and a contact sheet.
    Videos that are there with the same settings are taken up."""
    videos: OptionalInt = None
    """Videos of each model, and real ones to measure them against (default: half as many as there are real ones, at
    most 16)."""
    frames: OptionalInt = None
    """Frames of each video (default: the shortest span that one of the models was trained on)."""
    features: OptionalText = None
    """i3d, resnext3d, c3d, or local:PATH with an evaluator of your own (default: the protocol's, mostly i3d)."""
    protocol: Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: longtake)")] = "longtake"
    """As of `longtake evaluate`."""
    clip_frames: OptionalInt = None
    """Frames of a clip that is measured (default: the protocol's, mostly 16)."""
    stride: OptionalInt = None
    """Distance between two frames of a clip (default: the protocol's)."""
    seed: int = 0
    """Draws the videos, the real clips and the intervals."""
    resamples: int = 200
    """Resamples of the videos for the intervals; 0: no intervals."""
    weights: OptionalPath = None
    """File with the feature network's weights (default: its environment variable, then the cache)."""
    trust: Flag = False
    """Run the code in a TorchScript file whose checksum is not the known one."""
    batch_size: int = 16
    """Clips that the feature network sees at once."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""

    def run(self) -> None:
        """Compare, write everything, print the table."""
        from longtake.metrics.evaluation.config import EvaluationConfig

        if not self.models:
            raise UserError("missing MODEL: at least one model is needed")
        for name, smallest in (("videos", 2), ("frames", 1), ("clip_frames", 1)):
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise UserError(f"--{name.replace('_', '-')} must be at least {smallest}, not {value}")
        check_can_create_folder(self.out)
        config = EvaluationConfig(
            protocol=self.protocol,
            features=self.features,
            weights=self.weights,
            trust=self.trust,
            frames=self.clip_frames,
            stride=self.stride,
            count=self.videos,
            seed=self.seed,
            resamples=self.resamples,
            batch_size=self.batch_size,
            device=self.device,
        )
        clock = Stopwatch()
        with one_bar() as progress:
            from longtake.benchmarking.compare import compare  # loads torch
            from longtake.benchmarking.comparison_table import comparison_table

            comparison, files = compare(
                self.models, self.real, self.out, config, num_frames=self.frames, progress=progress
            )
        show_table(comparison_table(comparison))
        say(f"wrote {', '.join(str(file) for file in files)} in {clock}")
