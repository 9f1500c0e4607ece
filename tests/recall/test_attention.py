"""F-SA against loops over single positions, written from the description."""

from __future__ import annotations

import itertools

import pytest
import torch

from longtake.recall.attention import AxisAttention, FactorisedSelfAttention


def woken(module):
    """In eval mode, so that spectral norms stand still, and with attention switched on."""
    module.eval()
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.constant_(parameter, 0.7)
    return module


def looped(attention, x):
    """Each position's softmax-weighted mean of the values on its axis."""
    batch, _, frames, height, width = x.shape
    query, key, value = attention.query(x), attention.key(x), attention.value(x)
    out = torch.empty_like(value)
    for b, t, i, j in itertools.product(range(batch), range(frames), range(height), range(width)):
        if attention.axis == "time":
            keys, values = key[b, :, :, i, j], value[b, :, :, i, j]
        else:
            keys, values = key[b, :, t].flatten(1), value[b, :, t].flatten(1)
        weights = torch.stack([query[b, :, t, i, j] @ keys[:, other] for other in range(keys.shape[1])]).softmax(0)
        out[b, :, t, i, j] = sum(weight * values[:, other] for other, weight in enumerate(weights))
    return out


@pytest.mark.parametrize("axis", ["time", "space"])
def test_axis_attention_is_the_loop(axis):
    torch.manual_seed(0)
    attention, x = woken(AxisAttention(16, axis)), torch.randn(2, 16, 3, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(attention(x), 0.7 * looped(attention, x) + x)


def test_fsa_is_time_then_space():
    torch.manual_seed(0)
    attention, x = woken(FactorisedSelfAttention(8)), torch.randn(1, 8, 4, 2, 3)
    with torch.no_grad():
        between = 0.7 * looped(attention.temporal, x) + x
        torch.testing.assert_close(attention(x), 0.7 * looped(attention.spatial, between) + between)


def test_attention_starts_as_the_identity():
    x = torch.randn(1, 8, 4, 2, 2)
    assert torch.equal(FactorisedSelfAttention(8)(x), x)


@pytest.mark.parametrize("axis", ["time", "space"])
def test_legacy_attention_reinterprets_memory_as_the_published_code_does(axis):
    torch.manual_seed(0)
    attention, x = woken(AxisAttention(16, axis, is_legacy=True)), torch.randn(2, 16, 3, 4, 5)
    with torch.no_grad():
        right = looped(attention, x)
        order = (0, 3, 4, 2, 1) if axis == "time" else (0, 2, 3, 4, 1)  # positions first, channels last
        scrambled = right.permute(order).contiguous().view(2, 4, 5, 16, 3).permute(0, 3, 4, 1, 2)
        torch.testing.assert_close(attention(x), 0.7 * scrambled + x)
        attention.is_legacy = False
        assert not torch.allclose(attention(x), 0.7 * scrambled + x)
