"""How close two videos are: PSNR and SSIM of frames, as video papers compute them, and correlation of motion."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from longtake.core.errors import UserError
from longtake.metrics.samples import as_frames

Frames = Shaped[np.ndarray, "t h w c"]

PSNR_OF_EQUAL_FRAMES = 100.0
SMALLEST_MSE = 1e-10
WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2  # for values in [0, 1]


def psnr(x: Frames, y: Frames) -> Float[np.ndarray, " t"]:
    """Peak signal-to-noise ratio of each frame in dB: 20 log10(1 / sqrt(mse)), mse over height, width and channels.

    Takes uint8, or floats in [0, 1]. Equal frames (mse below 1e-10) count as 100 dB.
    Raises `UserError` if the shapes differ.
    """
    first, second = comparable(x, y)
    mse = (first - second).square().mean(dim=(1, 2, 3))
    decibels = -10 * torch.log10(mse.clamp(min=SMALLEST_MSE))
    return torch.where(mse < SMALLEST_MSE, PSNR_OF_EQUAL_FRAMES, decibels).numpy()


def ssim(x: Frames, y: Frames) -> Float[np.ndarray, " t"]:
    """Structural similarity of each frame: mean over channels and over every place where the window fits whole.

    The window is an 11 x 11 Gaussian of sigma 1.5; C1 = 0.01^2 and C2 = 0.03^2 (Wang et al. 2004).
    Takes uint8, or floats in [0, 1]. Raises `UserError` if the shapes differ or a frame is smaller than the window.
    """
    first, second = comparable(x, y)
    if min(first.shape[1:3]) < WINDOW_SIZE:
        raise UserError(f"SSIM needs frames of at least {WINDOW_SIZE} x {WINDOW_SIZE}, not {tuple(first.shape[1:3])}")
    mean_x, mean_y = blur(first), blur(second)
    variance_x = blur(first.square()) - mean_x.square()
    variance_y = blur(second.square()) - mean_y.square()
    covariance = blur(first * second) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).mean(dim=(1, 2, 3)).numpy()


def motion_correlation(x: Frames, y: Frames) -> float:
    """Pearson's correlation, over all pixels and frames, of what each video has beyond its own mean frame.

    1: everything moves as it should; 0: a still image, whatever its PSNR, or motion that has nothing to do with it.
    Takes uint8, or floats in [0, 1]. Raises `UserError` if the shapes differ.
    """
    first, second = (video - video.mean(dim=0) for video in comparable(x, y))
    if min(first.square().mean(), second.square().mean()) < SMALLEST_MSE:
        return 0.0  # a still image, but for rounding
    return float((first * second).sum() / (first.norm() * second.norm()))


def comparable(x: Frames, y: Frames) -> tuple[Float[Tensor, "t h w c"], Float[Tensor, "t h w c"]]:
    """Return both videos as doubles in [0, 1]; raises `UserError` as `as_frames` does, and if their shapes differ."""
    first, second = as_frames(x), as_frames(y)
    if first.shape != second.shape:
        raise UserError(f"both videos must have the same shape (t, h, w, c), not {first.shape} and {second.shape}")
    return torch.from_numpy(np.ascontiguousarray(first)), torch.from_numpy(np.ascontiguousarray(second))


def blur(frames: Float[Tensor, "t h w c"]) -> Float[Tensor, "t h2 w2 c"]:
    """Weighted mean under the Gaussian window, where it fits whole."""
    offsets = torch.arange(WINDOW_SIZE, dtype=torch.float64) - WINDOW_SIZE // 2
    window = torch.exp(-offsets.square() / (2 * WINDOW_SIGMA**2))
    window = window / window.sum()
    planes = rearrange(frames, "t h w c -> (t c) 1 h w")
    planes = F.conv2d(planes, rearrange(window, "k -> 1 1 k 1"))
    planes = F.conv2d(planes, rearrange(window, "k -> 1 1 1 k"))
    return rearrange(planes, "(t c) 1 h w -> t h w c", c=frames.shape[-1])
