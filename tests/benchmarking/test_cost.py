"""Times are of making the frames alone."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from longtake.benchmarking.cost import VideoCost, metered, peak_memory


def slow_stream():
    for length in (4, 4, 2):
        time.sleep(0.05)
        yield np.zeros((length, 2, 2, 3), np.uint8)


def test_only_making_frames_takes_time():
    cost, begun = VideoCost(), time.perf_counter()
    for _ in metered(slow_stream, cost):
        time.sleep(0.2)  # as writing the file does
    elapsed = time.perf_counter() - begun
    assert cost.frames == 10
    assert 0.15 <= cost.seconds <= elapsed - 3 * 0.2
    assert 0.05 <= cost.first_seconds <= cost.seconds - 2 * 0.05
    assert cost.cpu_seconds < 0.1  # sleeping takes none


def test_processor_time_is_that_of_the_work():
    def busy_stream():
        begun = time.process_time()
        while time.process_time() - begun < 0.1:
            pass
        yield np.zeros((1, 2, 2, 3), np.uint8)

    cost = VideoCost()
    list(metered(busy_stream, cost))
    assert cost.cpu_seconds == pytest.approx(0.1, abs=0.05)


def test_peak_memory_on_a_cpu_is_the_processs():
    before = peak_memory(torch.device("cpu"))["process"]
    ballast = np.ones(before, np.uint8)
    assert peak_memory(torch.device("cpu")).keys() == {"process"}
    assert peak_memory(torch.device("cpu"))["process"] >= ballast.nbytes
