"""Endless video: a chain of global features, each of a window of S frames that overlaps the one before by half.

Ours, not the paper's, whose one feature stands for a whole video. Window w covers frames w H to w H + S - 1 with hop
H = S / 2, and its feature is drawn given the one before:

    v_0 ~ p(v | c),    v_w ~ p(v | c, v_{w-1}).

A chain knows nothing but its last feature, so it goes on for ever in constant memory, and it is a function of the seed:
any range of frames can be rendered again once the (small) features up to it have been drawn again.

Frame k, at the moment T = k / S, lies in the windows w and w + 1 with w = max(0, floor(2 T) - 1), at the time
t = T - w / 2 of the first and t - 1/2 of the second. Either could render it. In the middle of their overlap, t = 3/4,
the first hands over to the second, by a mixture of the control features of both:

    (1 - a) C(v_w, t) + a C(v_{w+1}, t - 1/2),    a = (t - 3/4) / h + 1/2 within [0, 1],

so that each window shows its own middle, and what the two disagree on fades over h S frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from longtake.core.errors import UserError

STARTS_PER_HOP = 8  # training windows start at multiples of an eighth of the hop
HANDOVER = 0.125  # h


def hop_of(span: int) -> int:
    """Return the distance in frames between neighbouring windows; raise `UserError` if the span has no half."""
    if span % 2:
        raise UserError(f"windows overlap by half, so the span must be even, not {span}")
    return span // 2


def period_of(num_video_frames: int) -> int:
    """Return after how many frames a video that is played to its end and back, over and over, repeats."""
    return max(1, 2 * num_video_frames - 2)


def draw_pair(num_video_frames: int, span: int, *, reflects: bool, rng: np.random.Generator) -> tuple[int, int] | None:
    """Draw two neighbouring windows of a training video and return where they start; None if it is too short.

    With `reflects` a video is played to its end and back without end and windows start anywhere in that, as those of a
    chain do; else both must lie in the video itself. Starts lie on a grid, so that features can be kept.
    """
    hop = hop_of(span)
    grid = max(1, hop // STARTS_PER_HOP)
    period = period_of(num_video_frames)
    room = period - 1 if reflects else num_video_frames - span - hop
    if room < 0:
        return None
    first = grid * int(rng.integers(room // grid + 1))
    return first, (first + hop) % period


@dataclass(frozen=True)
class Places:
    """Where frames lie in a chain: each in a window, and as far as it is handed over in the next one.

    Attributes:
        window: number of the (earlier) window.
        index: time within it, in [0, 1).
        share: a, the share of the next window, in [0, 1]; its time is `index` - 1/2.
    """

    window: Int[Tensor, " n"]
    index: Float[Tensor, " n"]
    share: Float[Tensor, " n"]

    @property
    def last_window(self) -> int:
        """The last window whose feature these frames are rendered from."""
        return int((self.window + (self.share > 0)).max())


def places(times: Float[Tensor, " n"], *, is_chain: bool) -> Places:
    """Return where frames at these moments (in spans) lie, in a chain or in the one window that there is."""
    window = (2 * times).floor().sub(1).clamp(min=0) if is_chain else torch.zeros_like(times)
    index = times - window / 2
    share = ((index - 0.75) / HANDOVER + 0.5).clamp(0, 1) if is_chain else torch.zeros_like(times)
    return Places(window.long(), index.float(), share.float())


@dataclass(frozen=True)
class Rendering:
    """What frames are rendered from: a feature each, and a time in it."""

    feature: Float[Tensor, "n c h w"]
    index: Float[Tensor, " n"]


@dataclass(frozen=True)
class Blend:
    """The next window's rendering of the same frames, and its share in them."""

    other: Rendering
    share: Float[Tensor, " n"]


class FeatureChain:
    """The features of a video, drawn in order as they are needed; those passed by are forgotten.

    Args:
        draw: (number of the window, feature of the window before or None) -> feature of the window.
        oldest: the chain can go back to this window; None: not behind the frames asked for last.
    """

    def __init__(
        self, draw: Callable[[int, Tensor | None], Float[Tensor, "1 c h w"]], oldest: int | None = None
    ) -> None:
        self._draw = draw
        self._oldest = oldest
        self._known: dict[int, Float[Tensor, "1 c h w"]] = {}
        self._last: tuple[int, Tensor | None] = -1, None

    def at(self, where: Places) -> tuple[Rendering, Blend | None]:
        """Return what frames are rendered from, and what with, if any of them are being handed over."""
        mine = where.window + (where.share == 1)
        others = where.window + (where.share > 0)
        self._go_on(int(mine.min()), where.last_window)
        main = Rendering(self._features(mine), where.index - (where.share == 1) / 2)
        if not bool(((where.share > 0) & (where.share < 1)).any()):
            return main, None
        return main, Blend(Rendering(self._features(others), where.index - (where.share > 0) / 2), where.share)

    def _go_on(self, first: int, last: int) -> None:
        oldest = first if self._oldest is None else self._oldest
        number, feature = self._last
        self._known = {window: kept for window, kept in self._known.items() if window >= oldest}
        while number < last:
            number += 1
            feature = self._draw(number, feature)
            if number >= oldest:
                self._known[number] = feature
        self._last = number, feature

    def _features(self, windows: Int[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        return torch.cat([self._known[window] for window in windows.tolist()])
