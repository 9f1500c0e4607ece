"""Curves as small SVG pictures, which take their colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from longtake.metrics.evaluation.plots import ticks

WIDTH, HEIGHT = 320, 140
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 20
MOST_POINTS = 300


def curve_svg(title: str, points: Sequence[tuple[int, float]]) -> str:
    """Return a figure of one curve of (step, value), with its last value in the caption; long ones are thinned."""
    shown = thinned(points)
    levels = ticks(min(value for _, value in shown), max(value for _, value in shown))
    first, last = shown[0][0], shown[-1][0]

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / max(1, last - first)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - levels[0]) / (levels[-1] - levels[0])

    path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in shown)
    grid = "".join(
        f'<path class="grid" d="M{LEFT} {y(level):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{y(level) + 3:.1f}" text-anchor="end">{level:.3g}</text>'
        for level in levels[:: max(1, math.ceil((len(levels) - 1) / 3))]
    )
    return (
        f"<figure><figcaption><span>{escape(title)}</span><b>{points[-1][1]:.4g}</b></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over steps {first} to {last}">'
        f'{grid}<polyline points="{path}"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 5}">{first}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">step {last}</text></svg></figure>'
    )


def thinned(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `most` points: means of neighbours where there are more."""
    edges = [round(number * len(points) / most) for number in range(most + 1)] if len(points) > most else None
    if edges is None:
        return list(points)
    parts = [points[start:stop] for start, stop in pairwise(edges)]
    return [(sum(step for step, _ in part) / len(part), sum(value for _, value in part) / len(part)) for part in parts]
