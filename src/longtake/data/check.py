"""What a folder of videos holds, and what is wrong with it, before any training starts."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from longtake.core.files import printable
from longtake.core.wording import are, counted
from longtake.data.captions import CAPTION_FILES
from longtake.data.clips import clip_span
from longtake.data.config import ClipConfig
from longtake.data.index import (
    TIME_LIMIT,
    Progress,
    Unreadable,
    VideoIndex,
    index_videos,
    usable,
    video_name,
)
from longtake.video import VideoError, VideoInfo, VideoReader, count_damaged, probe
from longtake.video.find import FolderContents, count_endings, scan_folder

LENGTH_BINS = (1, 16, 32, 64, 128, 256, 512, 1024)  # lower edges, in frames


@dataclass(frozen=True)
class DataReport:
    """The findings of `check_folder`; every file named is relative to `root`.

    Attributes:
        root: the folder.
        decoded: whether every frame was decoded, rather than headers and packets read.
        num_videos: videos found, readable or not.
        num_readable: videos that can be read.
        num_usable: readable videos that are long enough for the clip.
        num_frames: frames of all readable videos.
        seconds: duration of all readable videos.
        clip_span: frames a video needs.
        sizes: number of videos by "widthxheight", most frequent first; likewise `frame_rates` and `codecs`.
        frame_rates: number of videos by frames per second.
        codecs: number of videos by FFmpeg's name of their codec ("images": a folder of frames).
        lengths: number of videos by range of frames, such as "16-31"; ranges without videos are left out.
        fitting: number of videos that a clip fits into, by the clip's number of frames ("16", "32", ...).
        classes: number of readable videos by class, in label order; empty without classes.
        num_captions: readable videos with a caption.
        num_audio: readable videos with sound.
        unreadable: every video that cannot be used, with the reason.
        too_short: every readable video shorter than `clip_span`, with the reason.
        suspicious: every video that can be read but looks wrong, with the reasons.
        passed_over: number of other files by ending (".txt", "none"), captions and hidden files aside, most first:
            videos of a kind or name that is not read are among them.
        problem: why no video can be used, on one line; None if some can.
    """

    root: str
    decoded: bool
    num_videos: int
    num_readable: int
    num_usable: int
    num_frames: int
    seconds: float
    clip_span: int
    sizes: dict[str, int]
    frame_rates: dict[str, int]
    codecs: dict[str, int]
    lengths: dict[str, int]
    fitting: dict[str, int]
    classes: dict[str, int]
    num_captions: int
    num_audio: int
    unreadable: dict[str, str]
    too_short: dict[str, str]
    suspicious: dict[str, str]
    passed_over: dict[str, int]
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain dictionaries, numbers and strings."""
        return asdict(self)


def check_folder(
    root: Path,
    clip: ClipConfig | None = None,
    *,
    decode: bool = False,
    num_workers: int = 0,
    time_limit: float = TIME_LIMIT,
    progress: Progress | None = None,
) -> DataReport:
    """Look at headers and packets of every video under `root`; with `decode`, read every frame as training would.

    `clip` (default `ClipConfig()`) decides which videos are long enough. `num_workers` processes work side by side,
    each with `time_limit` seconds for a video; with 0 there is no limit. `progress` counts videos. A folder without
    videos is a finding, too. Raises `UserError` if `root` is no folder or may not be read, or if its captions file is
    wrong.
    """
    look = decode_whole if decode else probe
    contents = scan_folder(Path(root))
    index = index_videos(contents.root, contents.videos, num_workers, progress, look=look, time_limit=time_limit)
    return _report(contents, index, clip_span(clip or ClipConfig()), decode)


def decode_whole(path: Path) -> VideoInfo:
    """Probe a video and decode it to its end, one frame at a time, without keeping them.

    The oddities also say how many pictures are damaged, as far as the decoder notices (see `video.count_damaged`), and
    whether all are the same. Raises `VideoError` at the first frame that cannot be decoded, or if there are fewer than
    its packets promise.
    """
    info = probe(path)
    first: np.ndarray | None = None
    count, moves = 0, False
    with VideoReader(path) as reader:
        for frame in reader.frames():
            first = frame if first is None else first
            moves = moves or not np.array_equal(frame, first)
            count += 1
    if count != info.num_frames:
        raise VideoError(f"{path}: {counted(count, 'frame')} where {info.num_frames} were found before")
    oddities = list(info.oddities)
    num_damaged, num_pictures = count_damaged(path)
    if num_damaged:
        oddities.append(f"{num_damaged} of {counted(num_pictures, 'frame')} {are(num_damaged)} damaged")
    if count > 1 and not moves:
        oddities.append(f"all {count} frames are the same")
    return replace(info, oddities=tuple(oddities))


def _report(contents: FolderContents, index: VideoIndex, span: int, decoded: bool) -> DataReport:
    fitting, too_short = usable(index, span)
    infos = [entry.info for entry in index.entries]
    lengths = [info.num_frames for info in infos]
    labels = Counter(entry.label for entry in index.entries)
    suspicious = [Unreadable(info.path, "; ".join(info.oddities)) for info in infos if info.oddities]
    return DataReport(
        root=printable(str(index.root)),
        decoded=decoded,
        num_videos=len(index.entries) + len(index.unreadable),
        num_readable=len(index.entries),
        num_usable=len(fitting.entries),
        num_frames=sum(lengths),
        seconds=sum(info.num_frames / info.fps for info in infos if info.fps > 0),
        clip_span=span,
        sizes=_count(f"{info.width}x{info.height}" for info in infos),
        frame_rates=_count(f"{info.fps:.6g}" for info in infos),
        codecs=_count(info.codec for info in infos),
        lengths=_histogram(lengths),
        fitting={str(frames): sum(length >= frames for length in lengths) for frames in LENGTH_BINS[1:]},
        classes={printable(name): labels[label] for label, name in enumerate(index.classes)},
        num_captions=sum(entry.text != "" for entry in index.entries),
        num_audio=sum(info.has_audio for info in infos),
        unreadable=_by_name(index.root, index.unreadable),
        too_short=_by_name(index.root, too_short),
        suspicious=_by_name(index.root, suspicious),
        passed_over=count_endings(
            path for path in contents.other_files if not (path.parent == index.root and path.name in CAPTION_FILES)
        ),
        problem=None if fitting.entries else _problem(contents, index, len(too_short), span),
    )


def _problem(contents: FolderContents, index: VideoIndex, num_too_short: int, span: int) -> str:
    if not contents.videos:
        return printable(contents.why_no_video)
    counts = {"cannot be read": len(index.unreadable), f"shorter than {counted(span, 'frame')}": num_too_short}
    reasons = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return printable(f"folder {index.root} holds no usable video: {reasons}")


def _histogram(lengths: Sequence[int]) -> dict[str, int]:
    names = [f"{low}-{high - 1}" for low, high in pairwise(LENGTH_BINS)] + [f"{LENGTH_BINS[-1]}+"]
    counts = Counter(bisect_right(LENGTH_BINS, length) - 1 for length in lengths)
    return {name: counts[place] for place, name in enumerate(names) if counts[place]}


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _by_name(root: Path, files: Iterable[Unreadable]) -> dict[str, str]:
    return dict(sorted((video_name(root, file.path), file.reason) for file in files))
