"""Sampling as plain functions: each of the thesis' algorithms is a stream of clips, made one after the other.

Only the clips that the next one depends on are kept, so a stream may be of any length. Clip k is a function of the
networks, what is given and (seed, video, k). Clips are "1 3 16 h w" in [-1, 1]; `stitching.stitched` makes the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from longtake.core.randomness import generator
from longtake.recall.config import CLIP_FRAMES
from longtake.recall.encoder import RecallEncoder
from longtake.recall.generator import RecallGenerator
from longtake.recall.gpt import TokenRollout
from longtake.recall.latents import LatentSpace
from longtake.recall.lstm_encoder import RecallLSTMEncoder, RecurrentState
from longtake.recall.rejection import NUM_CANDIDATES, Judge, best
from longtake.recall.stitching import Clip

Mode = Literal["mean", "sample", "vdrej"]
Latents = tuple[Float[Tensor, "n c_a"], Float[Tensor, "n c_m"]]

# What a generator of one video draws: each has its own, so that the order of drawing does not matter
DRAW_CLIP, DRAW_EXAMPLE, DRAW_CONTENT, DRAW_MOTION = 1, 2, 3, 4

# A clip of the generator begins every 4 frames when motion latents follow each other, and a frame depends on the motion
# latents of the clips that it lies in and of their neighbours
FRAMES_PER_POINT = 4
POINTS_BEFORE, POINTS_AFTER = 4, 1
POINTS_AT_ONCE = 4


def repeat(space: LatentSpace, times: int) -> LatentSpace:
    """Return a single latent space as a batch of the same."""
    return LatentSpace.from_tokens(space.tokens().expand(times, -1), space.content_mean.shape[1])


def prior(content_channels: int, motion_channels: int, like: Tensor) -> LatentSpace:
    """Return the latent space N(0, 1), of no clip in particular."""
    return LatentSpace(*(like.new_zeros(1, c) for c in (content_channels,) * 2 + (motion_channels,) * 2))


@dataclass(frozen=True)
class ClipMaker:
    """Latent space -> clip.

    Attributes:
        network: the generator.
        judge: the clip discriminator, for mode "vdrej".
        mode: decode the mean; a draw; or the best of several draws.
        hop: frames from one clip to the next.
        seed: what makes one series of videos different from another.
        video: which video of the series.
        num_candidates: draws to choose among in mode "vdrej".
    """

    network: RecallGenerator
    judge: Judge | None = None
    mode: Mode = "sample"
    hop: int = 8
    seed: int = 0
    video: int = 0
    num_candidates: int = NUM_CANDIDATES

    def draw(self, space: LatentSpace, number: int) -> Latents:
        """Return latents for clip `number`: one row, or one for each candidate."""
        if self.mode == "mean":
            return space.mean()
        times = self.num_candidates if self.mode == "vdrej" else 1
        return repeat(space, times).sample(generator(self.seed, self.video, DRAW_CLIP, number))

    def __call__(self, space: LatentSpace, number: int, previous: Clip | None) -> Clip:
        """Make clip `number`; `previous` is the clip before it, which candidates must go on from.

        Of candidates, only the frames that are judged are painted; the others, of the one that is picked.
        """
        grown = self.network.grow(*self.draw(space, number))
        if self.mode != "vdrej":
            return self.network.paint(grown)
        assert self.judge is not None
        judged = CLIP_FRAMES if previous is None else CLIP_FRAMES - self.hop
        candidates = self.network.paint(grown.part(slice(None), slice(judged)))
        picked = best(candidates, previous, self.judge, self.hop)
        row = slice(picked, picked + 1)
        if judged == CLIP_FRAMES:
            return candidates[row]
        return torch.cat([candidates[row], self.network.paint(grown.part(row, slice(judged, None)))], dim=2)

    def drawing(self) -> ClipMaker:
        """Return the maker for a space whose mean is no clip at all: the prior."""
        return replace(self, mode="sample") if self.mode == "mean" else self


@torch.no_grad()
def decode(
    spaces: Iterable[LatentSpace], make: ClipMaker, *, group: int = 1, number: int = 0, previous: Clip | None = None
) -> Iterator[Clip]:
    """Yield a clip of each space, where spaces do not depend on clips (R2's Alg. 7, GPT_faster).

    So `group` of them pass the generator at once, unless the discriminator has to choose one before the next.

    Args:
        spaces: latent spaces, any number.
        make: what makes the clips.
        group: clips made at once.
        number: that of the first clip.
        previous: the clip before it.
    """
    spaces = iter(spaces)
    while batch := list(islice(spaces, 1 if make.mode == "vdrej" else group)):
        if make.mode == "vdrej":
            previous = make(batch[0], number, previous)
            yield previous
        else:
            latents = [make.draw(space, position) for position, space in enumerate(batch, number)]
            content, motion = (torch.cat(parts) for parts in zip(*latents, strict=True))
            yield from make.network(content, motion).split(1)
        number += len(batch)


@torch.no_grad()
def encode(clips: Iterable[Clip], encoder: RecallEncoder) -> Iterator[LatentSpace]:
    """Yield each clip's latent space (R2, Alg. 7)."""
    for clip in clips:
        yield encoder(clip)


@torch.no_grad()
def encode_in_turn(clips: Iterable[Clip], encoder: RecallLSTMEncoder) -> Iterator[LatentSpace]:
    """Yield each clip's latent space, given the states that the clips before it leave behind (LEncGAN, Alg. 5)."""
    state: RecurrentState | None = None
    for clip in clips:
        space, state = encoder(clip, state)
        yield space


@torch.no_grad()
def predict(first: Clip, encoder: RecallEncoder, make: ClipMaker) -> Iterator[Clip]:
    """Yield the first clip and clips without end, each predicted from the one before (AR2, Alg. 10)."""
    clip = first
    for number in count(1):
        yield clip
        clip = make(encoder(clip), number, clip)


@torch.no_grad()
def continue_robustly(
    first: Clip, token: Float[Tensor, "1 d"], encoder: RecallEncoder, rollout: TokenRollout, make: ClipMaker
) -> Iterator[Clip]:
    """Yield the first clip and clips without end: the GPT reads the encoded clips that were chosen (R3, Alg. 11).

    `token` is the first clip's.
    """
    clip = first
    for number in count(1):
        yield clip
        space = LatentSpace.from_tokens(rollout(token), encoder.config.content_channels)
        clip = make(space, number, clip)
        token = encoder(clip).tokens()


@torch.no_grad()
def continue_faster(
    first: Clip,
    token: Float[Tensor, "1 d"],
    rollout: TokenRollout,
    make: ClipMaker,
    *,
    content_channels: int,
    group: int = 1,
) -> Iterator[Clip]:
    """Yield the first clip and clips without end: the GPT reads its own predictions (R3, Table 5.11: GPT_faster)."""

    def spaces() -> Iterator[LatentSpace]:
        latest = token
        while True:
            latest = rollout(latest)
            yield LatentSpace.from_tokens(latest, content_channels)

    yield first
    yield from decode(spaces(), make, group=group, number=1, previous=first)


@torch.no_grad()
def unroll(space: LatentSpace, make: ClipMaker, num_frames: int) -> Iterator[Float[Tensor, "1 3 t h w"]]:
    """Yield the frames of a single clip of any length: motion latents follow each other (EncGAN3, Fig. 3.13).

    The content is drawn once, the motion anew for every fourth frame. The generator's convolutions reach only so far in
    time, so a few points at once give the frames that all would; its attention sees those few alone.
    """
    num_points = 1 + max(0, -(-(num_frames - CLIP_FRAMES) // FRAMES_PER_POINT))
    content = space.content_mean
    if make.mode != "mean":
        content, _ = space.sample(generator(make.seed, make.video, DRAW_CONTENT))

    def motion_at(point: int) -> Float[Tensor, "1 c_m"]:
        if make.mode == "mean":
            return space.motion_mean
        return space.sample(generator(make.seed, make.video, DRAW_MOTION, point))[1]

    for point in range(0, -(-num_frames // FRAMES_PER_POINT), POINTS_AT_ONCE):
        begin, end = max(0, point - POINTS_BEFORE), min(num_points, point + POINTS_AT_ONCE + POINTS_AFTER)
        motion = torch.stack([motion_at(number) for number in range(begin, end)], dim=2)
        first = FRAMES_PER_POINT * (point - begin)
        yield make.network(content, motion)[:, :, first : first + FRAMES_PER_POINT * POINTS_AT_ONCE]
