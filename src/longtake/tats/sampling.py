"""Sampling as plain functions: drawing a code, sliding a window over latent frames, and the hierarchical pair.

Shapes: "b" videos, "s" codes of one latent frame, "k" the VQGAN's codes, "l" condition tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from jaxtyping import Float, Int
from torch import Tensor

from longtake.nn.gpt import KVCache
from longtake.tats.interpolation import Draw, fill_between
from longtake.tats.transformer import TatsTransformer

Conditions = Callable[[int, int], Int[Tensor, "b l"]]
"""(first latent frame of the window, the one to be generated) -> condition tokens of that window."""

# What a generator of one video draws: each has its own, so that the order of drawing does not matter
DRAW_LABEL, DRAW_CODES, DRAW_SPARSE_CODES, DRAW_CODES_BETWEEN = 1, 2, 3, 4


def keep_likely(
    logits: Float[Tensor, "b k"], top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "b k"]:
    """Return the logits with all but the likely ones at -inf: the `top_k` largest, of those the nucleus of `top_p`.

    The nucleus is made of the fewest codes whose probability (among the `top_k`) exceeds `top_p`. Codes exactly as
    likely as the last one kept are kept too.
    """
    if top_k is None and top_p is None:
        return logits
    # in falling order, so that only as many are sorted as can be kept
    best = logits.topk(min(top_k or logits.shape[1], logits.shape[1]), dim=1).values
    threshold = best[:, -1:]
    if top_p is not None:
        probability = best.softmax(dim=1)
        is_kept = probability.cumsum(dim=1) - probability <= top_p
        threshold = best.gather(1, is_kept.sum(dim=1, keepdim=True).sub(1).clamp(min=0))
    return logits.masked_fill(logits < threshold, -torch.inf)


@dataclass(frozen=True)
class CodeSampler:
    """Draws codes from logits.

    Attributes:
        generators: one per video, on the CPU: what a video becomes does not depend on its neighbours in the batch, nor
            on the device.
        temperature: divisor of the logits.
        top_k: see `keep_likely`.
        top_p: see `keep_likely`.
    """

    generators: Sequence[torch.Generator]
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __call__(self, logits: Float[Tensor, "b k"]) -> Int[Tensor, " b"]:
        """Draw a code for each video."""
        likely = keep_likely(logits.float() / self.temperature, self.top_k, self.top_p)
        # A race of exponential clocks, code k's at the rate of its probability: the first to ring is a draw. Rounding
        # in the logits changes the winner only in a photo finish, where a draw from sorted or summed probabilities
        # turns with every last bit.
        clocks = [torch.empty(logits.shape[1]).exponential_(generator=generator) for generator in self.generators]
        times = torch.stack(clocks).clamp_(min=torch.finfo(torch.float32).tiny)
        return (likely - times.log_().to(likely.device)).argmax(dim=1)


@torch.no_grad()
def sample_latent(model: TatsTransformer, cache: KVCache, tokens: Int[Tensor, "b n"], draw: Draw) -> Int[Tensor, "b s"]:
    """Read `tokens` into the cache and generate the codes of the latent frame that follows them.

    Its last code is not read into the cache yet.
    """
    codes = tokens.new_empty(len(tokens), model.tokens_per_latent)
    for number in range(model.tokens_per_latent):
        codes[:, number] = draw(model.next_logits(tokens, cache))
        tokens = codes[:, number : number + 1] + model.config.condition_vocabulary
    return codes


def slide(
    model: TatsTransformer,
    conditions: Conditions,
    draw: Draw,
    *,
    context: int,
    given: Sequence[Int[Tensor, "b s"]] = (),
) -> Iterator[Int[Tensor, "b s"]]:
    """Yield latent frames without end, each generated from the `context` frames before it and its window's condition.

    The condition moves along with the window (paper section 2.3). Positions are absolute, so the frames are read anew
    when the window moves or its condition changes, once per frame; else the cache goes on.

    Args:
        model: an autoregressive transformer.
        conditions: condition tokens of a window; called for every frame, with the model's `latent_step` as the unit
            between its frames.
        draw: logits of the codes -> code.
        context: latent frames that a new one sees, 1 to one less than the window.
        given: latent frames that the video begins with; they are not yielded.
    """
    assert 1 <= context < model.config.num_latents
    step, offset = model.config.latent_step, model.config.condition_vocabulary
    cache = model.new_cache()
    seen = deque(given, maxlen=context)
    in_cache: tuple[int, Int[Tensor, "b l"]] | None = None
    for number in count(len(given)):
        first = number - len(seen)
        condition = conditions(first * step, number * step).to(model.device)
        if in_cache is not None and in_cache[0] == first and torch.equal(in_cache[1], condition):
            tokens = seen[-1][:, -1:] + offset
        else:
            cache.reset()
            tokens = torch.cat([condition, *(codes + offset for codes in seen)], dim=1)
        in_cache = first, condition
        seen.append(sample_latent(model, cache, tokens, draw))
        yield seen[-1]


def slide_sparsely(
    sparse: Iterator[Int[Tensor, "b s"]],
    model: TatsTransformer,
    conditions: Conditions,
    draw: Draw,
    *,
    given: Sequence[Int[Tensor, "b s"]] = (),
    compat: bool = False,
) -> Iterator[Int[Tensor, "b s"]]:
    """Yield latent frames without end: those of `sparse`, and between each two those that the interpolation fills in.

    Args:
        sparse: every few latent frames; those in `given` are not among them.
        model: the transformer that interpolates.
        conditions: as in `slide`.
        draw: logits of the codes -> code.
        given: latent frames that the video begins with, the last of them one of the sparse frames; not yielded.
        compat: see `interpolation.fill_between`.
    """
    step = model.config.num_latents - 1
    assert not given or len(given) % step == 1
    cache = model.new_cache()
    previous = given[-1] if given else None
    for number, following in enumerate(sparse, -(-len(given) // step)):
        if previous is not None:
            last = number * step
            condition = conditions(last - step, last - 1).to(model.device)
            between = fill_between(model, cache, condition, previous, following, draw, compat=compat)
            yield from between.unbind(dim=1)
        yield following
        previous = following
