"""The videos that an evaluator is not trained on, and how well it tells their classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.data.clips import clip_at, shortest_video
from longtake.data.config import ClipConfig
from longtake.data.index import VideoEntry, VideoIndex
from longtake.metrics.networks.local import LocalFeatures
from longtake.video import VideoReader


@dataclass(frozen=True)
class Prediction:
    """One clip of a held-out video.

    Attributes:
        video: its path within the data folder.
        start: the clip's first frame.
        label: its class.
        predicted: the class that the evaluator gives it.
    """

    video: str
    start: int
    label: str
    predicted: str


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator makes of the held-out videos.

    Attributes:
        pattern: file names that were held out.
        predictions: of every clip.
    """

    pattern: str
    predictions: tuple[Prediction, ...]

    @property
    def num_correct(self) -> int:
        """Clips whose class is told right."""
        return sum(clip.label == clip.predicted for clip in self.predictions)

    @property
    def accuracy(self) -> float:
        """Part of the clips whose class is told right."""
        return self.num_correct / len(self.predictions)

    @property
    def videos(self) -> list[str]:
        """The videos that the clips are from."""
        return sorted({clip.video for clip in self.predictions})

    def summary(self) -> str:
        """Return the result in one line."""
        return (
            f"held-out accuracy: {self.accuracy:.3f} ({self.num_correct} of {counted(len(self.predictions), 'clip')} "
            f"of {counted(len(self.videos), 'video')} named {self.pattern})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain dictionaries, numbers and strings."""
        return {
            "held_out": self.pattern,
            "accuracy": self.accuracy,
            "num_correct": self.num_correct,
            "num_clips": len(self.predictions),
            "num_videos": len(self.videos),
            "clips": [asdict(clip) for clip in self.predictions],
        }


def split_off(index: VideoIndex, pattern: str) -> tuple[VideoIndex, tuple[VideoEntry, ...]]:
    """Return the index without the videos whose file name matches `pattern` (same classes), and those videos.

    Raises `UserError` if videos have no class, there are fewer than two classes, or the pattern matches none or all.
    """
    unlabelled = [entry.path for entry in index.entries if entry.label < 0]
    if unlabelled:
        raise UserError(f"{unlabelled[0]} has no class: put the videos of each class into a folder of their own")
    if len(index.classes) < 2:
        raise UserError(f"{index.root} has one class only ({', '.join(index.classes)}); at least 2 are needed")
    held_out = tuple(entry for entry in index.entries if fnmatchcase(entry.path.name, pattern))
    if pattern and not held_out:
        raise UserError(f"held_out is {pattern!r}, but no file in {index.root} is named so")
    if len(held_out) == len(index.entries):
        raise UserError(
            f"held_out is {pattern!r}, and all files in {index.root} are named so: none is left to train on"
        )
    return replace(index, entries=tuple(entry for entry in index.entries if entry not in held_out)), held_out


def evaluate(
    network: LocalFeatures, index: VideoIndex, held_out: tuple[VideoEntry, ...], pattern: str, clip: ClipConfig
) -> Evaluation:
    """Classify every clip of the held-out videos: cut one after the other, from the first frame on.

    What is left at a video's end and is shorter than a clip is passed over, and so is a video shorter than a clip
    (unless `clip` reflects it). Raises `UserError` if none is long enough, or one cannot be decoded.
    """
    predictions = []
    for entry in held_out:
        num_frames = entry.info.num_frames
        if num_frames < shortest_video(clip):
            continue
        name = entry.path.relative_to(index.root).as_posix()
        with VideoReader(entry.path) as reader:
            for start in range(0, max(num_frames - clip.num_frames, 0) + 1, clip.num_frames):
                frames = reader.read(clip_at(num_frames, clip, start).tolist())
                predicted = int(network.probabilities(frames[None], "crop").argmax())
                label = index.classes[entry.label]
                predictions.append(Prediction(name, start, label, network.class_names[predicted]))
    if not predictions:
        raise UserError(
            f"no video named {pattern!r} has the {counted(clip.num_frames, 'frame')} of a clip: nothing to measure on"
        )
    return Evaluation(pattern, tuple(predictions))
