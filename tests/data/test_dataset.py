import logging
import pickle

import numpy as np
import pytest

from longtake.core.errors import UserError
from longtake.data import dataset as dataset_module
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import DECODE_TRIES, ClipDataset
from longtake.data.index import index_folder
from longtake.data.transforms import augment, resize_and_crop
from longtake.video import VideoError, VideoReader

CLIP = ClipConfig(num_frames=4, size=8)
NO_CHANGE = AugmentConfig()


@pytest.fixture
def index(make_folder):
    return index_folder(make_folder({f"{'pq'[number % 2]}/{number}.npy": 10 + number for number in range(5)}))


@pytest.fixture
def opened(monkeypatch):
    """The files the dataset opens, in order."""
    paths = []

    class CountingReader(VideoReader):
        def __init__(self, path):
            paths.append(path)
            super().__init__(path)

    monkeypatch.setattr(dataset_module, "VideoReader", CountingReader)
    return paths


def same(a, b):
    return a.source == b.source and np.array_equal(a.frames, b.frames)


def test_every_epoch_shows_every_video_once_in_its_own_order(index):
    dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0)
    assert len(dataset) == 5
    epochs = [[dataset.video_at(5 * epoch + place) for place in range(5)] for epoch in range(20)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in epochs)
    assert len({tuple(order) for order in epochs}) > 10


def test_a_clip_is_what_the_file_holds_at_the_place_it_names(index):
    dataset = ClipDataset(index, ClipConfig(num_frames=4, mode="step", step=2, size=8), NO_CHANGE, seed=0)
    for position in range(15):
        clip = dataset[position]
        entry = dataset.entries[dataset.video_at(position)]
        start = clip.source.start
        assert np.array_equal(clip.frames, np.load(entry.path)[start : start + 8 : 2])
        assert clip.source.path == str(entry.path)
        assert clip.source.label == entry.label == int(entry.path.stem) % 2
        assert clip.source.fps == entry.info.fps / 2


def test_uniform_clips_state_their_mean_rate(index):
    dataset = ClipDataset(index, ClipConfig(num_frames=4, mode="uniform", size=8), NO_CHANGE, seed=0)
    clip = dataset[0]
    entry = dataset.entries[dataset.video_at(0)]
    assert clip.source.fps == pytest.approx(entry.info.fps * 3 / (entry.info.num_frames - 1))
    assert clip.frames[0, 0, 0, 1] == 0
    assert clip.frames[-1, 0, 0, 1] == entry.info.num_frames - 1


def test_a_position_gives_the_same_clip_whatever_was_asked_before_and_however_it_is_read(index):
    augment = AugmentConfig(mirror=True, zoom=0.2, shift=0.1, colour=0.2)
    cached = ClipDataset(index, CLIP, augment, seed=3)
    clips = [cached[position] for position in range(20)]
    direct = ClipDataset(index, CLIP, augment, seed=3, cache_bytes=0)
    copy = pickle.loads(pickle.dumps(cached))  # noqa: S301 our own bytes
    for position in reversed(range(20)):
        assert same(clips[position], direct[position])
        assert same(clips[position], copy[position])
    other_seed = ClipDataset(index, CLIP, augment, seed=4)
    assert not all(same(clips[position], other_seed[position]) for position in range(20))


def test_clips_of_one_video_differ_between_epochs(make_folder):
    dataset = ClipDataset(index_folder(make_folder({"a.npy": 60})), CLIP, NO_CHANGE, seed=0)
    assert len({dataset[position].source.start for position in range(30)}) > 10


def test_a_set_that_fits_in_memory_is_decoded_once(index, opened):
    dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0)
    for position in range(25):
        dataset[position]
    assert sorted(opened) == sorted(entry.path for entry in index.entries)
    assert len(pickle.dumps(dataset)) < 5000  # the cache stays behind


def test_the_cache_keeps_within_its_bytes(index, opened):
    frame = 8 * 8 * 3
    dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0, cache_bytes=25 * frame)  # two of lengths 10 to 14
    for position in range(5):
        dataset[position]
    opened.clear()
    for position in range(5, 10):
        dataset[position]
    assert 3 <= len(opened) <= 4
    assert sum(frames.nbytes for frames in dataset._cache.values()) <= 25 * frame


def test_whole_videos_are_resized_and_cannot_be_written_to_by_accident(make_folder, opened):
    root = make_folder({"a.npy": 6}, height=12, width=20)
    dataset = ClipDataset(index_folder(root), CLIP, NO_CHANGE, seed=0)
    video = dataset.video(0)
    assert np.array_equal(video, resize_and_crop(np.load(root / "a.npy"), 8))
    assert dataset.video(0) is video
    assert len(opened) == 1
    with pytest.raises(ValueError, match="read-only"):
        video[0] = 0
    dataset[0].frames[0] = 0  # clips are the caller's own


def test_short_videos_are_listed_and_logged_once(make_folder, caplog):
    index = index_folder(make_folder({"a.npy": 3, "b.npy": 4, "c.npy": 2}))
    with caplog.at_level(logging.WARNING):
        dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0)
    assert [bad.path.name for bad in dataset.too_short] == ["a.npy", "c.npy"]
    assert [entry.path.name for entry in dataset.entries] == ["b.npy"]
    assert len(caplog.records) == 1
    assert "left out 2 videos" in caplog.text


def test_no_usable_video_is_an_error_that_names_one(make_folder):
    index = index_folder(make_folder({"a.npy": 3, "b.npy": 2}))
    with pytest.raises(UserError, match=r"no usable video in .*2 left out, such as .*a\.npy: too short: 3 frames"):
        ClipDataset(index, CLIP, NO_CHANGE, seed=0)


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_a_broken_video_is_tried_a_few_times_then_named(index, opened, cut_short, cache_bytes):
    dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0, cache_bytes=cache_bytes)
    broken = dataset.entries[dataset.video_at(0)].path
    cut_short(broken)
    with pytest.raises(VideoError, match=broken.name):
        dataset[0]
    assert opened == [broken] * DECODE_TRIES


def test_a_video_that_fails_once_is_read_at_the_second_try(index, monkeypatch):
    dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0)
    expected = ClipDataset(index, CLIP, NO_CHANGE, seed=0)[0]
    failures = [VideoError("a.npy: drive not ready")]

    class FlakyReader(VideoReader):
        def __init__(self, path):
            if failures:
                raise failures.pop()
            super().__init__(path)

    monkeypatch.setattr(dataset_module, "VideoReader", FlakyReader)
    assert same(dataset[0], expected)


def test_a_video_that_changed_its_length_is_an_error(index):
    dataset = ClipDataset(index, CLIP, NO_CHANGE, seed=0)
    path = dataset.entries[0].path
    np.save(path, np.load(path)[:-1])
    with pytest.raises(VideoError, match="9 frames where 10 were announced"):
        dataset.video(0)


def test_choose_says_what_sample_shows(index):
    augment_config = AugmentConfig(mirror=True, reverse=True, zoom=0.2, colour=0.2)
    dataset = ClipDataset(index, CLIP, augment_config, seed=5)
    for position in range(12):
        for substitute in (0, 1):
            video, indices, rng = dataset.choose(position, substitute)
            clip = dataset.sample(position, substitute)
            assert video == dataset.video_at(position, substitute)
            assert clip.source.path == str(dataset.entries[video].path)
            assert clip.source.start == indices[0]
            # the generator stands where augmentation takes over
            assert np.array_equal(clip.frames, augment(dataset.video(video)[indices], augment_config, rng))


def test_reflection_keeps_short_videos(make_folder, caplog):
    index = index_folder(make_folder({"a.npy": 3, "b.npy": 9, "c.npy": 1}))
    clip = ClipConfig(num_frames=6, size=8, short_videos="reflect")
    with caplog.at_level(logging.WARNING):
        dataset = ClipDataset(index, clip, NO_CHANGE, seed=0)
    assert dataset.too_short == ()
    assert not caplog.records
    shown = {}
    for position in range(9):
        clip = dataset[position]
        shown.setdefault(clip.source.path[-5], []).append((clip.frames[:, 0, 0, 1].tolist(), clip.source.fps))
    fps = index.entries[0].info.fps
    assert shown["a"] == [([0, 1, 2, 1, 0, 1], fps)] * 3
    assert [frames for frames, _ in shown["c"]] == [[0] * 6] * 3
    for frames, rate in shown["b"]:
        assert frames == list(range(frames[0], frames[0] + 6))
        assert rate == fps
