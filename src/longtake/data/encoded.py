"""Videos encoded once and kept on disk: arrays by key in safetensors files, with an index that says what made them.

A store is a folder: `index.json` and `00000.safetensors`, `00001.safetensors`, ... Files appear whole or not at all,
the index last, so that a killed writer goes on where its newest file ended.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from longtake.core.errors import UserError
from longtake.core.files import atomic_path, remove
from longtake.core.wording import counted
from longtake.data.encoded_index import EncodedIndex, Encoding, VideoIdentity
from longtake.data.index import VideoIndex, video_name

SHARD_BYTES = 2**27
SHARD_SECONDS = 120.0  # what a killed writer loses at most, and codes of hours of work may be small
MAX_OPEN_SHARDS = 256  # an open file each, of which a process may have about a thousand


def key_of(name: str, variant: int) -> str:
    """Return the key of one variant of a video."""
    return f"{name}#{variant}"


def weights_sha256(weights: Mapping[str, torch.Tensor], settings: object) -> str:
    """Return a hash of a network's weights, and of what else (JSON-able) decides what it computes."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()


class EncodedStore:
    """Reads a finished store; arrays are mapped into memory, so that only what is used is read from disk.

    Raises `UserError` if the folder holds no finished store, or files of it are missing or cut short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._index = EncodedIndex.read(self.folder)
        if not self._index.is_complete:
            raise UserError(f"{folder} is not finished: run the same `longtake data encode` again to go on")
        for shard, num_bytes in self._index.shard_bytes.items():
            file = self.folder / shard
            if not file.is_file() or file.stat().st_size != num_bytes:
                raise UserError(f"{folder} is damaged: {shard} is missing or cut short")
        self._shard_of = {key: shard for shard, keys in self._index.shards.items() for key in keys}
        self._open = lru_cache(MAX_OPEN_SHARDS)(self._open_shard)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, key: object) -> bool:
        return key in self._shard_of

    def __getitem__(self, key: str) -> torch.Tensor:
        return self._open(self._shard_of[key]).get_tensor(key)

    @property
    def encoding(self) -> Encoding:
        """What made the arrays."""
        return self._index.encoding

    @property
    def num_variants(self) -> int:
        """How often each video is in the store."""
        return self._index.num_variants

    def require(self, encoding: Encoding, index: VideoIndex, num_variants: int) -> None:
        """Raise `UserError`, naming the first difference, unless the store holds what `encoding` makes of `index`.

        The seed may be another one: its variants are as good. So may the store hold more videos or variants; with
        `num_variants` 0 all that it has are wanted.
        """
        stored, wanted = asdict(self.encoding), asdict(encoding)
        for name in ("family", "content", "size", "augment", "weights_sha256"):
            if stored[name] != wanted[name]:
                raise UserError(
                    f"{self.folder} does not fit: its {name} is {_short(stored[name])}, "
                    f"here it is {_short(wanted[name])}"
                )
        if num_variants > self.num_variants:
            raise UserError(
                f"{self.folder} does not fit: it has {counted(self.num_variants, 'variant')} of each video, not "
                f"{num_variants}"
            )
        last = (num_variants or self.num_variants) - 1
        for entry in index.entries:
            name = video_name(index.root, entry.path)
            if name in self._index.unreadable:
                raise UserError(f"{self.folder} has nothing of {name}: {self._index.unreadable[name]}")
            if key_of(name, last) not in self:
                raise UserError(f"{self.folder} does not fit: {name} in {index.root} is not in it")
            then, now = self._index.videos[name], VideoIdentity.of(entry)
            if then != now:
                raise UserError(
                    f"{self.folder} does not fit: {name} had {counted(then.num_bytes, 'byte')} and "
                    f"{counted(then.num_frames, 'frame')}, now {now.num_bytes} and {now.num_frames}"
                )

    def _open_shard(self, shard: str) -> Any:  # noqa: ANN401 (safetensors has no types)
        try:
            return safe_open(self.folder / shard, framework="pt")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{self.folder} is damaged: {shard}: {error}") from error


class EncodedWriter:
    """Writes a store, or goes on with one that the same encoding began.

    Raises `UserError` if `folder` holds anything else: other files, another encoding, other videos of the same names.
    """

    def __init__(
        self, folder: Path, encoding: Encoding, index: VideoIndex, num_variants: int, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.folder = Path(folder)
        self.shard_bytes = shard_bytes
        videos = {video_name(index.root, entry.path): VideoIdentity.of(entry) for entry in index.entries}
        self._index = self._begin(EncodedIndex(encoding, num_variants, False, videos, {}, {}, {}))
        self._known = {key for keys in self._index.shards.values() for key in keys}
        self._waiting: dict[str, torch.Tensor] = {}
        self._waiting_bytes = 0
        self._written_at = time.monotonic()

    def __contains__(self, key: object) -> bool:
        return key in self._known

    @property
    def num_bytes(self) -> int:
        """Bytes of all files written, before this writer or by it."""
        return sum(self._index.shard_bytes.values())

    def add(self, key: str, array: torch.Tensor) -> None:
        """Add an array; it is on disk when its file is full or `SHARD_SECONDS` old, or after `finish`."""
        assert key not in self._known
        self._known.add(key)
        self._waiting[key] = array.contiguous()
        self._waiting_bytes += array.nbytes
        if self._waiting_bytes >= self.shard_bytes or time.monotonic() - self._written_at >= SHARD_SECONDS:
            self._write_shard()

    def finish(self, unreadable: Mapping[str, str]) -> None:
        """Write what is left, and that the store is finished but for the videos in `unreadable` (name: reason)."""
        if self._waiting:
            self._write_shard()
        readable = {name: video for name, video in self._index.videos.items() if name not in unreadable}
        self._index = replace(self._index, is_complete=True, videos=readable, unreadable=dict(unreadable))
        self._index.write(self.folder)

    def _begin(self, new: EncodedIndex) -> EncodedIndex:
        if not self.folder.exists() or not any(_visible(self.folder)):
            new.write(self.folder)
            return new
        old = EncodedIndex.read(self.folder)
        stored, wanted = asdict(old.encoding), asdict(new.encoding)
        for name, value in stored.items():
            if value != wanted[name]:
                raise UserError(
                    f"{self.folder} holds encodings whose {name} is {_short(value)}, not {_short(wanted[name])}: "
                    "choose another folder"
                )
        for name, video in new.videos.items():
            if old.videos.get(name, video) != video:
                raise UserError(f"{self.folder} holds another {name} than is in the data now: choose another folder")
        for file in self.folder.glob(".*.partial*"):
            remove(file)
        index = replace(
            old,
            num_variants=max(old.num_variants, new.num_variants),
            is_complete=False,
            videos={**old.videos, **new.videos},
        )
        index.write(self.folder)
        return index

    def _write_shard(self) -> None:
        name = f"{len(self._index.shards):05}.safetensors"
        with atomic_path(self.folder / name) as partial:
            save_file(self._waiting, partial)
        self._index = replace(
            self._index,
            shards={**self._index.shards, name: list(self._waiting)},
            shard_bytes={**self._index.shard_bytes, name: (self.folder / name).stat().st_size},
        )
        self._index.write(self.folder)
        self._waiting, self._waiting_bytes = {}, 0
        self._written_at = time.monotonic()


def _visible(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; a folder is needed")
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _short(value: object) -> str:
    """Return a setting as it is shown in a message: hashes abbreviated, nested settings without what is off."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={setting}" for name, setting in value.items() if setting) or "none"
    text = str(value)
    return text[:12] if len(text) == 64 else text
