"""Parameter counts at the paper's sizes, on the meta device, against formulas written from the layers' shapes."""

import pytest
import torch

from longtake.glober.discriminator import GloberDiscriminator
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.video_encoder import GloberVideoEncoder


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def build(model, **config):
    with torch.device("meta"):
        return model(**config)


def conv(inputs, outputs, volume):
    return inputs * outputs * volume + outputs


def linear(inputs, outputs, bias=True):
    return inputs * outputs + outputs * bias


def residual(inputs, outputs, embedding=None):
    convs = conv(inputs, outputs, 9) + conv(outputs, outputs, 9)
    skip = conv(inputs, outputs, 1) if inputs != outputs else 0
    return 2 * inputs + 2 * outputs + convs + skip + (linear(embedding, outputs) if embedding else 0)


def attention(channels):
    return 2 * channels + linear(channels, 3 * channels) + linear(channels, channels)


def transformer(channels, context):
    projections = 2 * channels + 2 * conv(channels, channels, 1)
    own = 3 * linear(channels, channels, bias=False) + linear(channels, channels)
    text = linear(channels, channels, False) + 2 * linear(context, channels, False) + linear(channels, channels)
    feedforward = linear(channels, 8 * channels) + linear(4 * channels, channels)
    return projections + own + text + feedforward + 3 * 2 * channels


def stable_diffusion_unet():
    widths, embedding, context = (320, 640, 1280, 1280), 1280, 768
    total = linear(320, embedding) + linear(embedding, embedding) + conv(4, 320, 9)
    skips, channels = [320], 320
    for level, width in enumerate(widths):
        for _ in range(2):
            total += residual(channels, width, embedding) + (transformer(width, context) if level < 3 else 0)
            channels = width
            skips.append(width)
        if level < 3:
            total += conv(width, width, 9)
            skips.append(width)
    total += 2 * residual(1280, 1280, embedding) + transformer(1280, context)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(3):
            total += residual(channels + skips.pop(), width, embedding)
            total += transformer(width, context) if level < 3 else 0
            channels = width
        total += conv(width, width, 9) if level else 0
    return total + 2 * 320 + conv(320, 4, 9)


def video_encoder(separate_heads):
    total = 4 * 32 * 32 + conv(4, 320, 27) + conv(320, 320, 27)
    for inputs, outputs in ((320, 320), (320, 320), (320, 640), (640, 640)):
        total += residual(inputs, outputs) + 2 * attention(outputs)
    heads, width = (2, 16) if separate_heads else (1, 32)
    return total + heads * (conv(640, width, 27) + 2 * width + conv(width, width, 1))


def control_branch():
    blocks = (320, 320, 320, 320, 640, 640, 640, 1280, 1280, 1280, 1280, 1280)
    index_mlp = linear(320, 1280) + linear(1280, 1280)
    return index_mlp + sum(residual(16, width, 1280) + conv(width, width, 1) for width in blocks)


def discriminator():
    total, channels = 4 * 2 * 32 * 32 + conv(4, 256, 27), 256
    for level, width in enumerate((256, 256, 512, 512, 512)):
        if level:
            total += conv(channels, channels, 27) + attention(width)
        total += residual(channels, width)
        channels = width
    return total + conv(512, 256, 27) + 2 * 256 + linear(256, 1)


def transformer_generator(dim, depth):
    block = (
        linear(dim, 3 * dim) + linear(dim, dim) + 2 * linear(dim, 4 * dim) + 3 * dim - 6 * dim + linear(dim, 6 * dim)
    )
    embeddings = linear(16, dim) + linear(768, dim) + linear(256, dim) + linear(dim, dim)
    embeddings += 16 * 16 * dim  # the fixed positions, a parameter without gradient
    return depth * block + embeddings + linear(dim, 2 * dim) + linear(dim, 16)


def test_unet_is_stable_diffusion_v1s():
    decoder = build(GloberFrameDecoder)
    assert count(decoder.unet) == stable_diffusion_unet() == 859_520_964


def test_control_branch():
    decoder = build(GloberFrameDecoder)
    assert count(decoder.control_branch) == control_branch() == 114_246_144
    assert count(decoder) == 859_520_964 + 114_246_144


@pytest.mark.parametrize(("separate_heads", "expected"), [(True, 28_377_856), (False, 28_378_368)])
def test_video_encoder(separate_heads, expected):
    encoder = build(GloberVideoEncoder, separate_heads=separate_heads)
    assert count(encoder) == video_encoder(separate_heads) == expected
    assert round(expected / 1e6, 3) == 28.378


def test_official_video_module_is_encoder_with_one_head_and_control_branch():
    # The official class holds both; its measured count, 142.625 M, is of the one-headed encoder.
    assert round((28_378_368 + 114_246_144) / 1e6, 3) == 142.625


def test_latent_discriminator():
    assert count(build(GloberDiscriminator)) == discriminator() == 40_169_729


@pytest.mark.parametrize(("dim", "depth", "published"), [(1152, 28, 674.844), (1024, 20, 382.290)])
def test_feature_generator(dim, depth, published):
    generator = build(GloberFeatureGenerator, hidden_size=dim, depth=depth, num_heads=16)
    assert count(generator) == transformer_generator(dim, depth)
    assert round(count(generator) / 1e6, 3) == published
    assert not generator.position_embedding.requires_grad


def test_shared_modulation_saves_a_third_of_the_generator():
    own, shared = build(GloberFeatureGenerator), build(GloberFeatureGenerator, shared_modulation=True)
    maps = linear(1152, 6 * 1152)
    assert count(own) - count(shared) == 27 * maps - 28 * 6 * 1152
    assert count(shared) < 0.69 * count(own)
