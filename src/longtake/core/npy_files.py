"""Reading npy and npz files, from several threads at once too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

MOST_ATTEMPTS = 100

Read = TypeVar("Read")


def map_array(path: Path) -> np.ndarray:
    """Return the array of an npy file, memory-mapped and read-only. A damaged file raises whatever numpy raises."""
    return _unmixed(lambda: np.lib.format.open_memmap(path, mode="r"))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name, no pickled objects. A damaged file raises whatever numpy raises."""

    def read() -> dict[str, np.ndarray]:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    return _unmixed(read)


def _unmixed(read: Callable[[], Read]) -> Read:
    """Return `read()`, begun again as often as the interpreter mixes up its threads.

    numpy parses a header as a Python literal, and CPython before 3.13 counts the depth of that parsing once for all
    threads: two at once may end in a SystemError on files that are sound (github.com/python/cpython/issues/106905).
    """
    for _ in range(MOST_ATTEMPTS - 1):
        try:
            return read()
        except SystemError:
            continue
    return read()
