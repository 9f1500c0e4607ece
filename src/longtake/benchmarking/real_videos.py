"""The real videos that every model is measured against, and what real videos in a model's place would score."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from longtake.core.errors import UserError
from longtake.core.files import printable
from longtake.core.wording import are, counted
from longtake.metrics.evaluation.clip_list import ClipRule, draw_clips, usable_videos
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.evaluation.report import Report
from longtake.metrics.evaluation.videos import LeftOut, Progress, VideoFolder, open_folder
from longtake.metrics.networks.features import FeatureNetwork
from longtake.video import VideoInfo

MOST_BY_DEFAULT = 16  # videos of a model that a CPU makes in minutes
FEWEST = 2  # videos have a covariance


@dataclass(frozen=True)
class RealVideos:
    """A folder of real videos.

    Attributes:
        folder: those that can be opened.
        num_usable: how many of them a clip fits into.
    """

    folder: VideoFolder
    num_usable: int

    @classmethod
    def open(cls, root: Path, config: EvaluationConfig, progress: Progress) -> RealVideos:
        """Find the videos. Raises `UserError` if there are not two that a clip fits into."""
        folder, rule = open_folder(root, progress), rule_of(config)
        usable, _ = usable_videos(folder, rule)
        if len(usable) < FEWEST:
            raise UserError(
                f"{root} has {counted(len(usable), 'video')} that a clip of {counted(rule.span, 'frame')} fits "
                f"into, not {FEWEST}"
            )
        return cls(folder, len(usable))

    @property
    def default_count(self) -> int:
        """How many videos a model makes if nothing is said: few enough that half of the real ones are left over."""
        return max(FEWEST, min(MOST_BY_DEFAULT, self.num_usable // 2))

    def check_count(self, count: int | None) -> int:
        """Return how many videos each model makes; raises `UserError` for more than there are real ones."""
        count = self.default_count if count is None else count
        if count > self.num_usable:
            left_out = len(self.folder.videos) + len(self.folder.left_out) - self.num_usable
            without = f" ({counted(left_out, 'other')} {are(left_out)} too short or cannot be read)" if left_out else ""
            raise UserError(
                f"{self.folder.root} has {counted(self.num_usable, 'video')} to compare with{without}, and "
                f"{count} of each model are asked for: give --videos {self.num_usable} or fewer"
            )
        return count

    def checked(self, config: EvaluationConfig, network: FeatureNetwork, progress: Progress) -> RealVideos:
        """Measure what the models meet once, and leave out what turns out not to decode, for all of them alike.

        Raises `UserError` for whatever is wrong with the real videos, before any model samples.
        """
        alone = replace(config, metrics=("frechet_distance", "flickering"), resamples=0)  # clips, and whole videos
        trial = evaluate(self.folder, self.folder, at_real_rate(alone), network=network, progress=progress)
        left_out = tuple(LeftOut(**video) for video in trial.facts["real"]["left_out"])
        videos = self.without({video.file for video in left_out})
        return RealVideos(VideoFolder(self.folder.root, videos, left_out), len(videos))

    def without(self, names: Collection[str]) -> tuple[VideoInfo, ...]:
        """Return the videos of other names than these, which are as `printable` shows them."""
        return tuple(video for video in self.folder.videos if printable(self.folder.name(video)) not in names)

    def floor(
        self, config: EvaluationConfig, network: FeatureNetwork, progress: Progress
    ) -> tuple[Report | None, list[str]]:
        """Measure as many other real videos against those that the models meet, as if a model had made them.

        Returns their report, or None and a note where there are too few. The videos are `checked`.
        """
        count = config.count
        assert count is not None
        met = draw_clips(self.folder, rule_of(config), count).trials
        taken = {printable(clip.file) for clips in met for clip in clips}
        broken: set[str] = set()
        while len(others := self.without(taken | broken)) >= count:
            half = VideoFolder(self.folder.root, others, ())
            try:
                report = evaluate(self.folder, half, at_real_rate(config), network=network, progress=progress)
            except UserError as error:  # too many of them break in the middle
                return None, [f"no row of real videos: {error}"]
            if report.clip_lists["real"].trials == met:
                return report, []
            # what breaks is left out of both sides, and others than the models met were drawn: once more, without it
            breaks = {video["file"] for video in report.facts["fake"]["left_out"]}
            if not breaks:  # one of the real clips was readable before, and is no more
                return None, [
                    "no row of real videos: the clips that the models are measured against cannot be read again"
                ]
            broken |= breaks
        wanted = f"{count} real videos beside the {len(taken)} that the models are measured against"
        return None, [
            f"no row of real videos: it takes {wanted}, and {len(others)} {are(len(others))} left (fewer --videos)"
        ]


def rule_of(config: EvaluationConfig) -> ClipRule:
    """Return how real clips are drawn."""
    protocol = config.resolved_protocol()
    return ClipRule(protocol.frames, protocol.real_stride, protocol.real_start, protocol.trials, config.seed)


def at_real_rate(config: EvaluationConfig) -> EvaluationConfig:
    """Return the same, for real videos on both sides: a protocol may expect models to make every third frame alone."""
    protocol = config.resolved_protocol()
    return config if protocol.real_stride == protocol.fake_stride else replace(config, stride=protocol.real_stride)
