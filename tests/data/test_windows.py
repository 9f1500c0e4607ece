"""Windows, sequences and the samplers of short clips that the recall papers train on."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtake.core.errors import UserError
from longtake.data.clips import centre_clip, clip_at, clip_indices, window_starts
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import index_folder
from longtake.data.loading import clip_batches
from longtake.data.windows import SequenceDataset, split_windows

NO_CHANGE = AugmentConfig()
WINDOW_16 = ClipConfig(mode="windows", num_frames=16, stride=8, size=8)
WINDOW_24 = ClipConfig(mode="windows", num_frames=24, stride=8, size=8)


def count(num_video_frames, clip):
    return len(window_starts(num_video_frames, clip))


def test_published_counts_of_windows():
    """Table 4.1 of the thesis: subject D, videos of 272 and 392 frames, has 81 windows of 16 frames."""
    assert count(272, WINDOW_16) + count(392, WINDOW_16) == 81
    assert window_starts(272, WINDOW_16).tolist() == list(range(0, 257, 8))
    # 31 videos with 926 windows of 16 frames have 895 of 24: 12 batches of 3 x 25 and 9 of 2 x 50, as in Table 5.4
    lengths = [240] * 30 + [456]
    assert sum(lengths) == 7656
    assert sum(count(length, WINDOW_16) for length in lengths) == 926
    windows = sum(count(length, WINDOW_24) for length in lengths)
    assert windows == 895
    assert (-(-windows // 75), -(-windows // 100)) == (12, 9)


@given(length=st.integers(1, 200), num_frames=st.integers(1, 40), stride=st.integers(1, 20))
def test_windows_against_trying_every_start(length, num_frames, stride):
    clip = ClipConfig(mode="windows", num_frames=num_frames, stride=stride)
    tried = [start for start in range(0, length, stride) if start + num_frames <= length]
    assert window_starts(length, clip).tolist() == tried


def test_a_short_video_has_no_window_unless_it_may_be_reflected():
    assert count(23, WINDOW_24) == 0
    assert count(24, WINDOW_24) == 1
    reflecting = ClipConfig(mode="windows", num_frames=24, stride=8, short_videos="reflect")
    assert window_starts(20, reflecting).tolist() == [0]
    assert clip_at(20, reflecting, 0).tolist() == [*range(20), 18, 17, 16, 15]


@pytest.fixture
def index(make_folder):
    return index_folder(make_folder({"p/a.npy": 30, "p/b.npy": 23, "q/c.npy": 49, "q/d.npy": 24}))


def test_an_epoch_shows_every_window_of_every_video_once(index):
    dataset = ClipDataset(index, WINDOW_24, NO_CHANGE, seed=3)
    wanted = {("a.npy", 0), ("d.npy", 0), *(("c.npy", start) for start in (0, 8, 16, 24))}
    assert len(dataset) == len(wanted) == 6
    assert [file.path.name for file in dataset.too_short] == ["b.npy"]
    assert dataset.too_short[0].reason == "too short: 23 frames, a clip needs 24"
    orders = []
    for epoch in range(4):
        sources = [dataset[6 * epoch + place].source for place in range(6)]
        orders.append([(source.path.rsplit("/")[-1], source.start) for source in sources])
        assert set(orders[-1]) == wanted
    assert len({tuple(order) for order in orders}) > 1
    again = ClipDataset(index, WINDOW_24, NO_CHANGE, seed=3)
    assert [(again[p].source.path.rsplit("/")[-1], again[p].source.start) for p in range(6, 12)] == orders[1]


def test_a_window_holds_the_frames_from_its_start(index):
    dataset = ClipDataset(index, WINDOW_24, NO_CHANGE, seed=0)
    for position in range(6):
        clip = dataset[position]
        assert clip.frames[:, 0, 0, 1].tolist() == list(range(clip.source.start, clip.source.start + 24))


def test_windows_come_in_batches_and_resume_in_the_middle(index):
    dataset = ClipDataset(index, WINDOW_24, NO_CHANGE, seed=1)
    batches = clip_batches(dataset, 4)
    straight = [next(batches) for _ in range(3)]  # two epochs
    resumed = next(clip_batches(dataset, 4, first_batch=2))
    assert torch.equal(straight[2].video, resumed.video)
    assert straight[2].start.tolist() == resumed.start.tolist()
    assert len({(p, s) for b in straight for p, s in zip(b.path, b.start.tolist(), strict=True)}) == 6


def test_a_window_is_split_into_its_overlapping_pair():
    video = torch.arange(2 * 3 * 24 * 2 * 2).reshape(2, 3, 24, 2, 2)
    pair = split_windows(video)
    assert pair.shape == (2, 2, 3, 16, 2, 2)
    assert torch.equal(pair[:, 0], video[:, :, 0:16])
    assert torch.equal(pair[:, 1], video[:, :, 8:24])
    assert pair.data_ptr() == video.data_ptr()  # a view
    whole = split_windows(video[:, :, :23], num_frames=4, stride=5)
    assert [whole[0, n, 0, 0, 0, 0].item() // 4 for n in range(whole.shape[1])] == [0, 5, 10, 15]
    with pytest.raises(UserError, match="a video of 15 frames is too short for windows of 16"):
        split_windows(video[:, :, :15])


def test_sequences_walk_through_whole_videos(index):
    dataset = SequenceDataset(index, WINDOW_16, NO_CHANGE, seed=0)
    assert len(dataset) == 4
    assert dataset.longest == 5
    seen = {}
    for position in range(4):
        sequence = dataset[position]
        seen[sequence.source.path.rsplit("/")[-1]] = sequence.starts.tolist()
        assert sequence.windows.shape == (len(sequence.starts), 16, 8, 8, 3)
        for window, start in zip(sequence.windows, sequence.starts, strict=True):
            assert window[:, 0, 0, 1].tolist() == list(range(start, start + 16))
        number = {"a.npy": 0, "b.npy": 1, "c.npy": 2, "d.npy": 3}[sequence.source.path.rsplit("/")[-1]]
        assert (sequence.windows[..., 0] == number).all()
        assert all(np.shares_memory(a, b) for a, b in itertools.pairwise(sequence.windows))  # no copies of frames
    assert seen == {"a.npy": [0, 8], "b.npy": [0], "c.npy": [0, 8, 16, 24, 32], "d.npy": [0, 8]}


def test_sequences_of_lstm_stages_share_one_frame(index):
    """Alg. 4: after frames 0..15, the next clip is 15..30."""
    clip = ClipConfig(mode="windows", num_frames=16, stride=15, size=8)
    longest = max((SequenceDataset(index, clip, NO_CHANGE, seed=0)[p] for p in range(4)), key=lambda s: len(s.starts))
    assert longest.starts.tolist() == [0, 15, 30]
    assert np.array_equal(longest.windows[0, 15], longest.windows[1, 0])


def test_sequences_are_cut_at_max_frames_and_refuse_less_than_a_window(index):
    dataset = SequenceDataset(index, WINDOW_16, NO_CHANGE, seed=0, max_frames=33)
    assert dataset.longest == 3
    assert max(len(dataset[p].windows) for p in range(4)) == 3
    with pytest.raises(UserError, match="max_frames is 15; it must be at least 16"):
        SequenceDataset(index, WINDOW_16, NO_CHANGE, seed=0, max_frames=15)


def test_the_longest_sequence_of_the_thesis(make_folder):
    """1000 frames are 124 tokens."""
    index = index_folder(make_folder({"long.npy": 1200}, height=1, width=1))
    clip = ClipConfig(mode="windows", num_frames=16, stride=8, size=1)
    assert SequenceDataset(index, clip, NO_CHANGE, seed=0, max_frames=1000).longest == 124


def test_sequences_leave_short_videos_out_and_list_them(make_folder):
    index = index_folder(make_folder({"a.npy": 15, "b.npy": 16}))
    dataset = SequenceDataset(index, WINDOW_16, NO_CHANGE, seed=0)
    assert [entry.path.name for entry in dataset.entries] == ["b.npy"]
    assert [file.path.name for file in dataset.too_short] == ["a.npy"]


def test_sequences_are_augmented_once_and_repeatably(index):
    config = AugmentConfig(reverse=True)
    dataset = SequenceDataset(index, WINDOW_16, config, seed=5)
    again = SequenceDataset(index, WINDOW_16, config, seed=5, cache_bytes=0)
    directions = set()
    for position in range(12):
        steps = np.diff(dataset[position].windows[..., 0, 0, 1].astype(int), axis=1)
        assert len(np.unique(steps)) == 1
        directions.add(int(steps[0, 0]))
        assert np.array_equal(dataset[position].windows, again[position].windows)
    assert directions == {1, -1}
    assert {dataset[position].source.path for position in range(4)} == {str(entry.path) for entry in index.entries}


@given(length=st.integers(16, 200), steps=st.sets(st.integers(1, 8), min_size=1), seed=st.integers(0, 2**32))
def test_a_random_step_is_constant_and_clamped_to_the_video(length, steps, seed):
    clip = ClipConfig(mode="random_step", num_frames=16, steps=tuple(steps))
    allowed = {min(step, (length - 1) // 15) for step in steps}  # 15 * step + 1 <= length
    for indices in (clip_indices(length, clip, np.random.default_rng(seed)), centre_clip(length, clip)):
        assert len(indices) == 16
        assert set(np.diff(indices)) <= allowed
        assert len(set(np.diff(indices))) == 1
        assert indices[0] >= 0
        assert indices[-1] < length


def test_random_steps_are_drawn_evenly_and_so_are_their_starts():
    """UvA-NEMO: steps 2 and 3."""
    clip = ClipConfig(mode="random_step", num_frames=16, steps=(2, 3))
    rng = np.random.default_rng(0)
    draws = [clip_indices(50, clip, rng) for _ in range(2000)]
    steps = [int(indices[1] - indices[0]) for indices in draws]
    assert steps.count(2) == pytest.approx(1000, abs=100)
    assert {int(indices[0]) for indices, step in zip(draws, steps, strict=True) if step == 2} == set(range(20))
    assert {int(indices[0]) for indices, step in zip(draws, steps, strict=True) if step == 3} == set(range(5))
    assert clip_at(50, clip, 0).tolist() == list(range(0, 32, 2))


def test_random_steps_reflect_a_video_that_is_too_short_for_any():
    clip = ClipConfig(mode="random_step", num_frames=8, steps=(2, 3), short_videos="reflect")
    assert clip_indices(5, clip, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    with pytest.raises(UserError, match="too short"):
        clip_indices(7, ClipConfig(mode="random_step", num_frames=8), np.random.default_rng(0))


@given(length=st.integers(16, 300), seed=st.integers(0, 2**32))
def test_bins_hold_one_frame_each(length, seed):
    clip = ClipConfig(mode="bins", num_frames=16)
    for indices in (clip_indices(length, clip, np.random.default_rng(seed)), centre_clip(length, clip)):
        assert [int(np.searchsorted([length * k // 16 for k in range(1, 17)], i, "right")) for i in indices] == list(
            range(16)
        )


def test_bins_draw_every_frame_evenly():
    clip = ClipConfig(mode="bins", num_frames=4)
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([clip_indices(12, clip, rng) for _ in range(3000)]), minlength=12)
    assert counts == pytest.approx(1000, abs=130)
    assert centre_clip(12, clip).tolist() == [1, 4, 7, 10]
    with pytest.raises(UserError, match="too short"):
        clip_indices(3, clip, rng)


def test_a_window_drawn_at_random_starts_at_a_multiple_of_the_stride():
    rng = np.random.default_rng(0)
    starts = {int(clip_indices(49, WINDOW_24, rng)[0]) for _ in range(200)}
    assert starts == {0, 8, 16, 24}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stride": 4}, "clip stride is 4, but mode 'contiguous' takes none; use mode 'windows'"),
        ({"steps": (2, 3)}, r"clip steps is \(2, 3\), but mode 'contiguous' takes none; use mode 'random_step'"),
        ({"mode": "random_step", "steps": ()}, "there must be some, each at least 1"),
        ({"mode": "random_step", "steps": (0, 1)}, "there must be some, each at least 1"),
        ({"mode": "windows", "stride": 0}, "clip stride is 0; it must be at least 1"),
    ],
)
def test_impossible_samplers_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        ClipConfig(**fields)
