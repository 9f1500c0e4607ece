"""Sampling speed of a TATS transformer against the loops of the official code, in one run.

    python benchmarks/tats_speed.py                         (window of 1024 tokens, batch of 4, small transformer)
    python benchmarks/tats_speed.py --hidden-size 1024 --depth 24 --num-heads 16 --num-codes 16384   (the paper's)

One latent frame of a sliding window is generated after three others, as the video goes on: the context is read, then
the codes are drawn one by one, with top-k and top-p. Three ways, with the same weights:

- ours: `longtake.tats.sampling`, keys and values in memory allocated once;
- official cached: keys and values of every step kept in a list, joined anew at every step and once more in every layer,
  logits of all rows, whole-vocabulary sort, as the official `sample_with_past` does;
- full recomputation: a forward pass over the window for every token, as the official `sample_long` does. Only
  `--full-tokens` tokens, evenly spread over the frame, are timed, and their mean is taken for the others.

Figures are process CPU seconds with one thread, because wall time on a shared machine says little. The weights are
random: the codes mean nothing, the figures do.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from longtake.core.randomness import generator
from longtake.nn.gpt import GPT
from longtake.tats.sampling import CodeSampler, slide
from longtake.tats.transformer import TatsTransformer


def official_filter(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Top-k, then a nucleus over the sorted whole vocabulary."""
    kth = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
    logits = torch.where(logits < kth, -math.inf, logits)
    values, order = logits.sort(descending=True)
    is_removed = values.softmax(-1).cumsum(-1) > top_p
    is_removed = F.pad(is_removed[:, :-1], (1, 0), value=False)
    return logits.masked_fill(is_removed.scatter(1, order, is_removed), -math.inf)


def official_forward(gpt: GPT, tokens: Tensor, past: list[Tensor], start: int) -> tuple[Tensor, Tensor]:
    """Logits of all rows, and the keys and values of the new tokens ("layer 2 b h n d")."""
    joined = torch.cat(past, dim=-2) if past else None
    length = tokens.shape[1]
    x = gpt.token_embedding(tokens) + gpt.core.positions[start : start + length]
    presents = []
    for layer, block in enumerate(gpt.core.blocks):
        attention, h = block.attention, block.norm1(x)
        b, n, c = h.shape
        query, key, value = (
            part(h).view(b, n, attention.num_heads, c // attention.num_heads).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
        presents.append(torch.stack([key, value]))
        if joined is not None:
            key, value = torch.cat([joined[layer][0], key], dim=-2), torch.cat([joined[layer][1], value], dim=-2)
        weights = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        if joined is None:
            weights = weights.masked_fill(torch.ones(n, n).tril() == 0, -math.inf)
        mixed = (weights.softmax(-1) @ value).transpose(1, 2).contiguous().view(b, n, c)
        x = x + attention.proj(mixed)
        x = x + block.mlp(block.norm2(x))
    return gpt.head(gpt.core.norm(x)), torch.stack(presents)


@torch.no_grad()
def official_cached(model: TatsTransformer, tokens: Tensor, top_k: int, top_p: float) -> Tensor:
    """One latent frame after `tokens`, with the official cache."""
    past: list[Tensor] = []
    sample, step, start = tokens, tokens, 0
    for _ in range(model.tokens_per_latent):
        logits, present = official_forward(model.gpt, step, past, start)
        past.append(present)
        start = sample.shape[1]
        probability = official_filter(logits[:, -1], top_k, top_p).softmax(-1)
        step = torch.multinomial(probability, 1)
        sample = torch.cat([sample, step], dim=1)
    return sample[:, tokens.shape[1] :]


@torch.no_grad()
def recompute(model: TatsTransformer, tokens: Tensor, top_k: int) -> Tensor:
    """The token after `tokens`, from the whole window."""
    logits, _ = official_forward(model.gpt, tokens, [], 0)
    return torch.multinomial(official_filter(logits[:, -1], top_k, 1.0).softmax(-1), 1)


def seconds(work: Callable[[], object]) -> float:
    """Process CPU seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hidden-size", type=int, default=384)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--num-heads", type=int, default=6)
    parser.add_argument("--num-codes", type=int, default=1024)
    parser.add_argument("--latent-size", type=int, default=16, help="height and width of a latent frame")
    parser.add_argument("--context", type=int, default=3, help="latent frames that the new one sees")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--top-k", type=int, default=2048)
    parser.add_argument("--top-p", type=float, default=0.92)
    parser.add_argument("--full-tokens", type=int, default=6, help="tokens of full recomputation to time")
    parser.add_argument("--repeats", type=int, default=1, help="latent frames that each cached way generates")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size, batch, top_k = arguments.latent_size, arguments.batch, min(arguments.top_k, arguments.num_codes)
    model = TatsTransformer(
        num_codes=arguments.num_codes,
        latent_size=(size, size),
        num_latents=arguments.context + 1,
        hidden_size=arguments.hidden_size,
        depth=arguments.depth,
        num_heads=arguments.num_heads,
    ).eval()
    given = torch.randint(arguments.num_codes, (arguments.context, batch, size * size)).unbind()
    condition = torch.zeros(batch, 1, dtype=torch.long)
    tokens = torch.cat([condition, *given], dim=1)
    draw = CodeSampler([generator(0, video) for video in range(batch)], 1.0, top_k, arguments.top_p)

    ours = official = 0.0
    for _ in range(arguments.repeats):  # in turn, so that a busy spell of the machine meets both
        latents = slide(model, lambda first, newest: condition, draw, context=arguments.context, given=given)
        ours += seconds(lambda latents=latents: list(islice(latents, 1)))
        official += seconds(lambda: official_cached(model, tokens, top_k, arguments.top_p))
    full = 0.0
    for number in range(arguments.full_tokens):
        done = number * (size * size - 1) // max(1, arguments.full_tokens - 1)
        window = torch.cat([tokens, torch.randint(arguments.num_codes, (batch, done))], dim=1)
        full += seconds(lambda window=window: recompute(model, window, top_k))
    num_tokens = size * size
    per_token = {
        "ours": ours / arguments.repeats / num_tokens,
        "official_cached": official / arguments.repeats / num_tokens,
        "full_recomputation": full / arguments.full_tokens,
    }
    report = {
        "device": "CPU, one thread, process seconds",
        "torch": torch.__version__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "window": (arguments.context + 1) * num_tokens,
        **vars(arguments),
        "milliseconds_per_token_of_the_batch": {name: round(1000 * value, 2) for name, value in per_token.items()},
        "includes": "reading the context once per latent frame (not in full recomputation, which has no cache)",
        "extrapolated": {"full_recomputation": f"from {arguments.full_tokens} of {num_tokens} tokens"},
        "times_faster_than": {
            name: round(per_token[name] / per_token["ours"], 2) for name in ("official_cached", "full_recomputation")
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
