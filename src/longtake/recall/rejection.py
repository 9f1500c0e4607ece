"""VDrej (Alg. 8): of several candidates for a clip, the one that the clip discriminator finds most real."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from longtake.recall.stitching import Clip, stitch

Judge = Callable[[Float[Tensor, "n 3 16 h w"]], Float[Tensor, " n"]]
"""Clips -> logits, high for real ones: the clip discriminator."""

NUM_CANDIDATES = 20


def pick(candidates: Float[Tensor, "n 3 16 h w"], previous: Clip | None, judge: Judge, hop: int) -> Clip:
    """Return the candidate with the highest logit.

    After a `previous` clip, what is judged is the transition: that clip up to where the candidates begin, then theirs.
    All are judged in one batch. The logit's sigmoid, the thesis' score, has its maximum at the same candidate.
    """
    judged = candidates
    if previous is not None:
        judged = stitch(previous.expand(len(candidates), -1, -1, -1, -1), candidates, hop)
    best = int(judge(judged).argmax())
    return candidates[best : best + 1]
