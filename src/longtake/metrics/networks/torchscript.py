"""The I3D that StyleGAN-V published as a program: TorchScript, run only if it is the known file or is trusted."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float32
from torch import Tensor

from longtake.core.device import find_device
from longtake.core.errors import UserError
from longtake.metrics.networks.features import Clips, FeatureNetwork, Resize
from longtake.metrics.networks.i3d import MIN_FRAMES, NUM_CLASSES
from longtake.metrics.networks.preprocess import i3d_input

KNOWN_SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"  # i3d_torchscript.pt


class I3DTorchScript(FeatureNetwork):
    """The 400 logits, by StyleGAN-V's file: with "squash" it resizes and rescales itself, as its protocol wants.

    Raises `UserError` if the file is neither the known one nor trusted, or cannot be run.
    """

    name = "i3d-kinetics400-torchscript"
    kind = "i3d"
    dim = NUM_CLASSES
    min_frames = MIN_FRAMES

    def __init__(self, path: Path, device: str = "cpu", *, trust: bool = False) -> None:
        self.device = find_device(device)
        content = path.read_bytes()  # read once: what is checked is what is run
        self.sha256 = hashlib.sha256(content).hexdigest()
        if self.sha256 != KNOWN_SHA256 and not trust:
            raise UserError(
                f"{path} is a program (TorchScript) with sha256 {self.sha256}, not the known {KNOWN_SHA256}:"
                " it is run only if you say that you trust it (--trust)"
            )
        self._path = path
        self._network = _load_program(path, content).eval().to(self.device)

    @torch.no_grad()
    def _features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n 400"]:
        if resize == "squash":
            video, does_it_itself = torch.from_numpy(rearrange(clips, "n t h w c -> n c t h w").copy()), True
        else:
            video, does_it_itself = i3d_input(clips, resize), False
        if len(clips) == 1:  # the published program squeezes a batch of one away
            video = video.expand(2, -1, -1, -1, -1)
        logits = self._run(video.to(self.device), does_it_itself)
        return logits[: len(clips)].float().cpu().numpy()

    def _run(self, video: Tensor, does_it_itself: bool) -> Tensor:
        try:
            logits = self._network(x=video, rescale=does_it_itself, resize=does_it_itself, return_features=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[-200:]
            raise UserError(f"{self._path} does not run as StyleGAN-V's I3D does: {reason}") from error
        if not isinstance(logits, Tensor) or logits.shape != (len(video), NUM_CLASSES):
            raise UserError(f"{self._path} does not give {NUM_CLASSES} logits per clip, as StyleGAN-V's I3D does")
        return logits


def _load_program(path: Path, content: bytes) -> Any:  # noqa: ANN401  (a class that torch leaves untyped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is; the file is not ours to change
            return torch.jit.load(io.BytesIO(content), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from error
