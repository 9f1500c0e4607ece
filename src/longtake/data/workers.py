"""One function on many files, side by side in processes: a file that hangs or kills its process costs nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

LONGEST_WAIT = 60.0  # seconds; a time limit may be infinite, but no wait of the operating system

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class GivenUp:
    """What takes the place of a result that did not come, and why it did not."""

    reason: str


def map_with_limit(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int, time_limit: float
) -> Iterator[tuple[int, Result | GivenUp]]:
    """Yield (position, `function` of the item there) as results come in, from `num_workers` >= 1 processes.

    An item that takes longer than `time_limit` seconds, ends its process or raises gives a `GivenUp`; a process that
    was lost is replaced. Function, items and results must be picklable.
    """
    assert num_workers >= 1
    waiting = iter(enumerate(items))
    busy: list[_Worker[Item, Result]] = []
    try:
        for _, (position, item) in zip(range(num_workers), waiting, strict=False):
            busy.append(_Worker(function))
            busy[-1].give(position, item, time_limit)
        while busy:
            time_left = min(worker.deadline for worker in busy) - time.monotonic()
            wait([worker.pipe for worker in busy], min(max(0, time_left), LONGEST_WAIT))
            for worker in list(busy):
                result = worker.result(time_limit)
                if isinstance(result, _Pending):
                    continue
                yield worker.position, result
                following = next(waiting, None)
                if following is None:
                    worker.stop()
                    busy.remove(worker)
                else:
                    worker.give(*following, time_limit)
    finally:
        for worker in busy:
            worker.stop()


class _Pending:
    """There is no result yet. Not None: that may be a result."""


class _Worker(Generic[Item, Result]):
    """A process that works on one item at a time."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.function = function
        self.position = -1
        self.deadline = 0.0
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_serve, args=(self.function, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, position: int, item: Item, time_limit: float) -> None:
        """Hand over the item at `position`."""
        if not self._process.is_alive():
            self._start()
        self.position = position
        self.deadline = time.monotonic() + time_limit
        self.pipe.send(item)

    def result(self, time_limit: float) -> Result | GivenUp | _Pending:
        """Return what has come of the item, if it has."""
        if self.pipe.poll():
            try:
                return self.pipe.recv()
            except (EOFError, OSError):
                self.stop()
                return GivenUp(f"the decoder crashes on it (exit status {self._process.exitcode})")
        if time.monotonic() < self.deadline:
            return _Pending()
        self.stop()
        return GivenUp(f"the decoder is not done with it after {time_limit:g} s")

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.pipe.close()
        self._process.kill()
        self._process.join()


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone: killed, it cannot say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is no process of multiprocessing"
    wait([parent.sentinel])
    os._exit(1)


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        try:
            result = function(item)
        except Exception as error:  # noqa: BLE001 (whatever one file provokes, the others are still to be looked at)
            result = GivenUp(f"{type(error).__name__}: {' '.join(str(error).split())}")
        pipe.send(result)
