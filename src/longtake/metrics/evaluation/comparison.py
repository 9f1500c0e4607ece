"""Real beside fake: what a measure is given, how a number is named, and how sure it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from longtake.core.errors import UserError
from longtake.core.randomness import derive_seed
from longtake.metrics.bootstrap import Interval, bootstrap_interval
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.folder_side import LONG_CLIP, FolderSide
from longtake.metrics.evaluation.protocols import Protocol
from longtake.metrics.evaluation.report import CurveOfNumbers, Number
from longtake.metrics.evaluation.sides import Need, Side
from longtake.metrics.evaluation.videos import map_decoding
from longtake.metrics.evaluation.whole_videos import PAIR_METRICS, pair_quality
from longtake.metrics.frechet import BiasWarning

PUBLISHED_NAMES = {
    ("frechet_distance", "i3d"): "fvd",
    ("frechet_distance_infinite", "i3d"): "fvd_infinite",
    ("frechet_distance_by_segment", "i3d"): "fvd_by_segment",
    ("frechet_distance_16f", "i3d"): "fvd_16f",
    ("frechet_distance_128f", "i3d"): "fvd_128f",
    ("frechet_distance_128f_over_16f", "i3d"): "fvd_128f_over_16f",
    ("kernel_distance", "i3d"): "kvd",
    ("kernel_distance_subsets", "i3d"): "kvd_subset",
    ("frechet_distance", "resnext3d"): "video_fid",
    ("inception_score", "c3d"): "video_is",
    ("inter_entropy", "c3d"): "inter_entropy",
    ("intra_entropy", "c3d"): "intra_entropy",
    ("ccs", "c3d"): "ccs",
    ("ccs_mean", "c3d"): "ccs_mean",
    ("first_class_probability", "c3d"): "first_class_probability",
    ("ics_kl_t_0", "c3d"): "ics_kl_t_0",
    ("ics_kl_0_t", "c3d"): "ics_kl_0_t",
}
"""(measure, kind of network) -> the name that papers use. With other features a number is named by its features."""

MUST_AGREE = ("features", "kind", "weights_sha256", "resize", "frames")
UNKNOWN_FEATURES = "npz"

Statistic = Callable[..., float]
Samples = Sequence[Shaped[np.ndarray, "n ..."]]


@dataclass
class Comparison:
    """Both sides and what is asked of them.

    Attributes:
        real: one side.
        fake: the other.
        config: what was asked for.
        protocol: the same, resolved.
        pairs: PSNR and SSIM, as far as they were asked for, of p videos of one name, once they are prepared.
    """

    real: Side
    fake: Side
    config: EvaluationConfig
    protocol: Protocol
    pairs: dict[str, Float[np.ndarray, "p t"]] = field(default_factory=dict)

    @property
    def sides(self) -> dict[str, Side]:
        """Both, by name."""
        return {"real": self.real, "fake": self.fake}

    def network(self, *names: str) -> dict[str, Any]:
        """Return what made the features of these sides; a kind only if all of them say that they are of it."""
        sides = [self.sides[name] for name in names]
        told = [side.network for side in sides if not (isinstance(side, FolderSide) and side.extractor is None)]
        facts = {fact: value for each in reversed(told) for fact, value in each.items()}
        if not all("kind" in each for each in told):
            facts.pop("kind", None)
        if told:
            facts["features"] = " and ".join(dict.fromkeys(each.get("features", UNKNOWN_FEATURES) for each in told))
        return facts

    def check(self) -> None:
        """Raise `UserError` if the sides' features cannot be compared."""
        facts = [{**side.network, **side.conditions} for side in (self.real, self.fake)]
        for name in MUST_AGREE:
            real, fake = (fact.get(name) for fact in facts)
            if real is not None and fake is not None and real != fake:
                raise UserError(f"{name} is {real!r} in {self.real.name}, but {fake!r} in {self.fake.name}")
        widths = [fact.get("feature_width") for fact in facts]
        if None not in widths and widths[0] != widths[1]:
            raise UserError(
                f"features must have the same width, not {widths[0]} and {widths[1]} as in {self.real.name} and "
                f"{self.fake.name}"
            )

    def check_sizes(self, need: Need) -> None:
        """Raise `UserError` for sets of different size, of those that have `need`, unless asked for."""
        real, fake = (side.count_for(need) for side in (self.real, self.fake))
        if self.config.allow_unequal or real is None or fake is None or real == fake:
            return
        fewer, larger = min(real, fake), self.real if real > fake else self.fake
        if larger.statistics is not None:
            remedy = "statistics cannot be cut down: give as many clips"
        else:
            remedy = "add videos" if fewer < 2 else f"compare {fewer} of each (--count {fewer})"
        clips = f"clips of {LONG_CLIP} frames" if need == "clip_lengths" else "clips"
        raise UserError(
            f"{self.real.name} gives {real} {clips}{self.real.shortage} and {self.fake.name} {fake}"
            f"{self.fake.shortage}, and these numbers depend on how many: {remedy}, or ask for it (--allow-unequal)"
        )

    def name(self, measure: str, *sides: str) -> str:
        """Return what a number of these sides may be called, given the features it was made with."""
        network = self.network(*sides)
        published = PUBLISHED_NAMES.get((measure, str(network.get("kind"))))
        return published or f"{measure}[{network['features']}]"

    def paired_names(self) -> list[tuple[str, str, str]]:
        """Return (name without suffix, real file, fake file) of the videos that both folders have, `count` at most.

        Raises `UserError` if a side is no folder, there are none, or a name stands for two files.
        """
        files = [names_of(side) for side in (self.real, self.fake)]
        common = sorted(files[0].keys() & files[1].keys())
        if not common:
            raise UserError(
                f"psnr and ssim compare videos of one name: {self.real.name} and {self.fake.name} share none"
            )
        if self.config.count is not None and self.config.count < len(common):
            rng = np.random.default_rng(derive_seed(self.config.seed, 0))
            common = [common[i] for i in np.sort(rng.permutation(len(common))[: self.config.count])]
        return [(name, files[0][name], files[1][name]) for name in common]

    def prepare_pairs(self) -> None:
        """Fill `pairs`, if they are not, up to the end of the shortest video.

        Raises `BrokenVideosError` for those that do not decode, `UserError` for frames of different size or too small.
        """
        if self.pairs:
            return
        real, fake = self.real, self.fake
        assert isinstance(real, FolderSide), "paired_names has checked this"
        assert isinstance(fake, FolderSide), "paired_names has checked this"
        paths = [(real.folder.root / x, fake.folder.root / y) for _, x, y in self.paired_names()]
        names = [name for name in PAIR_METRICS if name in self.config.metrics]
        curves = map_decoding(
            fake.workers,
            lambda pair: pair_quality(pair, names),
            paths,
            lambda done, total: fake.progress("pairs", done, total),
        )
        length = min(curve.shape[1] for curve in curves)
        cut = np.stack([curve[:, :length] for curve in curves], axis=1)
        self.pairs = dict(zip(names, cut, strict=True))

    def conditions(self, *sides: str, of_network: bool = True, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return all that a number depends on; `more` is what only this one does."""
        facts: dict[str, Any] = {"protocol": self.config.protocol, "seed": self.config.seed}
        if of_network:
            rounding = f"bytes as stored, the protocol's: {self.protocol.rounding}"
            facts |= {"rounding": rounding, **self.network(*sides)}
        return facts | {name: dict(self.sides[name].conditions) for name in sides} | more

    def interval(
        self, statistic: Statistic, *samples: Shaped[np.ndarray, "n ..."], paired: bool = False
    ) -> Interval | None:
        """Return the number with its interval over videos; None where none was asked for or a set is too small."""
        if not self.config.resamples or min(len(sample) for sample in samples) < 2:
            return None
        with small_sets_noted_elsewhere():
            return bootstrap_interval(
                statistic, *samples, num_resamples=self.config.resamples, seed=self.config.seed, paired=paired
            )

    def number(
        self, name: str, statistic: Statistic, samples: Samples, conditions: Mapping[str, Any], *, paired: bool = False
    ) -> Number:
        """Return one number."""
        interval = self.interval(statistic, *samples, paired=paired)
        with small_sets_noted_elsewhere():
            value = float(statistic(*samples)) if interval is None else interval.value
        return Number(name, value, interval, conditions)

    def number_over_trials(
        self, name: str, statistic: Statistic, trials: Sequence[Samples], conditions: Mapping[str, Any]
    ) -> Number:
        """Return the mean over trials. Its interval is that of the first trial, moved onto the mean."""
        first = self.number(name, statistic, trials[0], conditions)
        if len(trials) == 1:
            return first
        with small_sets_noted_elsewhere():
            values = [first.value, *(float(statistic(*samples)) for samples in trials[1:])]
        mean = float(np.mean(values))
        return Number(
            name,
            mean,
            moved(first.interval, mean),
            conditions,
            {"trials": values, "std_over_trials": float(np.std(values))},
        )

    def curve(
        self,
        name: str,
        places: tuple[str, Sequence[int]],
        statistic: Statistic,
        samples: Callable[[int], Samples],
        conditions: Mapping[str, Any],
        **details: Any,  # noqa: ANN401
    ) -> CurveOfNumbers:
        """Return `statistic` of `samples(i)` at each place i; `places` are what they are and which."""
        label, x = places
        numbers = [self.number(name, statistic, samples(i), conditions) for i in range(len(x))]
        intervals = [number.interval for number in numbers if number.interval is not None]
        return CurveOfNumbers(name, label, x, [number.value for number in numbers], intervals, conditions, details)


def names_of(side: Side) -> dict[str, str]:
    """Return name without suffix -> file, for the videos of a folder."""
    if not isinstance(side, FolderSide):
        raise UserError(f"psnr and ssim compare videos: {side.name} holds features")
    files: dict[str, str] = {}
    for video in side.folder.videos:
        file = side.folder.name(video)
        name = file if video.path.is_dir() else file.removesuffix(video.path.suffix)
        if name in files:
            raise UserError(f"{side.name} has two videos called {name}: {files[name]} and {file}")
        files[name] = file
    return files


def moved(interval: Interval | None, value: float) -> Interval | None:
    """Return the interval around another value."""
    if interval is None:
        return None
    shift = value - interval.value
    return Interval(
        value,
        interval.low + shift,
        interval.high + shift,
        interval.std,
        interval.bias,
        interval.confidence,
        interval.num_resamples,
    )


@contextmanager
def small_sets_noted_elsewhere() -> Iterator[None]:
    """Keep the warning of every resample quiet: the report notes it once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BiasWarning)
        yield
