"""Many frames of many videos in one picture: one row per video, evenly spaced frames from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from einops import repeat
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from longtake.core.errors import UserError
from longtake.core.files import atomic_path

_SEPARATOR = 2
_BACKGROUND = 255
_VISIBLE_PIXELS = 128
_TITLE_PIXELS = 16
_TITLE_MARGIN = 6


def contact_sheet(
    videos: Sequence[UInt8[np.ndarray, "t h w 3"]], num_columns: int = 8, titles: Sequence[str] | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay out `num_columns` evenly spaced frames of each video (first and last included) as one row per video.

    Small frames are enlarged by a whole factor without smoothing, so that a 64 pixel frame can be seen. A video with
    fewer frames than columns shows all it has. `titles` are written left of the rows.
    """
    if len(videos) == 0:
        raise UserError("a contact sheet needs at least one video")
    assert num_columns > 0
    assert titles is None or len(titles) == len(videos)
    factors = [-(-_VISIBLE_PIXELS // max(video.shape[1:3])) for video in videos]  # rounded up, so at least 1
    cell_height = max(factor * video.shape[1] for factor, video in zip(factors, videos, strict=True))
    cell_width = max(factor * video.shape[2] for factor, video in zip(factors, videos, strict=True))
    num_columns = min(num_columns, max(len(video) for video in videos))
    columns = [] if titles is None else [_title_column(titles, cell_height)]
    left = columns[0].shape[1] if columns else 0
    sheet = np.full(
        (
            len(videos) * (cell_height + _SEPARATOR) + _SEPARATOR,
            left + num_columns * (cell_width + _SEPARATOR) + _SEPARATOR,
            3,
        ),
        _BACKGROUND,
        dtype=np.uint8,
    )
    if columns:
        sheet[: columns[0].shape[0], :left] = columns[0]
    for row, (factor, video) in enumerate(zip(factors, videos, strict=True)):
        chosen = np.linspace(0, len(video) - 1, min(num_columns, len(video))).round().astype(int)
        for column, number in enumerate(chosen):
            frame = repeat(video[number], "h w c -> (h a) (w b) c", a=factor, b=factor)
            top = _SEPARATOR + row * (cell_height + _SEPARATOR)
            start = left + _SEPARATOR + column * (cell_width + _SEPARATOR)
            sheet[top : top + frame.shape[0], start : start + frame.shape[1]] = frame
    return sheet


def write_contact_sheet(
    path: Path,
    videos: Sequence[UInt8[np.ndarray, "t h w 3"]],
    num_columns: int = 8,
    titles: Sequence[str] | None = None,
) -> None:
    """Write `contact_sheet(...)` as a png, whole or not at all. Raises `UserError` for another suffix."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: a contact sheet is written as .png")
    sheet = contact_sheet(videos, num_columns, titles)
    with atomic_path(path) as partial:
        Image.fromarray(sheet).save(partial, format="PNG")


def _title_column(titles: Sequence[str], cell_height: int) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the titles black on white, each at the middle of its row."""
    font = ImageFont.load_default(_TITLE_PIXELS)
    width = 2 * _TITLE_MARGIN + max(int(font.getlength(title)) for title in titles)
    row_height = cell_height + _SEPARATOR
    image = Image.new("RGB", (width, len(titles) * row_height + _SEPARATOR), (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(image)
    for row, title in enumerate(titles):
        middle = _SEPARATOR + row * row_height + cell_height // 2
        draw.text((_TITLE_MARGIN, middle), title, fill=(0, 0, 0), font=font, anchor="lm")
    return np.array(image)
