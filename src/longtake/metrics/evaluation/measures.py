"""Every entry of `--metrics`: what it needs of each side, and which function makes numbers of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from longtake.core.errors import UserError, choose_one_of
from longtake.core.wording import are, counted
from longtake.metrics.evaluation import feature_measures, video_measures
from longtake.metrics.evaluation.comparison import Comparison
from longtake.metrics.evaluation.feature_measures import Results
from longtake.metrics.evaluation.protocols import Protocol
from longtake.metrics.evaluation.sides import OF_NETWORK, Need, Side
from longtake.metrics.extrapolation import MIN_SAMPLES
from longtake.metrics.inception_score import INCEPTION_SCORE_PROTOCOLS


def any_number(_protocol: Protocol) -> int:
    """Return 1: every number of videos will do."""
    return 1


@dataclass(frozen=True)
class Measure:
    """One entry of `--metrics`.

    Attributes:
        compute: prepared comparison -> numbers and curves.
        real: what it needs of the real side.
        fake: what it needs of the fake side.
        either: what it takes of each side that has it.
        compares_sets: whether its numbers depend on N, so that N has to be equal.
        is_default: whether it is computed unasked where the data allow it.
        is_paired: whether it compares videos of one name.
        fewest: videos it needs at least under a protocol.
    """

    compute: Callable[[Comparison], Results]
    real: tuple[Need, ...] = ()
    fake: tuple[Need, ...] = ()
    either: tuple[Need, ...] = ()
    compares_sets: bool = False
    is_default: bool = True
    is_paired: bool = False
    fewest: Callable[[Protocol], int] = any_number

    @property
    def needs_network(self) -> bool:
        """Whether it is about features."""
        return any(need in OF_NETWORK for need in (*self.real, *self.fake))

    def obstacle(self, comparison: Comparison) -> str | None:
        """Return why it cannot be computed, or None if it can."""
        if self.is_paired:
            comparison.paired_names()  # says itself what is wrong with them
        fewest = self.fewest(comparison.protocol)
        for side, need in self._wanted(comparison):
            if reason := side.lacks(need):
                return reason
            if side.count is not None and side.count < fewest:
                return f"{side.name} gives {counted(side.count, 'clip')}, at least {fewest} are needed"
        if self.either and not self._on_offer(comparison):
            return f"neither {comparison.real.name} nor {comparison.fake.name} holds videos"
        return None

    def preparations(self, comparison: Comparison) -> list[Callable[[], None]]:
        """Return what has both sides prepare what it needs, each to be called."""
        needs = [*self._wanted(comparison), *self._on_offer(comparison)]
        pairs = [comparison.prepare_pairs] if self.is_paired else []
        return [*pairs, *(partial(side.prepare, need) for side, need in needs)]

    def _wanted(self, comparison: Comparison) -> list[tuple[Side, Need]]:
        return [(comparison.real, need) for need in self.real] + [(comparison.fake, need) for need in self.fake]

    def _on_offer(self, comparison: Comparison) -> list[tuple[Side, Need]]:
        sides = comparison.sides.values()
        return [(side, need) for need in self.either for side in sides if side.lacks(need) is None]


def of_sets(compute: Callable[[Comparison], Results], need: Need, *, is_default: bool = False) -> Measure:
    """Return a measure of two sets of features."""
    return Measure(compute, (need,), (need,), compares_sets=True, is_default=is_default, fewest=lambda _: 2)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "frechet_distance": of_sets(feature_measures.frechet_measure, "moments", is_default=True),
        "kvd": of_sets(feature_measures.kernel_measure, "features", is_default=True),
        "kvd_subset": of_sets(feature_measures.kernel_subsets_measure, "features"),
        "jedi": of_sets(feature_measures.jedi_measure, "features"),
        "frechet_infinite": Measure(
            feature_measures.infinite_measure,
            ("features",),
            ("features",),
            is_default=False,
            fewest=lambda _: MIN_SAMPLES,
        ),
        "clip_lengths": of_sets(feature_measures.clip_length_measure, "clip_lengths"),
        "is": Measure(
            feature_measures.inception_measure,
            fake=("probabilities",),
            # of one video every score is 1 and says nothing
            fewest=lambda protocol: max(2, INCEPTION_SCORE_PROTOCOLS[protocol.inception_score].num_splits),
        ),
        "segments": Measure(
            feature_measures.segment_measure, ("moments",), ("segments",), compares_sets=True, fewest=lambda _: 2
        ),
        "cosine_by_lag": Measure(feature_measures.cosine_measure, fake=("segments",)),
        "ccs": Measure(feature_measures.ccs_measure, fake=("segment_probabilities",)),
        "ics": Measure(feature_measures.ics_measure, fake=("segment_probabilities",)),
        "flickering": Measure(video_measures.flickering_measure, either=("changes",)),
        "histogram_correlation": Measure(video_measures.histogram_measure, either=("changes",)),
        "lpips": Measure(video_measures.perceptual_measure, either=("perceptual",), is_default=False),
        "psnr": Measure(video_measures.psnr_measure, is_default=False, is_paired=True),
        "ssim": Measure(video_measures.ssim_measure, is_default=False, is_paired=True),
    }
)
"""By the name that `--metrics` takes."""


def choose_measures(names: tuple[str, ...]) -> dict[str, Measure]:
    """Return the measures of these names, of none: the default ones. Raises `UserError` for an unknown name."""
    if not names:
        return {name: measure for name, measure in MEASURES.items() if measure.is_default}
    return {name: MEASURES[choose_one_of("metric", name, MEASURES)] for name in names}


def check_feature_options(measures: Mapping[str, Measure], options: Mapping[str, object]) -> None:
    """Raise `UserError` if one of `options`, by name, is given though no measure is made of features: it is about them.

    Measures without features are of whole videos, so clips and network would be ignored.
    """
    if any(measure.needs_network for measure in measures.values()):
        return
    for name, value in options.items():
        if value is not None:
            option = name.replace("_", "-")
            names = " and ".join(measures)
            raise UserError(
                f"--{option} is for metrics made of features, which {names} {are(len(measures))} not: leave out {name}"
            )


def possible_measures(
    comparison: Comparison, measures: Mapping[str, Measure]
) -> tuple[dict[str, Measure], dict[str, str]]:
    """Return those that can be computed, and why each of the others cannot.

    Raises `UserError` for one that was asked for and cannot, or if none can.
    """
    obstacles = {name: measure.obstacle(comparison) for name, measure in measures.items()}
    impossible = {name: reason for name, reason in obstacles.items() if reason is not None}
    for name, reason in impossible.items():
        if comparison.config.metrics:
            raise UserError(f"{name} cannot be computed: {reason}")
    if len(impossible) == len(measures):
        raise UserError(f"nothing can be computed: {next(iter(impossible.values()))}")
    return {name: measure for name, measure in measures.items() if name not in impossible}, impossible
