"""`longtake bench`: how fast and how large models are on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from longtake.cli.output import check_can_create
from longtake.cli.parsing import Command, OptionalPath, OptionalText
from longtake.cli.terminal import Stopwatch, one_bar, say, show_table
from longtake.core.errors import UserError
from longtake.core.files import write_json


@dataclass(frozen=True)
class Bench(Command):
    """Time models on this machine: frames per second, tokens per second, peak memory."""

    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL ...]", help_behavior_hint="")
    ] = ()
    """Models (default: all that ship with longtake)."""
    frames: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT [INT ...]")] = (16, 64, 256, 1024)
    """Lengths of the videos; the peak memory of the longest is compared with that of 64 frames."""
    out: OptionalPath = None
    """Also write everything as JSON to this file."""
    seed: int = 0
    """What the videos are drawn from."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""

    def run(self) -> None:
        """Measure, print the table, write the JSON."""
        if not self.frames or min(self.frames) < 1:
            raise UserError(f"--frames must be at least 1 each, not {' '.join(map(str, self.frames)) or 'none'}")
        if self.seed < 0:
            raise UserError(f"--seed must be at least 0, not {self.seed}")
        if self.out is not None:
            if self.out.suffix.lower() != ".json":
                raise UserError(f"{self.out}: the figures are written as .json")
            check_can_create(self.out)
        clock = Stopwatch()
        with one_bar() as progress:
            from longtake.benchmarking.bench import bench, bench_table  # loads torch

            figures = bench(self.models, self.frames, seed=self.seed, device=self.device, progress=progress)
        show_table(bench_table(figures))
        if self.out is not None:
            write_json(self.out, figures)
            say(f"wrote {self.out} in {clock}")
