"""Files and folders that appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import category

from longtake.core.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` with the same suffix; rename it to `path` on success, remove it on any failure.

    The caller may create a file or a folder there. An existing file is replaced, and so is an existing folder
    (moved aside first, removed after). Raises `UserError` if the parent folder cannot be created or written.
    """
    path = Path(path)
    ensure_writable_folder(path.parent)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        flush_to_disk(partial)
        if partial.is_dir() and path.exists():
            old = partial.with_name(partial.name + ".old")
            path.rename(old)
            partial.rename(path)
            remove(old)
        else:
            partial.replace(path)
        _flush_entry(path.parent)  # the folder's list of names alone: its other files are not ours
    finally:
        remove(partial)


def ensure_writable_folder(folder: Path) -> None:
    """Create `folder` with its parents; raise `UserError` if it cannot be created or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to folder {folder}: permission denied")


def remove(path: Path) -> None:
    """Remove a file or a folder tree; nothing happens if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Fsync a file, or a folder and everything in it, so that a rename after it survives a power cut."""
    for entry in [*path.rglob("*"), path] if path.is_dir() else [path]:
        _flush_entry(entry)


def _flush_entry(path: Path) -> None:
    """Fsync one file, or the list of names of one folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def printable(text: str) -> str:
    """Return `text` on one line that every terminal and JSON takes.

    Bytes of file names that are no UTF-8, line breaks and other control characters are written out.
    """
    decoded = os.fsencode(text).decode("utf-8", errors="backslashreplace")
    return "".join(
        letter.encode("unicode_escape").decode() if category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in decoded
    )


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n")
