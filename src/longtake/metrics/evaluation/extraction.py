"""Clips of videos -> features: read in batches, by several processes, each video only once ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from longtake.core.errors import UserError
from longtake.metrics.evaluation.clip_list import Clip
from longtake.metrics.evaluation.feature_cache import FeatureCache, Output
from longtake.metrics.evaluation.videos import BrokenVideosError, Progress, VideoFolder, map_decoding
from longtake.metrics.evaluation.work_group import WorkGroup
from longtake.metrics.networks.features import FeatureNetwork
from longtake.video import VideoError, VideoReader

VideoClips = tuple[Clip, ...]  # of one video


@dataclass(frozen=True)
class Extractor:
    """A network with all it takes to run it over a folder.

    Attributes:
        network: clips to features.
        resize: how it makes frames square.
        batch_size: clips it sees at once.
        workers: the processes that share the work.
        progress: told of every video that is done.
    """

    network: FeatureNetwork
    resize: str
    batch_size: int
    workers: WorkGroup
    progress: Progress

    def extract(
        self, folder: VideoFolder, videos: Sequence[VideoClips], output: Output
    ) -> Float32[np.ndarray, "n s d"]:
        """Return the features (or class probabilities) of the clips of each video; all have equally many clips.

        Raises `BrokenVideosError` for those that do not decode, `UserError` for clips the network does not take.
        """
        cache = FeatureCache(self.network.name, self.network.sha256, self.resize, output)
        distinct = list(dict.fromkeys(videos))
        groups = list(self._groups(folder, distinct))

        def rows_of(group: Sequence[VideoClips]) -> list[Float32[np.ndarray, "s d"]]:
            paths = [folder.root / clips[0].file for clips in group]
            found = [cache.read(path, clips) for path, clips in zip(paths, group, strict=True)]
            missing = [position for position, rows in enumerate(found) if rows is None]
            wanted = [(paths[i], group[i]) for i in missing]
            try:
                computed = list(self._compute(wanted, output))
            except VideoError as error:
                raise BrokenVideosError(*(broken_among(wanted) or error.args)) from error
            for position, rows in zip(missing, computed, strict=True):
                cache.write(paths[position], group[position], rows)
                found[position] = rows
            return [rows for rows in found if rows is not None]

        title = f"{output} of {folder.root.name}"
        shares = map_decoding(self.workers, rows_of, groups, lambda done, total: self.progress(title, done, total))
        rows = [row for share in shares for row in share]
        by_clips = dict(zip((clips for group in groups for clips in group), rows, strict=True))
        return np.stack([by_clips[clips] for clips in videos])

    def _groups(self, folder: VideoFolder, videos: Sequence[VideoClips]) -> Iterator[list[VideoClips]]:
        """Cut the list where the size of the frames changes, and so that a group fills one batch at most.

        What is computed together is thereby the same on any number of processes, and so is every last bit.
        """
        sizes = {folder.name(video): (video.height, video.width) for video in folder.videos}
        for _, run in groupby(videos, key=lambda clips: sizes[clips[0].file]):
            same_size = list(run)
            step = max(1, self.batch_size // len(same_size[0]))
            for first in range(0, len(same_size), step):
                yield same_size[first : first + step]

    def _compute(
        self, videos: Sequence[tuple[Path, VideoClips]], output: Output
    ) -> Iterator[Float32[np.ndarray, "s d"]]:
        """Yield the rows of each video. Only a video with more clips than a batch needs several."""
        compute = self.network.features if output == "features" else self.network.probabilities
        rows: list[Float32[np.ndarray, " d"]] = []
        frames = clip_frames(videos)
        num_left = sum(len(clips) for _, clips in videos)
        while num_left:
            batch = np.stack([next(frames) for _ in range(min(self.batch_size, num_left))])
            num_left -= len(batch)
            rows.extend(np.asarray(compute(batch, self.resize), dtype=np.float32))  # type: ignore[arg-type]
        if not np.isfinite(rows).all():
            raise UserError(f"{self.network.name} gives NaN or infinite {output} for clips such as {videos[0][0]}")
        start = 0
        for _, clips in videos:
            yield np.stack(rows[start : start + len(clips)])
            start += len(clips)


def broken_among(videos: Sequence[tuple[Path, VideoClips]]) -> list[str]:
    """Return a message for each video whose clips cannot be read: not only for the first, at which reading ends."""
    messages: list[str] = []
    for video in videos:
        try:
            for _ in clip_frames([video]):
                pass
        except VideoError as error:
            messages += error.args
    return messages


def clip_frames(videos: Sequence[tuple[Path, VideoClips]]) -> Iterator[np.ndarray]:
    """Yield the frames "t h w 3" of every clip, video after video."""
    for path, clips in videos:
        with VideoReader(path) as reader:
            for clip in clips:
                yield reader.read(clip.indices.tolist())
