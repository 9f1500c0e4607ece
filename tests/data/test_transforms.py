import numpy as np
import pytest
import torch
from PIL import Image

from longtake.data.config import AugmentConfig
from longtake.data.transforms import augment, resize_and_crop, to_frames, to_video


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def still(frames):
    """A clip whose frames are all the same, so that whatever differs after augmentation is a difference of frames."""
    return np.repeat(frames[:1], 6, axis=0)


def test_frames_of_the_right_size_come_back_unchanged(frames):
    assert np.array_equal(resize_and_crop(frames, 16), frames)


@pytest.mark.parametrize("turned", [False, True])
def test_crop_takes_the_centre(turned):
    wide = np.random.default_rng(0).integers(0, 256, (3, 10, 17, 3), dtype=np.uint8)
    expected = wide[:, :, 3:13]  # 7 columns too many: 3 off the left, 4 off the right
    if turned:
        wide, expected = wide.transpose(0, 2, 1, 3), expected.transpose(0, 2, 1, 3)
    assert np.array_equal(resize_and_crop(wide, 10), expected)


def test_resize_is_bicubic_with_antialiasing_of_the_cropped_square():
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    square = torch.from_numpy(frames[:, :, 10:50]).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(square, (12, 12), mode="bicubic", antialias=True)
    result = torch.from_numpy(resize_and_crop(frames, 12)).permute(0, 3, 1, 2).float()
    assert (result - expected.clamp(0, 255)).abs().max() <= 1.5  # Pillow rounds to bytes between its two passes


def test_range_of_to_video_and_exact_round_trip():
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    video = to_video(frames)
    assert video.shape == (3, 1, 16, 16)
    assert video.is_contiguous()
    assert video.min() == -1
    assert video.max() == 1
    assert np.array_equal(to_frames(video), frames)
    assert to_frames(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).expand(3, 1, 1, 5))[0, 0, :, 0].tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_to_video_puts_channels_first(frames):
    video = to_video(frames[None])
    assert video.shape == (1, 3, 5, 16, 16)
    assert video[0, 2, 3, 4, 5] == pytest.approx(frames[3, 4, 5, 2] / 127.5 - 1, abs=1e-6)


def test_no_augmentation_changes_nothing(frames):
    for seed in range(10):
        assert np.array_equal(augment(frames, AugmentConfig(), np.random.default_rng(seed)), frames)


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(mirror=True),
        AugmentConfig(zoom=0.3),
        AugmentConfig(shift=0.2),
        AugmentConfig(colour=0.3),
        AugmentConfig(mirror=True, zoom=0.3, shift=0.2, colour=0.3),
    ],
)
def test_augmentation_is_the_same_for_all_frames_and_differs_between_clips(still, config):
    results = [augment(still, config, np.random.default_rng(seed)) for seed in range(12)]
    for result in results:
        assert result.shape == still.shape
        assert (result == result[:1]).all()
    assert len({result.tobytes() for result in results}) >= 2
    assert np.array_equal(results[0], augment(still, config, np.random.default_rng(0)))


def test_mirror_flips_half_of_the_clips(frames):
    flipped = 0
    for seed in range(200):
        result = augment(frames, AugmentConfig(mirror=True), np.random.default_rng(seed))
        assert np.array_equal(result, frames) or np.array_equal(result, frames[:, :, ::-1])
        flipped += np.array_equal(result, frames[:, :, ::-1])
    assert 75 <= flipped <= 125


def test_shift_moves_by_whole_pixels_and_repeats_the_edge(frames):
    seen = set()
    padded = np.pad(frames, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    for seed in range(300):
        result = augment(frames, AugmentConfig(shift=0.25), np.random.default_rng(seed))
        moves = [
            (down, right)
            for down in range(-4, 5)
            for right in range(-4, 5)
            if np.array_equal(result, padded[:, 4 - down : 20 - down, 4 - right : 20 - right])
        ]
        assert len(moves) == 1
        seen.update(moves)
    assert {down for down, _ in seen} == {right for _, right in seen} == set(range(-4, 5))


def test_zoom_cuts_a_square_inside_the_frame_and_enlarges_it():
    ramp = np.broadcast_to(np.linspace(50, 200, 64)[None, None, :, None], (1, 64, 64, 3)).round().astype(np.uint8)
    for seed in range(50):
        row = augment(ramp, AugmentConfig(zoom=0.5), np.random.default_rng(seed))[0, 32, :, 0].astype(float)
        assert row.min() >= 49
        assert row.max() <= 201
        slope = (row[56] - row[8]) / 48 / (150 / 63)
        assert 0.48 <= slope <= 1.02  # a square of scale s makes a ramp s times as steep


def test_zoom_of_exactly_nothing_keeps_the_picture(frames):
    class FullScale:
        def random(self, size):
            return np.zeros(size)

        def uniform(self, low, high, size):
            return np.zeros(size)

    assert np.array_equal(augment(frames, AugmentConfig(zoom=0.5, shift=0.5, colour=0.5), FullScale()), frames)


def test_colour_against_the_three_steps_one_by_one(frames):
    class Fixed:
        def random(self, size):
            return np.ones(size)

        def uniform(self, low, high, size):
            return np.array([0.0, 0.0, 0.5, -0.5, 1.0])  # brightness 1.05, contrast 0.95, saturation 1.1

    dim = (frames // 4 + 90).astype(np.uint8)  # far from both ends, so that nothing is clipped
    bright = dim * 1.05
    luma = np.array([0.299, 0.587, 0.114])
    mean = (bright @ luma).mean()
    contrasted = (bright - mean) * 0.95 + mean
    grey = (contrasted @ luma)[..., None]
    expected = grey + (contrasted - grey) * 1.1
    result = augment(dim, AugmentConfig(colour=0.1), Fixed())
    assert np.abs(result - expected).max() <= 0.51


def test_resize_agrees_with_pillow_frame_by_frame(frames):
    expected = np.asarray(Image.fromarray(frames[3]).resize((9, 9), Image.Resampling.BICUBIC))
    assert np.array_equal(resize_and_crop(frames, 9)[3], expected)


def test_reverse_plays_half_of_the_clips_backwards(frames):
    backwards = 0
    for seed in range(200):
        result = augment(frames, AugmentConfig(reverse=True), np.random.default_rng(seed))
        assert np.array_equal(result, frames) or np.array_equal(result, frames[::-1])
        assert result.flags.c_contiguous
        backwards += np.array_equal(result, frames[::-1])
    assert 75 <= backwards <= 125


def test_reverse_leaves_all_other_changes_as_they_were(frames):
    others = {"mirror": True, "zoom": 0.3, "shift": 0.2, "colour": 0.3}
    seen = set()
    for seed in range(40):
        forwards = augment(frames, AugmentConfig(**others), np.random.default_rng(seed))
        result = augment(frames, AugmentConfig(**others, reverse=True), np.random.default_rng(seed))
        is_reversed = not np.array_equal(result, forwards)
        assert np.array_equal(result, forwards[::-1] if is_reversed else forwards)
        seen.add((is_reversed, np.array_equal(forwards, augment(frames, AugmentConfig(), np.random.default_rng(seed)))))
    assert {is_reversed for is_reversed, _ in seen} == {True, False}


def test_reverse_and_mirror_are_drawn_apart(frames):
    kinds = []
    for seed in range(400):
        result = augment(frames, AugmentConfig(mirror=True, reverse=True), np.random.default_rng(seed))
        kinds += [
            name
            for name, expected in {
                "neither": frames,
                "mirrored": frames[:, :, ::-1],
                "reversed": frames[::-1],
                "both": frames[::-1, :, ::-1],
            }.items()
            if np.array_equal(result, expected)
        ]
    assert len(kinds) == 400
    assert all(70 <= kinds.count(kind) <= 130 for kind in set(kinds))
    assert len(set(kinds)) == 4


@pytest.mark.filterwarnings("error")
def test_to_video_takes_frames_that_must_not_be_written_to(frames):
    frames.flags.writeable = False
    video = to_video(frames)
    video.zero_()
    assert frames.any()
