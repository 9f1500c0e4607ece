import math

import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

from longtake.core.errors import UserError
from longtake.glober.blocks import (
    AttentionBlock,
    FrameConv3d,
    ResidualBlock,
    SelfAttention,
    SpaceTimeAttention,
    SpatialAttention,
    TemporalAttention,
    norm_groups,
    resize,
    sinusoid_embedding,
)


def randomise(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def softmax_attention(module, tokens):
    """Multi-head attention written out: softmax(q k^T / sqrt(d)) v, then the projection."""
    projected = tokens @ module.qkv.weight.T + module.qkv.bias
    query, key, value = (
        rearrange(part, "n l (heads d) -> n heads l d", heads=module.num_heads) for part in projected.chunk(3, dim=-1)
    )
    scores = torch.einsum("n h i d, n h j d -> n h i j", query, key) / math.sqrt(query.shape[-1])
    mixed = torch.einsum("n h i j, n h j d -> n i h d", scores.exp() / scores.exp().sum(-1, keepdim=True), value)
    return rearrange(mixed, "n i h d -> n i (h d)") @ module.proj.weight.T + module.proj.bias


def test_self_attention_is_softmax_attention():
    torch.manual_seed(0)
    module, tokens = randomise(SelfAttention(12, 3)), torch.randn(2, 7, 12)
    torch.testing.assert_close(module(tokens), softmax_attention(module, tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("block", "pattern"),
    [(SpatialAttention, "b c t h w -> (b t) c (h w)"), (TemporalAttention, "b c t h w -> (b h w) c t")],
)
def test_attention_blocks_attend_along_their_axis_alone(block, pattern):
    torch.manual_seed(0)
    module, x = randomise(block(8, 4)), torch.randn(2, 8, 3, 4, 4)
    flat = rearrange(x, pattern)
    groups = F.group_norm(flat, 8, module.norm.weight, module.norm.bias, eps=1e-5)
    tokens = rearrange(groups, "n c l -> n l c")
    expected = flat + rearrange(softmax_attention(module.attention, tokens), "n l c -> n c l")
    torch.testing.assert_close(rearrange(module(x), pattern), expected, atol=1e-4, rtol=1e-4)


def test_space_time_attention_moves_with_a_permutation_of_all_positions():
    torch.manual_seed(0)
    module, x = randomise(SpaceTimeAttention(8, 4)), torch.randn(1, 8, 2, 3, 3)
    order = torch.randperm(18)
    shuffled = rearrange(rearrange(x, "b c t h w -> b c (t h w)")[..., order], "b c (t h w) -> b c t h w", t=2, h=3)
    expected = rearrange(module(x), "b c t h w -> b c (t h w)")[..., order]
    torch.testing.assert_close(rearrange(module(shuffled), "b c t h w -> b c (t h w)"), expected)


def test_attention_and_residual_blocks_start_as_the_identity():
    x = torch.randn(2, 8, 6)
    assert torch.equal(AttentionBlock(8, 4)(x), x)
    image = torch.randn(2, 8, 4, 4)
    assert torch.equal(ResidualBlock(8, 8)(image), image)


@pytest.mark.parametrize("modulation", ["add", "scale_shift"])
def test_residual_block_against_its_formula(modulation):
    torch.manual_seed(0)
    block = randomise(ResidualBlock(6, 8, 5, modulation))
    x, embedding = torch.randn(2, 6, 8, 8), torch.randn(2, 5)
    hidden = F.conv2d(F.avg_pool2d(F.silu(F.group_norm(x, 6, block.norm1.weight, block.norm1.bias)), 2),
                      block.conv1.weight, block.conv1.bias, padding=1)  # fmt: skip
    projected = (F.silu(embedding) @ block.embedding.weight.T + block.embedding.bias)[:, :, None, None]
    if modulation == "add":
        hidden = F.group_norm(hidden + projected, 8, block.norm2.weight, block.norm2.bias)
    else:
        hidden = F.group_norm(hidden, 8, block.norm2.weight, block.norm2.bias)
        hidden = hidden * (1 + projected[:, :8]) + projected[:, 8:]
    hidden = F.conv2d(F.silu(hidden), block.conv2.weight, block.conv2.bias, padding=1)
    skip = F.conv2d(F.avg_pool2d(x, 2), block.skip.weight, block.skip.bias)
    torch.testing.assert_close(block(x, embedding, size=4), skip + hidden, atol=1e-4, rtol=1e-4)


def test_resize_repeats_up_and_averages_down():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(resize(x, 4), x)
    assert torch.equal(resize(x, 2)[0, 0], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))
    assert torch.equal(resize(x, 8)[0, 0, ::2, ::2], x[0, 0])
    assert torch.equal(resize(x, 8)[0, 0, 1::2, 1::2], x[0, 0])


@pytest.mark.parametrize(
    ("channels", "groups"), [(16, 16), (32, 32), (48, 24), (96, 32), (320, 32), (1280, 32), (36, 18)]
)
def test_norm_groups(channels, groups):
    assert norm_groups(channels) == groups


def test_sinusoid_embedding_is_cosines_then_sines():
    position, dim = 3.5, 6
    frequencies = [10000 ** (-index / 3) for index in range(3)]
    expected = [math.cos(position * f) for f in frequencies] + [math.sin(position * f) for f in frequencies]
    torch.testing.assert_close(sinusoid_embedding(torch.tensor([position]), dim)[0], torch.tensor(expected))


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="10 channels"):
        AttentionBlock(10, 4)
    with pytest.raises(UserError, match="3 attention heads"):
        SelfAttention(10, 3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("channels", [(4, 16), (16, 16), (32, 8)])
def test_gradient_of_a_convolution_in_half_precision_is_near_the_one_in_single(channels, frames, stride):
    torch.manual_seed(0)
    conv = FrameConv3d(*channels, stride=stride)
    x = torch.randn(3, channels[0], frames, 8, 8)
    plain = F.conv3d(x, conv.weight, conv.bias, (1, stride, stride), 1)
    torch.testing.assert_close(conv(x), plain)
    expected = torch.autograd.grad(plain.square().sum(), conv.weight)[0]
    del plain
    for _ in range(5):
        junk = [torch.full((size,), math.nan) for size in range(1000, 100_000, 5000)]
        del junk  # what is read without having been written is this
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = conv(x).float().square().sum()
        found = torch.autograd.grad(loss, conv.weight)[0]
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()
