"""A model's videos in a folder, with what making each of them took; begun anew or taken up where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from longtake.benchmarking.contestant import Contestant
from longtake.benchmarking.cost import VideoCost, metered, peak_memory, peak_resident_bytes, warm_up
from longtake.benchmarking.own_process import Tell, in_own_process
from longtake.core.errors import UserError
from longtake.core.files import write_json
from longtake.video import VideoError, VideoInfo, open_writer, probe

RECORD = "samples.json"


@dataclass(frozen=True)
class SampleSettings:
    """All that a model's videos and their times are a function of, besides their number.

    Attributes:
        model_sha256: of the files of its folder.
        frames: frames of each video.
        seed: what they are drawn from.
        device: where they are made.
        longtake: version of this package.
    """

    model_sha256: str
    frames: int
    seed: int
    device: str
    longtake: str


@dataclass
class Samples:
    """What is there of a model's videos.

    Attributes:
        folder: where they lie.
        settings: how they are made.
        videos: by number: file, label and cost of each. Only what is written here is there: it is whole.
        memory: peaks in bytes of the processes that made them, and `loaded`, the peak of one before it sampled.
    """

    folder: Path
    settings: SampleSettings
    videos: dict[int, dict[str, Any]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: SampleSettings) -> Samples:
        """Read the record of earlier videos, if there is one, and take up those that are still there.

        Raises `UserError` for a folder of other videos: with other settings, or without a record.
        """
        samples = cls(folder, settings)
        record = read_record(folder)
        if record is None:
            return samples
        for name, value in asdict(settings).items():
            if record["settings"].get(name) != value:
                raise UserError(
                    f"{folder} holds videos made with {name.replace('_', ' ')} {record['settings'].get(name)}, "
                    f"not {value}: choose another --out, or delete that folder"
                )
        samples.memory = record["memory"]
        for number, video in record["videos"].items():
            if samples.is_whole(folder / video["file"]):
                samples.videos[int(number)] = video
        return samples

    def is_whole(self, path: Path) -> bool:
        """Whether a video is there, with all its frames."""
        try:
            return probe(path).num_frames == self.settings.frames
        except VideoError:
            return False

    def missing(self, count: int) -> list[int]:
        """Return the numbers of those of the first `count` videos that are not there."""
        return [number for number in range(count) if number not in self.videos]

    def infos(self, count: int) -> tuple[VideoInfo, ...]:
        """Return the facts of the first `count` videos, all of which are there."""
        return tuple(probe(self.folder / self.videos[number]["file"]) for number in range(count))

    def add(self, number: int, file: str, label: str | None, cost: VideoCost, memory: dict[str, int]) -> None:
        """Note a video that was written, and the peaks by then."""
        self.videos[number] = {"file": file, "label": label, **cost.to_json()}
        self.memory = memory | {
            name: max(value, memory.get(name, 0)) for name, value in self.memory.items() if name != "loaded"
        }
        self.write()

    def write(self) -> None:
        """Write the record."""
        videos = {str(number): self.videos[number] for number in sorted(self.videos)}
        record = {"settings": asdict(self.settings), "memory": self.memory, "videos": videos}
        write_json(self.folder / RECORD, record)


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record in `folder`; None if there is no folder yet. Raises `UserError` for other people's folders."""
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return None
    try:
        record = json.loads((folder / RECORD).read_text())
        if {"settings", "memory", "videos"} <= record.keys():
            return record
    except (OSError, ValueError, AttributeError):
        pass
    raise UserError(f"{folder} is there, but has no {RECORD} that says how its videos were made: choose another --out")


def complete(contestant: Contestant, samples: Samples, count: int, hear: Tell) -> Samples:
    """Make those of the first `count` videos that are not there, in a process of the model's own; return them all.

    `hear` is told how many frames each chunk brought. Raises `UserError` for what the model cannot make.
    """
    if not samples.missing(count):
        return samples
    return in_own_process(sample_missing, contestant, samples, count, hear=hear)


def sample_missing(tell: Tell, contestant: Contestant, samples: Samples, count: int) -> Samples:
    """Load the model and make the videos that are not there, one by one; return them with the others."""
    settings = samples.settings
    pipe = contestant.load(settings.device)
    loaded = peak_resident_bytes()
    missing = samples.missing(count)
    samples.write()  # before the first video: if that is all there is when we are stopped, the folder is still ours
    warm_up(pipe, settings.frames, contestant.options(settings.seed, missing[0]))
    for number in missing:
        options = contestant.options(settings.seed, number)
        file, cost = f"video-{number:03d}.mp4", VideoCost()
        with open_writer(samples.folder / file, pipe.config.fps) as writer:
            for chunk in metered(partial(pipe.stream, settings.frames, **options), cost):
                writer.write(chunk)
                tell(len(chunk))
        samples.add(number, file, contestant.label(number), cost, {"loaded": loaded, **peak_memory(pipe.device)})
    return samples
