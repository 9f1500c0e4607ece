"""Clips as codes: encoded anew for every step, or once and kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from longtake.core.batch import VideoBatch
from longtake.core.randomness import derive_seed
from longtake.data.dataset import ClipDataset
from longtake.data.transforms import augment, to_video
from longtake.tats.vqgan import TatsVQGAN


@dataclass(frozen=True)
class TokenBatch:
    """Clips of codes. The other fields are those of `VideoBatch`.

    Attributes:
        codes: every latent frame of each clip, "b t h w".
    """

    codes: Int[Tensor, "b t h w"]
    label: Int[Tensor, " b"]
    text: list[str]
    path: list[str]
    start: Int[Tensor, " b"]

    def to(self, device: torch.device | str) -> TokenBatch:
        """Return the batch with its tensors on `device`."""
        return replace(self, codes=self.codes.to(device), label=self.label.to(device), start=self.start.to(device))


@torch.no_grad()
def codes_of(batch: VideoBatch | TokenBatch, vqgan: TatsVQGAN) -> Int[Tensor, "b t h w"]:
    """Return the codes of clips, encoded here unless they come as codes."""
    return batch.codes if isinstance(batch, TokenBatch) else vqgan.encode(batch.video)


class TokenClips:
    """Clips of a data set as codes, every video in `num_variants` variants, each augmented anew.

    A clip (a video, a variant, a first frame) is encoded when it first comes up, alone, and kept as 16-bit integers.
    Which clip stands at which position is `ClipDataset`'s choice, so a run is as repeatable as without the cache.
    """

    def __init__(self, dataset: ClipDataset, vqgan: TatsVQGAN, num_variants: int, device: torch.device) -> None:
        assert vqgan.num_codes <= 2**15, vqgan.num_codes
        self.dataset = dataset
        self.vqgan = vqgan
        self.num_variants = num_variants
        self.device = device
        self._known: dict[tuple[int, int, int], Int[Tensor, "t h w"]] = {}

    def batches(self, batch_size: int, first_batch: int, rank: int, world_size: int) -> Iterator[TokenBatch]:
        """Yield the endless batches of one rank; positions as in `data.loading.clip_batches`."""
        batch = first_batch
        while True:
            first = (batch * world_size + rank) * batch_size
            yield self._batch(range(first, first + batch_size))
            batch += 1

    def _batch(self, positions: range) -> TokenBatch:
        codes, entries, starts = [], [], []
        for position in positions:
            video, indices, rng = self.dataset.choose(position)
            clip = video, int(rng.integers(self.num_variants)), int(indices[0])
            if clip not in self._known:
                self._known[clip] = self._encode(video, clip[1], indices)
            codes.append(self._known[clip].long())
            entries.append(self.dataset.entries[video])
            starts.append(clip[2])
        return TokenBatch(
            torch.stack(codes),
            torch.tensor([entry.label for entry in entries]),
            [entry.text for entry in entries],
            [str(entry.path) for entry in entries],
            torch.tensor(starts),
        )

    @torch.no_grad()
    def _encode(self, video: int, variant: int, indices: Int[np.ndarray, " t"]) -> Int[Tensor, "t h w"]:
        rng = np.random.default_rng(derive_seed(self.dataset.seed, video, variant))
        frames = augment(self.dataset.video(video), self.dataset.augment, rng)[indices]
        return self.vqgan.encode(to_video(frames)[None].to(self.device))[0].short().cpu()
