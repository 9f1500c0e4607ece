"""`evaluate`: two folders of videos, or files of features, in; a report out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from longtake.core.errors import UserError
from longtake.core.wording import counted
from longtake.metrics.evaluation.clip_list import ClipList, ClipRule, draw_clips
from longtake.metrics.evaluation.comparison import Comparison
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.extraction import Extractor
from longtake.metrics.evaluation.feature_files import ARRAYS, Statistics, read_feature_file
from longtake.metrics.evaluation.file_side import FileSide
from longtake.metrics.evaluation.folder_side import FolderSide
from longtake.metrics.evaluation.measures import Measure, check_feature_options, choose_measures, possible_measures
from longtake.metrics.evaluation.notes import notes_of
from longtake.metrics.evaluation.protocols import Protocol, Start
from longtake.metrics.evaluation.report import CurveOfNumbers, Number, Report, SavedFeatures, versions
from longtake.metrics.evaluation.sides import Side, check_video_options, is_feature_file
from longtake.metrics.evaluation.videos import Progress, VideoFolder, broken_videos, open_folder
from longtake.metrics.evaluation.work_group import WorkGroup, work_group
from longtake.metrics.frechet import feature_statistics
from longtake.metrics.networks.features import FeatureNetwork, load_features


def no_progress(_what: str, _done: int, _total: int) -> None:
    """Show nothing."""


def evaluate(
    real: Path | str | VideoFolder,
    fake: Path | str | VideoFolder,
    config: EvaluationConfig | None = None,
    *,
    network: FeatureNetwork | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Measure fake videos against real ones.

    Args:
        real: folder of videos, or .npz file of features (see `feature_files`); some videos of a folder as a
            `VideoFolder` of these.
        fake: the same.
        config: protocol, metrics, clips; by default all videos under protocol "longtake".
        network: a loaded feature network in place of `config.features`.
        progress: called with (what, how much is done, of how much).

    Under `torchrun` the processes share reading and features, the first computes the numbers, and all return the
    report. Features are kept in `feature_cache.cache_folder()`.
    Videos that cannot be read, also if only in the middle, are left out and named in the report.
    Raises `UserError` for whatever cannot be read or compared: no video, too few or too short ones, sets of unequal
    size, a metric that the data do not allow, missing weights.
    """
    config = config or EvaluationConfig()
    protocol = config.resolved_protocol()
    measures = choose_measures(config.metrics)
    of_videos = {name: getattr(config, name) for name in ("features", "weights", "frames", "stride")}
    check_feature_options(measures, of_videos)
    sources = [each if isinstance(each, VideoFolder) else Path(each) for each in (real, fake)]
    if not isinstance(real, VideoFolder) and not isinstance(fake, VideoFolder):
        check_video_options(Path(real), Path(fake), of_videos)
    if not any(measure.needs_network for measure in measures.values()):
        # whole videos: none is too short, but that nothing changes in a single frame
        shortest = 2 if any("changes" in measure.either for measure in measures.values()) else 1
        protocol = replace(protocol, frames=shortest, real_stride=1, fake_stride=1)
    with work_group() as workers:
        opening = Opening(protocol, config, workers, progress)
        while True:
            comparison = Comparison(
                opening.side(sources[0], protocol.real_start, protocol.real_stride),
                opening.side(sources[1], protocol.fake_start, protocol.fake_stride),
                config,
                protocol,
            )
            for measure in measures.values():
                if measure.compares_sets:
                    comparison.check_sizes(measure.fake[0])
            network = give_network(comparison, measures, network, workers, progress)
            if any(measure.real and measure.fake for measure in measures.values()):
                comparison.check()
            possible, impossible = possible_measures(comparison, measures)
            broken = broken_videos(task for each in possible.values() for task in each.preparations(comparison))
            if not broken:
                break
            opening.leave_out(broken)  # and draw clips anew: the numbers are those of folders without these files
        results = workers.on_first(lambda: compute(comparison, possible, progress))
    folders = {name: side for name, side in comparison.sides.items() if isinstance(side, FolderSide)}
    return Report(
        facts_of(comparison),
        [result for result in results if isinstance(result, Number)],
        [result for result in results if isinstance(result, CurveOfNumbers)],
        notes_of(comparison, possible, impossible, results),
        {key: clips for name, side in folders.items() for key, clips in clip_lists_of(name, side).items()},
        {name: saved for name, side in folders.items() if (saved := features_of(side, comparison)).arrays},
    )


@dataclass(frozen=True)
class Opening:
    """What both sides are opened with, and the folders that were, by what they were opened from."""

    protocol: Protocol
    config: EvaluationConfig
    workers: WorkGroup
    progress: Progress
    folders: dict[Path | VideoFolder, VideoFolder] = field(default_factory=dict)

    def side(self, source: Path | VideoFolder, start: Start, stride: int) -> Side:
        """Find a side's videos and draw its clips, or read its file. Raises `UserError` for fewer than asked for."""
        protocol, wanted = self.protocol, self.config.count
        side: Side
        if isinstance(source, Path) and is_feature_file(source):
            side = FileSide(read_feature_file(source), protocol.count, self.config.seed)
        else:
            if source not in self.folders:
                self.folders[source] = open_folder(source, self.progress) if isinstance(source, Path) else source
            folder = self.folders[source]
            rule = ClipRule(protocol.frames, stride, start, protocol.trials, self.config.seed)
            clips = draw_clips(folder, rule, protocol.count)
            side = FolderSide(folder, rule, clips, self.workers, self.progress)
        if wanted is not None and side.count is not None and side.count < wanted:
            remedy = "add videos" if side.count < 2 else f"give --count {side.count} or less"
            raise UserError(
                f"count is {wanted}, but {side.name} gives only {counted(side.count, 'clip')}{side.shortage}: {remedy}"
            )
        return side

    def leave_out(self, broken: Sequence[str]) -> None:
        """Take videos of which `broken` has a message out of the folders.

        Raises `UserError` if a folder holds no others, or none of these.
        """
        found = {source: folder.without(broken) for source, folder in self.folders.items()}
        if found == self.folders:
            raise UserError(broken[0])
        self.folders.update(found)


def give_network(
    comparison: Comparison,
    measures: Mapping[str, Measure],
    network: FeatureNetwork | None,
    workers: WorkGroup,
    progress: Progress,
) -> FeatureNetwork | None:
    """Give the folders the network if they need one, loaded unless it is given; return it.

    Raises `UserError` for missing weights.
    """
    config, protocol = comparison.config, comparison.protocol
    folders = [side for side in comparison.sides.values() if isinstance(side, FolderSide)]
    if not folders or not any(measure.needs_network for measure in measures.values()):
        return network
    network = network or load_features(
        protocol.features, weights=config.weights, trust=config.trust, device=device_of_process(config.device)
    )
    extractor = Extractor(network, protocol.resize, config.batch_size, workers, progress)
    for side in folders:
        side.extractor = extractor
    return network


def device_of_process(name: str | None) -> str:
    """Return the device of this name; of "cuda" and of None each process's own, and the CPU where there is no GPU."""
    if name not in (None, "cuda") or not torch.cuda.is_available():
        return name or "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def compute(
    comparison: Comparison, measures: Mapping[str, Measure], progress: Progress
) -> list[Number | CurveOfNumbers]:
    """Return every measure's numbers, of what was prepared."""
    results: list[Number | CurveOfNumbers] = []
    for done, (name, measure) in enumerate(measures.items()):
        progress(f"numbers: {name}", done, len(measures))
        results += measure.compute(comparison)
    progress("numbers", len(measures), len(measures))
    return results


def facts_of(comparison: Comparison) -> dict[str, Any]:
    """Return the head of the report: what is common to all numbers."""
    sides: dict[str, Any] = {}
    for name, side in comparison.sides.items():
        sides[name] = {"source": side.name, **side.conditions}
        if isinstance(side, FolderSide):
            sides[name] |= {
                "videos": len(side.folder.videos) + len(side.folder.left_out),
                "left_out": [asdict(video) for video in side.left_out],
            }
    protocol = {"name": comparison.config.protocol, **asdict(comparison.protocol)}
    protocol.pop("deviations")  # they are among the notes
    return {
        "protocol": protocol,
        "network": comparison.network("real", "fake"),
        "seed": comparison.config.seed,
        **sides,
        "versions": versions(),
    }


def clip_lists_of(name: str, side: FolderSide) -> dict[str, ClipList]:
    """Return the lists that are saved, by what they are called."""
    return {name: side.clips} | {f"{name}-{frames}f": clips for frames, clips in side.other_clips.items()}


def features_of(side: FolderSide, comparison: Comparison) -> SavedFeatures:
    """Return what the network made of the first trial's clips, with statistics and all it depends on, to be saved."""
    arrays = {name: side.data[name] for name in ARRAYS if name in side.data}
    ddof = comparison.protocol.ddof
    statistics = None
    if "features" in arrays:
        features = arrays["features"] = arrays["features"][0]
        statistics = Statistics(*feature_statistics(features, ddof), n=len(features), ddof=ddof)
    return SavedFeatures(
        arrays,
        statistics,
        {
            "dataset": side.name,
            "protocol": comparison.config.protocol,
            "seed": comparison.config.seed,
            "ddof": ddof,
            **side.network,
            **side.conditions,
            "versions": versions(),
        },
    )
