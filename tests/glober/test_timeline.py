"""Which moments frames show: real time at any rate, slow motion, backwards; and one feature at any length."""

import numpy as np
import pytest
import torch

import longtake
from longtake.core.errors import UserError
from longtake.glober import sampling
from longtake.glober.timeline import Timeline, frames_that_fit


def psnr(first, second):
    return 10 * np.log10(255**2 / max(np.mean((first.astype(float) - second) ** 2), 1e-9))


def times(num_frames, span=64, fps=25.0, start=0, stop=None, **asked):
    timeline = Timeline.of(num_frames, span, fps, **asked)
    return timeline.times(timeline.frames(start, stop)).tolist()


@pytest.mark.parametrize(("step", "most"), [(1, 64), (0.5, 128), (2.5, 26), (64, 1), (1e12, 1)])
def test_frames_that_fit_into_the_span(step, most):
    assert frames_that_fit(64, step) == most


def test_moments_of_real_time_and_of_slow_motion():
    assert times(3) == [0, 1 / 64, 2 / 64]
    assert times(1024, stretch=True, start=500, stop=502) == [500 / 1024, 501 / 1024]
    assert times(2, stretch=True) == [0, 0.5]
    assert times(3, fps=25.0, speed=0.5) == [0, 0.5 / 64, 1 / 64]
    assert times(3, reverse=True) == [2 / 64, 1 / 64, 0]
    assert times(100, reverse=True, start=1, stop=3) == [98 / 64, 97 / 64]


def test_another_rate_shows_the_same_seconds():
    at = {fps: Timeline.of(None, 64, 25.0, fps=fps) for fps in (10.0, 25.0, 30.0, 50.0)}
    assert {fps: timeline.num_frames for fps, timeline in at.items()} == {10.0: 26, 25.0: 64, 30.0: 77, 50.0: 128}
    for fps, timeline in at.items():
        seconds = timeline.times(range(timeline.num_frames)).numpy() * 64 / 25
        np.testing.assert_allclose(seconds, np.arange(timeline.num_frames) / fps)
        timeline.check_within_span()
        with pytest.raises(UserError, match=f"give at most {timeline.num_frames}, or --stretch"):
            Timeline.of(timeline.num_frames + 1, 64, 25.0, fps=fps).check_within_span()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"fps": 0.0}, "fps must be above 0, not 0.0"),
        ({"fps": float("inf")}, "fps must be above 0, not inf"),
        ({"speed": -1.0}, "speed must be above 0, not -1.0"),
        ({"speed": 0.5, "stretch": True}, "--stretch and --speed 0.5 both say"),
        ({"fps": 12.5}, r"cannot make 8 frames in steps of 2: .* at most 4"),
    ],
)
def test_mistakes_are_told_at_the_call(glober, asked, message):
    with pytest.raises(UserError, match=message):
        glober.stream(8, **asked)


@pytest.mark.parametrize("endless", [False, True])
def test_backwards_is_the_video_reversed(build_glober, endless):
    pipe = build_glober(endless=endless, shared_noise=0.5)
    asked = {"num_frames": 25, "stretch": not endless, "label": 1, "chunk": 5}
    forwards, backwards = (np.concatenate(list(pipe.stream(**asked, reverse=reverse))) for reverse in (False, True))
    assert np.abs(forwards[::-1].astype(int) - backwards).max() <= 1
    part = np.concatenate(list(pipe.stream(**asked, reverse=True, start=3, stop=12)))
    assert np.abs(backwards[3:12].astype(int) - part).max() <= 1
    assert np.abs(forwards.astype(int) - backwards).max() > 5


def test_one_feature_at_16_64_and_256_frames_shows_the_same_at_equal_times(build_glober, monkeypatch):
    monkeypatch.setattr(sampling, "frame_noise", lambda shape, _seed, _video, frames: torch.ones(len(frames), *shape))
    pipe = build_glober()
    videos = {count: pipe(count, label=0, stretch=True, num_inference_steps=2).frames for count in (16, 64, 256)}
    assert np.abs(videos[16].astype(int) - videos[64][::4]).max() <= 1
    assert np.abs(videos[64].astype(int) - videos[256][::4]).max() <= 1
    assert np.abs(videos[16][0].astype(int) - videos[16][10]).max() > 1


def test_a_trained_feature_at_16_64_and_256_frames_shows_the_same_at_equal_times():
    """Each frame with the noise of its own number; equal moments agree to 39 to 48 dB, the next of 16 frames to 22."""
    pipe = longtake.load("glober-weizmann", device="cpu")
    feature, context = pipe.sample_feature(0), pipe.encode_condition(0)

    def frame(number, count):
        noise = sampling.shared_frame_noise((4, 16, 16), 0, 0, [number], pipe.config.shared_noise)
        return pipe.render(feature, torch.tensor([number / count]), noise, context)

    assert psnr(frame(8, 16), frame(32, 64)) > 36
    assert psnr(frame(8, 16), frame(128, 256)) > 36
    assert psnr(frame(8, 16), frame(10, 16)) < 30
