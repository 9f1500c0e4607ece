"""Which clips are drawn."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from toy_evaluation import write_bars

from longtake.metrics.evaluation.clip_list import ClipRule, draw_clips
from longtake.metrics.evaluation.evaluation import no_progress
from longtake.metrics.evaluation.videos import open_folder

RULE = ClipRule(frames=4, stride=2, start="random", trials=1, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return open_folder(write_bars(tmp_path_factory.mktemp("bars"), range(40), num_frames=12), no_progress)


def test_clips_lie_in_their_videos_and_every_start_occurs(folder):
    clips = draw_clips(folder, RULE, None).trials[0]
    assert [clip.file for clip in clips] == [folder.name(video) for video in folder.videos]
    assert {clip.start for clip in clips} == set(range(12 - 6))
    np.testing.assert_array_equal(clips[0].indices, clips[0].start + np.array([0, 2, 4, 6]))


def test_a_part_is_drawn_from_all_not_from_the_first(folder):
    files = [clip.file for clip in draw_clips(folder, RULE, 10).trials[0]]
    names = [folder.name(video) for video in folder.videos]
    assert files == sorted(set(files), key=names.index)
    assert files != names[:10]
    assert max(map(names.index, files)) > 20
    other = draw_clips(folder, ClipRule(4, 2, "random", 1, seed=1), 10).trials[0]
    assert [clip.file for clip in other] != files


def test_list_is_the_same_wherever_the_folder_lies(folder, tmp_path):
    shutil.copytree(folder.root, tmp_path / "copy")
    copy = draw_clips(open_folder(tmp_path / "copy", no_progress), RULE, 10)
    assert copy.sha256 == draw_clips(folder, RULE, 10).sha256
    assert copy.sha256 != draw_clips(folder, RULE, 11).sha256


def test_fixed_starts(folder):
    first = draw_clips(folder, ClipRule(4, 1, "first", 1, 0), None).trials[0]
    centre = draw_clips(folder, ClipRule(4, 1, "centre", 1, 0), None).trials[0]
    assert {clip.start for clip in first} == {0}
    assert {clip.start for clip in centre} == {12 // 2 - 2}  # as G3AN: n // 2 - 8 for 16 frames


def test_trials_are_drawn_anew(folder):
    trials = draw_clips(folder, ClipRule(4, 1, "random", 3, 0), 10).trials
    assert len({tuple(clip.file for clip in trial) for trial in trials}) == 3
