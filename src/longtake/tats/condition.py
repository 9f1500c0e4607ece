"""What steers a video, as tokens in front of the codes: nothing, a class, text, or the codes of its sound (`sound.py`).

It may change while the video goes on: a window's tokens are those of its own time (paper section 2.3).
Shapes: "b" clips, "l" condition tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from longtake.core.errors import UserError
from longtake.tats.vocabulary import Vocabulary

Course = Callable[[int, int], Int[Tensor, " l"]]
"""One video's condition: (first latent frame of a window, the one to be generated) -> tokens of that window."""


class Clips(Protocol):
    """What a condition reads of a batch: see `VideoBatch`."""

    @property
    def label(self) -> Int[Tensor, " b"]: ...  # noqa: D102
    @property
    def text(self) -> list[str]: ...  # noqa: D102
    @property
    def path(self) -> list[str]: ...  # noqa: D102
    @property
    def start(self) -> Int[Tensor, " b"]: ...  # noqa: D102


class Condition(ABC):
    """One kind of condition.

    Attributes:
        vocabulary_size: ids that condition tokens can have; the codes' tokens come after them.
    """

    vocabulary_size: int

    @abstractmethod
    def length(self, num_frames: int) -> int:
        """Return the number of tokens for a window of so many video frames."""

    @abstractmethod
    def tokens(self, clips: Clips, num_frames: int) -> Int[Tensor, "b l"]:
        """Return the tokens of clips of so many video frames."""

    @abstractmethod
    def course(self, steer: Any, rate: int, num_frames: int) -> Course:  # noqa: ANN401
        """Return a video's condition over time.

        Args:
            steer: what steers the video: nothing, (first video frame, class index or text) pairs that begin at frame
                0, or spectrograms "t h w".
            rate: video frames per latent frame.
            num_frames: video frames of a window.
        """


class NoCondition(Condition):
    """A start token, id 0, which is the first code's as well: there are no condition ids."""

    vocabulary_size = 0

    def length(self, num_frames: int) -> int:
        """One."""
        del num_frames
        return 1

    def tokens(self, clips: Clips, num_frames: int) -> Int[Tensor, "b 1"]:
        """Return zeros."""
        del num_frames
        return torch.zeros_like(clips.label)[:, None]

    def course(self, steer: None, rate: int, num_frames: int) -> Course:
        """Return the start token, always."""
        del steer, rate, num_frames
        return lambda first, newest: torch.zeros(1, dtype=torch.long)


class LabelCondition(Condition):
    """The class as one token in place of the start token.

    Args:
        num_classes: number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.vocabulary_size = num_classes

    def length(self, num_frames: int) -> int:
        """One."""
        del num_frames
        return 1

    def tokens(self, clips: Clips, num_frames: int) -> Int[Tensor, "b 1"]:
        """Return the labels. Raises `UserError` if a video has none."""
        del num_frames
        if (clips.label < 0).any():
            path = clips.path[int((clips.label < 0).nonzero()[0])]
            raise UserError(f"{path} has no class; a video's folder within the data is its class")
        return clips.label[:, None]

    def course(self, steer: Sequence[tuple[int, int]], rate: int, num_frames: int) -> Course:
        """Return the class in force (see `in_force`)."""
        del num_frames
        return in_force([(frame, torch.tensor([label])) for frame, label in steer], rate)


class TextCondition(Condition):
    """A caption as a fixed number of tokens: longer ones are cut off, shorter ones filled up.

    Args:
        vocabulary: text -> ids.
        num_tokens: tokens of every caption.
    """

    def __init__(self, vocabulary: Vocabulary, num_tokens: int) -> None:
        self.vocabulary = vocabulary
        self.vocabulary_size = vocabulary.size
        self.num_tokens = num_tokens

    def length(self, num_frames: int) -> int:
        """Return what is fixed."""
        del num_frames
        return self.num_tokens

    def tokens(self, clips: Clips, num_frames: int) -> Int[Tensor, "b l"]:
        """Return the captions' tokens."""
        del num_frames
        return torch.stack([self.encode(text) for text in clips.text]).to(clips.label.device)

    def encode(self, text: str) -> Int[Tensor, " l"]:
        """Return the tokens of one text."""
        tokens = torch.full((self.num_tokens,), self.vocabulary.padding)
        ids = self.vocabulary.ids(text, self.num_tokens)
        tokens[: len(ids)] = torch.tensor(ids, dtype=torch.long)
        return tokens

    def course(self, steer: Sequence[tuple[int, str]], rate: int, num_frames: int) -> Course:
        """Return the tokens of the text in force (see `in_force`)."""
        del num_frames
        return in_force([(frame, self.encode(text)) for frame, text in steer], rate)


def in_force(story: Sequence[tuple[int, Int[Tensor, " l"]]], rate: int) -> Course:
    """Return a course of (first video frame, tokens) pairs, the first from frame 0.

    Tokens come into force with the first latent frame all of whose video frames are their own.
    """
    starts = [-(-frame // rate) for frame, _ in story]
    return lambda first, newest: story[bisect_right(starts, newest) - 1][1]


def side_by_side(courses: Sequence[Course]) -> Callable[[int, int], Int[Tensor, "b l"]]:
    """Return the conditions of several videos as one."""
    return lambda first, newest: torch.stack([course(first, newest) for course in courses])
