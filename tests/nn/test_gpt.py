"""The GPT against a plain re-implementation of its equations, and its cache against no cache."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longtake.nn.gpt import GPT, Attention, GPTCore, KVCache, undecayed_parameters

VOCABULARY, BLOCK, WIDTH, HEADS = 11, 9, 12, 3


@pytest.fixture
def gpt() -> GPT:
    """A GPT with nothing left at zero."""
    torch.manual_seed(0)
    model = GPT(VOCABULARY, BLOCK, WIDTH, depth=2, num_heads=HEADS).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def tokens(count: int, batch: int = 2) -> torch.Tensor:
    return torch.randint(VOCABULARY, (batch, count), generator=torch.Generator().manual_seed(1))


def plain_logits(gpt: GPT, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Logits of one sequence, head by head and with the softmax written out."""
    weights = gpt.state_dict()

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["token_embedding.weight"][ids] + weights["core.positions"][: len(ids)]
    for block in range(2):
        name = f"core.blocks.{block}"
        h = norm(x, f"{name}.norm1")
        query, key, value = (linear(h, f"{name}.attention.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in torch.arange(WIDTH).chunk(HEADS):
            scores = query[:, head] @ key[:, head].T / math.sqrt(WIDTH // HEADS)
            heads.append(scores.masked_fill(~mask, -math.inf).softmax(-1) @ value[:, head])
        x = x + linear(torch.cat(heads, -1), f"{name}.attention.proj")
        h = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.0")
        h = h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))
        x = x + linear(h, f"{name}.mlp.2")
    return norm(x, "core.norm") @ weights["head.weight"].T


@torch.no_grad()
@pytest.mark.parametrize("kind", ["causal", "random"])
def test_logits_equal_the_equations_written_out(gpt, kind):
    ids = tokens(BLOCK)
    causal = torch.ones(BLOCK, BLOCK).tril().bool()
    random = causal | (torch.rand(BLOCK, BLOCK, generator=torch.Generator().manual_seed(2)) < 0.4)
    mask = causal if kind == "causal" else random
    logits = gpt(ids, mask=None if kind == "causal" else mask)
    for row, expected in zip(logits, [plain_logits(gpt, row, mask) for row in ids], strict=True):
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("parts", [[1] * BLOCK, [5, 1, 1, 1, 1], [3, 4, 2], [BLOCK]])
def test_cache_gives_what_the_whole_sequence_gives(gpt, parts):
    ids, cache = tokens(BLOCK), KVCache(BLOCK)
    for _ in range(2):  # a second time in the same memory
        cache.reset()
        logits = torch.cat([gpt(part, cache=cache) for part in ids.split(parts, dim=1)], dim=1)
        torch.testing.assert_close(logits, gpt(ids))
        assert cache.length == BLOCK


@torch.no_grad()
def test_cache_writes_in_place(gpt):
    cache = KVCache(BLOCK)
    gpt(tokens(2), cache=cache)
    memory = [tensor.data_ptr() for layer in cache._layers for tensor in layer]
    for _ in range(BLOCK - 2):
        gpt(tokens(1), cache=cache)
    assert [tensor.data_ptr() for layer in cache._layers for tensor in layer] == memory
    with pytest.raises(AssertionError, match="10 tokens, but there are 9 positions"):
        gpt(tokens(1), cache=cache)


@torch.no_grad()
def test_only_the_rows_and_tokens_asked_for(gpt):
    ids = tokens(BLOCK)
    whole = gpt(ids)
    torch.testing.assert_close(gpt(ids, rows=slice(-1, None), first_token=4), whole[:, -1:, 4:])
    torch.testing.assert_close(gpt(ids, rows=slice(2, 5)), whole[:, 2:5])


@torch.no_grad()
def test_positions_may_be_given(gpt):
    ids, cache = tokens(3), KVCache(3)
    positions = torch.tensor([0, 4, 7])
    together = gpt(ids, positions=positions)
    apart = [gpt(ids[:, k : k + 1], positions=positions[k : k + 1], cache=cache) for k in range(3)]
    torch.testing.assert_close(torch.cat(apart, dim=1), together)
    assert (together - gpt(ids)).abs().max() > 1e-2


def test_core_learns_to_predict_vectors():
    """Continuous tokens, as R3 feeds them: the next one is a rotation of the last."""
    torch.manual_seed(0)
    core = GPTCore(WIDTH, 1, HEADS, BLOCK)
    vectors = torch.stack([torch.randn(4, WIDTH).roll(0, 1)] * BLOCK, dim=1)
    vectors = torch.stack([vectors[:, k].roll(k, 1) for k in range(BLOCK)], dim=1)
    optimizer = torch.optim.Adam(core.parameters(), lr=1e-2)
    losses = []
    for _ in range(200):
        losses.append(F.smooth_l1_loss(core(vectors[:, :-1]), vectors[:, 1:]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]


def test_initial_weights():
    torch.manual_seed(0)
    gpt = GPT(2000, BLOCK, 64, depth=2, num_heads=2)
    for name, value in gpt.named_parameters():
        if "norm" in name:
            assert (value == (1 if name.endswith("weight") else 0)).all(), name
        elif name.endswith("bias") or name == "core.positions":
            assert not value.any(), name
        else:
            assert abs(value.std() / 0.02 - 1) < 0.05, name
    assert not list(gpt.buffers()), "masks are not stored"


def test_only_weights_of_linear_layers_decay(gpt):
    undecayed = {id(parameter) for parameter in undecayed_parameters(gpt)}
    decayed = {name for name, parameter in gpt.named_parameters() if id(parameter) not in undecayed}
    layers = ("attention.query", "attention.key", "attention.value", "attention.proj", "mlp.0", "mlp.2")
    assert decayed == {"head.weight"} | {f"core.blocks.{block}.{name}.weight" for block in range(2) for name in layers}


def test_autocast_on_a_cpu_leaves_attention_itself_in_float32() -> None:
    torch.manual_seed(0)
    attention = Attention(WIDTH, HEADS)
    attended = []
    attention.proj.register_forward_pre_hook(lambda _, inputs: attended.append(inputs[0]))
    x = torch.randn(2, BLOCK, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attention(x, None, None, 0)
        queries, keys, values = (
            part(x).float().view(2, BLOCK, HEADS, -1).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
    scores = queries @ keys.transpose(2, 3) / math.sqrt(WIDTH // HEADS)
    weights = scores.masked_fill(torch.ones(BLOCK, BLOCK).triu(1).bool(), -math.inf).softmax(-1)
    torch.testing.assert_close(attended[0], (weights @ values).transpose(1, 2).flatten(2))
