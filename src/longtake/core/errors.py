"""Errors that are the user's to fix: the command line prints them as one line and exits with status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave us. The message is one line that names the value and what is allowed."""


def choose_one_of(what: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is in `allowed`; otherwise raise a `UserError` that names the nearest allowed value."""
    names = list(allowed)
    if value in names:
        return value
    nearest = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise UserError(f"unknown {what} {value!r}{hint} (known: {', '.join(names) or 'none'})")
