"""Plots: round ticks that enclose the data, and a line where the data are."""

from __future__ import annotations

import numpy as np
import pytest

from longtake.metrics.evaluation.plots import BLUE, HEIGHT, PALE_BLUE, WIDTH, Line, draw_plot, ticks, whole_ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3, 47, [0, 10, 20, 30, 40, 50]),
        (-0.3, 0.2, [-0.3, -0.2, -0.1, 0, 0.1, 0.2]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0, 5, -3e-7, 1e9])
def test_equal_values_have_ticks_around_them(value):
    found = ticks(value, value)
    assert found[0] < value < found[-1]
    assert 2 <= len(found) <= 12


def test_places_have_whole_ticks():
    assert whole_ticks(0, 3) == [0, 1, 2, 3]
    assert whole_ticks(0, 63) == [0, 10, 20, 30, 40, 50, 60]
    assert whole_ticks(4, 4) == [4]


def pixels_like(image, colour):
    """Rows and columns of pixels close to a colour."""
    return np.nonzero(np.abs(np.asarray(image, np.int64) - colour).max(axis=-1) < 12)


def test_line_and_band_stand_where_the_values_are():
    rising = Line(range(10), [float(x) for x in range(10)], [(x - 2.0, x + 2.0) for x in range(10)])
    image = draw_plot(rising, title="a rising line", x_label="frame")
    assert image.size == (WIDTH, HEIGHT)
    rows, columns = pixels_like(image, BLUE)
    assert np.corrcoef(rows, columns)[0, 1] < -0.99  # up and to the right
    band_rows, _ = pixels_like(image, PALE_BLUE)
    assert band_rows.min() < rows.min()
    assert band_rows.max() > rows.max()


def test_one_place_and_many_places():
    assert len(pixels_like(draw_plot(Line([0], [1.0]), title="x", x_label="t"), BLUE)[0]) > 20
    many = Line(range(1024), np.sin(np.arange(1024) / 50).tolist())
    assert len(pixels_like(draw_plot(many, title="x", x_label="t"), BLUE)[0]) > 1000


def test_a_single_point_stands_in_the_middle_of_its_interval():
    image = draw_plot(Line([1], [0.5], [(0.2, 0.9)]), title="cosines", x_label="lag")
    rows, columns = pixels_like(image, BLUE)
    assert columns.mean() == pytest.approx(pixels_like(image, PALE_BLUE)[1].mean(), abs=2)
    assert columns.min() > WIDTH // 3
    assert columns.max() < 2 * WIDTH // 3
    band = pixels_like(image, PALE_BLUE)[0]
    assert band.min() < rows.min()
    assert rows.max() < band.max()
