"""The videos of one side of a comparison: what can be read, and what is left out and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from longtake.core.errors import UserError
from longtake.core.files import printable
from longtake.core.wording import counted
from longtake.metrics.evaluation.work_group import Item, Result, WorkGroup
from longtake.video import UNKNOWN_FPS, VideoError, VideoInfo, probe
from longtake.video.find import find_videos

Progress = Callable[[str, int, int], None]  # called with (what is done, how much, of how much)

NUM_READERS = 8  # the decoder works outside the interpreter lock
WITHOUT_RATE = ("images", "npy")  # what carries no frame rate of its own


@dataclass(frozen=True)
class LeftOut:
    """A video that is not measured, and why."""

    file: str
    reason: str


class BrokenVideosError(VideoError):
    """Videos that were opened and turn out not to decode; `args` are the messages, `FILE: reason`, of all."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class VideoFolder:
    """A folder's videos in the order of their relative paths.

    Attributes:
        root: the folder.
        videos: those that can be read.
        left_out: the others.
    """

    root: Path
    videos: tuple[VideoInfo, ...]
    left_out: tuple[LeftOut, ...]

    def name(self, video: VideoInfo) -> str:
        """Return the video's path in the folder, with slashes on every system."""
        return video.path.relative_to(self.root).as_posix()

    def without(self, broken: Collection[str]) -> VideoFolder:
        """Return the folder without videos of which `broken` has a message, `FILE: reason`: they are left out.

        Raises `UserError` if no other is in it.
        """
        videos, left_out = [], list(self.left_out)
        for video in self.videos:
            path = f"{video.path}: "
            reason = next((each.removeprefix(path) for each in broken if each.startswith(path)), None)
            if reason is None:
                videos.append(video)
            else:
                left_out.append(LeftOut(printable(self.name(video)), printable(reason)))
        return checked_folder(self.root, videos, left_out)


def open_folder(root: Path, progress: Progress) -> VideoFolder:
    """Find and probe every video under `root`. Raises `UserError` if there is none that can be read."""
    root = Path(root)
    paths = find_videos(root)
    videos, left_out = [], []
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for done, (path, found) in enumerate(zip(paths, pool.map(try_probe, paths), strict=True), 1):
            if isinstance(found, VideoInfo):
                videos.append(found)
            else:
                left_out.append(LeftOut(printable(path.relative_to(root).as_posix()), printable(found)))
            progress(f"looking at {root.name}", done, len(paths))
    return checked_folder(root, videos, left_out)


def checked_folder(root: Path, videos: Sequence[VideoInfo], left_out: Sequence[LeftOut]) -> VideoFolder:
    """Return the folder of these videos; raises `UserError` if all are left out."""
    if not videos:
        first = left_out[0]
        raise UserError(
            f"{root}: none of {counted(len(left_out), 'video')} can be read, such as {first.file}: {first.reason}"
        )
    return VideoFolder(root, tuple(videos), tuple(left_out))


def map_decoding(
    workers: WorkGroup,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    progress: Callable[[int, int], None],
) -> list[Result]:
    """Return `workers.map` of a function that decodes.

    A video that does not decode does not end the work: once all items are done, every process raises the same
    `BrokenVideosError`.
    """

    def attempt(item: Item) -> Result | VideoError:
        try:
            return function(item)
        except VideoError as error:
            return error

    results: list[Result] = []
    messages: list[str] = []
    for outcome in workers.map(attempt, items, progress):
        if isinstance(outcome, VideoError):
            messages += outcome.args
        else:
            results.append(outcome)
    if messages:
        raise BrokenVideosError(*messages)
    return results


def broken_videos(tasks: Iterable[Callable[[], None]]) -> list[str]:
    """Run every task; return a message, `FILE: reason`, of each video that any of them found not to decode."""
    messages: list[str] = []
    for task in tasks:
        try:
            task()
        except BrokenVideosError as error:
            messages += error.args
    return messages


def try_probe(path: Path) -> VideoInfo | str:
    """Return what is known of a video, or why it cannot be read."""
    try:
        return probe(path)
    except VideoError as error:
        return str(error).removeprefix(f"{path}: ")


def frame_rates(videos: Sequence[VideoInfo], stride: int) -> list[float]:
    """Return the frame rates of clips of these videos, each once; none for files that do not carry one."""
    rates = {round(video.fps / stride, 3) for video in videos if not has_no_rate(video)}
    return sorted(rates)


def has_no_rate(video: VideoInfo) -> bool:
    """Whether the file says nothing of its frame rate."""
    return video.codec in WITHOUT_RATE and video.fps == UNKNOWN_FPS
