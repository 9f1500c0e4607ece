"""A folder like that of CLIP's tokenizer, of the right size, that knows two merges."""

from __future__ import annotations

import json
from pathlib import Path

SIZE = 49408
MERGES = ("c a", "ca t</w>")
MARKS = ("<|startoftext|>", "<|endoftext|>")


def write_clip_tokenizer(folder: Path) -> Path:
    """Write vocab.json and merges.txt as the released tokenizer orders them; unused ids have names of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in MERGES)]
    tokens += [f"unused-{number}" for number in range(SIZE - len(tokens) - len(MARKS))]
    vocabulary = {token: number for number, token in enumerate([*tokens, *MARKS])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    return folder
