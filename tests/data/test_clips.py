import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtake.core.errors import UserError
from longtake.data.clips import centre_clip, clip_at, clip_indices, clip_span, frame_spacing
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
