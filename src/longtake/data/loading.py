"""Endless batches of clips, for any number of worker processes and ranks, resumable at any batch."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from longtake.core.batch import VideoBatch
from longtake.core.errors import UserError
from longtake.data.dataset import Clip, ClipDataset, ClipSource
from longtake.data.index import Unreadable, reason_of
from longtake.data.transforms import to_video
from longtake.video import VideoError

MAX_SUBSTITUTES = 8  # other videos tried for one clip before training stops
PREFETCH_BATCHES = 2  # per worker process

logger = logging.getLogger(__name__)


def clip_batches(
    dataset: ClipDataset,
    batch_size: int,
    first_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
) -> ClipBatches:
    """Return the endless batches of one rank, from batch number `first_batch` on.

    Sample j of batch n is at position (n * world_size + rank) * batch_size + j of `dataset`, so the batches depend
    neither on `num_workers` nor on where the iteration began, and ranks share no position. See `ClipBatches`.
    """
    assert batch_size >= 1
    assert 0 <= rank < world_size
    return ClipBatches(dataset, _Positions(batch_size, first_batch, rank, world_size), num_workers)


class ClipBatches(Iterator[VideoBatch]):
    """Endless iterator over batches.

    A clip whose video cannot be decoded is replaced by one from the next video of its epoch. Each such video is logged
    when it fails first and listed in `failures`; `num_replaced` counts the replaced clips. When `MAX_SUBSTITUTES`
    replacements of one clip fail as well, or all other videos if there are fewer, `next` raises `UserError`.
    """

    def __init__(self, dataset: ClipDataset, positions: Iterable[list[int]], num_workers: int) -> None:
        self.failures: list[Unreadable] = []
        self.num_replaced = 0
        self._stacks: Iterator[_Stack] = _stacks(dataset, positions, num_workers)

    def __next__(self) -> VideoBatch:
        stack = next(self._stacks)
        self._record(stack.failures)
        if stack.frames is None:
            self.close()
            tried = stack.failures[-1]
            raise UserError(
                f"{len(tried)} videos in a row cannot be decoded, last {tried[-1].path}: {tried[-1].reason}"
            )
        sources = stack.sources
        return VideoBatch(
            video=to_video(stack.frames.numpy()),
            label=torch.tensor([source.label for source in sources]),
            text=[source.text for source in sources],
            fps=torch.tensor([source.fps for source in sources], dtype=torch.float32),
            path=[source.path for source in sources],
            start=torch.tensor([source.start for source in sources]),
        )

    def close(self) -> None:
        """End the iteration and its worker processes, now rather than when the garbage collector comes by."""
        self._stacks = iter(())

    def _record(self, failures: list[list[Unreadable]]) -> None:
        self.num_replaced += len(failures)
        known = {failure.path for failure in self.failures}
        for failure in itertools.chain.from_iterable(failures):
            if failure.path not in known:
                known.add(failure.path)
                logger.warning("cannot decode %s, taking other videos instead: %s", failure.path, failure.reason)
                self.failures.append(failure)


@dataclass(frozen=True)
class _Positions:
    """The positions of each batch of one rank, without end."""

    batch_size: int
    first_batch: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[list[int]]:
        batch = self.first_batch
        while True:
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))
            batch += 1


@dataclass(frozen=True)
class _Stack:
    """What a worker hands over: bytes, a quarter of what floats would take.

    Attributes:
        frames: "b t h w 3"; none if a clip has no replacement left (`failures` ends with it).
        sources: of each clip.
        failures: for each clip that had to be replaced, the videos that failed.
    """

    frames: UInt8[Tensor, "b t h w 3"] | None
    sources: list[ClipSource]
    failures: list[list[Unreadable]]


@dataclass(frozen=True)
class _StackReader:
    """Reads a whole stack at a time; called in worker processes, where an exception would lose its one-line form."""

    dataset: ClipDataset

    def __getitem__(self, positions: list[int]) -> _Stack:
        clips: list[Clip] = []
        replaced = []
        for position in positions:
            clip, failures = self._read(position)
            if failures:
                replaced.append(failures)
            if clip is None:
                return _Stack(None, [], replaced)
            clips.append(clip)
        frames = torch.from_numpy(np.stack([clip.frames for clip in clips]))
        return _Stack(frames, [clip.source for clip in clips], replaced)

    def _read(self, position: int) -> tuple[Clip | None, list[Unreadable]]:
        failures: list[Unreadable] = []
        for substitute in range(1 + min(MAX_SUBSTITUTES, len(self.dataset) - 1)):
            try:
                return self.dataset.sample(position, substitute), failures
            except VideoError as error:
                path = self.dataset.entries[self.dataset.video_at(position, substitute)].path
                failures.append(Unreadable(path, reason_of(path, error)))
        return None, failures


def _stacks(dataset: ClipDataset, positions: Iterable[list[int]], num_workers: int) -> Iterator[_Stack]:
    reader = _StackReader(dataset)
    if num_workers == 0:
        return (reader[batch] for batch in positions)
    loader = DataLoader(
        cast(Dataset[_Stack], reader),
        batch_size=None,
        sampler=positions,
        num_workers=num_workers,
        prefetch_factor=PREFETCH_BATCHES,
        generator=torch.Generator(),  # else starting the workers would draw from torch's global generator
    )
    return iter(loader)
