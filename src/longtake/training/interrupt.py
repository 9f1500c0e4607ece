"""A polite stop: Ctrl-C or SIGTERM lets the current step finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from longtake.core.errors import UserError


class TrainingInterruptedError(UserError):
    """Training was asked to stop and did, after saving; the message says how to go on."""


@dataclass
class StopRequest:
    """Whether a signal has asked for a stop."""

    is_made: bool = False


@contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Within the context SIGINT and SIGTERM only set the yielded flag; outside the main thread nothing is caught."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        request.is_made = True

    # Kept for any further signal too: torchrun passes Ctrl-C on to processes that have seen it already.
    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
