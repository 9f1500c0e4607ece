"""The VQGAN's codebook: nearest codes, and codes that follow the encoder by running means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

SMOOTHING = 1e-7
NEAREST_ELEMENTS = 2**24  # distances held at a time


class Assignment(NamedTuple):
    """Which encoder outputs fell to which code, added up: batches and processes are summed.

    Attributes:
        counts: outputs per code.
        sums: sum of the outputs of each code.
    """

    counts: Float[Tensor, " k"]
    sums: Float[Tensor, "k d"]


def sum_assignments(assignments: Sequence[Assignment]) -> Assignment:
    """Return what all of them together say."""
    return Assignment(
        torch.stack([one.counts for one in assignments]).sum(0), torch.stack([one.sums for one in assignments]).sum(0)
    )


class Codebook(nn.Module):
    """Codes as buffers: no gradient reaches them.

    `embeddings` are the codes, `counts` and `sums` the running means they are made of, and `is_initialized` tells
    whether they have been put onto encoder outputs yet: all of it in every checkpoint, so that a resumed training
    goes on with the codes it had.
    """

    embeddings: Float[Tensor, "k d"]
    counts: Float[Tensor, " k"]
    sums: Float[Tensor, "k d"]
    is_initialized: Bool[Tensor, ""]

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.randn(num_codes, dim))
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("sums", self.embeddings.clone())
        self.register_buffer("is_initialized", torch.tensor(False))

    @torch.no_grad()
    def nearest(self, z: Float[Tensor, "b d t h w"]) -> Int[Tensor, "b t h w"]:
        """Return the code nearest to each vector, in float32; of equally near ones the first."""
        b, _, t, h, w = z.shape
        with torch.autocast(z.device.type, enabled=False):
            codes = self.embeddings.float()
            squares = codes.square().sum(1)
            # |z|^2 is the same for all codes of a vector, but belongs to the rounding of the official code
            parts = [
                (part.square().sum(1, keepdim=True) - 2 * part @ codes.T + squares).argmin(1)
                for part in vectors(z).float().split(max(1, NEAREST_ELEMENTS // len(codes)))
            ]
        return rearrange(torch.cat(parts), "(b t h w) -> b t h w", b=b, t=t, h=h, w=w)

    def lookup(self, codes: Int[Tensor, "b t h w"]) -> Float[Tensor, "b d t h w"]:
        """Return the vectors of codes."""
        return rearrange(F.embedding(codes, self.embeddings), "b t h w d -> b d t h w")

    @torch.no_grad()
    def assign(self, z: Float[Tensor, "b d t h w"], codes: Int[Tensor, "b t h w"]) -> Assignment:
        """Add up the vectors that each code was chosen for."""
        flat = codes.flatten()
        counts = torch.bincount(flat, minlength=len(self.embeddings)).float()
        return Assignment(counts, torch.zeros_like(self.sums).index_add_(0, flat, vectors(z).float()))

    @torch.no_grad()
    def initialize(self, z: Float[Tensor, "b d t h w"], generator: torch.Generator) -> None:
        """Put the codes onto random vectors of `z` (rank 0's), the first time; later nothing happens."""
        if self.is_initialized:
            return
        self.embeddings.copy_(_from_rank_0(self._draw(z, generator)))
        self.sums.copy_(self.embeddings)
        self.counts.fill_(1)
        self.is_initialized.fill_(True)

    @torch.no_grad()
    def update(self, assignment: Assignment, decay: float) -> None:
        """Take in the vectors of one optimizer step; those of all processes are added up here.

        N <- decay N + (1 - decay) n
        m <- decay m + (1 - decay) sum of vectors
        e <- m / N, with N smoothed so that no code divides by zero
        """
        counts, sums = _summed(assignment.counts), _summed(assignment.sums)
        self.counts.lerp_(counts, 1 - decay)
        self.sums.lerp_(sums, 1 - decay)
        total = self.counts.sum()
        smoothed = (self.counts + SMOOTHING) / (total + len(self.counts) * SMOOTHING) * total
        self.embeddings.copy_(self.sums / smoothed[:, None])

    @torch.no_grad()
    def restart_dead(self, z: Float[Tensor, "b d t h w"], threshold: float, generator: torch.Generator) -> None:
        """Put codes used less than `threshold` times per step (running mean) onto random vectors of `z` (rank 0's).

        They start with the running means that `initialize` gives: the official code leaves those of the dead code,
        which undo the restart one step later.
        """
        drawn = _from_rank_0(self._draw(z, generator))
        is_dead = self.counts < threshold
        for buffer in (self.embeddings, self.sums):
            buffer.copy_(torch.where(is_dead[:, None], drawn, buffer))
        self.counts.masked_fill_(is_dead, 1)

    def _draw(self, z: Float[Tensor, "b d t h w"], generator: torch.Generator) -> Float[Tensor, "k d"]:
        """Draw a vector for each code; where there are fewer vectors than codes they repeat, told apart by noise."""
        flat, num_codes = vectors(z).float(), len(self.embeddings)
        if len(flat) < num_codes:
            repeats = -(-num_codes // len(flat))
            flat = flat.repeat(repeats, 1)
            noise = torch.randn(flat.shape, generator=generator, device=generator.device)
            flat = flat + (0.01 / flat.shape[1] ** 0.5) * noise.to(flat)
        order = torch.randperm(len(flat), generator=generator, device=generator.device)[:num_codes]
        return flat[order.to(flat.device)]


def vectors(z: Float[Tensor, "b d t h w"]) -> Float[Tensor, "n d"]:
    """Return the vectors of all places, in the order of the codes."""
    return rearrange(z, "b d t h w -> (b t h w) d")


def _is_alone() -> bool:
    return not dist.is_initialized() or dist.get_world_size() == 1


def _summed(values: Tensor) -> Tensor:
    if not _is_alone():
        dist.all_reduce(values)
    return values


def _from_rank_0(values: Tensor) -> Tensor:
    if not _is_alone():
        values = values.contiguous()
        dist.broadcast(values, src=0)
    return values
