"""I3D trained on Kinetics-400 (Carreira and Zisserman 2017, arXiv 1705.07750): the network of the FVD.

Names in the state dict are those of `i3d_pretrained_400.pt`, the TF-hub weights in PyTorch form (metrics spec C).
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from longtake.core.device import find_device
from longtake.metrics.networks.features import Clips, FeatureNetwork, Resize
from longtake.metrics.networks.preprocess import i3d_input
from longtake.metrics.networks.weights import load_weights, read_state_dict, sha256_of

Size = tuple[int, int, int]

NUM_CLASSES = 400
NUM_POOLED = 1024
MIN_FRAMES = 9  # fewer leave the last pool, two frames long, a single one

# block: channels of (1x1, 1x1 before 3x3, 3x3, 1x1 before the second 3x3, second 3x3, 1x1 after the pool)
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
POOL_BEFORE: dict[str, tuple[Size, Size]] = {  # kernel, stride
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


def pad_same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Pad with zeros as TensorFlow's SAME does: ceil(size / stride) outputs, an odd pixel at the end.

    Zeros do for max pools too, since they follow a ReLU.
    """
    padding: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):  # F.pad takes the last axis first
        total = max((-(-size // s) - 1) * s + k - size, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding) if any(padding) else x


def max_pool_same(x: Tensor, kernel: Size, stride: Size) -> Tensor:
    """Take the maximum over windows with SAME padding."""
    return F.max_pool3d(pad_same(x, kernel, stride), kernel, stride)


class Unit(nn.Module):
    """Convolution with SAME padding, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel: Size = (kernel,) * 3
        self.stride: Size = (stride,) * 3
        self.conv3d = nn.Conv3d(in_channels, out_channels, self.kernel, self.stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Run the three in order."""
        return F.relu(self.bn(self.conv3d(pad_same(x, self.kernel, self.stride))))


class Mixed(nn.Module):
    """Four branches side by side: 1x1; 3x3; 3x3; pool."""

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = channels
        self.b0 = Unit(in_channels, b0, 1)
        self.b1a = Unit(in_channels, b1a, 1)
        self.b1b = Unit(b1a, b1b, 3)
        self.b2a = Unit(in_channels, b2a, 1)
        self.b2b = Unit(b2a, b2b, 3)
        self.b3b = Unit(in_channels, b3b, 1)
        self.out_channels = b0 + b1b + b2b + b3b

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h w"]:
        """Return the branches' channels one after the other."""
        pooled = max_pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class Logits(nn.Module):
    """The classifier, a 1x1x1 convolution under its published name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(NUM_POOLED, NUM_CLASSES, 1)

    def forward(self, x: Float[Tensor, "b c t 1 1"]) -> Float[Tensor, "b k t 1 1"]:
        """Classify every position."""
        return self.conv3d(x)


class I3D(nn.Module):
    """Clips in [-1, 1] of 224x224 -> 400 logits, before any softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = Logits()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        in_channels = 192
        for name, channels in MIXED.items():
            block = Mixed(in_channels, channels)
            self.add_module(name, block)
            in_channels = block.out_channels

    def forward(self, x: Float[Tensor, "b 3 t 224 224"]) -> Float[Tensor, "b 400"]:
        """Return the logits, averaged over time; `t` is at least 9."""
        return self.logits(self.pool(x)).mean(dim=2).flatten(1)

    def pool(self, x: Float[Tensor, "b 3 t 224 224"]) -> Float[Tensor, "b 1024 t2 1 1"]:
        """Return what the classifier reads, one vector for every eight frames or so; FVD is not computed from it."""
        x = self.Conv3d_1a_7x7(x)
        x = max_pool_same(x, (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in MIXED:
            if name in POOL_BEFORE:
                x = max_pool_same(x, *POOL_BEFORE[name])
            x = cast(Mixed, self.get_submodule(name))(x)
        return F.avg_pool3d(x, (2, 7, 7), stride=1)


class I3DFeatures(FeatureNetwork):
    """The 400 logits of I3D, the features of the FVD and of the KVD."""

    name = "i3d-kinetics400"
    kind = "i3d"
    dim = NUM_CLASSES
    min_frames = MIN_FRAMES

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.device = find_device(device)
        weights = read_state_dict(path)
        network = I3D()
        load_weights(network, weights, path)
        self.network = network.eval().to(self.device)
        self.sha256 = sha256_of(path)

    @torch.no_grad()
    def _features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n 400"]:
        return self.network(i3d_input(clips, resize).to(self.device)).cpu().numpy()
