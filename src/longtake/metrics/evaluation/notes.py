"""What a reader has to know before comparing a number with another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from longtake.core.wording import are, counted
from longtake.metrics.evaluation.comparison import Comparison, names_of
from longtake.metrics.evaluation.feature_measures import Results
from longtake.metrics.evaluation.file_side import FileSide
from longtake.metrics.evaluation.folder_side import FolderSide
from longtake.metrics.evaluation.measures import Measure
from longtake.metrics.evaluation.report import CurveOfNumbers, Number
from longtake.metrics.frechet import bias_note
from longtake.metrics.inception_score import INCEPTION_SCORE_PROTOCOLS

BIASED = ("frechet_distance", "segments", "clip_lengths")  # by about 1/N
COMPARABLE = {
    "fps": "frames per second: motion is measured at different rates",
    "resolution": "pixels: the smaller one is enlarged, and its blur is measured",
    "codecs": "compression: it alone moves these distances",
}


def notes_of(
    comparison: Comparison, measures: Mapping[str, Measure], impossible: Mapping[str, str], results: Results
) -> list[str]:
    """Return one line for each thing that moves the numbers and is easily overlooked.

    `measures` were computed and gave `results`; `impossible` says why others were not.
    """
    notes = [*side_notes(comparison), *impossible_notes(impossible)]
    if any(measure.needs_network for measure in measures.values()):
        if not all(isinstance(side, FileSide) for side in comparison.sides.values()):
            notes = [*comparison.config.notes(), *notes]
        notes += [*count_notes(comparison, measures), *size_notes(comparison), *difference_notes(comparison)]
    if comparison.pairs:
        notes += pair_notes(comparison, next(iter(comparison.pairs.values())).shape[1])
    if any(has_interval(result) for result in results):
        notes.append(
            f"intervals: 95 %, {counted(comparison.config.resamples, 'resample')} of the videos; they hold at "
            "this number of videos, and do not contain the bias"
        )
    return notes


def has_interval(result: Number | CurveOfNumbers) -> bool:
    """Whether there is an interval beside a number, or beside a curve's."""
    return bool(result.intervals) if isinstance(result, CurveOfNumbers) else result.interval is not None


def impossible_notes(impossible: Mapping[str, str]) -> Iterator[str]:
    """Name the metrics that were not computed, one line for each reason."""
    for reason in dict.fromkeys(impossible.values()):
        names = ", ".join(name for name, each in impossible.items() if each == reason)
        yield f"left out: {names} ({reason})"


def side_notes(comparison: Comparison) -> Iterator[str]:
    """Say what is missing on a side."""
    for name, side in comparison.sides.items():
        if isinstance(side, FolderSide) and side.left_out:
            first = side.left_out[0]
            count = len(side.left_out)
            yield f"{counted(count, f'{name} video')} {are(count)} left out, such as {first.file}: {first.reason}"
        if isinstance(side, FileSide) and comparison.protocol.trials > 1:
            yield f"{name} is a file: it is the same in all {comparison.protocol.trials} trials"
        if isinstance(side, FileSide) and not side.file.provenance:
            yield f"{side.name} does not say where its features come from"
        if side.statistics is not None:
            if any(each.statistics is None for each in comparison.sides.values()):
                yield f"{name} is a file of statistics: intervals hold for the draw of the other side alone"
            if side.count is None:
                yield f"{side.name} does not say of how many clips it is"
            if side.statistics.ddof is None:
                yield f"{side.name} does not say its ddof: its covariance is taken as it is"
        if isinstance(side, FolderSide) and "segments" in side.data:
            shortest = min(video.num_frames for video in side.videos)
            segments, frames = counted(side.num_segments, "segment"), counted(shortest, "frame")
            yield f"{segments}: as many as fit into the shortest {name} video, {frames}"


def count_notes(comparison: Comparison, measures: Mapping[str, Measure]) -> Iterator[str]:
    """Say where there are few videos, and where their number differs."""
    counts = {name: side.count for name, side in comparison.sides.items() if side.count is not None}
    biased = [
        count
        for name in BIASED
        if name in measures
        for side in comparison.sides.values()
        if (count := side.count_for(measures[name].fake[0])) is not None
    ]
    if biased and (note := bias_note(min(biased), comparison.network("real", "fake")["feature_width"])):
        yield note
    if "frechet_infinite" in measures:
        yield from extrapolation_notes(comparison)
    if "is" in measures:
        yield from split_notes(comparison)
    if len(set(counts.values())) > 1:
        yield f"the sets differ in size: {counts['real']} real and {counts['fake']} fake clips"
    if "clip_lengths" in measures:
        yield from long_clip_notes(comparison)
    wanted = comparison.protocol.count
    for name, count in counts.items():
        if wanted is not None and count < wanted:
            yield f"{counted(count, f'{name} clip')}, where {wanted} {are(wanted)} wanted"


def long_clip_notes(comparison: Comparison) -> Iterator[str]:
    """Say on how many videos the two clip lengths were measured, where it is not all."""
    real, fake = (side.count_for("clip_lengths") for side in comparison.sides.values())
    if (real, fake) != (comparison.real.count, comparison.fake.count):
        yield f"clip_lengths: {real} real and {fake} fake videos, as many as are long enough"


def extrapolation_notes(comparison: Comparison) -> Iterator[str]:
    """Say where the line of an extrapolation begins at too few clips, as `frechet_distance_infinite` warns."""
    num_clips = min(side.data["features"].shape[1] for side in comparison.sides.values())
    width = comparison.network("real", "fake")["feature_width"]
    if num_clips // 4 <= width:
        yield (
            f"frechet_infinite starts at N = {counted(num_clips // 4, 'sample')} for D = {width} features: with "
            "N <= D the bias is no line in 1/N yet, and the value at its end is not to be trusted"
        )


def split_notes(comparison: Comparison) -> Iterator[str]:
    """Say where the splits of an inception score are too small to show every class."""
    num_clips, num_classes = comparison.fake.data["probabilities"].shape
    num_splits = INCEPTION_SCORE_PROTOCOLS[comparison.protocol.inception_score].num_splits
    fewest = num_clips // num_splits
    if fewest < num_classes:
        yield (
            f"inception score in {counted(num_splits, 'split')} of {counted(fewest, 'clip')}: none can score "
            f"more than it has clips, and there are {num_classes} classes; compare it only at the same N"
        )


def size_notes(comparison: Comparison) -> Iterator[str]:
    """Say where videos have another size than the protocol's."""
    wanted = comparison.protocol.size
    if wanted is None:
        return
    for name, side in comparison.sides.items():
        found = side.conditions.get("resolution")
        if found not in (None, f"{wanted}x{wanted}"):
            yield (
                f"{name} videos are {listed(found)}, where protocol {comparison.config.protocol} measures "
                f"{wanted}x{wanted}: the number is not comparable with published ones"
            )


def pair_notes(comparison: Comparison, num_frames: int) -> Iterator[str]:
    """Say which videos and frames have no part in the pairs, of which the first `num_frames` frames were compared."""
    pairs = comparison.paired_names()
    lengths: dict[tuple[str, str], int] = {}
    for name, side in comparison.sides.items():
        assert isinstance(side, FolderSide), "only folders have pairs"
        lengths |= {(name, side.folder.name(video)): video.num_frames for video in side.folder.videos}
    compared = {side: [files[place] for files in pairs] for place, side in ((1, "real"), (2, "fake"))}
    longest = max(lengths[side, file] for side, files in compared.items() for file in files)
    if longest > num_frames:
        yield (
            f"psnr and ssim: the first {counted(num_frames, 'frame')} of every video, as many as the shortest "
            f"of them has; the longest has {longest}"
        )
    common = names_of(comparison.real).keys() & names_of(comparison.fake).keys()
    alone = {name: len(names_of(side)) - len(common) for name, side in comparison.sides.items()}
    if any(alone.values()):
        yield f"psnr and ssim: {alone['real']} real and {alone['fake']} fake without a partner, left out"


def difference_notes(comparison: Comparison) -> Iterator[str]:
    """Say where the files of the two sides differ in what a network sees."""
    for fact, meaning in COMPARABLE.items():
        real, fake = (side.conditions.get(fact) for side in comparison.sides.values())
        if real and fake and real != fake:
            yield f"real has {fact} {listed(real)}, fake {listed(fake)}; {meaning}"


def listed(values: object) -> str:
    """Return "a, b" for [a, b], and anything else as it is."""
    return ", ".join(map(str, values)) if isinstance(values, list) else str(values)
