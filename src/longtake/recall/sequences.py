"""LEncGAN's batches: a clip out of the middle of a video, and every clip before it.

The states that a clip inherits are computed from the clips before it, without gradients, at every step anew. Nothing is
carried from step to step, so a resumed run sees what an uninterrupted one does, and clips may come in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from longtake.core.errors import UserError
from longtake.core.randomness import derive_seed
from longtake.data.transforms import to_video
from longtake.data.windows import SequenceDataset, VideoSequence
from longtake.video import VideoError

CLIP_NUMBER = 2  # what a seed is for; the data set's own draws have 0 and 1
MAX_SUBSTITUTES = 8  # other videos tried for one clip before training stops


@dataclass(frozen=True)
class SequenceBatch:
    """Clips with what came before them.

    Attributes:
        video: the clips in [-1, 1], "b c t h w".
        history: the earlier clips of each clip's video, in order; as many as there are, "n c t h w".
    """

    video: Float[Tensor, "b c t h w"]
    history: list[Float[Tensor, "n c t h w"]]

    def to(self, device: torch.device) -> SequenceBatch:
        """Return the batch with its tensors on `device`."""
        return SequenceBatch(self.video.to(device), [clips.to(device) for clips in self.history])


def sequence_batches(
    dataset: SequenceDataset, seed: int, batch_size: int, first_batch: int, rank: int, world_size: int
) -> Iterator[SequenceBatch]:
    """Yield the endless batches of one rank from number `first_batch` on: which clip of a video is drawn at random.

    Raises `UserError` if too many videos in a row cannot be decoded.
    """
    batch = first_batch
    while True:
        first = (batch * world_size + rank) * batch_size
        clips, history = [], []
        for position in range(first, first + batch_size):
            windows = to_video(read_sequence(dataset, position).windows)  # "n c t h w"
            rng = np.random.default_rng(derive_seed(seed, CLIP_NUMBER, position))
            number = int(rng.integers(len(windows)))
            clips.append(windows[number])
            history.append(windows[:number])
        yield SequenceBatch(torch.stack(clips), history)
        batch += 1


def read_sequence(dataset: SequenceDataset, position: int) -> VideoSequence:
    """Return the sequence at `position`, or of the next video that can be decoded. Raises `UserError` if none can."""
    failure: VideoError | None = None
    tries = 1 + min(MAX_SUBSTITUTES, len(dataset) - 1)
    for substitute in range(tries):
        try:
            return dataset.sample(position, substitute)
        except VideoError as error:
            failure = error
    raise UserError(f"{tries} videos in a row cannot be decoded, last {failure}")
