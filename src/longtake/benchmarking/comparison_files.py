"""A comparison on disk: everything as JSON, the tables as Markdown, and a picture with rows of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from longtake.benchmarking.comparison import Comparison
from longtake.benchmarking.comparison_table import comparison_table, numbers_table
from longtake.benchmarking.cost import Frames
from longtake.core.files import atomic_path, write_json
from longtake.data.transforms import resize_and_crop
from longtake.video import VideoReader, write_contact_sheet

JSON_FILE, TABLE_FILE, SHEET_FILE = "comparison.json", "comparison.md", "contact-sheet.png"
VIDEOS_PER_ROW_NAME, NUM_COLUMNS = 2, 8


def write_files(comparison: Comparison) -> list[Path]:
    """Write all three into the comparison's folder, each whole; return them."""
    out = comparison.out
    write_json(out / JSON_FILE, comparison.to_json())
    with atomic_path(out / TABLE_FILE) as partial:
        tables = comparison_table(comparison).to_markdown(), numbers_table(comparison.rows).to_markdown()
        partial.write_text(f"# Comparison\n\n{tables[0]}\n## All numbers\n\n{tables[1]}")
    write_sheet(out / SHEET_FILE, comparison)
    return [out / name for name in (JSON_FILE, TABLE_FILE, SHEET_FILE)]


def write_sheet(path: Path, comparison: Comparison) -> None:
    """Write a few videos of each model, and of the real ones, a row each."""
    titles, rows = [], []
    for row in comparison.rows:
        if row.samples is None:
            continue
        for number, video in list(row.costs().items())[:VIDEOS_PER_ROW_NAME]:
            titles.append(f"{row.name} {video['label'] or number}")
            rows.append(spread_frames(row.samples.file(number)))
    size = max(max(frames.shape[1:3]) for frames in rows)
    folder = comparison.real.folder
    for clip in comparison.rows[0].report.clip_lists["real"].trials[0][:VIDEOS_PER_ROW_NAME]:
        titles.append(f"real {clip.file}")
        rows.append(resize_and_crop(spread_frames(folder.root / clip.file), size))  # as the models see them
    write_contact_sheet(path, rows, NUM_COLUMNS, titles)


def spread_frames(path: Path) -> Frames:
    """Return as many frames as the sheet has columns, evenly spread over a video."""
    with VideoReader(path) as reader:
        last = reader.info.num_frames - 1
        return reader.read(np.unique(np.linspace(0, last, NUM_COLUMNS).round().astype(int)).tolist())
