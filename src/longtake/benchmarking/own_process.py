"""Work in a fresh process, whose memory and caches are those of nothing else."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")
Tell = Callable[[Any], None]


def in_own_process(work: Callable[..., T], *arguments: Any, hear: Tell) -> T:  # noqa: ANN401
    """Return `work(tell, *arguments)`, done in a new interpreter; what it tells is handed to `hear` here, at once.

    `work` is a function of a module, and all that passes between the processes can be pickled. A program that is no
    module of its own begins with `if __name__ == "__main__":`, as for any process that Python spawns.

    Raises what `work` raises, with the place as a note, and `ChildProcessError` if its process dies.
    """
    context = multiprocessing.get_context("spawn")  # not forked: that would inherit this process's memory
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(work, arguments, theirs), daemon=True)
    resource_tracker.ensure_running()  # multiprocessing's own: begun below, it would let the signal through again
    with blocked(signal.SIGINT):  # it stays so in the new process, also while that imports: the first ends it
        process.start()
    theirs.close()
    try:
        while (received := ours.recv())[0] == "told":
            hear(received[1])
    except EOFError as error:
        process.join()
        reason = "was killed, perhaps for want of memory" if process.exitcode == -9 else f"ended ({process.exitcode})"
        raise ChildProcessError(f"the process that did the work {reason}") from error
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
        ours.close()
    kind, value = received
    if kind == "error":
        raise value
    return value


@contextmanager
def blocked(number: int) -> Iterator[None]:
    """Hold back a signal for as long as the context lasts, in this thread and in what it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(work: Callable[..., Any], arguments: tuple[Any, ...], connection: Connection) -> None:
    """Work, and send whatever comes of it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not at once: files half-written are removed on the way
    try:
        result = work(lambda message: connection.send(("told", message)), *arguments)
    except BrokenPipeError:
        sys.exit(1)  # the first process was killed, and nobody listens any more
    except Exception as error:  # noqa: BLE001 -- raised again in the other process
        error.add_note(traceback.format_exc())
        connection.send(("error", error))
    else:
        connection.send(("result", result))
