"""G3AN's own key names, with the older form of spectral norm: every tensor finds its place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.core.errors import UserError
from longtake.recall.convert import load_discriminator, load_generator
from longtake.recall.discriminators import RecallImageDiscriminator, RecallVideoDiscriminator
from longtake.recall.generator import RecallGenerator


def official_deconv(inputs, outputs, kernel):
    """State of SN(ConvTranspose3d), BatchNorm3d, ReLU as the published code stores it."""
    conv = torch.nn.utils.spectral_norm(nn.ConvTranspose3d(inputs, outputs, kernel))
    return nn.Sequential(conv, nn.BatchNorm3d(outputs), nn.ReLU())


class OfficialAttention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        for name, outputs in (("q_conv", channels // 8), ("k_conv", channels // 8), ("v_conv", channels)):
            setattr(self, name, torch.nn.utils.spectral_norm(nn.Conv3d(channels, outputs, 1)))
        self.gamma = nn.Parameter(torch.rand(1))


def official_generator(content, motion, channels):
    """A network with the names and shapes of the published generator in its 1p2d form."""
    network, streams = nn.Module(), (content, content + motion, motion)
    for number, width in enumerate(channels, 1):
        time = 4 if number < 4 else 1
        block = nn.Module()
        block.conv_s = official_deconv(streams[0], width, (1, 4, 4))
        block.conv_v = nn.Sequential(
            *official_deconv(streams[1], width, (time, 1, 1)), *official_deconv(width, width, (1, 4, 4))
        )
        block.conv_t = official_deconv(streams[2], width, (time, 1, 1))
        setattr(network, f"block{number}", block)
        streams = (width, 2 * width, width)
    network.fsa = nn.Module()
    network.fsa.tsa, network.fsa.ssa = (OfficialAttention(2 * channels[3]) for _ in range(2))
    network.to_rgb = nn.Sequential(nn.Conv3d(2 * channels[-1], 3, (1, 3, 3)), nn.Tanh())
    return network


@pytest.mark.parametrize("prefix", ["", "module."])
def test_generator_keys_parity(prefix):
    torch.manual_seed(0)
    source = official_generator(6, 4, (8, 8, 8, 4, 4))
    official = {prefix + name: value for name, value in source.state_dict().items()}
    model = RecallGenerator(6, 4, (8, 8, 8, 4, 4), "1p2d", legacy_fsa=True).eval()
    load_generator(model, official)
    assert torch.equal(model.attention.spatial.gamma, source.fsa.ssa.gamma)
    # the same weight after its norm: of the block's second deconvolution, of a query, and without a norm
    source.eval()
    x = torch.randn(1, 6, 1, 1, 1)
    torch.testing.assert_close(model.blocks[0].spatial(x), source.block1.conv_s(x))
    x = torch.randn(1, 10, 1, 1, 1)
    torch.testing.assert_close(model.blocks[0].video(x), source.block1.conv_v(x))
    x = torch.randn(1, 8, 2, 2, 2)
    torch.testing.assert_close(model.attention.temporal.query(x), source.fsa.tsa.q_conv(x))
    assert torch.equal(model.to_rgb.weight, source.to_rgb[0].weight)


@pytest.mark.parametrize("kind", [RecallVideoDiscriminator, RecallImageDiscriminator])
def test_discriminator_keys_parity(kind):
    torch.manual_seed(0)
    ours = kind((4, 6)).eval()
    source = nn.Module()
    source.net = nn.Sequential()
    for layer in ours.layers:
        if isinstance(layer, nn.LeakyReLU):
            source.net.append(nn.LeakyReLU(0.2))
            continue
        new = (nn.Conv3d if isinstance(layer, nn.Conv3d) else nn.Conv2d)(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
        )
        source.net.append(torch.nn.utils.spectral_norm(new))
    load_discriminator(ours, source.state_dict())
    x = torch.randn(2, 3, 16, 16, 16) if kind is RecallVideoDiscriminator else torch.randn(2, 3, 16, 16)
    # untrained norms leave logits in the ten thousands, on which the order of a sum shows
    torch.testing.assert_close(ours(x), source.eval().net(x).flatten(), rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused_and_changes_nothing():
    torch.manual_seed(0)
    model = RecallImageDiscriminator((4, 6))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    conv = torch.nn.utils.spectral_norm(nn.Conv2d(3, 4, 4)).state_dict()
    official = {f"net.0.{name}": value for name, value in conv.items()}
    with pytest.raises(UserError, match=r"official key 'net\.9\.bias' has no place in RecallImageDiscriminator"):
        load_discriminator(model, {"net.9.bias": torch.zeros(4)})
    with pytest.raises(UserError, match=r"official key 'net\.0\.bias' has shape \(5,\), not \(4,\)"):
        load_discriminator(model, official | {"net.0.bias": torch.zeros(5)})
    with pytest.raises(UserError, match=r"the official weights lack layers\.2\.bias and 7 more tensors"):
        load_discriminator(model, official)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert F.mse_loss(model.layers[0].bias, before["layers.0.bias"]) == 0
