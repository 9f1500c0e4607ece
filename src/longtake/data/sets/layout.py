"""What a data set's file hands over: the videos to make, each with its place in our layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from longtake.core.errors import UserError
from longtake.video import VIDEO_SUFFIXES
from longtake.video.find import scan_folder


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture of `width` x `height` pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int


@dataclass(frozen=True)
class Item:
    """One video to make.

    Attributes:
        source: the published video: a file or a folder of frames. It need not exist.
        part: the folder of its split ("train"), "" where the set has no split. A part is what training reads.
        name: its path in the part, without suffix; the folder in it is the class.
        frames: the frames to keep, first and one after the last; None keeps all.
        rate: frames per second of the file that `frames` counts in; None if that is the source itself.
        box: the rectangle to cut out; None keeps the whole picture.
        caption: its text, "" without one.
        sound: the file whose sound becomes features beside the video (see `stft`); None for none.
    """

    source: Path
    part: str
    name: str
    frames: tuple[int, int] | None = None
    rate: float | None = None
    box: Box | None = None
    caption: str = ""
    sound: Path | None = None

    @property
    def target(self) -> str:
        """Its path in the prepared folder, without suffix."""
        return f"{self.part}/{self.name}" if self.part else self.name


@dataclass(frozen=True)
class DataSet:
    """How to read one published data set.

    Attributes:
        find: (root, split) -> the items; raises `UserError` if the folder does not have the published layout.
        splits: the ways to divide it, the default first.
    """

    find: Callable[[Path, str], list[Item]]
    splits: tuple[str, ...]


def find_folder(root: Path, *names: str) -> Path:
    """Return the first of the folders `names` in `root` that exists ("": `root` itself); raise `UserError` if none."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise UserError(f"{root} has no folder {' or '.join(names)}")


def find_file(root: Path, name: str) -> Path:
    """Return the file `name` at the least depth under `root`; raise `UserError` if there is none."""
    found = sorted(root.rglob(name), key=lambda path: (len(path.parts), path))
    if not found:
        raise UserError(f"{root} has no file {name}")
    return found[0]


def videos_by_name(root: Path, suffixes: Iterable[str] = VIDEO_SUFFIXES) -> dict[str, Path]:
    """Return every file under `root` with one of the suffixes by its name; of several the first in sorted order."""
    wanted = tuple(suffixes)
    return {path.name: path for path in reversed(scan_folder(root).videos) if path.suffix.lower() in wanted}


def read_text(file: Path) -> str:
    """Return the text of a file; raise `UserError` if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 text") from error
