"""Stories as they are typed: captions or classes, one after the other, each from a frame on."""

from __future__ import annotations

import re
from collections.abc import Sequence

from longtake.core.errors import UserError

STORY_PART = re.compile(r"\s*(?P<frame>\d+)\s*:\s*(?P<text>.*)", re.DOTALL)


def read_story(parts: Sequence[str], num_frames: int) -> list[tuple[int, str]]:
    """Return the (first frame, caption or class) pairs of "FRAME:TEXT" parts, or of parts that share a video evenly.

    Raises `UserError` if some say where they begin and others do not.
    """
    begun = [STORY_PART.fullmatch(part) for part in parts]
    if all(begun):
        return [(int(part["frame"]), part["text"]) for part in begun if part]
    if any(begun):
        raise UserError(f"--story {parts[begun.index(None)]!r} does not say at which frame it begins, but others do")
    return [(number * num_frames // len(parts), part) for number, part in enumerate(parts)]
