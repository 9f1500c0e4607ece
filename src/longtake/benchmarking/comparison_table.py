"""A comparison as tables: the one that is printed, and that of all numbers."""

from __future__ import annotations

from collections.abc import Sequence

from longtake.benchmarking.comparison import Comparison, Row
from longtake.benchmarking.cost import counting_peak, highest_peaks
from longtake.benchmarking.machine import describe_machine, what_is_measured
from longtake.benchmarking.table import NOTHING, Cell, Table, megabytes, millions, short, time_cells
from longtake.core.wording import counted
from longtake.metrics.evaluation.comparison import PUBLISHED_NAMES
from longtake.metrics.evaluation.report import CurveOfNumbers, Number

QUALITY = ("frechet_distance", "frechet_distance_by_segment", "inception_score")


def comparison_table(comparison: Comparison) -> Table:
    """Return a row per model, and one of real videos: the quality that a number says most of, then time and memory."""
    rows = comparison.rows
    measures = [measure for measure in QUALITY if any(find(row, measure) for row in rows)]
    frechet = find(rows[0], "frechet_distance")
    assert frechet is not None, "every comparison of two sets of features has it"
    heads = {
        "frechet_distance": (frechet.name.replace("_", " ").replace("[", " [").replace(":", ": "), "95 % interval"),
        "frechet_distance_by_segment": ("the same, by segment", "first to last"),
        "inception_score": ("inception score", "95 % interval"),
    }
    costs = [("s per video", "of CPU"), ("frames/s", "per CPU s"), ("peak memory", "")]
    return Table(
        [("model", "family, weights"), *(heads[measure] for measure in measures), *costs],
        [[name_cell(row), *(quality_cell(row, measure) for measure in measures), *cost_cells(row)] for row in rows],
        lines_of(comparison),
    )


def numbers_table(rows: Sequence[Row]) -> Table:
    """Return a row per number of any report, a column per model."""
    names = list(dict.fromkeys(number.name for row in rows for number in row.report.numbers))
    cells = []
    for name in names:
        found = [next((number for number in row.report.numbers if number.name == name), None) for row in rows]
        cells.append([(name, ""), *(NOTHING if number is None else number_cell(number) for number in found)])
    return Table([("number", ""), *((row.name, "") for row in rows)], cells)


def find(row: Row, measure: str) -> Number | CurveOfNumbers | None:
    """Return a measure's number or curve, whatever it is called with these features."""
    names = {measure} | {published for (own, _), published in PUBLISHED_NAMES.items() if own == measure}
    results: list[Number | CurveOfNumbers] = [*row.report.numbers, *row.report.curves]
    return next((result for result in results if result.name.partition("[")[0] in names), None)


def name_cell(row: Row) -> Cell:
    """Return name, family and size."""
    if row.contestant is None or row.parameters is None:
        return row.name, ""
    return row.name, f"{row.contestant.family}, {millions(row.parameters)}"


def quality_cell(row: Row, measure: str) -> Cell:
    """Return a number with its interval, or a curve's ends."""
    result = find(row, measure)
    if isinstance(result, Number):
        return number_cell(result)
    if isinstance(result, CurveOfNumbers):
        return f"{short(result.values[0])} to {short(result.values[-1])}", f"over {len(result.values)}"
    return NOTHING


def number_cell(number: Number) -> Cell:
    """Return a number and its interval."""
    interval = number.interval
    return short(number.value), "" if interval is None else f"{short(interval.low)} .. {short(interval.high)}"


def cost_cells(row: Row) -> list[Cell]:
    """Return seconds per video, frames per second and peak memory."""
    if row.samples is None:
        return [NOTHING] * 3
    costs = row.costs().values()
    means = [sum(video[name] for video in costs) / len(costs) for name in ("frames", "seconds", "cpu_seconds")]
    return [*time_cells(*means), (megabytes(counting_peak(highest_peaks(costs))), "")]


def lines_of(comparison: Comparison) -> list[str]:
    """Say what the table is of, and what has to be known to read it."""
    config, folder = comparison.config, comparison.real.folder
    assert config.count is not None
    protocol = config.resolved_protocol()
    return [
        f"{counted(config.count, 'video')} of {counted(comparison.num_frames, 'frame')} of each model, seed "
        f"{config.seed}, against "
        f"{counted(config.count, 'video')} of {folder.root}: protocol {config.protocol}, clips of "
        f"{counted(protocol.frames, 'frame')}",
        f"on {describe_machine(comparison.machine)}; {what_is_measured(comparison.machine)}",
        *comparison.notes,
    ]
