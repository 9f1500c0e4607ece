"""Codes -> frames as a stream: a part of a video is decoded as its latent frames come up, in memory that stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int, UInt8
from torch import Tensor

from longtake.data.transforms import to_frames
from longtake.nn import checks
from longtake.nn.preparation import Preparing, announced, untold
from longtake.tats.vqgan import TatsVQGAN


@dataclass(frozen=True)
class Part:
    """Frames `start` to `stop` of a video of `num_frames`.

    Raises:
        UserError: if there is no such part.
    """

    start: int
    stop: int
    num_frames: int

    def __post_init__(self) -> None:
        checks.check_range(self.start, self.stop, self.num_frames)


def num_latents(vqgan: TatsVQGAN, part: Part) -> int:
    """Return how many latent frames a part needs: up to its last frame and what its decoding depends on after it."""
    rate, _ = vqgan.downsample
    _, after = vqgan.decoder_context
    whole = -(-part.num_frames // rate)
    return min(whole, -(-part.stop // rate) + after) if decodes_in_parts(vqgan) else whole


def decodes_in_parts(vqgan: TatsVQGAN) -> bool:
    """Whether a part of the codes decodes to a part of the video: group norm depends on the whole."""
    return vqgan.config.norm == "batch"


@torch.no_grad()
def stream_frames(
    vqgan: TatsVQGAN,
    latents: Iterator[Int[Tensor, "1 s"]],
    height: int,
    part: Part,
    chunk: int,
    preparing: Preparing = untold,
) -> Iterator[UInt8[np.ndarray, "t h w 3"]]:
    """Yield the frames of a part of one video, at most `chunk` at once.

    Each latent frame, `height` codes high, is decoded with all that it depends on. `preparing` is told of the latent
    frames up to the first chunk.
    """
    before, after = vqgan.decoder_context
    count, (rate, _) = num_latents(vqgan, part), vqgan.downsample
    parts = range(part.start // rate, -(-part.stop // rate), max(1, chunk // rate))
    if not decodes_in_parts(vqgan):
        parts = range(0, count, count)
    latents = announced(latents, min(parts.start + parts.step + after, count), preparing)
    codes: deque[Int[Tensor, "1 h w"]] = deque(maxlen=before + parts.step + after)  # the latest
    num_taken = 0
    for first in parts:
        last = min(first + parts.step, count)
        begin, end = max(0, first - before), min(last + after, count)
        codes.extend(rearrange(latent, "1 (h w) -> 1 h w", h=height) for latent in islice(latents, end - num_taken))
        num_taken = end
        window = torch.stack(list(codes)[begin - end :], dim=1)
        video = to_frames(vqgan.decode_part(window, first - begin, last - begin))[0]
        wanted = video[max(0, part.start - first * rate) : part.stop - first * rate]
        yield from np.split(wanted, range(chunk, len(wanted), chunk))
