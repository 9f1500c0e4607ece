"""A model's videos in a folder, with what making each of them took; begun anew or taken up where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake.benchmarking.contestant import Contestant
from longtake.benchmarking.cost import VideoCost, metered, peak_memory, peak_resident_bytes, warm_up
from longtake.benchmarking.own_process import Tell, in_own_process
from longtake.core.errors import UserError
from longtake.core.files import write_json
from longtake.metrics.evaluation.evaluation import device_of_process
from longtake.metrics.evaluation.videos import Progress
from longtake.metrics.evaluation.work_group import WorkGroup
from longtake.video import VideoError, VideoInfo, open_writer, probe

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

SETTINGS = "samples.json"
Facts = dict[str, Any]
"""Of one video: file, label, cost, and the peaks in bytes of the process that made it, by then, with `loaded`, its
peak before it sampled."""


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


@dataclass(frozen=True)
class Samples:
    """What is there of a model's videos.

    Attributes:
        folder: where they lie, each with its facts in a file beside it, so that several processes can make them.
        settings: how they are made.
        videos: facts of those that are whole, by number.
    """

    folder: Path
    settings: SampleSettings
    videos: Mapping[int, Facts] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: SampleSettings) -> Samples:
        """Take up the videos of an earlier call that are there with all their frames.

        Raises `UserError` for a folder of other videos: with other settings, or without a record of them.
        """
        samples = cls(folder, settings)
        found = read_settings(folder)
        if found is None:
            return samples
        for name, value in asdict(settings).items():
            if found.get(name) != value:
                raise UserError(
                    f"{folder} holds videos made with {name.replace('_', ' ')} {found.get(name)}, "
                    f"not {value}: choose another --out, or delete that folder"
                )
        facts = {number_of(file): read_json(file) for file in folder.glob("video-*.json")}
        whole = {number: each for number, each in sorted(facts.items()) if each and samples.is_whole(number)}
        return cls(folder, settings, whole)

    def file(self, number: int) -> Path:
        """Return the file of a video."""
        return self.folder / f"video-{number:03d}.mp4"

    def is_whole(self, number: int) -> bool:
        """Whether a video is there, with all its frames."""
        try:
            return probe(self.file(number)).num_frames == self.settings.frames
        except VideoError:
            return False

    def missing(self, count: int) -> list[int]:
        """Return the numbers of those of the first `count` videos that are not there."""
        return [number for number in range(count) if number not in self.videos]

    def infos(self, count: int) -> tuple[VideoInfo, ...]:
        """Return the facts of the files of the first `count` videos, all of which are there."""
        return tuple(probe(self.file(number)) for number in range(count))

    def write_settings(self) -> None:
        """Make the folder known as ours: if we are stopped before the first video, it can be taken up."""
        write_json(self.folder / SETTINGS, asdict(self.settings))


def number_of(file: Path) -> int:
    """Return 12 for video-012.json, and -1 for what is no video's."""
    digits = file.stem.removeprefix("video-")
    return int(digits) if digits.isdecimal() else -1


def read_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings in `folder`; None if there is no folder yet.

    Raises `UserError` for other people's folders.
    """
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return None
    found = read_json(folder / SETTINGS)
    if not found:
        raise UserError(
            f"{folder} is there, but has no {SETTINGS} that says how its videos were made: choose another --out"
        )
    return found


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file; an empty one if there is none."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def complete(contestant: Contestant, samples: Samples, count: int, workers: WorkGroup, progress: Progress) -> Samples:
    """Make those of the first `count` videos that are not there, each in a process of the model's own.

    The processes of a `torchrun` share them, and all return all of them. Raises `UserError` for what the model cannot
    make.
    """
    missing = samples.missing(count)
    if not missing:
        return samples
    workers.on_first(samples.write_settings)
    done = 0

    def make(numbers: Sequence[int]) -> dict[int, Facts]:
        def hear(num_frames: int) -> None:
            nonlocal done
            done += num_frames
            progress(f"{contestant.name}: sampling", done, samples.settings.frames * len(numbers))

        return in_own_process(make_videos, contestant, samples, numbers, hear=hear) if numbers else {}

    shares = [missing[rank :: workers.size] for rank in range(workers.size)]
    made = workers.map(make, shares, lambda *_: None)
    videos = {number: facts for share in (samples.videos, *made) for number, facts in share.items()}
    return Samples(samples.folder, samples.settings, videos)


def make_videos(tell: Tell, contestant: Contestant, samples: Samples, numbers: Sequence[int]) -> dict[int, Facts]:
    """Load the model, make the videos of these numbers one by one, and return their facts."""
    settings = samples.settings
    pipe = contestant.load(device_of_process(settings.device))
    loaded = peak_resident_bytes()
    warm_up(pipe, settings.frames, contestant.options(settings.seed, numbers[0]))
    made = {}
    for number in numbers:
        options = contestant.options(settings.seed, number)
        cost = make_video(pipe, samples.file(number), settings.frames, options, tell)
        memory = {"loaded": loaded, **peak_memory(pipe.device)}
        label, file = contestant.label(number), samples.file(number)
        made[number] = {"file": file.name, "label": label, **cost.to_json(), "memory_bytes": memory}
        write_json(file.with_suffix(".json"), made[number])
    return made


def make_video(
    pipe: DiffusionPipeline, file: Path, num_frames: int, options: Mapping[str, Any], tell: Tell
) -> VideoCost:
    """Write one video, whole or not at all, and return what sampling it took.

    `options` are arguments of `stream`; `tell` is told how many frames each chunk brought.
    """
    cost = VideoCost()
    with open_writer(file, pipe.config.fps) as writer:
        for chunk in metered(partial(pipe.stream, num_frames, **options), cost):
            writer.write(chunk)
            tell(len(chunk))
    return cost
