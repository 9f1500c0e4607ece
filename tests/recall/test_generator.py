"""The generator's blocks against their description in torch's functions, and its switches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from longtake.recall.generator import DOUBLING, FIRST, NONE, FusedStreams, G3Block, RecallGenerator

TINY = {"content_channels": 6, "motion_channels": 4, "channels": (8, 8, 6, 5)}


FIRST_FIVE_AND_REST_OF_SECOND = ((slice(None), slice(5)), (slice(1, 2), slice(5, None)))


def build(**config):
    torch.manual_seed(0)
    return RecallGenerator(**{**TINY, **config}).eval()


def latents(count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, generator=generator), torch.randn(count, 4, generator=generator)


def deconv(layers, x, kernel, stride, padding):
    """A transposed convolution by its largest singular value, batch norm by its statistics, ReLU."""
    conv, norm = layers
    weight = conv.parametrizations.weight.original
    matrix = weight.transpose(0, 1).flatten(1)
    u, v = conv.parametrizations.weight[0]._u, conv.parametrizations.weight[0]._v
    assert weight.shape[2:] == kernel
    x = F.conv_transpose3d(x, weight / (u @ matrix @ v), conv.bias, stride, padding)
    x = (x - norm.running_mean[:, None, None, None]) / (norm.running_var[:, None, None, None] + norm.eps).sqrt()
    return (x * norm.weight[:, None, None, None] + norm.bias[:, None, None, None]).relu()


@pytest.mark.parametrize("mode", ["1p2d", "2p1d", "3d"])
def test_block_is_three_streams_added_in_time_and_concatenated_in_space(mode):
    torch.manual_seed(0)
    block = G3Block(3, 7, 4, 5, mode, DOUBLING, DOUBLING).eval()
    spatial, video, temporal = torch.randn(2, 3, 1, 4, 4), torch.randn(2, 7, 4, 4, 4), torch.randn(2, 4, 4, 1, 1)
    in_time, in_space = ((4, 1, 1), (2, 1, 1), (1, 0, 0)), ((1, 4, 4), (1, 2, 2), (0, 1, 1))
    steps = {"1p2d": [in_time, in_space], "2p1d": [in_space, in_time], "3d": [((4, 4, 4), (2, 2, 2), (1, 1, 1))]}
    with torch.no_grad():
        found_spatial, found_video, found_temporal = block(spatial, FusedStreams(None, video), temporal)
        new_spatial = deconv(block.spatial[:2], spatial, *in_space)
        new_temporal = deconv(block.temporal[:2], temporal, *in_time)
        for number, step in enumerate(steps[mode]):
            video = deconv(block.video[3 * number : 3 * number + 2], video, *step)
        video = video + new_temporal.repeat(1, 1, 1, 8, 8)
        video = torch.cat([new_spatial.repeat(1, 1, 8, 1, 1), video], dim=1)
    found = (found_spatial, found_video.joined(), found_temporal)
    for tensor, expected in zip(found, (new_spatial, video, new_temporal), strict=True):
        torch.testing.assert_close(tensor, expected)
    assert video.shape == (2, 10, 8, 8, 8)


def test_first_block_makes_four_frames_of_four_pixels():
    block = G3Block(6, 10, 4, 8, "3d", FIRST, FIRST).eval()
    spatial, video, temporal = block(
        torch.randn(1, 6, 1, 1, 1), FusedStreams(None, torch.randn(1, 10, 1, 1, 1)), torch.randn(1, 4, 1, 1, 1)
    )
    assert (spatial.shape, video.joined().shape, temporal.shape) == ((1, 8, 1, 4, 4), (1, 16, 4, 4, 4), (1, 8, 4, 1, 1))


@pytest.mark.parametrize("kernel", [(1, 4, 4), (1, 1, 1), (4, 4, 4)])
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_a_picture_convolved_once_is_a_picture_convolved_in_every_frame(kind, kernel):
    torch.manual_seed(0)
    conv = kind(3 + 2, 6, kernel, stride=(1, kernel[1], kernel[2]), padding=(0, 1, 1) if kernel[1] > 1 else 0)
    still, moving = torch.randn(2, 3, 1, 8, 8), torch.randn(2, 2, 5, 8, 8)
    whole = torch.cat([still.repeat(1, 1, 5, 1, 1), moving], dim=1)
    found = FusedStreams(still, moving)
    assert torch.equal(found.joined(), whole)
    torch.testing.assert_close(found.convolved(conv), conv(whole))
    gradients = [torch.autograd.grad(y.square().mean(), conv.weight)[0] for y in (found.convolved(conv), conv(whole))]
    torch.testing.assert_close(*gradients)


def test_a_block_takes_what_the_one_before_it_leaves_apart():
    torch.manual_seed(0)
    block = G3Block(3, 3 + 7, 4, 5, "3d", NONE, DOUBLING).eval()
    spatial, video, temporal = torch.randn(2, 3, 1, 4, 4), torch.randn(2, 7, 6, 4, 4), torch.randn(2, 4, 6, 1, 1)
    apart, together = FusedStreams(spatial, video), FusedStreams(None, FusedStreams(spatial, video).joined())
    found, expected = (block(spatial, streams, temporal)[1].joined() for streams in (apart, together))
    torch.testing.assert_close(found, expected)


def test_a_clip_is_sixteen_frames_within_the_range_of_pixels():
    clips = build()(*latents())
    assert clips.shape == (2, 3, 16, 32, 32)
    assert clips.abs().max() <= 1


def test_more_points_in_time_make_four_more_frames_each():
    generator, (content, motion) = build(), latents()
    assert generator(content, motion[:, :, None].expand(-1, -1, 20)).shape == (2, 3, 92, 32, 32)
    torch.testing.assert_close(generator(content, motion[:, :, None]), generator(content, motion))


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("channels", [(8, 8, 6), (8, 8, 6, 5, 4)])
def test_frames_painted_alone_are_those_of_the_whole_clip(channels, attention):
    generator = build(channels=channels, self_attention=attention)
    if attention:
        for axis in (generator.attention.temporal, generator.attention.spatial):
            torch.nn.init.constant_(axis.gamma, 1.0)
    with torch.no_grad():
        whole, grown = generator(*latents()), generator.grow(*latents())
        begun, rest = (generator.paint(grown.part(*part)) for part in FIRST_FIVE_AND_REST_OF_SECOND)
    torch.testing.assert_close(begun, whole[:, :, :5])
    torch.testing.assert_close(rest, whole[1:, :, 5:])


def test_offloaded_weights_are_fetched_for_either_half():
    """As diffusers' offloading does: a hook that moves the weights to the device before they are used."""
    generator, fetched = build(), []

    class Fetch:
        def pre_forward(self, module):
            fetched.append(module)

    generator._hf_hook = Fetch()
    generator.paint(generator.grow(*latents()))
    assert fetched == [generator, generator]


def test_one_clip_trains():
    """Every batch norm has more than one value of a single clip to normalise."""
    generator = build().train()
    generator(*latents(1)).mean().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())


def test_without_streams_their_latents_only_enter_the_video_stream():
    whole, flat = build(self_attention=False), build(self_attention=False, spatial_stream=False, temporal_stream=False)
    assert {name.split(".")[2] for name in flat.state_dict() if name.startswith("blocks")} == {"video"}
    assert {name.split(".")[2] for name in whole.state_dict() if name.startswith("blocks")} == {
        "spatial",
        "temporal",
        "video",
    }
    assert [block.video[0].in_channels for block in whole.blocks] == [10, 16, 16, 12]
    assert [block.video[0].in_channels for block in flat.blocks] == [10, 8, 8, 6]
    assert flat(*latents()).shape == (2, 3, 16, 32, 32)
    assert not any("spatial" in name for name in build(self_attention=False, spatial_stream=False).state_dict())
    assert not any("temporal" in name for name in build(self_attention=False, temporal_stream=False).state_dict())


def test_attention_follows_the_fourth_block():
    generator = RecallGenerator(6, 4, (8, 8, 6, 5, 4))
    assert generator.attention.temporal.value.in_channels == 2 * 5
    shapes = []
    assert generator.num_growing == 4
    generator.attention.register_forward_pre_hook(lambda module, arguments: shapes.append(arguments[0].shape))
    generator.eval()(*latents())
    assert shapes == [(2, 10, 16, 32, 32)]
    assert build(self_attention=False).attention is None
    assert build(legacy_fsa=True).attention.spatial.is_legacy
