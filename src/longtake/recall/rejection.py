"""VDrej (Alg. 8): of several candidates for a clip, the one that the clip discriminator finds most real."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from longtake.recall.stitching import Clip, stitch

Judge = Callable[[Float[Tensor, "n 3 16 h w"]], Float[Tensor, " n"]]
"""Clips -> logits, high for real ones: the clip discriminator."""

NUM_CANDIDATES = 20


def best(candidates: Float[Tensor, "n 3 t h w"], previous: Clip | None, judge: Judge, hop: int) -> int:
    """Return the number of the candidate with the highest logit.

    After a `previous` clip, what is judged is the transition: that clip up to where the candidates begin, then theirs.
    So of candidates after a clip the first 16 - `hop` frames will do. All are judged in one batch. The logit's sigmoid,
    the thesis' score, has its maximum at the same candidate.
    """
    judged = candidates
    if previous is not None:
        judged = stitch(previous.expand(len(candidates), -1, -1, -1, -1), candidates, hop)
    return int(judge(judged).argmax())
