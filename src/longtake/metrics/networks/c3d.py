"""C3D (Tran et al. 2015, arXiv 1412.0767), trained on Sports-1M and tuned on UCF-101: the network of the video IS.

Names in the state dict are those of `conv3d_deepnetA_ucf.npz`, which TGANv2 published (metrics spec A4).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from longtake.core.device import find_device
from longtake.core.errors import UserError
from longtake.core.npy_files import read_arrays
from longtake.metrics.networks.features import Clips, FeatureNetwork, Resize
from longtake.metrics.networks.preprocess import C3D_SIZE, c3d_input
from longtake.metrics.networks.weights import (
    READ_ERRORS,
    archive_names,
    load_weights,
    read_state_dict,
    refuse_web_page,
    sha256_of,
)

NUM_FRAMES = 16
NUM_FEATURES = 4096
NUM_CLASSES = 101
MEAN_FILE = "mean2.npz"
MEAN_MARGIN = 8  # the mean video is larger than the network's input; this corner of it is used

# the convolutions between one pool and the next: name -> channels
GROUPS = (
    {"conv1a": 64},
    {"conv2a": 128},
    {"conv3a": 256, "conv3b": 256},
    {"conv4a": 512, "conv4b": 512},
    {"conv5a": 512, "conv5b": 512},
)


class C3D(nn.Module):
    """Clips of 16 frames of 112x112, BGR bytes less the mean video -> 101 logits (softmax makes them probabilities)."""

    def __init__(self) -> None:
        super().__init__()
        in_channels = 3
        for group in GROUPS:
            for name, channels in group.items():
                self.add_module(name, nn.Conv3d(in_channels, channels, 3, padding=1))
                in_channels = channels
        self.fc6 = nn.Linear(in_channels * 4 * 4, NUM_FEATURES)
        self.fc7 = nn.Linear(NUM_FEATURES, NUM_FEATURES)
        self.fc8 = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, x: Float[Tensor, "b 3 16 112 112"]) -> Float[Tensor, "b 101"]:
        """Return the logits."""
        return self.fc8(self.features(x))

    def features(self, x: Float[Tensor, "b 3 16 112 112"]) -> Float[Tensor, "b 4096"]:
        """Return the activations of the last hidden layer, fc7."""
        for number, group in enumerate(GROUPS):
            for name in group:
                x = F.relu(self.get_submodule(name)(x))
            # ceil mode: 112 -> 56 -> 28 -> 14 -> 7 -> 4
            x = F.max_pool3d(x, (1, 2, 2) if number == 0 else 2, ceil_mode=True)
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class C3DFeatures(FeatureNetwork):
    """The class probabilities of the video IS; as features, the 4096 activations of fc7."""

    name = "c3d-ucf101"
    kind = "c3d"
    dim = NUM_FEATURES
    min_frames = max_frames = NUM_FRAMES
    classes = NUM_CLASSES

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.device = find_device(device)
        mean_path = path.with_name(MEAN_FILE)
        self.mean = read_mean(mean_path)
        weights = read_c3d(path)
        network = C3D()
        load_weights(network, weights, path)
        self.network = network.eval().to(self.device)
        self.sha256 = f"{sha256_of(path)}+{sha256_of(mean_path)}"

    @torch.no_grad()
    def _features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n 4096"]:
        return self.network.features(c3d_input(clips, resize, self.mean).to(self.device)).cpu().numpy()

    @torch.no_grad()
    def _probabilities(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n 101"]:
        return self.network(c3d_input(clips, resize, self.mean).to(self.device)).softmax(dim=-1).cpu().numpy()


def read_c3d(path: Path) -> dict[str, Tensor]:
    """Read the weights from TGANv2's npz file (W and b of each layer), or from a torch file under our names.

    Raises `UserError` for a file that cannot be read.
    """
    refuse_web_page(path)
    if not any(name.endswith(".npy") for name in archive_names(path)):
        return read_state_dict(path)
    kinds = {"W": "weight", "b": "bias"}
    weights = {}
    for name, array in read_numbers(path).items():
        layer, _, kind = name.rpartition("/")
        weights[f"{layer}.{kinds.get(kind, kind)}"] = torch.from_numpy(array)
    return weights


def read_mean(path: Path) -> Float[Tensor, "3 16 112 112"]:
    """Read the mean video (blue, green, red), cut to the network's input.

    Raises `UserError` if it is not there or not such a video.
    """
    if not path.is_file():
        raise UserError(f"no {path}: c3d needs the mean video that is published with its weights, beside them")
    end = MEAN_MARGIN + C3D_SIZE
    mean = read_numbers(path).get("mean")
    if mean is None or mean.ndim != 4 or mean.shape[:2] != (3, NUM_FRAMES) or min(mean.shape[2:]) < end:
        found = "no 'mean'" if mean is None else f"'mean' of shape {mean.shape}"
        raise UserError(f"{path} holds {found}; needed is 'mean' of shape (3, {NUM_FRAMES}, >={end}, >={end})")
    return torch.from_numpy(mean[:, :, MEAN_MARGIN:end, MEAN_MARGIN:end].astype(np.float32))


def read_numbers(path: Path) -> dict[str, np.ndarray]:
    """Read an npz file, plain numbers only. Raises `UserError` if it is damaged or holds anything else."""
    try:
        found = read_arrays(path)
    except READ_ERRORS as error:
        raise UserError(f"cannot read {path}: damaged, or more than numbers in it; nothing of it was run") from error
    for name, array in found.items():
        if array.dtype.kind != "f":
            raise UserError(f"{path}: {name!r} is of type {array.dtype}; it must hold floating point numbers")
    return found
