"""What encodings on disk are of: the networks and settings that made them, the videos, and where each array is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longtake.core.errors import UserError
from longtake.core.files import write_json
from longtake.data.config import AugmentConfig
from longtake.data.index import VideoEntry

FILE = "index.json"
FORMAT = 1


@dataclass(frozen=True)
class Encoding:
    """What made the arrays of a store."""

    family: str
    """Whose networks: "glober" or "tats"."""
    content: str
    """What the arrays are, such as "frame latents"."""
    weights_sha256: str
    """Hash of the networks' weights."""
    size: int
    """Height and width of the frames."""
    augment: AugmentConfig
    """Random changes to each variant of a video."""
    seed: int
    """Seed of these changes."""


@dataclass(frozen=True)
class VideoIdentity:
    """What tells a video from one that took its name."""

    num_bytes: int
    num_frames: int

    @classmethod
    def of(cls, entry: VideoEntry) -> VideoIdentity:
        """Return the identity of an indexed video; that of a folder of frames is the size of all its files."""
        files = entry.path.iterdir() if entry.path.is_dir() else [entry.path]
        return cls(sum(file.stat().st_size for file in files if file.is_file()), entry.info.num_frames)


@dataclass(frozen=True)
class EncodedIndex:
    """The content of index.json.

    Attributes:
        encoding: what made the arrays.
        num_variants: arrays of each video.
        is_complete: whether the writer came to its end.
        videos: what the arrays are of, by name.
        unreadable: videos that could not be opened or decoded, with the reason.
        shards: keys by file.
        shard_bytes: size of each file.
    """

    encoding: Encoding
    num_variants: int
    is_complete: bool
    videos: Mapping[str, VideoIdentity]
    unreadable: Mapping[str, str]
    shards: Mapping[str, list[str]]
    shard_bytes: Mapping[str, int]

    def write(self, folder: Path) -> None:
        """Write it into the folder of a store."""
        write_json(folder / FILE, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> EncodedIndex:
        """Read it from the folder of a store; raises `UserError` if it is not there, damaged or of another format."""
        file = folder / FILE
        try:
            content: dict[str, Any] = json.loads(file.read_text())
            version = content.pop("format")
        except FileNotFoundError as error:
            raise UserError(f"{folder} holds no encoded videos: there is no {FILE} in it") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{file} is damaged ({' '.join(str(error).split())})") from error
        if version != FORMAT:
            raise UserError(f"{file} has format {version}, this version of longtake reads format {FORMAT}")
        try:
            encoding = content.pop("encoding")
            videos = {name: VideoIdentity(**video) for name, video in content.pop("videos").items()}
            augment = AugmentConfig(**encoding.pop("augment"))
            return cls(encoding=Encoding(**encoding, augment=augment), videos=videos, **content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{file} is damaged ({' '.join(str(error).split())})") from error
