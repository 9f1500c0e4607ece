"""Previews: what a stage shows while it trains, as a video and a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import UInt8


def write_previews(
    folder: Path, step: int, videos: Mapping[str, UInt8[np.ndarray, "n t h w 3"]], fps: float
) -> list[Path]:
    """Write `folder`/step-<step>-<name>.mp4, all videos in a grid, and .png, frames over time; return their paths."""
    from longtake.video import write_contact_sheet, write_video  # PyAV is loaded only where something is written

    paths = []
    for name, batch in videos.items():
        path = folder / f"step-{step:08d}-{name}.mp4"
        write_video(path, video_grid(batch), fps)
        write_contact_sheet(path.with_suffix(".png"), list(batch))
        paths += [path, path.with_suffix(".png")]
    return paths


def video_grid(videos: UInt8[np.ndarray, "n t h w 3"]) -> UInt8[np.ndarray, "t height width 3"]:
    """Lay videos out in a grid as square as possible, filled row by row; cells left over are black."""
    num_columns = math.ceil(math.sqrt(len(videos)))
    num_rows = math.ceil(len(videos) / num_columns)
    cells = np.zeros((num_rows * num_columns, *videos.shape[1:]), np.uint8)
    cells[: len(videos)] = videos
    return rearrange(cells, "(rows columns) t h w rgb -> t (rows h) (columns w) rgb", columns=num_columns)
