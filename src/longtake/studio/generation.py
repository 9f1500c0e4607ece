"""Making one video: frames stream to its file while whoever asked for it watches, and may stop."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from longtake.studio.request import Request
from longtake.studio.shelf import Shelf
from longtake.studio.worker import Phase, StoppedError, Worker

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Progress:
    """How far a video is.

    Attributes:
        phase: what is going on.
        done: frames made.
        total: frames to make.
        seconds: since the video was begun (its model loaded, its turn come); 0 before.
        chunk: the newest frames, uint8 "t h w 3", if there are new ones.
    """

    phase: Phase
    done: int
    total: int
    seconds: float = 0.0
    chunk: np.ndarray | None = None

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the seconds to go; None before the first frames."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None


@dataclass(frozen=True)
class Made:
    """A video that was made.

    Attributes:
        request: what it is; where it was stopped, what it has become.
        video: its file.
        sheet: its contact sheet.
        fps: frames per second.
        size: height and width of its frames.
        seconds: that it took.
        is_whole: whether it was not stopped.
    """

    request: Request
    video: Path
    sheet: Path
    fps: float
    size: tuple[int, int]
    seconds: float
    is_whole: bool


class Workshop:
    """Makes one video at a time, into files of its own that go when the page ends.

    Args:
        shelf: the models.
        folder: where the files go.
    """

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self.shelf = shelf
        self.folder = folder
        self._turn = threading.Lock()
        self._is_closed = threading.Event()

    def close(self) -> None:
        """Stop whatever is made."""
        self._is_closed.set()

    def make(self, request: Request, is_stopped: Callable[[], bool]) -> Iterator[Progress | Made]:
        """Make a video: yields progress several times a second, then what was made.

        Once `is_stopped` it ends with the frames there are, or with nothing where there are none. Raises `UserError`
        for what the model does not take.
        """
        from longtake.video import SheetRows, open_writer

        video = Path(tempfile.mkdtemp(dir=self.folder)) / request.file_name
        fps = self.shelf.model(request.model).fps
        worker = Worker(lambda: self.shelf.load(request.model), request.stream, self._turn)
        sheet = SheetRows(request.length)
        sheet.begin_row()
        done, began, size = 0, None, (0, 0)
        try:
            with open_writer(video, fps) as writer:
                for chunk in worker.frames():
                    if began is None and worker.phase == "making":
                        began = time.perf_counter()
                    if chunk is not None:
                        writer.write(chunk)
                        sheet.add(chunk)
                        done, size = done + len(chunk), chunk.shape[1:3]
                    yield Progress(worker.phase, done, request.length, _since(began), chunk)
                    if is_stopped() or self._is_closed.is_set():
                        break
                if not done:
                    raise StoppedError  # noqa: TRY301 (it leaves the writer, which writes no file without frames)
        except StoppedError:
            return
        finally:
            worker.stop()
        made = request.shortened(done)
        video = video.rename(video.with_name(made.file_name))
        sheet.write(video.with_suffix(".png"))
        yield Made(
            request=made,
            video=video,
            sheet=video.with_suffix(".png"),
            fps=fps,
            size=size,
            seconds=_since(began),
            is_whole=done == request.length,
        )


def _since(began: float | None) -> float:
    return 0.0 if began is None else time.perf_counter() - began
