import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.core.errors import UserError
from longtake.data.clips import (
    centre_clip,
    clip_at,
    clip_indices,
    clip_span,
    frame_spacing,
    reflect,
    shortest_video,
)
from longtake.data.config import AugmentConfig, ClipConfig

clip_configs = st.one_of(
    st.builds(ClipConfig, num_frames=st.integers(1, 40), mode=st.sampled_from(["contiguous", "uniform"])),
    st.builds(ClipConfig, num_frames=st.integers(1, 40), mode=st.just("step"), step=st.integers(1, 9)),
)


@given(clip=clip_configs, extra=st.integers(0, 300), seed=st.integers(0, 2**32))
def test_indices_are_distinct_ascending_and_inside_the_video(clip, extra, seed):
    num_video_frames = clip_span(clip) + extra
    for indices in (
        clip_indices(num_video_frames, clip, np.random.default_rng(seed)),
        centre_clip(num_video_frames, clip),
    ):
        assert len(indices) == clip.num_frames
        assert indices[0] >= 0
        assert indices[-1] < num_video_frames
        steps = np.diff(indices)
        if clip.mode == "uniform":
            assert (steps >= 1).all()
            assert np.ptp(steps) <= 1 if len(steps) else True
        else:
            assert (steps == clip.step).all()


@given(clip=clip_configs, missing=st.integers(1, 50))
def test_a_video_shorter_than_the_span_is_refused(clip, missing):
    with pytest.raises(UserError, match="too short"):
        clip_indices(clip_span(clip) - missing, clip, np.random.default_rng(0))


def test_every_start_that_fits_is_drawn_and_no_other():
    clip = ClipConfig(num_frames=3, mode="step", step=2)
    rng = np.random.default_rng(0)
    starts = {int(clip_indices(9, clip, rng)[0]) for _ in range(200)}
    assert starts == {0, 1, 2, 3, 4}  # the last one ends at frame 8


def test_clips_by_value():
    step = ClipConfig(num_frames=4, mode="step", step=3)
    assert clip_span(step) == 10
    assert clip_at(12, step, 2).tolist() == [2, 5, 8, 11]
    assert centre_clip(12, step).tolist() == [1, 4, 7, 10]
    assert centre_clip(20, ClipConfig(num_frames=4)).tolist() == [8, 9, 10, 11]
    uniform = ClipConfig(num_frames=5, mode="uniform")
    assert clip_indices(9, uniform, np.random.default_rng(0)).tolist() == [0, 2, 4, 6, 8]
    assert clip_indices(100, uniform, np.random.default_rng(0)).tolist() == [0, 25, 50, 74, 99]
    assert frame_spacing(np.array([0, 25, 50, 74, 99])) == 24.75
    assert frame_spacing(np.array([7])) == 1


def test_a_start_outside_the_video_is_refused():
    with pytest.raises(UserError, match="clip start is 5; in a video of 20 frames it is 0 to 4"):
        clip_at(20, ClipConfig(num_frames=16), 5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": 0}, "num_frames is 0"),
        ({"size": -1}, "size is -1"),
        ({"mode": "step", "step": 0}, "step is 0"),
        ({"step": 2}, "mode 'contiguous' takes none"),
        ({"mode": "unifrom"}, "did you mean 'uniform'"),
    ],
)
def test_impossible_clip_configs_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        ClipConfig(**fields)


@pytest.mark.parametrize("field", ["zoom", "shift", "colour"])
def test_impossible_augment_configs_are_refused(field):
    with pytest.raises(UserError, match=f"augment {field} is 1.5"):
        AugmentConfig(**{field: 1.5})


def test_short_videos_reflect_by_value():
    clip = ClipConfig(num_frames=8, short_videos="reflect")
    rng = np.random.default_rng(0)
    assert clip_indices(4, clip, rng).tolist() == [0, 1, 2, 3, 2, 1, 0, 1]
    assert clip_indices(7, clip, rng).tolist() == [0, 1, 2, 3, 4, 5, 6, 5]
    assert clip_indices(2, clip, rng).tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert clip_indices(1, clip, rng).tolist() == [0] * 8  # a single frame stands still
    assert centre_clip(4, clip).tolist() == [0, 1, 2, 3, 2, 1, 0, 1]
    step = ClipConfig(num_frames=5, mode="step", step=2, short_videos="reflect")
    assert clip_at(6, step, 0).tolist() == [0, 2, 4, 4, 2]  # 0 1 2 3 4 5 4 3 2, every second one
    with pytest.raises(UserError, match="clip start is 1; in a video of 4 frames it is 0 to 0"):
        clip_at(4, clip, 1)


def test_reflection_against_a_walk_between_the_ends():
    for num_frames in range(2, 9):
        walk, step = [0], 1
        while len(walk) < 30:
            if not 0 <= walk[-1] + step < num_frames:
                step = -step
            walk.append(walk[-1] + step)
        assert reflect(np.arange(30), num_frames).tolist() == walk


@given(clip=clip_configs, extra=st.integers(0, 100), seed=st.integers(0, 2**32))
def test_reflection_leaves_videos_that_are_long_enough_alone(clip, extra, seed):
    reflecting = dataclasses.replace(clip, short_videos="reflect")
    indices = [
        clip_indices(clip_span(clip) + extra, each, np.random.default_rng(seed)).tolist() for each in (clip, reflecting)
    ]
    assert indices[0] == indices[1]


def test_the_shortest_video_that_is_used():
    assert shortest_video(ClipConfig(num_frames=8)) == 8
    assert shortest_video(ClipConfig(num_frames=8, short_videos="reflect")) == 1
    # spread evenly over fewer frames than it has, a clip could only repeat some
    uniform = ClipConfig(num_frames=8, mode="uniform", short_videos="reflect")
    assert shortest_video(uniform) == 8
    with pytest.raises(UserError, match="too short"):
        clip_indices(7, uniform, np.random.default_rng(0))
    with pytest.raises(UserError, match="unknown short_videos 'reflct'; did you mean 'reflect'"):
        ClipConfig(short_videos="reflct")


def test_frame_spacing_is_the_mean_distance_either_way():
    assert frame_spacing(np.array([0, 1, 2, 3])) == 1
    assert frame_spacing(np.array([3, 6, 9])) == 3
    assert frame_spacing(np.array([0, 1, 2, 1, 0])) == 1  # backwards is no slower
    assert frame_spacing(np.array([0, 2, 4, 4, 2])) == 1.5
    assert frame_spacing(np.array([4, 4, 4])) == 1  # a video of one frame keeps its rate
