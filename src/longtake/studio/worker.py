"""A thread that draws frames from a stream, so that whoever waits for them may stop at any moment."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

TICK_S = 0.2

Phase = Literal["waiting", "loading", "making"]


class StoppedError(Exception):
    """Ends a thread in the middle of its work."""


class Worker:
    """Draws from a stream in a thread of its own.

    Args:
        load: what takes long before there is a stream, such as loading a model.
        begin: makes the stream of what was loaded.
        turn: held while the thread works, so that one works at a time.

    Attributes:
        phase: what the thread does: wait for its turn, load, or make frames.
    """

    def __init__(
        self, load: Callable[[], Any], begin: Callable[[Any], Iterator[np.ndarray]], turn: threading.Lock
    ) -> None:
        self.phase: Phase = "waiting"
        self._load = load
        self._begin = begin
        self._turn = turn
        self._found: queue.SimpleQueue[np.ndarray | BaseException | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._state = threading.Lock()
        self._brake: Any = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def frames(self) -> Iterator[np.ndarray | None]:
        """Yield the chunks of the stream, and None whenever a fifth of a second brought none.

        Ends with the stream, or when it is stopped; what the thread raises is raised here.
        """
        self._thread.start()
        while not self._stopped.is_set():
            try:
                found = self._found.get(timeout=TICK_S)
            except queue.Empty:
                yield None
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def stop(self) -> None:
        """Let `frames` end at once and the thread as soon as a network in it is called."""
        with self._state:
            self._stopped.set()
            if self._thread.is_alive() and self._brake is None and self.phase == "making":
                self._brake = brake(self._thread)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _work(self) -> None:
        try:
            with self._turn:
                self._draw()
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 (raised again by `frames`, in the thread that waits)
            self._found.put(error)
        else:
            self._found.put(None)
        finally:
            with self._state:
                if self._brake is not None:
                    self._brake.remove()

    def _draw(self) -> None:
        self._enter("loading")
        source = self._load()
        self._enter("making")
        for chunk in self._begin(source):
            self._found.put(chunk)
            self._enter("making")

    def _enter(self, phase: Phase) -> None:
        with self._state:
            if self._stopped.is_set():
                raise StoppedError
            self.phase = phase


def brake(thread: threading.Thread) -> Any:  # noqa: ANN401 (torch's handle of a hook)
    """Make every call of a network in the thread raise `StoppedError`; returns what takes the brake off.

    A chunk may take minutes; a network is called many times for it.
    """
    from torch.nn.modules.module import register_module_forward_pre_hook

    def stop(*_: Any) -> None:  # noqa: ANN401
        if threading.current_thread() is thread:
            raise StoppedError

    return register_module_forward_pre_hook(stop)
