"""Contact sheets: which frames, where, how large."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from longtake.core.errors import UserError
from longtake.video import contact_sheet, write_contact_sheet


def _flat_video(num_frames, height, width, first=0):
    """Frame k is flat grey of value first + k."""
    values = np.arange(first, first + num_frames, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (num_frames, height, width, 3))


def test_frames_are_evenly_spaced_and_rows_are_videos():
    sheet = contact_sheet([_flat_video(50, 128, 128), _flat_video(50, 128, 128, first=100)], num_columns=8)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 130 + 2, 8 * 130 + 2, 3)
    centres = [sheet[66 + 130 * row, 66 + 130 * column, 0] for row in range(2) for column in range(8)]
    assert centres == [0, 7, 14, 21, 28, 35, 42, 49, *range(100, 150, 7)]
    assert (sheet[:, 0] == 255).all()
    assert (sheet[130:132] == 255).all()


def test_small_frames_are_enlarged_by_a_whole_factor_without_smoothing():
    video = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)
    sheet = contact_sheet([video], num_columns=4)
    assert sheet.shape == (2 + 96 + 2, 2 + 4 * 130, 3)
    np.testing.assert_array_equal(sheet[2:98:2, 2:130:2], video[0])
    np.testing.assert_array_equal(sheet[3:98:2, 3:130:2], video[0])


def test_large_frames_stay_and_sizes_may_mix():
    sheet = contact_sheet([_flat_video(3, 200, 300), _flat_video(2, 64, 64, first=50)], num_columns=5)
    assert sheet.shape == (2 * 202 + 2, 3 * 302 + 2, 3)
    assert sheet[202 + 2 + 127, 2 + 127, 0] == 50
    assert sheet[202 + 2 + 128, 2 + 127, 0] == 255
    assert sheet[202 + 2 + 5, 302 + 2 + 5, 0] == 51
    assert sheet[202 + 2 + 5, 2 * 302 + 2 + 5, 0] == 255


def test_one_column_and_one_frame():
    assert contact_sheet([_flat_video(9, 128, 128)], num_columns=1)[60, 60, 0] == 0
    assert contact_sheet([_flat_video(1, 128, 128, first=7)])[60, 60, 0] == 7


def test_titles_stand_left_of_their_rows():
    videos = [_flat_video(4, 128, 128), _flat_video(4, 128, 128)]
    plain, titled = contact_sheet(videos), contact_sheet(videos, titles=["", "second row"])
    left = titled.shape[1] - plain.shape[1]
    assert left > 30
    np.testing.assert_array_equal(titled[:, left:], plain)
    assert (titled[:130, :left] == 255).all()
    assert (titled[130:, :left] < 100).any()


def test_written_as_png(tmp_path):
    video = _flat_video(16, 64, 64)
    write_contact_sheet(tmp_path / "new" / "sheet.png", [video], num_columns=4, titles=["grey"])
    np.testing.assert_array_equal(
        np.array(Image.open(tmp_path / "new" / "sheet.png")), contact_sheet([video], num_columns=4, titles=["grey"])
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sheet.png"]
    with pytest.raises(UserError, match=r"\.png"):
        write_contact_sheet(tmp_path / "sheet.jpg", [video])
    with pytest.raises(UserError, match="at least one video"):
        write_contact_sheet(tmp_path / "sheet.png", [])
