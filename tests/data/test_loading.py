import itertools
import logging
import multiprocessing

import numpy as np
import pytest
import torch

from longtake.core.errors import UserError
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import index_folder
from longtake.data.loading import MAX_SUBSTITUTES, clip_batches

AUGMENT = AugmentConfig(mirror=True, zoom=0.2, shift=0.1, colour=0.1)


def make_dataset(root, seed=0):
    return ClipDataset(index_folder(root), ClipConfig(num_frames=4, size=8), AUGMENT, seed)


@pytest.fixture
def dataset(make_folder):
    return make_dataset(make_folder({f"{number % 2}/{number:02}.npy": 8 + number for number in range(12)}))


def take(batches, count):
    return list(itertools.islice(batches, count))


def assert_same_batches(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.video, b.video)
        assert torch.equal(a.label, b.label)
        assert torch.equal(a.start, b.start)
        assert torch.equal(a.fps, b.fps)
        assert a.path == b.path
        assert a.text == b.text


def test_a_batch_holds_the_clips_at_its_positions(dataset):
    batch = take(clip_batches(dataset, 3, first_batch=2), 1)[0]
    clips = [dataset[position] for position in (6, 7, 8)]
    assert batch.video.shape == (3, 3, 4, 8, 8)
    assert batch.video.dtype == torch.float32
    for number, clip in enumerate(clips):
        assert np.allclose(batch.video[number].permute(1, 2, 3, 0).numpy(), clip.frames / 127.5 - 1, atol=1e-6)
    assert batch.label.tolist() == [clip.source.label for clip in clips]
    assert batch.start.tolist() == [clip.source.start for clip in clips]
    assert batch.path == [clip.source.path for clip in clips]
    assert batch.fps.tolist() == pytest.approx([clip.source.fps for clip in clips])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume_continues_as_if_never_interrupted(dataset, num_workers):
    straight = take(clip_batches(dataset, 5), 7)  # 35 clips: into the third epoch
    resumed = take(clip_batches(dataset, 5, num_workers=num_workers), 3)
    resumed += take(clip_batches(dataset, 5, first_batch=3, num_workers=num_workers), 4)
    assert_same_batches(resumed, straight)


def test_loading_leaves_the_global_generators_alone(dataset):
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 the global one is the point
    take(clip_batches(dataset, 2), 2)
    take(clip_batches(dataset, 2, num_workers=1), 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_ranks_share_no_video_and_cover_the_epoch(dataset):
    per_rank = [take(clip_batches(dataset, 2, rank=rank, world_size=3), 2) for rank in range(3)]  # 12 clips in all
    seen = [path for batches in per_rank for batch in batches for path in batch.path]
    assert sorted(seen) == sorted(str(entry.path) for entry in dataset.entries)
    alone = take(clip_batches(dataset, 6), 2)
    assert [path for batch in alone for path in batch.path] == [
        path for number in range(2) for rank in range(3) for path in per_rank[rank][number].path
    ]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_video_is_replaced_counted_named_and_logged_once(dataset, cut_short, caplog, num_workers):
    clean = take(clip_batches(make_dataset(dataset.index.root), 4), 6)
    broken = dataset.entries[3].path
    cut_short(broken)
    batches = clip_batches(dataset, 4, num_workers=num_workers)
    with caplog.at_level(logging.WARNING):
        damaged = take(batches, 6)  # two epochs
    assert [failure.path for failure in batches.failures] == [broken]
    assert batches.failures[0].reason
    assert batches.num_replaced == 2
    assert len(caplog.records) == 1
    assert str(broken) in caplog.text
    replaced = 0
    for a, b in zip(damaged, clean, strict=True):
        for j in range(4):
            if b.path[j] == str(broken):
                replaced += 1
                assert a.path[j] != str(broken)
            else:
                assert a.path[j] == b.path[j]
                assert torch.equal(a.video[j], b.video[j])
    assert replaced == 2
    assert_same_batches(take(clip_batches(dataset, 4, first_batch=2), 4), damaged[2:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_set_that_cannot_be_decoded_ends_in_one_line(dataset, cut_short, num_workers):
    for entry in dataset.entries:
        cut_short(entry.path)
    with pytest.raises(
        UserError, match=rf"{MAX_SUBSTITUTES + 1} videos in a row cannot be decoded, last .*\.npy: "
    ) as caught:
        next(clip_batches(dataset, 4, num_workers=num_workers))
    assert "\n" not in str(caught.value)


def test_a_small_set_tries_each_other_video_once(make_folder, cut_short):
    dataset = make_dataset(make_folder({"a.npy": 5, "b.npy": 5}))
    for entry in dataset.entries:
        cut_short(entry.path)
    batches = clip_batches(dataset, 1)
    with pytest.raises(UserError, match="2 videos in a row"):
        next(batches)
    assert len(batches.failures) == 2


def test_one_good_video_among_broken_ones_is_enough(make_folder, cut_short):
    dataset = make_dataset(make_folder({"a.npy": 5, "b.npy": 5}))
    cut_short(dataset.entries[0].path)
    for batch in take(clip_batches(dataset, 1), 20):
        assert batch.path == [str(dataset.entries[1].path)]


def test_captions_travel_with_their_clips(make_folder):
    root = make_folder({"a.npy": 5, "b.npy": 5})
    (root / "captions.csv").write_text("a.npy,first\n")
    batch = next(clip_batches(make_dataset(root), 2))
    assert dict(zip(batch.path, batch.text, strict=True)) == {str(root / "a.npy"): "first", str(root / "b.npy"): ""}
    assert batch.label.tolist() == [-1, -1]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_close_ends_the_iteration_and_its_processes(dataset, num_workers):
    before = len(multiprocessing.active_children())
    batches = clip_batches(dataset, 2, num_workers=num_workers)
    next(batches)
    assert len(multiprocessing.active_children()) == before + num_workers
    batches.close()
    assert len(multiprocessing.active_children()) == before
    assert list(batches) == []
