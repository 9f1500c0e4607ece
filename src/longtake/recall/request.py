"""What a user may ask of a recall pipeline: each mistake is one line that names the value and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from longtake.core.errors import choose_one_of
from longtake.nn.checks import check_at_least, check_key
from longtake.recall.sampling import Mode

Rollout = Literal["robust", "faster"]


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample, apart from what. None is the value the model recommends.

    Attributes:
        seed: what makes one series of videos different from another.
        video: which video of the series.
        mode: "mean": decode the means of latent spaces; "sample": draws from them; "vdrej": of several draws the one
            that the clip discriminator finds most real.
        candidates: draws for each clip in mode "vdrej".
        rollout: R3: encode each chosen clip for the GPT again, or let the GPT read its own predictions.
        chunk: frames yielded, and where clips do not depend on each other, made at once: speed against memory.

    Raises:
        UserError: for a value out of its range.
    """

    seed: int = 0
    video: int = 0
    mode: Mode | None = None
    candidates: int | None = None
    rollout: Rollout | None = None
    chunk: int = 16

    def __post_init__(self) -> None:
        check_at_least("chunk", self.chunk, 1)
        if self.mode is not None:
            choose_one_of("mode", self.mode, get_args(Mode))
        if self.candidates is not None:
            check_at_least("candidates", self.candidates, 1)
        if self.rollout is not None:
            choose_one_of("rollout", self.rollout, get_args(Rollout))
        check_key("seed", self.seed)
        check_key("video number", self.video)
