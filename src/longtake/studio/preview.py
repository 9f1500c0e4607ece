"""What is seen of a video while it is made: a bar, the newest frames in motion, and a film strip that fills."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from longtake.core.wording import counted
from longtake.studio.generation import Made, Progress

if TYPE_CHECKING:
    import numpy as np

STRIP_FRAMES = 12
MOVING_FRAMES = 32
MOST_PIXELS = 256

PHASES = {"waiting": "Waiting for another video to end", "loading": "Loading the model", "making": "Making"}


class Preview:
    """Collects frames as they come and shows them as HTML.

    Args:
        total: frames to come.
        fps: frames per second.
    """

    def __init__(self, total: int, fps: float) -> None:
        from longtake.video import SheetRows

        self._fps = fps
        self._strip = SheetRows(max(1, total), STRIP_FRAMES)
        self._strip.begin_row()
        self._strip_images: list[str] = []
        self._newest: list[np.ndarray] = []
        self._moving = ""

    def add(self, chunk: np.ndarray) -> None:
        """Take the next frames "t h w 3"."""
        self._strip.add(chunk)
        self._newest = [*self._newest, *chunk][-MOVING_FRAMES:]
        self._moving = ""

    def html(self, progress: Progress) -> str:
        """Return the state of things."""
        self._strip_images += [
            data_uri([frame], self._fps) for frame in self._strip.rows[-1][len(self._strip_images) :]
        ]
        if self._newest and not self._moving:
            self._moving = data_uri(self._newest, self._fps)
        missing = len(self._strip.wanted) - len(self._strip_images)
        strip = [f'<img src="{image}" alt="">' for image in self._strip_images] + ["<i></i>"] * missing
        picture = f'<img class="moving" src="{self._moving}" alt="The newest frames">' if self._moving else "<i></i>"
        return (
            f'<div class="stage">{bar(progress)}<div class="screen">{picture}</div>'
            f'<div class="strip">{"".join(strip)}</div></div>'
        )


def bar(progress: Progress) -> str:
    """Return the progress bar with what is going on beneath."""
    percent = 100 * progress.done / max(1, progress.total)
    text = PHASES[progress.phase] + " ..."
    if progress.phase == "making" and progress.seconds_left is None:
        text = f"Making the first of {counted(progress.total, 'frame')} ..."
    elif progress.seconds_left is not None:
        rate = progress.done / max(progress.seconds, 1e-9)
        done = f"{progress.done} of {counted(progress.total, 'frame')}"
        text = f"{done} · {rate:.3g} frames/s · {duration(progress.seconds_left)} left"
    waiting = "" if progress.done else " waiting"
    return (
        f'<div class="bar{waiting}" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}"><b style="width:{percent:.1f}%"></b></div><p>{escape(text)}</p>'
    )


def summary(made: Made) -> str:
    """Return one line about a video that was made, with the part of the whole that it is."""
    request = made.request
    part = ""
    if request.length < request.num_frames:
        part = f"frames {request.start} to {request.stop - 1} of {request.num_frames}, "
    facts = [
        f"{part}{counted(request.length, 'frame')}",
        f"{request.length / made.fps:.1f} s at {made.fps:g} fps",
        f"{made.size[1]}x{made.size[0]}",
        f"made in {duration(made.seconds)}",
    ]
    stopped = "" if made.is_whole else "<b>Stopped.</b> "
    return f'<p class="summary">{stopped}{escape(" · ".join(facts))}</p>{place(made)}'


def place(made: Made) -> str:
    """Return a bar of the whole video with the part that was made marked; nothing for a whole video."""
    request = made.request
    if request.length == request.num_frames:
        return ""
    left, width = (100 * value / request.num_frames for value in (request.start, request.length))
    return f'<div class="bar place" aria-hidden="true"><b style="margin-left:{left:.2f}%;width:{width:.2f}%"></b></div>'


def mistake(message: str) -> str:
    """Return a user's mistake as a line on the page."""
    return f'<p class="mistake" role="alert">{escape(" ".join(message.split()))}</p>'


def quiet(text: str) -> str:
    """Return a line that only says how things are."""
    return f'<p class="quiet">{escape(text)}</p>'


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def data_uri(frames: list[np.ndarray], fps: float) -> str:
    """Return frames "h w 3" as a picture, one that moves if there are several, at most `MOST_PIXELS` large."""
    from PIL import Image

    step = -(-max(frames[0].shape[:2]) // MOST_PIXELS)
    first, *rest = [Image.fromarray(frame[::step, ::step]) for frame in frames]
    file = io.BytesIO()
    first.save(
        file, "WEBP", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, quality=90, method=0
    )
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
