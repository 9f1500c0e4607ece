"""What a folder of videos holds, and what is wrong with it, before any training starts."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from longtake.data.clips import clip_span
from longtake.data.config import ClipConfig
from longtake.data.index import Progress, Unreadable, VideoEntry, index_folder, map_in_order, reason_of, usable
from longtake.video import VideoError, VideoReader

LENGTH_BINS = (1, 16, 32, 64, 128, 256, 512, 1024)  # lower edges, in frames


@dataclass(frozen=True)
class DataReport:
    """The findings of `check_folder`; every file named is relative to `root`.

    Attributes:
        root: the folder.
        num_videos: videos found, readable or not.
        num_readable: videos whose header can be read.
        num_usable: videos that can be decoded and are long enough for the clip.
        num_frames: frames of all readable videos.
        seconds: duration of all readable videos.
        clip_span: frames a video needs.
        sizes: number of videos by "widthxheight", most frequent first; likewise `frame_rates`.
        lengths: number of videos by range of frames, such as "16-31".
        classes: number of readable videos by class, in label order; empty without classes.
        num_captions: readable videos with a caption.
        num_audio: readable videos with sound.
        unreadable: every video that cannot be opened or decoded, with the reason.
        too_short: every readable video shorter than `clip_span`, with the reason.
        suspicious: every video that is used but looks wrong, with the reason.
    """

    root: str
    num_videos: int
    num_readable: int
    num_usable: int
    num_frames: int
    seconds: float
    clip_span: int
    sizes: dict[str, int]
    frame_rates: dict[str, int]
    lengths: dict[str, int]
    classes: dict[str, int]
    num_captions: int
    num_audio: int
    unreadable: dict[str, str]
    too_short: dict[str, str]
    suspicious: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain dictionaries, numbers and strings."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the report as lines of plain text."""
        lines = [
            f"{self.root}: {self.num_usable} of {self.num_videos} videos usable for clips of {self.clip_span} frames",
            f"frames: {self.num_frames} ({self.seconds:.1f} s)",
            f"sizes: {_counts(self.sizes)}",
            f"frames per second: {_counts(self.frame_rates)}",
            f"lengths: {_counts(self.lengths)}",
            f"classes: {_counts(self.classes)}",
            f"captions: {self.num_captions}",
            f"with sound: {self.num_audio}",
        ]
        lines += [f"unreadable: {path}: {reason}" for path, reason in self.unreadable.items()]
        lines += [f"left out: {path}: {reason}" for path, reason in self.too_short.items()]
        return lines + [f"suspicious: {path}: {reason}" for path, reason in self.suspicious.items()]


def check_folder(
    root: Path,
    clip: ClipConfig | None = None,
    *,
    decode: bool = True,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> DataReport:
    """Probe every video under `root` and, with `decode`, read every frame of it.

    `clip` (default `ClipConfig()`) decides which videos are long enough. `num_workers` threads work side by side.
    `progress` counts videos, each once when probed and once more when decoded. Raises `UserError` as `index_folder`.
    """
    clip = clip or ClipConfig()
    root = Path(root)
    rounds = 2 if decode else 1
    report = progress or _ignore
    index = index_folder(root, num_workers, lambda done, total: report(done, rounds * total))
    num_videos = len(index.entries) + len(index.unreadable)
    unreadable, suspicious = list(index.unreadable), [*filter(None, map(_find_missing_frames, index.entries))]
    if decode:
        first = num_videos + len(index.unreadable)  # those are done
        report(first, rounds * num_videos)
        for done, finding in enumerate(map_in_order(_decode, index.entries, num_workers), 1):
            unreadable += finding.unreadable
            suspicious += finding.suspicious
            report(first + done, rounds * num_videos)
    fitting, too_short = usable(index, clip_span(clip))
    undecodable = {file.path for file in unreadable}
    infos = [entry.info for entry in index.entries]
    labels = Counter(entry.label for entry in index.entries)
    return DataReport(
        root=str(root),
        num_videos=num_videos,
        num_readable=len(index.entries),
        num_usable=sum(entry.path not in undecodable for entry in fitting.entries),
        num_frames=sum(info.num_frames for info in infos),
        seconds=sum(info.num_frames / info.fps for info in infos if info.fps > 0),
        clip_span=clip_span(clip),
        sizes=_count(f"{info.width}x{info.height}" for info in infos),
        frame_rates=_count(f"{info.fps:.6g}" for info in infos),
        lengths=_histogram([info.num_frames for info in infos]),
        classes={name: labels[label] for label, name in enumerate(index.classes)},
        num_captions=sum(entry.text != "" for entry in index.entries),
        num_audio=sum(info.has_audio for info in infos),
        unreadable=_by_name(root, unreadable),
        too_short=_by_name(root, too_short),
        suspicious=_by_name(root, suspicious),
    )


@dataclass(frozen=True)
class _Finding:
    unreadable: tuple[Unreadable, ...] = ()
    suspicious: tuple[Unreadable, ...] = ()


def _find_missing_frames(entry: VideoEntry) -> Unreadable | None:
    announced, found = entry.info.announced_frames, entry.info.num_frames
    if announced is None or announced <= found:
        return None
    return Unreadable(entry.path, f"{found} frames where its header announces {announced}: cut short or damaged")


def _decode(entry: VideoEntry) -> _Finding:
    """Decode the whole video, one frame at a time; stop at the first failure."""
    first: np.ndarray | None = None
    count, moves = 0, False
    try:
        with VideoReader(entry.path) as reader:
            for frame in reader.frames():
                first = frame if first is None else first
                moves = moves or not np.array_equal(frame, first)
                count += 1
    except VideoError as error:
        return _Finding(unreadable=(Unreadable(entry.path, reason_of(entry.path, error)),))
    if count != entry.info.num_frames:
        reason = f"{count} frames where {entry.info.num_frames} were found before"
        return _Finding(unreadable=(Unreadable(entry.path, reason),))
    if count > 1 and not moves:
        return _Finding(suspicious=(Unreadable(entry.path, f"all {count} frames are the same"),))
    return _Finding()


def _histogram(lengths: Sequence[int]) -> dict[str, int]:
    names = [f"{low}-{high - 1}" for low, high in pairwise(LENGTH_BINS)] + [f"{LENGTH_BINS[-1]}+"]
    counts = Counter(bisect_right(LENGTH_BINS, length) - 1 for length in lengths if length >= LENGTH_BINS[0])
    return {name: counts[place] for place, name in enumerate(names) if counts[place]}


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or "none"


def _by_name(root: Path, files: Iterable[Unreadable]) -> dict[str, str]:
    return dict(sorted((file.path.relative_to(root).as_posix(), file.reason) for file in files))


def _ignore(done: int, total: int) -> None:
    """Progress that nobody watches."""
