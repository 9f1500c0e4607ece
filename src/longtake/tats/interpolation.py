"""Filling in between two latent frames (paper section 3.3): they see each other, what lies between sees both.

In the window [condition, z_0, z_1, ..., z_last] the ends are the condition with z_0, and z_last without its last code
(no sequence is read to its end). The ends attend to each other and never to what lies between; that is generated in
order, each token seeing both ends and what came before it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.nn.gpt import KVCache
from longtake.tats.transformer import TatsTransformer

Draw = Callable[[Float[Tensor, "b k"]], Int[Tensor, " b"]]


@torch.no_grad()
def fill_between(
    model: TatsTransformer,
    cache: KVCache,
    condition: Int[Tensor, "b l"],
    first: Int[Tensor, "b s"],
    last: Int[Tensor, "b s"],
    draw: Draw,
    *,
    compat: bool = False,
) -> Int[Tensor, "b m s"]:
    """Generate the codes of the frames between `first` and `last`, token by token with a cache.

    Args:
        model: a transformer that interpolates.
        cache: memory, whatever it holds.
        condition: condition tokens.
        first: codes of the window's first frame.
        last: codes of its last.
        draw: logits of the codes -> code.
        compat: sample as the authors' code does from their checkpoints, which is not what those were trained for:
            the last frame with all its codes, one position early, read in order and unseen by the first, and
            the first code between drawn from what follows the last frame.
    """
    num_codes, offset = model.tokens_per_latent, model.config.condition_vocabulary
    begin = torch.cat([condition, first + offset], dim=1)
    end = last + offset if compat else last[:, :-1] + offset
    positions = torch.arange(model.sequence_length, device=model.device)
    tokens = torch.cat([begin, end], dim=1)
    begin_length, length = begin.shape[1], tokens.shape[1]
    mask = torch.ones(length, length, dtype=torch.bool, device=model.device)
    if compat:
        mask = mask.tril()
        mask[:, :begin_length] = True

    cache.reset()
    logits = model.next_logits(
        tokens,
        cache,
        positions=torch.cat([positions[:begin_length], positions[len(positions) - end.shape[1] :]]),
        mask=mask,
        row=-1 if compat else begin_length - 1,
    )
    codes = first.new_empty(len(first), (model.config.num_latents - 2) * num_codes)
    for number in range(codes.shape[1]):
        codes[:, number] = draw(logits)
        if number + 1 < codes.shape[1]:
            position = begin_length + number
            token = codes[:, number : number + 1] + offset
            logits = model.next_logits(token, cache, positions=positions[position : position + 1])
    return rearrange(codes, "b (m s) -> b m s", s=num_codes)
