"""Numbers made of frames, without a feature network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longtake.metrics.evaluation.comparison import Comparison
from longtake.metrics.evaluation.feature_measures import Results, mean_curve
from longtake.metrics.evaluation.folder_side import FolderSide
from longtake.metrics.evaluation.limits import CORRELATION, DECIBELS, NON_NEGATIVE, SHARE, Limits
from longtake.metrics.evaluation.report import Number
from longtake.metrics.evaluation.sides import Need
from longtake.metrics.evaluation.videos import frame_rates


def flickering_measure(c: Comparison) -> Results:
    """Temporal flickering of each side."""
    return per_side(c, "changes", {"temporal_flickering": 0}, SHARE)


def histogram_measure(c: Comparison) -> Results:
    """Correlation of the first and the last frame's colours, of each side."""
    return per_side(c, "changes", {"histogram_correlation": 1, "channel_histogram_correlation": 2}, CORRELATION)


def perceptual_measure(c: Comparison) -> Results:
    """LPIPS of the first and the last frame, of each side."""
    return per_side(c, "perceptual", {"lpips_vgg_first_last": 0}, NON_NEGATIVE)


def psnr_measure(c: Comparison) -> Results:
    """PSNR by frame, and its mean."""
    return pair_results(c, "psnr", DECIBELS)


def ssim_measure(c: Comparison) -> Results:
    """SSIM by frame, and its mean."""
    return pair_results(c, "ssim", CORRELATION)


def per_side(c: Comparison, need: Need, columns: Mapping[str, int], limits: Limits) -> Results:
    """Return the mean over videos of each named column, for the sides that have it."""
    numbers = []
    for side_name, side in c.sides.items():
        if need not in side.data:
            continue
        assert isinstance(side, FolderSide), "only folders have whole videos"
        conditions = {"seed": c.config.seed, side_name: whole_video_conditions(side)}
        for name, column in columns.items():
            values = side.data[need][:, column]
            number = c.number(f"{name}[{side_name}]", lambda rows: float(rows.mean()), [values], conditions)
            numbers.append(number.within(limits))
    return numbers


def whole_video_conditions(side: FolderSide) -> dict[str, Any]:
    """Return what a measure of whole videos depends on."""
    lengths = [video.num_frames for video in side.videos]
    rates = frame_rates(side.videos, 1)
    return {
        **side.conditions,
        "frames": lengths[0] if len(set(lengths)) == 1 else [min(lengths), max(lengths)],
        "stride": 1,
        "start": "first",
        "fps": rates[0] if len(rates) == 1 else rates or None,
    }


def pair_results(c: Comparison, name: str, limits: Limits) -> Results:
    """Return the curve over frames, and the mean over frames and videos."""
    curves = c.pairs[name]
    conditions: dict[str, Any] = {}
    for side_name, side in c.sides.items():
        assert isinstance(side, FolderSide), "only folders have pairs"
        facts = {"source": side.name, **whole_video_conditions(side), "n": len(curves), "frames": curves.shape[1]}
        del facts["clips_sha256"]  # pairs are chosen by their names
        conditions[side_name] = facts
    mean: Number = c.number(f"{name}_mean", lambda rows: float(rows.mean()), [curves.mean(axis=1)], conditions)
    curve = mean_curve(c, name, ("frame", range(curves.shape[1])), curves, conditions)
    return [curve.within(limits), mean.within(limits)]
