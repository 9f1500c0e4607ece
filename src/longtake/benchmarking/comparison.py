"""What a comparison of models found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longtake.benchmarking.contestant import Contestant
from longtake.benchmarking.cost import highest_peaks
from longtake.benchmarking.real_videos import RealVideos
from longtake.benchmarking.samples import Facts, Samples
from longtake.core.wording import counted
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.report import Report, versions

FLOOR = "real, other half"


@dataclass(frozen=True)
class Row:
    """What was found of one model, or of real videos in a model's place.

    Attributes:
        name: of the model, or `FLOOR`.
        report: its whole evaluation.
        contestant: the model; None for real videos, and so are the others.
        parameters: weights of all networks in its pipeline.
        fps: frames per second of its videos.
        samples: its videos and what they took.
    """

    name: str
    report: Report
    contestant: Contestant | None = None
    parameters: int | None = None
    fps: float | None = None
    samples: Samples | None = None

    def costs(self) -> dict[int, Facts]:
        """Return the facts of the videos that took part; an earlier call may have made more."""
        if self.samples is None:
            return {}
        return {number: self.samples.videos[number] for number in range(self.report.facts["fake"]["n"])}

    def to_json(self) -> dict[str, Any]:
        """Return all of it, the model's whole report and what each video took included."""
        facts: dict[str, Any] = {"name": self.name}
        if self.contestant is not None and self.samples is not None:
            facts |= {
                "model": self.contestant.model,
                "folder": str(self.contestant.folder),
                "family": self.contestant.family,
                "parameters": self.parameters,
                "span": self.contestant.span,
                "classes": list(self.contestant.classes),
                "fps": self.fps,
                "settings": asdict(self.samples.settings),
                "memory_bytes": highest_peaks(self.costs().values()),
                "videos": self.costs(),
            }
        return facts | {"report": self.report.to_json()}


@dataclass(frozen=True)
class Comparison:
    """All that was found.

    Attributes:
        out: the folder of the videos.
        real: the folder of real videos.
        config: how videos were measured; its count, seed and device are those of sampling too.
        num_frames: frames of each sampled video.
        rows: the models in the order given, then the real videos if there were enough.
        notes: what a reader has to know before comparing the rows.
        machine: where the times and the memory were measured.
    """

    out: Path
    real: RealVideos
    config: EvaluationConfig
    num_frames: int
    rows: Sequence[Row]
    notes: Sequence[str]
    machine: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "real": str(self.real.folder.root),
            "protocol": self.config.protocol,
            "videos": self.config.count,
            "frames": self.num_frames,
            "seed": self.config.seed,
            "machine": self.machine,
            "versions": versions(),
            "notes": list(self.notes),
            "rows": [row.to_json() for row in self.rows],
        }


def class_notes(contestants: Sequence[Contestant], count: int) -> list[str]:
    """Say where the classes of two models' videos differ, or one's are not equally many."""
    notes = []
    if any(each.classes for each in contestants):
        without = [each.name for each in contestants if not each.classes]
        notes += [f"{name} has no classes: its videos are of whatever it draws" for name in without]
        if len({frozenset(each.classes) for each in contestants if each.classes}) > 1:
            notes.append("the models have different classes, so that their videos are of different things")
    for each in contestants:
        if each.classes and count % len(each.classes):
            notes.append(
                f"{each.name}: {counted(count, 'video')} of {counted(len(each.classes), 'class')} are not "
                "equally many of each"
            )
    return notes


def shared_notes(rows: Sequence[Row]) -> list[str]:
    """Return the notes of all reports, each once; one that not all have with the names of those that do."""
    names: dict[str, list[str]] = {}
    for row in rows:
        for note in row.report.notes:
            names.setdefault(note, []).append(row.name)
    return [note if len(names[note]) == len(rows) else f"{', '.join(names[note])}: {note}" for note in names]
