"""What has been computed for clips of a data set, kept for when they come up again."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

ClipKey = tuple[int, int, int]
"""What tells one cached clip from another: its video, its variant, its first frame (counted on beyond the last one
where the video is played backwards)."""


class KnownClips:
    """A tensor for each clip, all alike, kept in blocks on the CPU or wherever the first of them lies.

    Not a tensor each: small ones that stay, made between large ones that go, keep the allocator from using the room of
    the large ones again (seen: gigabytes for megabytes of features).
    """

    BLOCK = 256

    def __init__(self) -> None:
        self._places: dict[ClipKey, int] = {}
        self._blocks: list[Shaped[Tensor, "n ..."]] = []

    def __contains__(self, clip: ClipKey) -> bool:
        return clip in self._places

    def keys(self) -> set[ClipKey]:
        """Return the clips of which something is kept."""
        return set(self._places)

    def add(self, clip: ClipKey, value: Shaped[Tensor, ...]) -> None:
        """Keep a copy of what belongs to a clip that is not there yet."""
        block, row = divmod(len(self._places), self.BLOCK)
        if row == 0:
            self._blocks.append(value.new_empty(self.BLOCK, *value.shape))
        self._blocks[block][row] = value
        self._places[clip] = block * self.BLOCK + row

    def stack(self, clips: list[ClipKey]) -> Shaped[Tensor, "b ..."]:
        """Return what is kept of these clips."""
        places = [divmod(self._places[clip], self.BLOCK) for clip in clips]
        return torch.stack([self._blocks[block][row] for block, row in places])
