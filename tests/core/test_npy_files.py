"""Files of numpy are read right whatever other threads do."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from longtake.core.npy_files import map_array, read_arrays


class Garbage:
    """Rubbish that runs Python code when it is collected: where threads change places while one parses."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def restless_threads():
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_many_threads_read_at_once(tmp_path):
    array = np.arange(24).reshape(4, 6)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array, y=array[0])

    def read(number: int) -> np.ndarray:
        Garbage()
        return map_array(tmp_path / "a.npy") if number % 2 else read_arrays(tmp_path / "a.npz")["x"]

    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(read, array) for read in pool.map(read, range(4000)))


def test_a_map_cannot_be_written_to(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        map_array(tmp_path / "a.npy")[0] = 1


def test_no_objects_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="bject arrays"):
        read_arrays(tmp_path / "a.npz")


def test_an_error_that_stays_is_raised(tmp_path, monkeypatch):
    def fail(*_args, **_keywords):
        raise SystemError("for good")

    np.save(tmp_path / "a.npy", np.zeros(3))
    monkeypatch.setattr(np.lib.format, "open_memmap", fail)
    with pytest.raises(SystemError, match="for good"):
        map_array(tmp_path / "a.npy")
