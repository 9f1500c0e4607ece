"""Measures of whole videos, read piece by piece: what changes along one, and how close two are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import nn

from longtake.core.errors import UserError
from longtake.metrics.frames import psnr, ssim
from longtake.metrics.temporal import channel_histogram_correlation, histogram_correlation, temporal_flickering
from longtake.video import VideoReader

CHUNK = 64  # frames in memory at once
PAIR_METRICS: Mapping[str, Callable[..., Float[np.ndarray, " t"]]] = MappingProxyType({"psnr": psnr, "ssim": ssim})
VGG16_FILE = "vgg16-397923af.pth"  # torchvision's weights, on which LPIPS stands


def changes(path: Path) -> tuple[float, float, float]:
    """Return flickering, joint and per-channel correlation of the first and last frame's colours, of a whole video.

    Raises `UserError` for a video of one frame, `VideoError` if it does not decode.
    """
    with VideoReader(path) as reader:
        num_frames = reader.info.num_frames
        if num_frames < 2:
            raise UserError(f"{path}: flickering needs at least 2 frames")
        flickering = 0.0
        for start in range(0, num_frames - 1, CHUNK):
            stop = min(start + CHUNK + 1, num_frames)  # the next chunk begins with this one's last frame
            flickering += temporal_flickering(reader.read(range(start, stop))) * (stop - start - 1)
        ends = reader.read([0, num_frames - 1])
    return flickering / (num_frames - 1), histogram_correlation(ends), channel_histogram_correlation(ends)


def perceptual_change(path: Path) -> tuple[float]:
    """Return LPIPS (VGG) of a video's first and last frame. Raises `UserError` without the package or its weights."""
    with VideoReader(path) as reader:
        ends = reader.read([0, reader.info.num_frames - 1])
    first, last = torch.from_numpy(rearrange(ends, "t h w c -> t 1 c h w")).float() / 127.5 - 1
    with torch.no_grad():
        return (float(lpips_network()(first, last)),)


@cache
def lpips_network() -> nn.Module:
    """Load the network once. Raises `UserError` if the package or its weights are not there: nothing is fetched."""
    try:
        import lpips
    except ImportError as error:
        raise UserError("lpips needs the package lpips: pip install 'longtake[perceptual]'") from error
    weights = Path(torch.hub.get_dir()) / "checkpoints" / VGG16_FILE
    if not weights.is_file():
        raise UserError(f"lpips needs torchvision's {VGG16_FILE}: put it into {weights.parent}")
    network: nn.Module = lpips.LPIPS(net="vgg", verbose=False)
    return network.eval()


def pair_quality(paths: tuple[Path, Path], names: Sequence[str]) -> Float[np.ndarray, "m t"]:
    """Return the `PAIR_METRICS` of these names for each frame of two videos, up to the end of the shorter one.

    Raises `UserError` if their frames differ in size, or are too small for a metric.
    """
    with VideoReader(paths[0]) as first, VideoReader(paths[1]) as second:
        num_frames = min(first.info.num_frames, second.info.num_frames)
        parts = []
        for start in range(0, num_frames, CHUNK):
            frames = range(start, min(start + CHUNK, num_frames))
            x, y = first.read(frames), second.read(frames)
            if x.shape != y.shape:
                raise UserError(f"{paths[0]} has frames of {x.shape[1:3]}, {paths[1]} of {y.shape[1:3]}")
            parts.append(np.stack([PAIR_METRICS[name](x, y) for name in names]))
    return np.concatenate(parts, axis=1)
