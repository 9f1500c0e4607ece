"""How the pictures of a file are turned and mirrored for display."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.sidedata.sidedata import Type
from jaxtyping import UInt8

# Entries this small beside the others are a right angle, written with rounding (about one degree).
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture on its side, its head or its face."""

    is_transposed: bool = False
    """Rows become columns, before anything is reversed."""
    reverses_rows: bool = False
    """The (new) top row becomes the bottom one."""
    reverses_columns: bool = False
    is_exact: bool = True
    """Whether the file says just this; otherwise this is the nearest to what it says, such as a turn by 50 degrees."""

    def apply(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "height width 3"]:
        """Return the picture as it is to be shown: a view of the one given."""
        picture = picture.swapaxes(0, 1) if self.is_transposed else picture
        return picture[:: -1 if self.reverses_rows else 1, :: -1 if self.reverses_columns else 1]


UPRIGHT = Orientation()


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Return the orientation that comes with a decoded frame; `UPRIGHT` if none does."""
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return UPRIGHT
    # The point (x, y), y downwards, is shown at (a x + c y, b x + d y); the rows are (a, b, u), (c, d, v), (x, y, w).
    (a, b, _), (c, d, _), _ = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3).tolist()
    is_transposed = abs(b) + abs(c) > abs(a) + abs(d)
    across, down, rest = (c, b, (a, d)) if is_transposed else (a, d, (b, c))
    is_exact = max(map(abs, rest)) <= _TOLERANCE * min(abs(across), abs(down)) and across != 0 and down != 0
    return Orientation(is_transposed, reverses_rows=down < 0, reverses_columns=across < 0, is_exact=is_exact)
