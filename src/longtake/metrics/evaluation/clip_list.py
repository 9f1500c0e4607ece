"""Which clips are measured: drawn with a seed from all videos, written down, and named by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from longtake.core.errors import UserError
from longtake.core.files import printable
from longtake.core.randomness import derive_seed
from longtake.core.wording import are, counted
from longtake.metrics.evaluation.protocols import Start
from longtake.metrics.evaluation.videos import LeftOut, VideoFolder
from longtake.video import VideoInfo


@dataclass(frozen=True)
class Clip:
    """Frames start, start + stride, ... of one video.

    Attributes:
        file: path in the folder.
        start: number of the first frame.
        stride: distance between two frames.
        frames: how many.
    """

    file: str
    start: int
    stride: int
    frames: int

    @property
    def indices(self) -> Int[np.ndarray, " t"]:
        """Numbers of the frames in the file."""
        return self.start + self.stride * np.arange(self.frames)


@dataclass(frozen=True)
class ClipList:
    """The clips of one set, in the order of their files; one per video and trial.

    Attributes:
        trials: the clips of each trial, equally many.
        seed: what they were drawn from.
        left_out: videos that are too short.
    """

    trials: tuple[tuple[Clip, ...], ...]
    seed: int
    left_out: tuple[LeftOut, ...]

    def __len__(self) -> int:
        return len(self.trials[0])

    @property
    def sha256(self) -> str:
        """Name of the list: the same files, frames and order give the same."""
        text = json.dumps([[asdict(clip) for clip in trial] for trial in self.trials], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return what is saved beside a report."""
        trials = [[asdict(clip) for clip in trial] for trial in self.trials]
        return {"sha256": self.sha256, "seed": self.seed, "trials": trials}


@dataclass(frozen=True)
class ClipRule:
    """How clips are drawn from a folder.

    Attributes:
        frames: frames of a clip.
        stride: distance between two of them.
        start: where in a video its clip begins.
        trials: how many lists are drawn.
        seed: what they are drawn from.
        shortest: frames a video needs at least, if more than the clip spans.
    """

    frames: int
    stride: int
    start: Start
    trials: int
    seed: int
    shortest: int = 0

    @property
    def span(self) -> int:
        """Frames of the file from the clip's first to its last, both included."""
        return (self.frames - 1) * self.stride + 1


def usable_videos(folder: VideoFolder, rule: ClipRule) -> tuple[list[VideoInfo], tuple[LeftOut, ...]]:
    """Split off the videos that are too short. Raises `UserError` if none is left."""
    needed = max(rule.span, rule.shortest)
    usable = [video for video in folder.videos if video.num_frames >= needed]
    too_short = tuple(
        LeftOut(
            printable(folder.name(video)),
            f"too short: {counted(video.num_frames, 'frame')}, {needed} {are(needed)} needed",
        )
        for video in folder.videos
        if video.num_frames < needed
    )
    if not usable:
        longest = max(video.num_frames for video in folder.videos)
        raise UserError(
            f"{folder.root}: none of {counted(len(folder.videos), 'video')} is long enough: {needed} frames are "
            f"needed, the longest has {longest}"
        )
    return usable, too_short


def draw_clips(folder: VideoFolder, rule: ClipRule, count: int | None) -> ClipList:
    """Draw one clip from each of `count` videos (None, or more than there are: from all), for every trial.

    The same folder content, rule and count give the same clips wherever the folder lies.
    """
    videos, too_short = usable_videos(folder, rule)
    count = len(videos) if count is None else min(count, len(videos))
    trials = []
    for trial in range(rule.trials):
        rng = np.random.default_rng(derive_seed(rule.seed, trial))
        starts = [start_of(video, rule, rng.integers) for video in videos]  # before the choice: it moves no clip
        chosen = np.sort(rng.permutation(len(videos))[:count])
        trials.append(tuple(Clip(folder.name(videos[i]), starts[i], rule.stride, rule.frames) for i in chosen.tolist()))
    return ClipList(tuple(trials), rule.seed, too_short)


def start_of(video: VideoInfo, rule: ClipRule, draw: Callable[[int], Any]) -> int:
    """Return the number of the clip's first frame."""
    last_start = video.num_frames - rule.span
    if rule.start == "random":
        return int(draw(last_start + 1))
    if rule.start == "centre":
        return min(last_start, max(0, video.num_frames // 2 - rule.span // 2))  # G3AN: n // 2 - 8 of 16 frames
    return 0
