"""A side that is a folder of videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from longtake.core.wording import counted
from longtake.metrics.evaluation.clip_list import Clip, ClipList, ClipRule, draw_clips
from longtake.metrics.evaluation.extraction import Extractor
from longtake.metrics.evaluation.feature_cache import Output
from longtake.metrics.evaluation.sides import Need, Side
from longtake.metrics.evaluation.videos import LeftOut, Progress, VideoFolder, frame_rates, map_decoding
from longtake.metrics.evaluation.whole_videos import changes, perceptual_change
from longtake.metrics.evaluation.work_group import WorkGroup
from longtake.video import VideoInfo

SHORT_CLIP, LONG_CLIP = 16, 128  # FVD-16f and FVD-128f
MIN_SEGMENTS = 2
MIN_LONG = 2  # videos with a long clip: fewer have no covariance


@dataclass
class FolderSide(Side):
    """Videos of a folder, one clip of each."""

    folder: VideoFolder
    rule: ClipRule
    clips: ClipList
    workers: WorkGroup
    progress: Progress
    extractor: Extractor | None = None
    """None as long as no network is needed."""
    data: dict[str, Shaped[np.ndarray, "n ..."]] = field(default_factory=dict)
    other_clips: dict[int, ClipList] = field(default_factory=dict)
    """Clips of other lengths than the rule's, by length, once they are prepared."""

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder.root)

    @property
    def count(self) -> int:
        """Clips per trial."""
        return len(self.clips)

    @cached_property
    def videos(self) -> list[VideoInfo]:
        """The videos of the first trial's clips."""
        by_name = {self.folder.name(video): video for video in self.folder.videos}
        return [by_name[clip.file] for clip in self.clips.trials[0]]

    @cached_property
    def num_segments(self) -> int:
        """Clips that fit into every video one after another."""
        return min(video.num_frames for video in self.videos) // (self.rule.frames * self.rule.stride)

    def count_for(self, need: Need) -> int:
        """Clips that a measure is made of if it needs this: only long videos have a long clip."""
        return min(self.count, self.num_long) if need == "clip_lengths" else self.count

    @property
    def num_long(self) -> int:
        """Videos with a long clip."""
        return sum(video.num_frames >= self.long_span for video in self.folder.videos)

    @property
    def long_span(self) -> int:
        """Frames that a video needs for a long clip at the rule's stride."""
        return (LONG_CLIP - 1) * self.rule.stride + 1

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Videos that cannot be read or are too short."""
        return (*self.folder.left_out, *self.clips.left_out)

    @property
    def shortage(self) -> str:
        """How many videos cannot be used, and why."""
        reasons = []
        if self.clips.left_out:
            reasons.append(f"{len(self.clips.left_out)} of fewer than {counted(self.rule.span, 'frame')}")
        if unreadable := self.folder.left_out:
            reasons.append(f"{len(unreadable)} unreadable, such as {unreadable[0].file}: {unreadable[0].reason}")
        total = len(self.folder.videos) + len(self.folder.left_out)
        return f" (of {counted(total, 'video')}: {', '.join(reasons)})" if reasons else ""

    def lacks(self, need: Need) -> str | None:
        """Return why `need` cannot be had, or None if it can."""
        network = None if self.extractor is None else self.extractor.network
        if need.endswith("probabilities") and network is not None and network.classes is None:
            return f"{network.name} gives no class probabilities"
        if need.startswith("segment") and self.num_segments < MIN_SEGMENTS:
            shortest = min(self.videos, key=lambda video: video.num_frames)
            return (
                f"{self.folder.name(shortest)} has {counted(shortest.num_frames, 'frame')}, and {MIN_SEGMENTS} "
                f"segments of {counted(self.rule.frames, 'frame')} at stride {self.rule.stride} take "
                f"{MIN_SEGMENTS * self.rule.frames * self.rule.stride}"
            )
        if need == "clip_lengths" and self.num_long < MIN_LONG:
            return (
                f"{self.name} has {counted(self.num_long, 'video')} of {self.long_span} frames or more, at "
                f"least {MIN_LONG} are needed"
            )
        return None

    def prepare(self, need: Need) -> None:
        """Fill `data[need]`."""
        if need == "moments":
            need = "features"
        if need in self.data:
            return
        if need == "features":
            flat = self._extract([(clip,) for trial in self.clips.trials for clip in trial])
            self.data[need] = flat.reshape(len(self.clips.trials), self.count, -1)
        elif need == "probabilities":
            self.data[need] = self._extract([(clip,) for clip in self.clips.trials[0]], "probabilities")[:, 0]
        elif need == "segments":
            self.data[need] = self._extract(self._segments())
        elif need == "segment_probabilities":
            self.data[need] = self._extract(self._segments(), "probabilities")
        elif need == "clip_lengths":
            self.data[need] = self._clip_lengths()
        else:
            measure = changes if need == "changes" else perceptual_change
            title = f"{need} in {self.folder.root.name}"
            rows = map_decoding(
                self.workers,
                lambda video: measure(video.path),
                self.videos,
                lambda done, total: self.progress(title, done, total),
            )
            self.data[need] = np.array(rows)

    @property
    def conditions(self) -> Mapping[str, Any]:
        """N, T, stride and the like, for the report."""
        rates = frame_rates(self.videos, self.rule.stride)
        sizes = sorted({f"{video.width}x{video.height}" for video in self.videos})
        return {
            "n": self.count,
            "frames": self.rule.frames,
            "stride": self.rule.stride,
            "start": self.rule.start,
            "fps": rates[0] if len(rates) == 1 else rates or None,
            "resolution": sizes[0] if len(sizes) == 1 else sizes,
            "codecs": sorted({video.codec for video in self.videos}),
            "clips_sha256": self.clips.sha256,
        }

    @property
    def network(self) -> Mapping[str, Any]:
        """What makes the features."""
        if self.extractor is None:
            return {}
        network = self.extractor.network
        return {
            "features": network.name,
            "kind": network.kind,
            "weights_sha256": network.sha256,
            "resize": self.extractor.resize,
            "feature_width": network.dim,
        }

    def _extract(self, videos: Sequence[tuple[Clip, ...]], output: Output = "features") -> Float32[np.ndarray, "n s d"]:
        assert self.extractor is not None, "a network is loaded before anything needs it"
        return self.extractor.extract(self.folder, videos, output)

    def _segments(self) -> list[tuple[Clip, ...]]:
        length = self.rule.frames * self.rule.stride
        return [
            tuple(
                Clip(clip.file, segment * length, self.rule.stride, self.rule.frames)
                for segment in range(self.num_segments)
            )
            for clip in self.clips.trials[0]
        ]

    def _clip_lengths(self) -> Float32[np.ndarray, "n 2 d"]:
        """Both lengths on the same videos, which have to be long enough for the long one."""
        lengths = []
        for frames in (SHORT_CLIP, LONG_CLIP):
            rule = ClipRule(frames, self.rule.stride, self.rule.start, 1, self.rule.seed, shortest=self.long_span)
            self.other_clips[frames] = draw_clips(self.folder, rule, self.count)
            lengths.append(self._extract([(clip,) for clip in self.other_clips[frames].trials[0]])[:, 0])
        return np.stack(lengths, axis=1)
