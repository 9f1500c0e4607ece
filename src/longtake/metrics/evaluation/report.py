"""Numbers and curves with all they depend on; written as JSON with clip lists and plots beside it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from longtake.core.errors import UserError
from longtake.core.files import atomic_path, write_json
from longtake.metrics.bootstrap import Interval
from longtake.metrics.evaluation.clip_list import ClipList
from longtake.metrics.evaluation.feature_files import SUFFIX, Statistics, write_feature_file
from longtake.metrics.evaluation.limits import Limits
from longtake.metrics.evaluation.plots import Line, draw_plot


@dataclass(frozen=True)
class Number:
    """One number.

    Attributes:
        name: what it may be called: with whose features, where they are not those of the published measure.
        value: the number.
        interval: how much it moves with the draw of videos; None where it was not asked for, or there is one video.
        conditions: all that it depends on.
        details: what belongs to it, such as the values of the trials.
    """

    name: str
    value: float
    interval: Interval | None
    conditions: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)

    def within(self, limits: Limits) -> Number:
        """Return it with its interval cut to what it can be."""
        return self if self.interval is None else replace(self, interval=self.interval.within(*limits))

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in the report."""
        return {
            "name": self.name,
            "value": self.value,
            "interval": interval_json(self.interval),
            **self.details,
            "conditions": self.conditions,
        }


@dataclass(frozen=True)
class CurveOfNumbers:
    """A number for each frame, lag or segment.

    Attributes:
        name: as of `Number`.
        x_label: what the places are.
        x: the places.
        values: a value per place.
        intervals: its interval; empty where there are none.
        conditions: as of `Number`.
        details: as of `Number`.
    """

    name: str
    x_label: str
    x: Sequence[int]
    values: Sequence[float]
    intervals: Sequence[Interval]
    conditions: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)

    def within(self, limits: Limits) -> CurveOfNumbers:
        """Return it with its intervals cut to what its values can be."""
        return replace(self, intervals=[interval.within(*limits) for interval in self.intervals])

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in the report."""
        return {
            "name": self.name,
            "x_label": self.x_label,
            "x": list(self.x),
            "values": list(self.values),
            "intervals": [interval_json(interval) for interval in self.intervals] or None,
            **self.details,
            "conditions": self.conditions,
        }

    def line(self) -> Line:
        """Return it as a line of a plot."""
        bounds = [(interval.low, interval.high) for interval in self.intervals]
        return Line(self.x, self.values, bounds or None)


@dataclass(frozen=True)
class SavedFeatures:
    """What `write_feature_file` takes, of one side."""

    arrays: Mapping[str, Any]
    statistics: Statistics | None
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """All that one evaluation found.

    Attributes:
        facts: protocol, sides, versions: what is common to all numbers.
        numbers: single numbers.
        curves: numbers for each frame, lag or segment.
        notes: what a reader has to know before comparing the numbers.
        clip_lists: by side ("real", "fake") and, for clips of other lengths, "real-128f"; of sides that are folders.
        features: by side, where a network computed them.
    """

    facts: Mapping[str, Any]
    numbers: Sequence[Number]
    curves: Sequence[CurveOfNumbers]
    notes: Sequence[str]
    clip_lists: Mapping[str, ClipList]
    features: Mapping[str, SavedFeatures]

    def number(self, name: str) -> Number:
        """Return the number of this name; raises `KeyError`."""
        return next_named(self.numbers, name)

    def curve(self, name: str) -> CurveOfNumbers:
        """Return the curve of this name; raises `KeyError`."""
        return next_named(self.curves, name)

    def to_json(self) -> dict[str, Any]:
        """Return the whole report."""
        return {
            **self.facts,
            "notes": list(self.notes),
            "numbers": [number.to_json() for number in self.numbers],
            "curves": [curve.to_json() for curve in self.curves],
        }

    def write(self, path: Path) -> list[Path]:
        """Write clip lists and plots beside `path`, then the report itself, each whole; return all these files.

        They share the report's name: x.json, x-clips-real.json, x-clips-fake.json, x-<curve>.png.
        """
        check_report_path(path)
        files = []
        for side, clips in self.clip_lists.items():
            files.append(path.with_name(f"{path.stem}-clips-{side}.json"))
            write_json(files[-1], clips.to_json())
        for curve in self.curves:
            files.append(path.with_name(f"{path.stem}-{file_name(curve.name)}.png"))
            image = draw_plot(curve.line(), title=curve.name, x_label=curve.x_label)
            with atomic_path(files[-1]) as partial:
                image.save(partial, format="PNG")
        names = [file.name for file in files]
        write_json(path, {**self.to_json(), "files": names})
        return [*files, path]

    def write_features(self, folder: Path) -> list[Path]:
        """Write real.npz and fake.npz, of the sides whose features were computed here; return them."""
        files = []
        for side, saved in self.features.items():
            files.append(folder / f"{side}{SUFFIX}")
            write_feature_file(files[-1], saved.arrays, saved.statistics, saved.provenance)
        return files


def check_report_path(path: Path) -> None:
    """Raise `UserError` if a report cannot be called this."""
    if path.suffix.lower() != ".json":
        raise UserError(f"{path}: a report is written as .json")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, the report would be a file")


def interval_json(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval as it stands in the report."""
    if interval is None:
        return None
    return {
        "low": interval.low,
        "high": interval.high,
        "std": interval.std,
        "confidence": interval.confidence,
        "resamples": interval.num_resamples,
    }


def file_name(name: str) -> str:
    """Return a curve's name without what file names should not have."""
    kept = (character if character.isalnum() or character in "-_." else "-" for character in name)
    return "".join(kept).strip("-")


def next_named(items: Sequence[Any], name: str) -> Any:  # noqa: ANN401
    """Return the item of this name; raises `KeyError` with the names there are."""
    for item in items:
        if item.name == name:
            return item
    raise KeyError(f"{name!r} is not in the report; it has {', '.join(item.name for item in items) or 'none'}")


def versions() -> dict[str, str]:
    """Return what decoded and resized the videos and computed the numbers."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("longtake", "torch", "numpy", "pillow", "av")
    }
