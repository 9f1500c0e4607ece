"""What values a number can take at all. Its interval is cut to them: the shift of the bootstrap knows nothing of them.

No limits hold for KVD, which has no bias and may fall below 0, and for what is extrapolated.
"""

from __future__ import annotations

import math

from longtake.metrics.frames import PSNR_OF_EQUAL_FRAMES

Limits = tuple[float, float]

# Frechet distances and their ratios, biased MMD (a squared norm), KL divergences (Gibbs), LPIPS (a sum of squares)
NON_NEGATIVE: Limits = (0, math.inf)
# shares of videos, mean probabilities, and 1 less a mean difference of values in [0, 1]
SHARE: Limits = (0, 1)
# by Cauchy and Schwarz: cosines, correlations, and SSIM, which is a correlation times factors in [0, 1]
CORRELATION: Limits = (-1, 1)
# PSNR: the mean square of differences in [-1, 1] is at most 1, and equal frames count as 100 dB
DECIBELS: Limits = (0, PSNR_OF_EQUAL_FRAMES)


def score_limits(num_classes: int) -> Limits:
    """Limits of an inception score: exp of what one video tells of its class, from nothing to all of ln K."""
    return (1, num_classes)


def entropy_limits(num_classes: int) -> Limits:
    """Limits of an entropy over classes: that of one class alone, and that of equal shares."""
    return (0, math.log(num_classes))
