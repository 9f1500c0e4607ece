"""A small video classifier of one's own, trained by `longtake train evaluator_...`, and its features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from torch import Tensor, nn

from longtake.core.device import find_device
from longtake.core.errors import UserError
from longtake.metrics.networks.features import LOCAL, Clips, FeatureNetwork, Resize
from longtake.metrics.networks.preprocess import local_input
from longtake.metrics.networks.weights import sha256_of
from longtake.models import WEIGHTS, check_weights, one_line, quiet_diffusers

CONFIG, WEIGHTS_FILE = "config.json", "diffusion_pytorch_model.safetensors"

Size = tuple[int, int, int]


class SpaceTimeBlock(nn.Module):
    """Residual block of a convolution in space and one in time (R(2+1)D, Tran et al. 2018, arXiv 1711.11248)."""

    def __init__(self, in_channels: int, out_channels: int, stride: Size = (1, 1, 1)) -> None:
        super().__init__()
        time, height, width = stride
        self.stride = stride
        self.norm1 = nn.BatchNorm3d(in_channels)
        self.space = nn.Conv3d(in_channels, out_channels, (1, 3, 3), (1, height, width), (0, 1, 1), bias=False)
        self.norm2 = nn.BatchNorm3d(out_channels)
        self.time = nn.Conv3d(out_channels, out_channels, (3, 1, 1), (time, 1, 1), (1, 0, 0), bias=False)
        self.shortcut = nn.Conv3d(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        """Return branch + shortcut; where the block strides, the shortcut averages."""
        y = self.space(F.relu(self.norm1(x)))
        y = self.time(F.relu(self.norm2(y)))
        if self.stride != (1, 1, 1):
            # ceil mode, as the padded convolutions round; what hangs over the edge is not averaged
            x = F.avg_pool3d(x, self.stride, self.stride, ceil_mode=True, count_include_pad=False)
        return y + (x if self.shortcut is None else self.shortcut(x))


class LocalEvaluator(ModelMixin, ConfigMixin):
    """Clips in [-1, 1] -> logits of the classes of its training videos.

    Args:
        classes: their names.
        size: height and width of a frame.
        num_frames: frames of the clips it was trained on, the least that it takes.
        channels: of the stem, which halves the frame, and of each level, which halves it again; every level but the
            first halves the number of frames too. The last is the number of features.
        dropout: of the features in training.

    Raises:
        UserError: if there are fewer than two classes, or no level.
    """

    @register_to_config
    def __init__(
        self,
        classes: Sequence[str],
        size: int = 64,
        num_frames: int = 16,
        channels: Sequence[int] = (24, 32, 64, 96),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if len(classes) < 2:
            raise UserError(f"a classifier needs at least 2 classes, not {list(classes)}")
        if len(channels) < 2 or min(channels) < 1:
            raise UserError(f"channels are {list(channels)}; they must be at least 2 positive numbers")
        self.stem = nn.Conv3d(2 * 3, channels[0], (1, 5, 5), (1, 2, 2), (0, 2, 2))
        blocks = []
        for level, (in_channels, out_channels) in enumerate(pairwise(channels)):
            blocks.append(SpaceTimeBlock(in_channels, out_channels, (1 if level == 0 else 2, 2, 2)))
            blocks.append(SpaceTimeBlock(out_channels, out_channels))
        self.blocks = nn.Sequential(*blocks)
        self.norm_out = nn.BatchNorm3d(channels[-1])
        self.drop = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels[-1], len(classes))

    def forward(self, clips: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b k"]:
        """Return the logits."""
        return self.classifier(self.drop(self.features(clips)))

    def features(self, clips: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d"]:
        """Return what the classifier reads: the last activations, averaged over time and space."""
        # what moves stands out against the clip's mean frame; few videos do not suffice to learn that
        moving = clips - clips.mean(dim=2, keepdim=True)
        x = self.blocks(self.stem(torch.cat([clips, moving], dim=1)))
        return F.relu(self.norm_out(x)).mean(dim=(2, 3, 4))


class LocalFeatures(FeatureNetwork):
    """Features and probabilities of a `LocalEvaluator`. Numbers from them are never called FVD, FID or IS alone."""

    kind = "local"

    def __init__(self, network: LocalEvaluator, name: str, sha256: str, device: str = "cpu") -> None:
        self.device = find_device(device)
        self.network = network.eval().to(self.device)
        self.name = name
        self.sha256 = sha256
        self.class_names: tuple[str, ...] = tuple(network.config.classes)
        self.classes = len(self.class_names)
        self.dim = network.classifier.in_features
        self.min_frames = network.config.num_frames

    @torch.no_grad()
    def _features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n d"]:
        return self.network.features(self._input(clips, resize)).cpu().numpy()

    @torch.no_grad()
    def _probabilities(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n k"]:
        return self.network(self._input(clips, resize)).softmax(dim=-1).cpu().numpy()

    def _input(self, clips: Clips, resize: Resize) -> Float[Tensor, "n 3 t size size"]:
        return local_input(clips, self.network.config.size, resize).to(self.device)


def load_local(name_or_path: str, device: str = "cpu") -> LocalFeatures:
    """Load the evaluator that ships under a name, or that lies in a model or run folder.

    Raises `UserError` if there is none, or its folder is damaged.
    """
    folder = find_evaluator(name_or_path)
    with quiet_diffusers():
        try:
            network = LocalEvaluator.from_pretrained(str(folder), torch_dtype=torch.float32, use_safetensors=True)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise UserError(f"evaluator folder {folder} is damaged: {one_line(error)}") from error
    check_weights(folder, set(network.state_dict()))
    name = folder.parent.name if folder.name == "model" else folder.name
    sha256 = f"{sha256_of(folder / WEIGHTS_FILE)}+{sha256_of(folder / CONFIG)}"
    return LocalFeatures(network, f"{LOCAL}{name}", sha256, device)


def find_evaluator(name_or_path: str) -> Path:
    """Return the folder of an evaluator by its shipped name, its model folder or its run folder.

    Raises `UserError` if there is none.
    """
    shipped = sorted(folder.name for folder in WEIGHTS.iterdir() if is_evaluator(folder))
    if name_or_path in shipped:
        return WEIGHTS / name_or_path
    folder = Path(name_or_path)
    for candidate in (folder, folder / "model"):
        if is_evaluator(candidate):
            return candidate.resolve()
    if folder.exists():
        raise UserError(f"{folder} is no evaluator: there is no {WEIGHTS_FILE} with its {CONFIG} in it")
    raise UserError(
        f"no evaluator {name_or_path!r} (shipped: {', '.join(shipped) or 'none'}; "
        "or give the run folder or model folder of longtake train evaluator_...)"
    )


def is_evaluator(folder: Path) -> bool:
    """Whether the folder holds an evaluator's two files."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS_FILE).is_file()
