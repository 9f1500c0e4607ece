"""The VQGAN's sizes, what its padding reaches, how far it sees, and decoding in parts."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toy_tats import random_vqgan

from longtake.core.errors import UserError
from longtake.tats.blocks import PaddedConv, PaddedConvTranspose
from longtake.tats.discriminators import TatsDiscriminator
from longtake.tats.vqgan import TatsVQGAN, block_strides
from peak_memory import PeakMemory


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_are_the_official_ones():
    with torch.device("meta"):
        vqgan = TatsVQGAN()
        image, video = TatsDiscriminator(num_axes=2), TatsDiscriminator(num_axes=3)
    assert count(vqgan.encoder) == 7_403_648
    assert count(vqgan.decoder) == 16_116_995
    assert count(vqgan.pre_vq) == count(vqgan.post_vq) == 65_792
    assert vqgan.codebook.embeddings.numel() == 4_194_304
    assert count(vqgan.codebook) == 0
    assert count(image) == 2_766_529
    assert count(video) == 11_057_857


def test_blocks_halve_the_axes_that_still_need_it():
    assert block_strides((4, 8, 8)) == [(2, 2, 2), (2, 2, 2), (1, 2, 2)]
    assert block_strides((1, 4, 2)) == [(1, 2, 2), (1, 2, 1)]
    for wrong in ((3, 8, 8), (0, 8, 8), (4, 8), (1, 1, 1)):
        with pytest.raises(UserError, match="downsample is"):
            block_strides(wrong)


@torch.no_grad()
def test_shapes_and_ranges():
    vqgan = random_vqgan(downsample=(4, 8, 8))
    codes = vqgan.encode(torch.rand(2, 3, 8, 16, 24) * 2 - 1)
    assert codes.shape == (2, 2, 2, 3)
    assert codes.dtype == torch.int64
    assert 0 <= codes.min() <= codes.max() < vqgan.num_codes == 64
    assert vqgan.downsample == (4, 8)
    video = vqgan.decode(codes)
    assert video.shape == (2, 3, 8, 16, 24)
    assert video.abs().max() <= 1
    assert torch.equal(video, vqgan.decode_vectors(vqgan.lookup(codes)).clamp(-1, 1))


def test_lengths_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="t = 6 cannot be encoded: t must be a multiple of 4"):
        random_vqgan().encode(torch.zeros(1, 3, 6, 16, 16))


@pytest.mark.parametrize(
    ("padding", "mode"), [("replicate", "replicate"), ("zero", "constant"), ("reflect", "reflect")]
)
@pytest.mark.parametrize(("kernel", "stride", "before", "after"), [(3, 1, 1, 1), (4, 2, 1, 1), (4, 1, 2, 1)])
def test_convolutions_pad_as_specified(padding, mode, kernel, stride, before, after):
    x = torch.randn(1, 2, 6, 6, 6)
    conv = PaddedConv(2, 3, kernel, padding, (stride,) * 3)
    padded = F.pad(x, (before, after) * 3, mode=mode)
    assert torch.equal(conv(x), F.conv3d(padded, conv.conv.weight, conv.conv.bias, stride))
    transposed = PaddedConvTranspose(2, 3, kernel, padding, (stride,) * 3)
    # every padded input writes to `kernel` outputs; the kernel - 1 at each end are cut off
    whole = F.conv_transpose3d(padded, transposed.conv.weight, transposed.conv.bias, stride)
    inner = whole[(...,) + (slice(kernel - 1, 1 - kernel),) * 3]
    assert inner.shape[2:] == (6 * stride,) * 3
    torch.testing.assert_close(transposed(x), inner)


@torch.no_grad()
@pytest.mark.parametrize("padding", ["replicate", "zero", "reflect", "real"])
def test_padding_mode_reaches_every_layer(padding, monkeypatch):
    modes = []
    pad = F.pad
    monkeypatch.setattr(F, "pad", lambda x, amounts, mode: modes.append(mode) or pad(x, amounts, mode=mode))
    vqgan = random_vqgan(padding=padding)
    vqgan.decode(vqgan.encode(torch.zeros(1, 3, 16, 32, 32)))
    # ten in the encoder (one, then three times three), sixteen in the decoder (three times five, then one)
    assert len(modes) == 26
    expected = {"zero": "constant", "real": "replicate"}.get(padding, padding)
    assert set(modes) == {expected}
    convolutions = [module for module in vqgan.modules() if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)]
    assert len(convolutions) == 26 + 2  # and the two of width 1
    assert all(module.padding_mode == "zeros" for module in convolutions)


@pytest.mark.parametrize(
    ("downsample", "decoder", "encoder"),
    [((4, 8, 8), (6, 6), (8, 7)), ((4, 4, 4), None, None), ((1, 2, 2), None, None)],
)
def test_context_is_exactly_what_a_latent_frame_depends_on(downsample, decoder, encoder):
    vqgan = random_vqgan(downsample=downsample).double()
    if decoder is not None:
        assert vqgan.decoder_context == decoder
        assert vqgan.encoder_context == encoder
    rate, length, middle, size = downsample[0], 24, 11, downsample[1]
    vectors = torch.randn(1, 8, length, 1, 1, dtype=torch.float64, requires_grad=True)
    frames = vqgan.decode_vectors(vectors)[:, :, middle * rate : (middle + 1) * rate]
    (gradient,) = torch.autograd.grad(frames.square().sum(), vectors)
    before, after = vqgan.decoder_context
    assert touched(gradient) == (middle - before, middle + after)

    video = torch.randn(1, 3, length * rate, size, size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(vqgan.pre_quant(video)[:, :, middle].square().sum(), video)
    first, last = touched(gradient)
    before, after = vqgan.encoder_context
    assert (first // rate, last // rate) == (middle - before, middle + after)


def touched(gradient):
    """First and last place on the time axis where a gradient is not zero."""
    places = gradient.abs().sum((0, 1, 3, 4)).nonzero().flatten().tolist()
    return places[0], places[-1]


@torch.no_grad()
def test_decoding_in_chunks_equals_whole_decoding_bit_for_bit():
    vqgan = random_vqgan(base_channels=8)
    codes = torch.randint(64, (1, 14, 8, 8), generator=torch.Generator().manual_seed(0))
    whole = vqgan.decode(codes)
    chunks = list(vqgan.decode_stream(codes, chunk=7))
    assert [chunk.shape[2] for chunk in chunks] == [28, 28]
    assert torch.equal(torch.cat(chunks, dim=2), whole)
    # and with one latent frame of context less it would not be
    vqgan.decoder_context = (5, 5)
    assert not torch.equal(torch.cat(list(vqgan.decode_stream(codes, chunk=7)), dim=2), whole)


@torch.no_grad()
@pytest.mark.parametrize("padding", ["replicate", "zero", "reflect"])
def test_decoding_in_chunks_equals_whole_decoding_under_every_padding(padding):
    vqgan = random_vqgan(padding=padding, downsample=(4, 4, 4)).double()
    codes = torch.randint(64, (1, 16, 3, 3), generator=torch.Generator().manual_seed(0))
    whole = vqgan.decode(codes)
    for chunk in (5, 15, 100):
        parts = torch.cat(list(vqgan.decode_stream(codes, chunk)), dim=2)
        torch.testing.assert_close(parts, whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(vqgan.decode_part(codes, 7, 9), whole[:, :, 28:36], atol=1e-12, rtol=0)


def test_group_norm_refuses_to_decode_in_parts():
    vqgan = random_vqgan(norm="group", norm_groups=4)
    codes = torch.zeros(1, 4, 2, 2, dtype=torch.long)
    with pytest.raises(UserError, match="group norm cannot decode a video in parts"):
        next(vqgan.decode_stream(codes, chunk=2))
    assert next(vqgan.decode_stream(codes, chunk=4)).shape[2] == 16
    with pytest.raises(UserError, match="8 channels cannot be split into 3"):
        random_vqgan(norm="group", norm_groups=3)


def peak_memory(function) -> int:
    """Bytes of all tensors made while `function` ran that were alive at once; the process's own peak depends on what
    the allocator kept from the tests before."""
    with PeakMemory() as memory:
        function()
    return memory.peak


@torch.no_grad()
def test_decoding_a_stream_takes_as_much_memory_for_1024_frames_as_for_256():
    vqgan = random_vqgan()
    codes = torch.zeros(1, 256, 4, 4, dtype=torch.long)

    def decode(num_latents: int) -> None:
        shapes = {part.shape[2] for part in vqgan.decode_stream(codes[:, :num_latents], chunk=16)}
        assert shapes == {64}

    decode(64)  # what is allocated once
    short = peak_memory(lambda: decode(64))
    assert peak_memory(lambda: decode(256)) < 1.2 * short + 2**20
    assert peak_memory(lambda: vqgan.decode(codes[:, :128])) > 2.5 * short


@torch.no_grad()
def test_half_precision_copy_loads_as_float32_and_keeps_its_codes(tmp_path):
    vqgan = random_vqgan()
    vqgan.codebook.is_initialized.fill_(True)
    vqgan.half().save_pretrained(tmp_path)
    again = TatsVQGAN.from_pretrained(tmp_path)
    assert again.dtype == torch.float32
    assert again.codebook.is_initialized.dtype == torch.bool
    assert again.codebook.is_initialized
    for (name, ours), theirs in zip(again.state_dict().items(), vqgan.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs.to(ours.dtype)), name


def test_discriminators_shapes_and_features():
    for num_axes, shape, patches in ((2, (64, 64), (11, 11)), (3, (16, 64, 64), (5, 11, 11))):
        judge = TatsDiscriminator(num_axes=num_axes, channels=4)
        verdict = judge(torch.randn(2, 3, *shape))
        # (n + 4 - 4) // 2 + 1 with stride 2, n + 1 with stride 1
        assert verdict.logits.shape == (2, 1, *patches)
        assert [feature.shape[1] for feature in verdict.features] == [4, 8, 16, 32]
        norms = [hasattr(module, "running_mean") for module in judge.modules()]
        assert sum(norms) == 3


def test_every_parameter_gets_a_gradient():
    vqgan = random_vqgan().train()
    z = vqgan.pre_quant(torch.randn(2, 3, 8, 16, 16))
    vqgan.decode_vectors(z).square().mean().backward()
    names = [name for name, value in vqgan.named_parameters() if value.grad is None or not value.grad.any()]
    assert names == []


def test_strides_multiply_to_the_factors():
    for downsample in itertools.product((1, 2, 4, 8), repeat=3):
        if max(downsample) > 1:
            strides = torch.tensor(block_strides(downsample))
            assert tuple(strides.prod(0).tolist()) == downsample
