"""`longtake evaluate`: real and fake videos in, numbers with their whole protocol out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from longtake.cli.output import check_can_create, check_can_create_folder
from longtake.cli.parsing import Command, Flag, OptionalInt, OptionalPath, OptionalText
from longtake.cli.terminal import Stopwatch, fits, one_bar, process_rank, say, show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.table import Table

    from longtake.metrics.evaluation.report import Report


@dataclass(frozen=True)
class Evaluate(Command):
    """Measure fake videos against real ones: Frechet distances and others, with the whole protocol beside them."""

    shares_work = True
    real: Annotated[Path, tyro.conf.arg(metavar="DIR|NPZ")]
    """Folder of real videos, or .npz file of features."""
    fake: Annotated[Path, tyro.conf.arg(metavar="DIR|NPZ")]
    """Folder of generated videos, or .npz file of features."""
    out: Annotated[Path, tyro.conf.arg(metavar="REPORT.json")]
    """The report; clip lists and plots are written beside it."""
    features: OptionalText = None
    """i3d, resnext3d, c3d, or local:PATH with an evaluator of your own (default: the protocol's, mostly i3d)."""
    protocol: Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: longtake)")] = "longtake"
    """longtake, tats, digan, styleganv, styleganv-128, styleganv-subsample8, latte, glober or g3an."""
    metrics: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]", help_behavior_hint="")] = ()
    """frechet_distance, kvd, kvd_subset, jedi, frechet_infinite, clip_lengths, is, segments, cosine_by_lag, ccs, ics,
    flickering, histogram_correlation, lpips, psnr, ssim (default: what the data allow and is quick)."""
    frames: OptionalInt = None
    """Frames of a clip (default: the protocol's)."""
    stride: OptionalInt = None
    """Distance in the file between two frames of a clip, real and fake (default: the protocol's)."""
    count: OptionalInt = None
    """Clips per set (default: the protocol's, or all if there are fewer)."""
    seed: int = 0
    """Draws the clips and the intervals."""
    resamples: int = 200
    """Resamples of the videos for the intervals; 0: no intervals."""
    weights: OptionalPath = None
    """File with the feature network's weights (default: its environment variable, then the cache)."""
    trust: Flag = False
    """Run the code in a TorchScript file whose checksum is not the known one."""
    allow_unequal: Flag = False
    """Compare sets of different size all the same."""
    batch_size: int = 16
    """Clips that the network sees at once."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""
    save_features: OptionalPath = None
    """Folder for real.npz and fake.npz, which can stand for the videos later."""

    def run(self) -> None:
        """Evaluate, write the report and what belongs to it, print the table."""
        from longtake.metrics.evaluation.config import EvaluationConfig
        from longtake.metrics.evaluation.report import check_report_path
        from longtake.metrics.evaluation.sides import check_video_options

        of_features = {"device": self.device, "save_features": self.save_features}
        check_video_options(self.real, self.fake, of_features)
        check_report_path(self.out)
        check_can_create(self.out)
        values = {field.name: getattr(self, field.name) for field in fields(EvaluationConfig)}
        names = tuple(name for item in self.metrics for name in item.split(",") if name)
        config = EvaluationConfig(**(values | {"metrics": names}))
        if self.save_features is not None:
            check_can_create_folder(self.save_features)
        clock = Stopwatch()
        with one_bar() as progress:
            from longtake.metrics.evaluation.evaluation import evaluate  # loads torch
            from longtake.metrics.evaluation.measures import check_feature_options, choose_measures

            check_feature_options(choose_measures(names), of_features)
            report = evaluate(self.real, self.fake, config, progress=progress)
        if process_rank() > 0:
            return
        files = report.write(self.out)
        if self.save_features is not None:
            files += report.write_features(self.save_features)
        show_report(report)
        say(f"wrote {', '.join(str(file) for file in files)} in {clock}")


def show_report(report: Report) -> None:
    """Print the protocol, the numbers and the notes."""
    from rich.table import Column, Table
    from rich.text import Text

    facts = report.facts
    head = Table(Column(), Column(overflow="fold"), title="protocol", title_justify="left", show_header=False)
    head.add_row("protocol", Text(f"{facts['protocol']['name']}: {facts['protocol']['source']}"))
    for side in ("real", "fake"):
        head.add_row(side, Text(describe_side(facts[side])))
    if facts["network"]:
        head.add_row("features", Text(describe(facts["network"])))
    head.add_row("rounding", f"bytes as stored; the protocol's: {facts['protocol']['rounding']}")
    head.add_row("covariance", f"ddof {facts['protocol']['ddof']}")
    head.add_row("seed", str(facts["seed"]))
    head.add_row("versions", describe(facts["versions"]))
    show(head)
    table = number_table(report, narrow=False)
    show(table if fits(table) else number_table(report, narrow=True))
    for note in report.notes:
        show(Text(f"- {note}"))


def number_table(report: Report, *, narrow: bool) -> Table:
    """Return the numbers and curves, one in a row; if narrow, names, intervals and curves are broken in two lines."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    headers = ("value", "95 % interval", "std", "N", "T", "stride")
    if narrow:
        name_column = Column("number", overflow="fold", no_wrap=True)  # the others give way first
        table = Table(name_column, *headers, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    else:
        table = Table("number", *headers)

    def add_row(name: str, *cells: str) -> None:
        if narrow:
            name = name.replace("[", "\n[")
            cells = tuple(
                cell.replace(" .. ", " ..\n").replace(" -> ", " ->\n").replace(" ± ", "\n± ") for cell in cells
            )
        table.add_row(Text(name), *cells)

    for number in report.numbers:
        interval = number.interval
        bounds = ["", ""] if interval is None else [f"{interval.low:.6g} .. {interval.high:.6g}", f"{interval.std:.3g}"]
        value = f"{number.value:.6g}"
        if "trials" in number.details:
            value += f" ± {number.details['std_over_trials']:.3g} ({len(number.details['trials'])} trials)"
        add_row(number.name, value, *bounds, *three_conditions(number.conditions))
    for curve in report.curves:
        first_last = f"{curve.values[0]:.6g} -> {curve.values[-1]:.6g}"
        places = f"{len(curve.x)} x {curve.x_label}"
        add_row(curve.name, first_last, places, "", *three_conditions(curve.conditions))
    return table


def describe_side(side: Mapping[str, Any]) -> str:
    """Return a side's facts, and the hash of its clip list."""
    facts = {name: value for name, value in side.items() if name not in ("source", "left_out")}
    return f"{side['source']}: {describe(facts)}"


def describe(facts: Mapping[str, Any]) -> str:
    """Return "name value, name value"."""
    return ", ".join(f"{name} {text_of(value)}" for name, value in facts.items() if value is not None)


def text_of(value: object) -> str:
    """Return "51 .. 146" for [51, 146], and anything else as it is."""
    return " .. ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def three_conditions(conditions: Mapping[str, Any]) -> list[str]:
    """Return N, T and stride; where real and fake differ, both."""
    sides = [conditions[name] for name in ("real", "fake") if isinstance(conditions.get(name), dict)]
    cells = []
    for name in ("n", "frames", "stride"):
        values = [text_of(side[name]) for side in sides if side.get(name) is not None]
        cells.append("/".join(dict.fromkeys(values)))
    return cells
