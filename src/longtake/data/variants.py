"""Whole videos, augmented a number of times each: what stages that keep encodings see of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch.utils.data import DataLoader, Dataset

from longtake.core.randomness import derive_seed
from longtake.data.config import AugmentConfig
from longtake.data.dataset import ClipDataset
from longtake.data.encoded import EncodedWriter, key_of
from longtake.data.index import Progress, reason_of, video_name
from longtake.data.transforms import SquareFrames, augment
from longtake.video import VideoError


@dataclass(frozen=True)
class EncodeSettings:
    """How a data set is encoded; what is None is left to the model."""

    num_variants: int = 1
    """How often each video is encoded, each time augmented anew."""
    size: int | None = None
    """Height and width of the frames."""
    augment: AugmentConfig | None = None
    """Random changes to each variant."""
    seed: int | None = None
    """Seed of these changes."""
    num_workers: int = 0
    """Processes that decode and augment ahead."""
    device: str = "cpu"
    """Where the networks run."""


@dataclass(frozen=True)
class EncodeReport:
    """What came of it.

    Attributes:
        num_videos: videos in the store.
        num_arrays: arrays written now; those of an earlier, interrupted call are not counted.
        num_bytes: size of the store.
        unreadable: videos that could not be opened or decoded, with the reason.
    """

    num_videos: int
    num_arrays: int
    num_bytes: int
    unreadable: dict[str, str]


Encode = Callable[[SquareFrames], torch.Tensor]

PREFETCH_VIDEOS = 2  # per worker process


def vary(frames: SquareFrames, dataset: ClipDataset, video: int, variant: int) -> SquareFrames:
    """Augment `frames`, all of `dataset.entries[video]`, as its variant of that number.

    The changes are drawn from (seed, name, variant): a video's variants stay what they are when others come or go.
    """
    name = video_name(dataset.index.root, dataset.entries[video].path)
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    rng = np.random.default_rng(derive_seed(dataset.seed, number, variant))
    return augment(frames, dataset.augment, rng)


def encode_variants(
    dataset: ClipDataset,
    encode: Encode,
    writer: EncodedWriter,
    num_variants: int,
    *,
    num_workers: int = 0,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encode what `writer` does not have yet of every video, and finish the store.

    `num_workers` processes decode and augment ahead of `encode`, which is called here. `progress` counts videos.
    """
    names = [video_name(dataset.index.root, entry.path) for entry in dataset.entries]
    tasks = []
    for video, name in enumerate(names):
        missing = [variant for variant in range(num_variants) if key_of(name, variant) not in writer]
        if missing:
            tasks.append((video, missing))
    unreadable = {video_name(dataset.index.root, file.path): file.reason for file in dataset.index.unreadable}
    num_arrays = num_undecodable = 0
    done = len(names) - len(tasks)
    loader = DataLoader(
        cast(Dataset[_Variants | str], _VariantReader(dataset, tasks)),
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=PREFETCH_VIDEOS if num_workers else None,
        generator=torch.Generator(),  # else starting the workers would draw from torch's global generator
    )
    for (video, missing), found in zip(tasks, loader, strict=True):
        if isinstance(found, str):
            unreadable[names[video]] = found
            num_undecodable += 1
        else:
            for variant, frames in zip(missing, found.frames, strict=True):
                writer.add(key_of(names[video], variant), encode(frames.numpy()))
                num_arrays += 1
        done += 1
        if progress is not None:
            progress(done, len(names))
    writer.finish(unreadable)
    return EncodeReport(len(names) - num_undecodable, num_arrays, writer.num_bytes, unreadable)


@dataclass(frozen=True)
class _Variants:
    """The frames of one video, once for each variant asked for."""

    frames: list[UInt8[torch.Tensor, "t size size 3"]]


@dataclass(frozen=True)
class _VariantReader:
    """Reads one video at a time; called in worker processes, where an exception would lose its one-line form."""

    dataset: ClipDataset
    tasks: Sequence[tuple[int, list[int]]]

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, place: int) -> _Variants | str:
        video, variants = self.tasks[place]
        try:
            frames = self.dataset.video(video)
        except VideoError as error:
            return reason_of(self.dataset.entries[video].path, error)
        # torch.tensor copies: unchanged frames are the data set's own, which must not be written to
        return _Variants([torch.tensor(vary(frames, self.dataset, video, variant)) for variant in variants])
