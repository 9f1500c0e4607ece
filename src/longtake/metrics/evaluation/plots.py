"""Line plots with axes, drawn with Pillow: a report needs no plotting library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 110, 40, 60, 80  # margins
SCALE = 2  # drawn larger and shrunk: Pillow's lines are not smooth
FONT_SIZE, TITLE_SIZE = 18, 22
MOST_TICKS = 7
BAR = 16  # width of the band around a single point
MARKED = 40  # with more points than this, marks would hide the line

BLACK, GREY, LIGHT = (20, 20, 20), (110, 110, 110), (225, 225, 225)
BLUE, PALE_BLUE = (31, 96, 168), (200, 219, 239)


@dataclass(frozen=True)
class Line:
    """A line, and the band around it.

    Attributes:
        x: places, ascending.
        y: values.
        bounds: low and high at each place; None: no band.
        meaning: what the band is.
    """

    x: Sequence[float]
    y: Sequence[float]
    bounds: Sequence[tuple[float, float]] | None = None
    meaning: str = "95 % interval over videos"


def draw_plot(line: Line, *, title: str, x_label: str) -> Image.Image:
    """Draw one line with its band, on axes with round ticks."""
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    draw = ImageDraw.Draw(image)
    values = [*line.y, *(bound for pair in line.bounds or () for bound in pair)]
    x_ticks, y_ticks = whole_ticks(min(line.x), max(line.x)), ticks(min(values), max(values))
    margin = 0.5 if len(line.x) == 1 else 0  # a single point stands in the middle
    to_x = axis(min(line.x[0], x_ticks[0]) - margin, max(line.x[-1], x_ticks[-1]) + margin, LEFT, WIDTH - RIGHT)
    to_y = axis(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    write = writer(draw)

    if line.bounds is not None:
        lows = [(to_x(x), to_y(low)) for x, (low, _) in zip(line.x, line.bounds, strict=True)]
        highs = [(to_x(x), to_y(high)) for x, (_, high) in zip(line.x, line.bounds, strict=True)]
        if len(lows) > 1:
            draw.polygon([*lows, *reversed(highs)], fill=PALE_BLUE)
        else:
            draw.line([*lows, *highs], fill=PALE_BLUE, width=BAR * SCALE)
        write(WIDTH - RIGHT, HEIGHT - 22, f"band: {line.meaning}", GREY, "rm", FONT_SIZE)
    draw_axes(draw, x_ticks, y_ticks, to_x, to_y)
    points = [(to_x(x), to_y(y)) for x, y in zip(line.x, line.y, strict=True)]
    draw.line(points, fill=BLUE, width=2 * SCALE, joint="curve")
    if len(points) <= MARKED:
        for x, y in points:
            draw.ellipse((x - 4 * SCALE, y - 4 * SCALE, x + 4 * SCALE, y + 4 * SCALE), fill=BLUE)

    write((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 22, x_label, GREY, "mm", FONT_SIZE)
    write(LEFT, 28, title, BLACK, "lm", TITLE_SIZE)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def draw_axes(
    draw: ImageDraw.ImageDraw,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    to_x: Callable[[float], float],
    to_y: Callable[[float], float],
) -> None:
    """Draw the grid and its numbers."""
    write = writer(draw)
    for tick in y_ticks:
        y = to_y(tick)
        draw.line((LEFT * SCALE, y, (WIDTH - RIGHT) * SCALE, y), fill=LIGHT, width=SCALE)
        write(LEFT - 12, round(y / SCALE), f"{tick:g}", GREY, "rm", FONT_SIZE)
    for tick in x_ticks:
        x = to_x(tick)
        draw.line((x, (HEIGHT - BOTTOM) * SCALE, x, (HEIGHT - BOTTOM + 6) * SCALE), fill=GREY, width=SCALE)
        write(round(x / SCALE), HEIGHT - BOTTOM + 20, f"{tick:g}", GREY, "mm", FONT_SIZE)
    draw.line(
        [
            (LEFT * SCALE, TOP * SCALE),
            (LEFT * SCALE, (HEIGHT - BOTTOM) * SCALE),
            ((WIDTH - RIGHT) * SCALE, (HEIGHT - BOTTOM) * SCALE),
        ],
        fill=GREY,
        width=SCALE,
    )


def writer(draw: ImageDraw.ImageDraw) -> Callable[[int, int, str, tuple[int, int, int], str, int], None]:
    """Return a function that writes text at a place of the small picture."""

    def write(x: int, y: int, text: str, colour: tuple[int, int, int], anchor: str, size: int) -> None:
        font = ImageFont.load_default(size * SCALE)
        draw.text((x * SCALE, y * SCALE), text, fill=colour, font=font, anchor=anchor)

    return write


def axis(low: float, high: float, start: int, stop: int) -> Callable[[float], float]:
    """Return the map from values in low .. high to pixels of the large picture."""
    span = high - low or 1.0
    return lambda value: SCALE * (start + (stop - start) * (value - low) / span)


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers, evenly apart, that enclose low .. high."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    step = round_step((high - low) / (MOST_TICKS - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def whole_ticks(low: float, high: float) -> list[float]:
    """Return round whole numbers in low .. high."""
    step = max(1, math.ceil(round_step((high - low) / MOST_TICKS or 1.0)))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low]


def round_step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
