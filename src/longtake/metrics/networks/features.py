"""Clips in, features out: the one interface to every feature network, and finding a network by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float32, UInt8

from longtake.core.errors import UserError, choose_one_of

Kind = Literal["i3d", "resnext3d", "c3d", "local"]
Resize = Literal["squash", "crop"]
Clips = UInt8[np.ndarray, "n t h w 3"]

LOCAL = "local:"
PUBLISHED_NETWORKS = ("i3d", "resnext3d", "c3d")


class FeatureNetwork(ABC):
    """A frozen network. It sees as many clips at a time as the caller hands over, and keeps nothing between calls.

    Attributes:
        name: what a report calls it, such as "i3d-kinetics400".
        kind: which family of networks it is of.
        dim: width of the features.
        sha256: of the file with its weights; of several files, in order and joined by "+".
        min_frames: the shortest clip it takes.
        max_frames: the longest clip it takes; None: any.
        classes: number of classes of `probabilities`; None if it gives none.
    """

    name: str
    kind: ClassVar[Kind]
    dim: int
    sha256: str
    min_frames: int
    max_frames: int | None = None
    classes: int | None = None

    def features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n d"]:
        """Return one feature vector per clip.

        Args:
            clips: RGB bytes, at least one clip of `min_frames` to `max_frames` frames.
            resize: how frames become square: "squash" stretches them, "crop" keeps their shape (shorter side first,
                then the centre).

        Raises `UserError` for clips of a length that the network does not take, and for an unknown `resize`.
        """
        self._check(clips, resize)
        return self._features(clips, resize)

    def probabilities(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n k"]:
        """Return class probabilities (softmax) per clip; arguments and errors as in `features`.

        Raises `UserError` if the network gives none (`classes` is None).
        """
        if self.classes is None:
            raise UserError(f"{self.name} gives no class probabilities (c3d and local:PATH do)")
        self._check(clips, resize)
        return self._probabilities(clips, resize)

    @abstractmethod
    def _features(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n d"]:
        """Compute `features` of clips that were checked."""

    def _probabilities(self, clips: Clips, resize: Resize) -> Float32[np.ndarray, "n k"]:
        """Compute `probabilities` of clips that were checked; networks with `classes` have it."""
        raise AssertionError(f"{self.name} has classes but no probabilities")

    def _check(self, clips: Clips, resize: Resize) -> None:
        assert clips.dtype == np.uint8, f"clips are {clips.dtype}, not bytes"
        assert clips.ndim == 5, f"clips have shape {clips.shape}, not n t h w 3"
        assert clips.shape[-1] == 3, f"clips have shape {clips.shape}, not n t h w 3"
        choose_one_of("resize", resize, get_args(Resize))
        num_frames = clips.shape[1]
        if num_frames < self.min_frames or (self.max_frames is not None and num_frames > self.max_frames):
            raise UserError(f"{self.name} takes clips of {self._allowed_frames()} frames, not {num_frames}")

    def _allowed_frames(self) -> str:
        if self.max_frames is None:
            return f"at least {self.min_frames}"
        return f"{self.min_frames}" if self.min_frames == self.max_frames else f"{self.min_frames}-{self.max_frames}"


def load_features(
    name: str, *, weights: Path | None = None, trust: bool = False, device: str = "cpu"
) -> FeatureNetwork:
    """Load a feature network; nothing is ever fetched.

    Args:
        name: "i3d", "resnext3d", "c3d", or "local:PATH" with a run of `longtake train evaluator_...`, its model
            folder, or the name of an evaluator that ships with the package.
        weights: file with the published weights; None looks where `weights.find_weights` says. Not for "local:".
        trust: run the code in a TorchScript file whose checksum is not the known one.
        device: where to compute.

    Raises:
        UserError: for an unknown name or device, and for weights that are missing, damaged or not this network's.
    """
    if name.startswith(LOCAL):
        if weights is not None:
            raise UserError(f"{name} names its own weights: leave out {weights}")
        from longtake.metrics.networks.local import load_local  # loads torch and diffusers

        return load_local(name.removeprefix(LOCAL), device)
    choose_one_of("feature network", name, (*PUBLISHED_NETWORKS, f"{LOCAL}PATH"))
    from longtake.metrics.networks.weights import find_weights, is_torchscript  # loads torch

    path = find_weights(name, weights)
    if name == "i3d":
        if is_torchscript(path):
            from longtake.metrics.networks.torchscript import I3DTorchScript

            return I3DTorchScript(path, device, trust=trust)
        from longtake.metrics.networks.i3d import I3DFeatures

        return I3DFeatures(path, device)
    if name == "resnext3d":
        from longtake.metrics.networks.resnext3d import ResNeXt3DFeatures

        return ResNeXt3DFeatures(path, device)
    from longtake.metrics.networks.c3d import C3DFeatures

    return C3DFeatures(path, device)
