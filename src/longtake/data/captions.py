"""The optional captions file of a folder of videos: `captions.json`, `captions.csv` or `metadata.jsonl`."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from longtake.core.errors import UserError


def read_captions(root: Path) -> dict[str, str]:
    """Return caption by path relative to `root` (with forward slashes); empty where `root` has no captions file.

    captions.json: one object {path: caption}. captions.csv: two columns, path and caption; a first line
    `path,caption` is a header. metadata.jsonl: one object per line with "file_name" and "text".
    Raises `UserError`, naming file and entry, if there are several such files, one is malformed, a path comes twice,
    leaves the folder or names a file that is not there.
    """
    present = [root / name for name in _READERS if os.path.isfile(root / name)]  # noqa: PTH113 (as below)
    if not present:
        return {}
    if len(present) > 1:
        raise UserError(f"{root} has several captions files, keep one: {', '.join(path.name for path in present)}")
    file = present[0]
    captions: dict[str, str] = {}
    for where, path, caption in _read(file):
        if not isinstance(path, str) or not isinstance(caption, str):
            raise UserError(f"{file}: {where} must be a path and its caption, both text")
        name = PurePosixPath(path).as_posix()
        if name in captions:
            raise UserError(f"{file}: {where} gives {path!r} a second caption")
        if not _is_inside(root, name):
            raise UserError(f"{file}: {where} names {path!r}, which is not in {root}")
        captions[name] = caption
    return captions


def _is_inside(root: Path, name: str) -> bool:
    """Whether `root` holds a file or folder of this relative path."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return False
    # Path.exists raises where a name is longer than names can be, or in a folder that may not be entered
    return os.path.exists(root / name)  # noqa: PTH110


_Entry = tuple[str, Any, Any]  # where it stands, path, caption


def _read(file: Path) -> Iterator[_Entry]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 text") from error
    yield from _READERS[file.name](file, text)


def _read_json(file: Path, text: str) -> Iterator[_Entry]:
    # pairs, not a dict: a path that comes twice must not vanish
    pairs = _parse(file, text, object_pairs_hook=list)
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise UserError(f"{file}: must be one JSON object of path: caption")
    for number, (path, caption) in enumerate(pairs, 1):
        yield f"entry {number}", path, caption


def _read_csv(file: Path, text: str) -> Iterator[_Entry]:
    # strict: a quote that is never closed would swallow all rows after it
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        for number, row in enumerate(rows, 1):
            if not row or (number == 1 and [cell.strip().lower() for cell in row] == ["path", "caption"]):
                continue
            if len(row) != 2:
                raise UserError(f"{file}: row {number} has {len(row)} columns; it must have two, path and caption")
            yield f"row {number}", row[0], row[1]
    except csv.Error as error:
        raise UserError(f"{file}: line {rows.line_num} is not CSV: {error}") from error


def _read_jsonl(file: Path, text: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines also splits where a caption has U+2028
        if not line.strip():
            continue
        record = _parse(file, line, line_offset=number - 1)
        if not isinstance(record, dict) or not {"file_name", "text"} <= record.keys():
            raise UserError(f'{file}: line {number} must be an object with "file_name" and "text"')
        yield f"line {number}", record["file_name"], record["text"]


def _parse(file: Path, text: str, *, line_offset: int = 0, object_pairs_hook: type[list] | None = None) -> object:
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: line {error.lineno + line_offset} is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets thousands deep
        raise UserError(f"{file}: is not JSON of captions: {error}") from error


_READERS = {"captions.json": _read_json, "captions.csv": _read_csv, "metadata.jsonl": _read_jsonl}
CAPTION_FILES = tuple(_READERS)
