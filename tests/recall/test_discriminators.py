"""What the discriminators see, and that their layers have norm one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from longtake.recall.discriminators import RecallImageDiscriminator, RecallVideoDiscriminator


@pytest.mark.parametrize("channels", [(4, 8), (4, 6, 8), (4, 4, 4, 4), (4, 4, 4, 4, 6)])
def test_one_logit_for_a_whole_clip(channels):
    size = 4 * 2 ** len(channels)
    clips = torch.randn(2, 3, 16, size, size, requires_grad=True)
    logits = RecallVideoDiscriminator(channels)(clips)
    assert logits.shape == (2,)
    logits[0].backward()
    assert clips.grad[0].flatten(2).any(dim=2).all()  # every frame counts
    assert not clips.grad[1].any()


def test_temporal_convolutions_follow_four_stages_at_most():
    layers = RecallVideoDiscriminator((4, 5, 6, 7, 8)).layers
    kernels = [layer.kernel_size for layer in layers if isinstance(layer, nn.Conv3d)]
    assert kernels == [(1, 4, 4), (4, 1, 1)] * 4 + [(1, 4, 4)] + [(1, 4, 4), (4, 1, 1)]


def test_one_logit_for_a_frame():
    frames = torch.randn(3, 3, 32, 32)
    assert RecallImageDiscriminator((4, 6, 8))(frames).shape == (3,)


@pytest.mark.parametrize("kind", [RecallVideoDiscriminator, RecallImageDiscriminator])
def test_every_layer_has_spectral_norm_one(kind):
    torch.manual_seed(0)
    network = kind((4, 6))
    convs = [layer for layer in network.layers if isinstance(layer, nn.Conv2d | nn.Conv3d)]
    for _ in range(100):  # each read in train mode takes the power iteration a step further
        for conv in convs:
            _ = conv.weight
    network.eval()
    norms = [torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() for conv in convs]
    assert norms == pytest.approx([1.0] * len(convs), rel=1e-3)
