"""Numbers in messages: one thing is "1 frame", two are "2 frames"."""

from __future__ import annotations

from collections.abc import Collection


def counted(number: int, noun: str) -> str:
    """Return "1 frame", "0 frames" or "4 classes": `noun` is given for one, and takes an s, or es after an s."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def are(number: int) -> str:
    """Return the verb that goes with so many things: "is" or "are"."""
    return "is" if number == 1 else "are"


def first_and_more(names: Collection[str], noun: str) -> str:
    """Return the first name and how many more there are: "a", or "a and 2 more tensors"."""
    more = len(names) - 1
    return f"{min(names)} and {counted(more, f'more {noun}')}" if more else min(names)
