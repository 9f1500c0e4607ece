"""Numbers made of features and class probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from longtake.core.errors import UserError
from longtake.metrics.coherence import ccs, first_class_probability, ics_kl_0_t, ics_kl_t_0
from longtake.metrics.curve import average_curve
from longtake.metrics.evaluation.comparison import (
    Comparison,
    Samples,
    Statistic,
    moved,
    small_sets_noted_elsewhere,
)
from longtake.metrics.evaluation.feature_files import Statistics
from longtake.metrics.evaluation.folder_side import LONG_CLIP, SHORT_CLIP, FolderSide
from longtake.metrics.evaluation.limits import (
    CORRELATION,
    NON_NEGATIVE,
    SHARE,
    Limits,
    entropy_limits,
    score_limits,
)
from longtake.metrics.evaluation.report import CurveOfNumbers, Number
from longtake.metrics.evaluation.sides import Side
from longtake.metrics.extrapolation import frechet_distance_infinite
from longtake.metrics.frechet import distance_of_gaussians, gaussian_of_features, gaussian_of_statistics
from longtake.metrics.inception_score import INCEPTION_SCORE_PROTOCOLS, inception_score
from longtake.metrics.kernel import jedi_distance, kernel_distance, kernel_distance_subsets
from longtake.metrics.segments import relative_to_first
from longtake.metrics.temporal import cosine_similarity_by_lag

Results = Sequence[Number | CurveOfNumbers]
SEGMENTS = "segment"
ROUNDING = 1e-6  # distances below this are those of identical sets: they have no ratio


def frechet_measure(c: Comparison) -> Results:
    """Frechet distance, over all trials; a side may be statistics."""
    conditions = c.conditions("real", "fake", ddof=c.protocol.ddof)
    distance = frechet_statistic(c.real.statistics, c.fake.statistics, c.protocol.ddof)
    with_features = [side for side in (c.real, c.fake) if side.statistics is None]
    if not with_features:
        return [Number(c.name("frechet_distance", "real", "fake"), distance(), None, conditions)]
    number = c.number_over_trials(
        c.name("frechet_distance", "real", "fake"), distance, trials(*with_features), conditions
    )
    return [number.within(NON_NEGATIVE)]


def frechet_statistic(real: Statistics | None, fake: Statistics | None, ddof: int) -> Statistic:
    """Return the distance as a function of the features of those sides that are no statistics.

    It raises `UserError` if the sides differ in width.
    """
    fixed = [each and gaussian_of_statistics(each.mu, each.covariance(ddof)) for each in (real, fake)]

    def distance(*samples: Float[np.ndarray, "n d"]) -> float:
        left = iter(samples)
        first, second = (each or gaussian_of_features(np.asarray(next(left), np.float64), ddof) for each in fixed)
        if first.mean.shape != second.mean.shape:
            raise UserError(f"features must have the same width, not {len(first.mean)} and {len(second.mean)}")
        return distance_of_gaussians(first, second)

    return distance


def kernel_measure(c: Comparison) -> Results:
    """KVD over all trials."""
    return [
        c.number_over_trials(
            c.name("kernel_distance", "real", "fake"),
            kernel_distance,
            trials(c.real, c.fake),
            c.conditions("real", "fake"),
        )
    ]


def kernel_subsets_measure(c: Comparison) -> Results:
    """The subset form, with the interval of its mean over all subsets, 1000 times the whole-set form."""
    real, fake = trials(c.real, c.fake)[0]
    value = kernel_distance_subsets(real, fake, seed=c.config.seed)
    interval = c.interval(lambda x, y: 1000 * kernel_distance(x, y), real, fake)
    conditions = c.conditions("real", "fake", subsets=100, subset_size=min(1000, len(real), len(fake)))
    return [Number(c.name("kernel_distance_subsets", "real", "fake"), value, moved(interval, value), conditions)]


def jedi_measure(c: Comparison) -> Results:
    """JEDi's form of MMD; JEDi itself is that of V-JEPA features."""
    sets = trials(c.real, c.fake)[0]
    number = c.number(c.name("jedi_mmd", "real", "fake"), unequal_jedi, sets, c.conditions("real", "fake"))
    return [number.within(NON_NEGATIVE)]


def unequal_jedi(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> float:
    """JEDi's form; whether the sets may differ in size was asked before."""
    return jedi_distance(x, y, allow_unequal=True)


def infinite_measure(c: Comparison) -> Results:
    """Frechet distance extrapolated to infinitely many videos."""
    ddof, seed = c.protocol.ddof, c.config.seed
    sets = trials(c.real, c.fake)[0]
    with small_sets_noted_elsewhere():
        line = frechet_distance_infinite(sets[0], sets[1], ddof, seed=seed)
    number = c.number(
        c.name("frechet_distance_infinite", "real", "fake"),
        lambda x, y: frechet_distance_infinite(x, y, ddof, seed=seed).value,
        sets,
        c.conditions("real", "fake", ddof=ddof),
    )
    details = {"slope": line.slope, "sizes": line.sizes.tolist(), "distances": line.distances.tolist()}
    return [replace(number, details=details)]


def clip_length_measure(c: Comparison) -> Results:
    """Frechet distance of short and of long clips of the same videos, and the ratio long over short."""
    sets = [side.data["clip_lengths"] for side in (c.real, c.fake)]
    statistic = frechet_statistic(None, None, c.protocol.ddof)

    def conditions(*lengths: int) -> dict[str, Any]:
        facts = c.conditions("real", "fake", ddof=c.protocol.ddof)
        for name, side in c.sides.items():
            assert isinstance(side, FolderSide), "only folders have clips of other lengths"
            clips = [side.other_clips[frames] for frames in lengths]
            facts[name] |= {"n": len(clips[0]), "frames": lengths, "clips_sha256": [each.sha256 for each in clips]}
        return facts

    def distance(length: int) -> Statistic:
        return lambda x, y: statistic(x[:, length], y[:, length])

    numbers = [
        c.number(c.name(f"frechet_distance_{frames}f", "real", "fake"), distance(length), sets, conditions(frames))
        for length, frames in enumerate((SHORT_CLIP, LONG_CLIP))
    ]
    if numbers[0].value > ROUNDING:
        name = c.name(f"frechet_distance_{LONG_CLIP}f_over_{SHORT_CLIP}f", "real", "fake")
        both = conditions(SHORT_CLIP, LONG_CLIP)
        numbers.append(c.number(name, lambda x, y: distance(1)(x, y) / distance(0)(x, y), sets, both))
    return [number.within(NON_NEGATIVE) for number in numbers]


def inception_measure(c: Comparison) -> Results:
    """Inception score of the fakes, and the two entropies."""
    rows, rule = c.fake.data["probabilities"], INCEPTION_SCORE_PROTOCOLS[c.protocol.inception_score]

    def part(name: str) -> Statistic:
        return lambda probabilities: getattr(inception_score(probabilities, rule), name)

    conditions = c.conditions("fake", splits=rule.num_splits, shuffle_seed=rule.shuffle_seed, eps=rule.eps)
    score = c.number(c.name("inception_score", "fake"), part("mean"), [rows], conditions)
    score = replace(score, details={"std_over_splits": inception_score(rows, rule).std})
    entropies = [
        c.number(c.name(name, "fake"), part(name), [rows], conditions) for name in ("inter_entropy", "intra_entropy")
    ]
    num_classes = rows.shape[1]
    return [
        score.within(score_limits(num_classes)),
        *(entropy.within(entropy_limits(num_classes)) for entropy in entropies),
    ]


def segment_measure(c: Comparison) -> Results:
    """Frechet distance of every segment of the fakes from the same real clips."""
    segments = c.fake.data["segments"]
    real = [] if c.real.statistics else [c.real.data["features"][0]]
    curve = c.curve(
        c.name("frechet_distance_by_segment", "real", "fake"),
        (SEGMENTS, range(segments.shape[1])),
        frechet_statistic(c.real.statistics, None, c.protocol.ddof),
        lambda t: [*real, segments[:, t]],
        segment_conditions(c, "real", "fake", ddof=c.protocol.ddof),
    )
    if curve.values[0] > ROUNDING:
        curve = replace(curve, details={"relative_to_first": relative_to_first(curve.values).tolist()})
    return [curve.within(NON_NEGATIVE)]


def cosine_measure(c: Comparison) -> Results:
    """Mean cosine between segments of one fake video, by their distance."""
    segments = c.fake.data["segments"]
    lags = range(1, segments.shape[1])
    curves = np.array([cosine_similarity_by_lag(video, lags) for video in segments])
    places = ("lag in segments", lags)
    curve = mean_curve(c, c.name("cosine_by_lag", "fake"), places, curves, segment_conditions(c, "fake"))
    return [curve.within(CORRELATION)]


def ccs_measure(c: Comparison) -> Results:
    """Class coherence by segment, its mean over the segments after the first, and the first class's probability."""
    segments, conditions = c.fake.data["segment_probabilities"], segment_conditions(c, "fake")
    mean = c.number(c.name("ccs_mean", "fake"), lambda p: float(ccs(p)[1:].mean()), [segments], conditions)
    return [
        coherence_curve(c, "ccs", ccs, SHARE),
        mean.within(SHARE),
        coherence_curve(c, "first_class_probability", first_class_probability, SHARE),
    ]


def ics_measure(c: Comparison) -> Results:
    """Inception coherence by segment, in both directions."""
    return [
        coherence_curve(c, "ics_kl_t_0", ics_kl_t_0, NON_NEGATIVE),
        coherence_curve(c, "ics_kl_0_t", ics_kl_0_t, NON_NEGATIVE),
    ]


def coherence_curve(
    c: Comparison,
    name: str,
    coherence: Callable[[Float[np.ndarray, "n s k"]], Float[np.ndarray, " s"]],
    limits: Limits,
) -> CurveOfNumbers:
    """Return a measure of coherence with the first segment, for every segment."""
    segments = c.fake.data["segment_probabilities"]
    curve = c.curve(
        c.name(name, "fake"),
        (SEGMENTS, range(segments.shape[1])),
        lambda pairs: float(coherence(pairs)[1]),
        lambda t: [segments[:, [0, t]]],
        segment_conditions(c, "fake"),
    )
    return curve.within(limits)


def segment_conditions(c: Comparison, *sides: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what numbers by segment depend on: the list's fakes are cut from their first frame on."""
    facts = c.conditions(*sides, **more)
    facts["fake"] |= {"start": "first"}
    return facts


def mean_curve(
    c: Comparison,
    name: str,
    places: tuple[str, Sequence[int]],
    curves: Float[np.ndarray, "n t"],
    conditions: dict[str, Any],
) -> CurveOfNumbers:
    """Return the mean over videos at every place, with the deviation between videos."""
    curve = c.curve(name, places, lambda values: float(values.mean()), lambda i: [curves[:, i]], conditions)
    return replace(curve, details={"std_over_videos": average_curve(curves).std.tolist()})


def trials(*sides: Side) -> list[Samples]:
    """Return the features of every trial; a side with one trial takes part in all."""
    sets = [side.data["features"] for side in sides]
    return [[each[trial % len(each)] for each in sets] for trial in range(max(len(each) for each in sets))]
