"""What a video needs before its first frame can be shown, and how far that has come.

Frame 99,990 alone needs all features, clips or codes that lead up to it, which may take far longer than the frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Preparing = Callable[[float], None]
"""Told what share, in (0, 1], of all that comes before the first frame is made."""

Item = TypeVar("Item")


def untold(_share: float) -> None:
    """Let it be: what is called where nobody wants to know."""


def announced(items: Iterable[Item], needed: int, preparing: Preparing) -> Iterator[Item]:
    """Yield `items`; as each of the first `needed` >= 1 comes up, tell `preparing` the share that is there."""
    for number, item in enumerate(items, 1):
        if number <= needed:
            preparing(number / needed)
        yield item
