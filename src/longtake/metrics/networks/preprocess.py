"""Clips as bytes -> what each network was trained to see: size, order of channels, range."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from longtake.metrics.networks.features import Clips, Resize

I3D_SIZE = 224
RESNEXT_SIZE = 112
C3D_SIZE = 112

KINETICS_MEAN = (114.7748, 107.7354, 99.4750)  # red, green, blue


@dataclass(frozen=True)
class Fit:
    """How a frame becomes a square of `size`: resized to `height` x `width`, then cut out at `top`, `left`."""

    size: int
    height: int
    width: int
    top: int
    left: int

    def cut(self, frames: Tensor) -> Tensor:
        """Cut the square out of resized frames "... h w"."""
        return frames[..., self.top : self.top + self.size, self.left : self.left + self.size]


def fit(height: int, width: int, size: int, resize: Resize) -> Fit:
    """Return the `Fit` of frames of `height` x `width`.

    "squash" resizes straight to the square. "crop" brings the shorter side to `size` and the longer to the next whole
    pixel in proportion (in floating point, as DIGAN and VideoGPT reckon it), then takes the centre.
    """
    if resize == "squash":
        return Fit(size, size, size, 0, 0)
    scale = size / min(height, width)
    resized_height = size if height <= width else math.ceil(height * scale)
    resized_width = size if width <= height else math.ceil(width * scale)
    return Fit(size, resized_height, resized_width, (resized_height - size) // 2, (resized_width - size) // 2)


def i3d_input(clips: Clips, resize: Resize) -> Float[Tensor, "n 3 t 224 224"]:
    """Return red, green, blue in [-1, 1]; bilinear with half-pixel centres and no antialiasing (TATS, DIGAN)."""
    frames = _interpolate(_frames(clips), I3D_SIZE, resize, align_corners=False)
    return _clips(frames / 127.5 - 1, len(clips))


def resnext_input(clips: Clips, resize: Resize) -> Float[Tensor, "n 3 t 112 112"]:
    """Return red, green, blue in bytes less the mean colour; resized by Pillow, antialiased (G3AN)."""
    frames = _frames(_resize_bytes(clips, RESNEXT_SIZE, resize))
    return _clips(frames - torch.tensor(KINETICS_MEAN)[:, None, None], len(clips))


def c3d_input(clips: Clips, resize: Resize, mean: Float[Tensor, "3 t 112 112"]) -> Float[Tensor, "n 3 t 112 112"]:
    """Return 128 x + 128 - mean with x in [-1, 1], blue, green, red; bilinear from corner to corner (TGANv2)."""
    frames = (_frames(clips) / 127.5 - 1).flip(1) * 128
    frames = _interpolate(frames, C3D_SIZE, resize, align_corners=True)
    return _clips(frames, len(clips)) + (128 - mean)


def local_input(clips: Clips, size: int, resize: Resize) -> Float[Tensor, "n 3 t size size"]:
    """Return red, green, blue in [-1, 1]; resized by Pillow, antialiased."""
    return _clips(_frames(_resize_bytes(clips, size, resize)) / 127.5 - 1, len(clips))


def _frames(clips: Clips) -> Float[Tensor, "nt 3 h w"]:
    return torch.from_numpy(rearrange(clips, "n t h w c -> (n t) c h w").astype(np.float32))


def _clips(frames: Float[Tensor, "nt 3 h w"], num_clips: int) -> Float[Tensor, "n 3 t h w"]:
    return rearrange(frames, "(n t) c h w -> n c t h w", n=num_clips).contiguous()


def _interpolate(
    frames: Float[Tensor, "nt 3 h w"], size: int, resize: Resize, *, align_corners: bool
) -> Float[Tensor, "nt 3 size size"]:
    target = fit(frames.shape[2], frames.shape[3], size, resize)
    shape = (target.height, target.width)
    return target.cut(F.interpolate(frames, shape, mode="bilinear", align_corners=align_corners))


def _resize_bytes(clips: Clips, size: int, resize: Resize) -> UInt8[np.ndarray, "n t size size 3"]:
    height, width = clips.shape[2:4]
    target = fit(height, width, size, resize)
    if (height, width) == (size, size):
        return clips
    rows, columns = slice(target.top, target.top + size), slice(target.left, target.left + size)
    resized = np.empty((*clips.shape[:2], size, size, 3), np.uint8)
    for index in np.ndindex(*clips.shape[:2]):
        frame = Image.fromarray(clips[index]).resize((target.width, target.height), Image.Resampling.BILINEAR)
        resized[index] = np.asarray(frame)[rows, columns]
    return resized
