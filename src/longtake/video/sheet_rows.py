"""What a contact sheet shows of videos that stream past and are never held as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from longtake.video.contact_sheet import write_contact_sheet


class SheetRows:
    """A few evenly spaced frames of each video, picked as they stream past.

    Args:
        num_frames: frames of each video.
        num_columns: frames to pick of each.

    Attributes:
        wanted: positions of the frames to pick.
        rows: the frames picked so far, a list per video.
    """

    def __init__(self, num_frames: int, num_columns: int = 8) -> None:
        columns = min(num_columns, num_frames)
        self.wanted = {round(column * (num_frames - 1) / max(columns - 1, 1)) for column in range(columns)}
        self.rows: list[list[UInt8[np.ndarray, "h w 3"]]] = []
        self.position = 0

    def begin_row(self) -> None:
        """The next frames belong to another video."""
        self.rows.append([])
        self.position = 0

    def add(self, chunk: UInt8[np.ndarray, "t h w 3"]) -> None:
        """Look at the next frames "t h w 3" of the video."""
        self.rows[-1] += [frame.copy() for at, frame in enumerate(chunk, self.position) if at in self.wanted]
        self.position += len(chunk)

    def write(self, path: Path) -> None:
        """Write the contact sheet, a row per video."""
        write_contact_sheet(path, [np.stack(row) for row in self.rows], num_columns=len(self.wanted))
