"""Numbers that say how good videos are.

The formulas are functions of arrays and need only numpy. Those of frames, and `evaluate`, which measures folders of
videos, import torch, so they are loaded when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from longtake.metrics.bootstrap import Interval, bootstrap_interval
from longtake.metrics.coherence import ccs, first_class_probability, ics_kl_0_t, ics_kl_t_0
from longtake.metrics.curve import Curve, average_curve
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.extrapolation import Extrapolation, frechet_distance_infinite
from longtake.metrics.frechet import (
    DDOF_BY_PROTOCOL,
    BiasWarning,
    bias_note,
    feature_statistics,
    frechet_distance,
    frechet_distance_from_statistics,
)
from longtake.metrics.inception_score import (
    INCEPTION_SCORE_PROTOCOLS,
    InceptionScore,
    InceptionScoreProtocol,
    inception_score,
)
from longtake.metrics.kernel import jedi_distance, kernel_distance, kernel_distance_subsets
from longtake.metrics.segments import frechet_distance_by_segment, relative_to_first
from longtake.metrics.temporal import (
    channel_histogram_correlation,
    cosine_similarity_by_lag,
    histogram_correlation,
    temporal_flickering,
)

if TYPE_CHECKING:
    from longtake.metrics.evaluation.evaluation import evaluate
    from longtake.metrics.evaluation.report import Report
    from longtake.metrics.frames import motion_correlation, psnr, ssim

__all__ = [
    "DDOF_BY_PROTOCOL",
    "INCEPTION_SCORE_PROTOCOLS",
    "BiasWarning",
    "Curve",
    "EvaluationConfig",
    "Extrapolation",
    "InceptionScore",
    "InceptionScoreProtocol",
    "Interval",
    "Report",
    "average_curve",
    "bias_note",
    "bootstrap_interval",
    "ccs",
    "channel_histogram_correlation",
    "cosine_similarity_by_lag",
    "evaluate",
    "feature_statistics",
    "first_class_probability",
    "frechet_distance",
    "frechet_distance_by_segment",
    "frechet_distance_from_statistics",
    "frechet_distance_infinite",
    "histogram_correlation",
    "ics_kl_0_t",
    "ics_kl_t_0",
    "inception_score",
    "jedi_distance",
    "kernel_distance",
    "kernel_distance_subsets",
    "motion_correlation",
    "psnr",
    "relative_to_first",
    "ssim",
    "temporal_flickering",
]

LOADED_LATE = {
    "motion_correlation": "frames",
    "psnr": "frames",
    "ssim": "frames",
    "evaluate": "evaluation.evaluation",
    "Report": "evaluation.report",
}
"""Name -> module of what imports torch."""


def __getattr__(name: str) -> Any:  # noqa: ANN401  (what a module holds has no one type)
    """Load a function that needs torch when it is first asked for."""
    if name in LOADED_LATE:
        return getattr(import_module(f"longtake.metrics.{LOADED_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
