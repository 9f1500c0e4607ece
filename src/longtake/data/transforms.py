"""uint8 frames -> square uint8 frames -> float video, and back. Numpy and Pillow only, so no torchvision."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from longtake.data.config import AugmentConfig

Frames = UInt8[np.ndarray, "t h w 3"]
SquareFrames = UInt8[np.ndarray, "t size size 3"]
Box = tuple[float, float, float, float]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def resize_and_crop(frames: Frames, size: int) -> SquareFrames:
    """Cut the central square out of each frame and resize it to `size` (bicubic, antialiased; GLOBER sec. 11).

    Frames that are `size` x `size` already come back unchanged, bit for bit. Where the margins are odd, the extra
    row or column is cut off at the bottom or right.
    """
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frames[:, top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    return _resize(square, size, (0, 0, side, side))


def augment(frames: SquareFrames, config: AugmentConfig, rng: np.random.Generator) -> SquareFrames:
    """Vary a clip as `config` says: one draw for all frames, in the order zoom, shift, mirror, colour, reverse.

    Every call takes the same number of values from `rng`, so that switching one change on leaves the others as they
    were. What is off (0 or False) leaves the frames unchanged, bit for bit.
    """
    size = frames.shape[1]
    scale, left, top, flip, backwards = rng.random(5)
    shift_x, shift_y, brightness, contrast, saturation = rng.uniform(-1, 1, 5)
    if config.zoom:
        side = size * (1 - config.zoom * scale)
        corner_x, corner_y = left * (size - side), top * (size - side)
        # the last edge must not pass the frame by a rounding error: Pillow refuses such a box
        frames = _resize(frames, size, (corner_x, corner_y, min(corner_x + side, size), min(corner_y + side, size)))
    if config.shift:
        frames = _shift(frames, round(shift_x * config.shift * size), round(shift_y * config.shift * size))
    if config.mirror and flip < 0.5:
        frames = frames[:, :, ::-1]
    if config.colour:
        factors = 1 + config.colour * np.array([brightness, contrast, saturation], np.float32)
        frames = _change_colour(frames, *factors)
    if config.reverse and backwards < 0.5:
        frames = frames[::-1]
    return np.ascontiguousarray(frames)


def to_video(frames: UInt8[np.ndarray, "*b t h w 3"]) -> Float[Tensor, "*b 3 t h w"]:
    """Map bytes 0..255 to floats x / 127.5 - 1 in [-1, 1], channels first."""
    # torch.tensor copies: `frames` may be a data set's own read-only video, of which torch.from_numpy would warn
    video = rearrange(torch.tensor(frames), "... t h w c -> ... c t h w")
    return video.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_frames(video: Float[Tensor, "*b 3 t h w"]) -> UInt8[np.ndarray, "*b t h w 3"]:
    """Map floats in [-1, 1] (others are clipped) to the nearest bytes; `to_frames(to_video(x))` is exactly x."""
    frames = video.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(frames, "... c t h w -> ... t h w c").cpu().contiguous().numpy()


def _resize(frames: SquareFrames, size: int, box: Box) -> SquareFrames:
    resized = np.empty((len(frames), size, size, 3), np.uint8)
    for target, frame in zip(resized, frames, strict=True):
        target[:] = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC, box))
    return resized


def _shift(frames: SquareFrames, right: int, down: int) -> SquareFrames:
    size = frames.shape[1]
    rows = (np.arange(size) - down).clip(0, size - 1)
    columns = (np.arange(size) - right).clip(0, size - 1)
    return frames.take(rows, axis=1).take(columns, axis=2)


def _change_colour(frames: SquareFrames, brightness: float, contrast: float, saturation: float) -> SquareFrames:
    """Apply brightness, then contrast about the clip's mean grey, then saturation: one affine map of the colours."""
    pixels = frames.astype(np.float32).reshape(-1, 3)
    grey = brightness * (pixels @ LUMA).mean()
    saturate = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * LUMA[:, None]  # acts on row vectors
    changed = pixels @ (brightness * contrast * saturate) + (1 - contrast) * grey
    return changed.round().clip(0, 255).astype(np.uint8).reshape(frames.shape)
