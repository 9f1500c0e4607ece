"""What overlapping clips become, how many of them a video takes, and that no more than one is held back."""

from __future__ import annotations

import pytest
import torch

from longtake.recall.stitching import clips_for, frames_of, stitch, stitched, windows


@pytest.mark.parametrize("length", [16, 17, 23, 24, 31, 32, 47, 48, 200])
def test_stitched_windows_give_the_video_back(length):
    video = torch.arange(length).view(length, 1, 1, 1).numpy()
    clips = [torch.tensor(window).permute(3, 0, 1, 2)[None] for window in windows(video, 8)]
    m = length // 8
    assert len(clips) == m - 1
    whole = torch.cat(list(stitched(iter(clips), 8)), dim=2).flatten()
    assert whole.tolist() == list(range(8 * m))
    assert frames_of(m - 1, 8) == 8 * m


@pytest.mark.parametrize("hop", [1, 8, 15])
def test_number_of_clips_is_the_least_that_reaches(hop):
    for length in range(1, 60):
        count = clips_for(length, hop)
        assert frames_of(count, hop) >= length
        assert count == 1 or frames_of(count - 1, hop) < length


def test_a_clip_is_passed_on_before_the_next_is_made():
    made = []

    def clips():
        for number in range(3):
            made.append(number)
            yield torch.full((1, 3, 16, 1, 1), float(number))

    pieces = stitched(clips(), 8)
    for number in range(3):
        assert next(pieces).unique().tolist() == [number]
        assert made == list(range(number + 1))
    assert [piece.unique().tolist() for piece in pieces] == [[2.0]]


def test_stitched_clip_is_the_first_half_of_one_and_of_the_other():
    first, second = torch.arange(16.0).view(1, 1, 16, 1, 1), 100 + torch.arange(16.0).view(1, 1, 16, 1, 1)
    assert stitch(first, second, 8).flatten().tolist() == [*range(8), *range(100, 108)]
    assert stitch(first, second, 15).flatten().tolist() == [*range(15), 100]
