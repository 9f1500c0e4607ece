"""Training R2 takes as much memory on videos of 2400 frames as on those of 24."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from toy_recall import RECIPE, SIZE, begun, build

from longtake.data import dataset
from longtake.data.index import index_folder
from longtake.video import write_video
from peak_memory import PeakMemory


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Peak bytes of three steps, and the most frames decoded at once, by length of the videos."""
    found = {}
    for length in (24, 240, 2400):
        root = tmp_path_factory.mktemp(f"videos{length}")
        for number in range(2):
            frames = np.random.default_rng(number).integers(0, 255, (length, SIZE, SIZE, 3), dtype=np.uint8)
            write_video(root / f"{number}.npy", frames, 10)
        stage = build(RECIPE, index_folder(root))
        stage.dataset.cache_bytes = 0  # the cache of decoded videos has a limit of its own
        trainer, decoded = begun(stage), []
        read = dataset.decode

        def recording(entry, size, indices=None, decoded=decoded, read=read):
            frames = read(entry, size, indices)
            decoded.append(len(frames))
            return frames

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset, "decode", recording)
            batches = stage.batches(0, 0, 1)
            trainer.step(0, [next(batches)])  # makes the optimizers' moments
            gc.collect()
            with PeakMemory() as memory:
                for step in range(1, 3):
                    trainer.step(step, [next(batches)])
        found[length] = memory.peak, max(decoded)
    return found


def test_memory_does_not_depend_on_the_length_of_videos(peaks):
    sizes = [size for size, _ in peaks.values()]
    assert min(sizes) > 1e6
    assert max(sizes) <= 1.05 * min(sizes)


def test_only_a_window_is_decoded_at_a_time(peaks):
    assert [frames for _, frames in peaks.values()] == [24, 24, 24]
