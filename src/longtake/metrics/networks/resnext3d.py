"""3D ResNeXt-101 trained on Kinetics (Hara et al. 2018, arXiv 1711.09577): the network of G3AN's video FID.

Names in the state dict are those of `resnext-101-kinetics.pth`; its classifier `fc` is left out (metrics spec A6).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from longtake.core.device import find_device
from longtake.metrics.networks.features import Clips, FeatureNetwork, Resize
from longtake.metrics.networks.preprocess import resnext_input
from longtake.metrics.networks.weights import load_weights, read_state_dict, sha256_of

NUM_FRAMES = 16
NUM_FEATURES = 2048
CARDINALITY = 32
BLOCKS = (3, 4, 23, 3)
CLASSIFIER = ("fc.weight", "fc.bias")


class Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions with a shortcut around them."""

    def __init__(self, in_channels: int, mid_channels: int, stride: int) -> None:
        super().__init__()
        out_channels = 2 * mid_channels
        self.conv1 = nn.Conv3d(in_channels, mid_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(mid_channels)
        self.conv2 = nn.Conv3d(mid_channels, mid_channels, 3, stride, padding=1, groups=CARDINALITY, bias=False)
        self.bn2 = nn.BatchNorm3d(mid_channels)
        self.conv3 = nn.Conv3d(mid_channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            shortcut = nn.Conv3d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(out_channels))

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Return relu(branch + shortcut)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def build_layer(in_channels: int, mid_channels: int, num_blocks: int, stride: int) -> nn.Sequential:
    """Return blocks in a row, the first of which strides and widens."""
    rest = [Bottleneck(2 * mid_channels, mid_channels, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(Bottleneck(in_channels, mid_channels, stride), *rest)


class ResNeXt3D(nn.Module):
    """Clips of 16 frames of 112x112, bytes less the training set's mean -> 2048 features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.layer1 = build_layer(64, 128, BLOCKS[0], stride=1)
        self.layer2 = build_layer(256, 256, BLOCKS[1], stride=2)
        self.layer3 = build_layer(512, 512, BLOCKS[2], stride=2)
        self.layer4 = build_layer(1024, 1024, BLOCKS[3], stride=2)

    def forward(self, x: Float[Tensor, "b 3 16 112 112"]) -> Float[Tensor, "b 2048"]:
        """Return the mean over the last layer's 4x4 positions."""
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return F.avg_pool3d(x, (1, 4, 4), stride=1).flatten(1)


class ResNeXt3DFeatures(FeatureNetwork):
    """The 2048 features of G3AN's video FID."""

    name = "resnext101-3d-kinetics"
    kind = "resnext3d"
    dim = NUM_FEATURES
    min_frames = max_frames = NUM_FRAMES

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.device = find_device(device)
        weights = read_state_dict(path)
        network = ResNeXt3D()
        load_weights(network, weights, path, ignored=CLASSIFIER)
        self.network = network.eval().to(self.device)
        self.sha256 = sha256_of(path)

    @torch.no_grad()
    def _features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n 2048"]:
        return self.network(resnext_input(clips, resize).to(self.device)).cpu().numpy()
