"""What steers a video, as tokens in front of the codes: nothing, a class, text, or the codes of its sound.

Text and sound may change while the video goes on: a window's tokens are those of its own time (paper section 2.3).
Shapes: "b" clips, "l" condition tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from longtake.core.errors import UserError
from longtake.data.clips import reflect
from longtake.tats.vocabulary import Vocabulary
from longtake.tats.vqgan import TatsVQGAN

SPECTROGRAM_KEY = "stft"
KEPT_SPECTROGRAMS = 256

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
            steer: what steers the video: nothing, a class index, a story, or spectrograms "t h w".
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

    def course(self, steer: int, rate: int, num_frames: int) -> Course:
        """Return the class, always."""
        del rate, num_frames
        return lambda first, newest: torch.tensor([steer])


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
        ids = self.vocabulary.ids(text)[: self.num_tokens]
        tokens[: len(ids)] = torch.tensor(ids, dtype=torch.long)
        return tokens

    def course(self, steer: Sequence[tuple[int, str]], rate: int, num_frames: int) -> Course:
        """Return the tokens of the text in force, of (first video frame, text) pairs that begin at frame 0.

        A text begins with the first latent frame all of whose video frames are its own.
        """
        del num_frames
        starts = [-(-frame // rate) for frame, _ in steer]
        texts = [self.encode(text) for _, text in steer]
        return lambda first, newest: texts[bisect_right(starts, newest) - 1]


class SoundCondition(Condition):
    """The codes of the clip's spectrograms, one picture per video frame, by a VQGAN of their own.

    Args:
        vqgan: the spectrograms' VQGAN, with one channel.
        size: height and width of a spectrogram.
    """

    def __init__(self, vqgan: TatsVQGAN, size: tuple[int, int]) -> None:
        self.vqgan = vqgan
        self.size = size
        self.vocabulary_size = vqgan.num_codes

    def length(self, num_frames: int) -> int:
        """Return the number of codes."""
        time, height, width = self.vqgan.config.downsample
        return (num_frames // time) * (self.size[0] // height) * (self.size[1] // width)

    def tokens(self, clips: Clips, num_frames: int) -> Int[Tensor, "b l"]:
        """Return the codes of each clip's sound, read from the file beside its video (see `read_spectrograms`)."""
        sounds = [
            window_of(read_spectrograms(path, self.size), start, num_frames)
            for path, start in zip(clips.path, clips.start.tolist(), strict=True)
        ]
        return self.encode(torch.stack(sounds))

    @torch.no_grad()
    def encode(self, spectrograms: Float[Tensor, "b t h w"]) -> Int[Tensor, "b l"]:
        """Return the codes of spectrograms in [-1, 1], in order of time."""
        video = rearrange(spectrograms, "b t h w -> b 1 t h w").to(self.vqgan.device, self.vqgan.dtype)
        return rearrange(self.vqgan.encode(video), "b t h w -> b (t h w)")

    def course(self, steer: Float[Tensor, "t h w"], rate: int, num_frames: int) -> Course:
        """Return the codes of the part of the sound that a window covers."""

        @lru_cache(maxsize=1)
        def tokens(first: int) -> Int[Tensor, " l"]:
            return self.encode(window_of(steer, first * rate, num_frames)[None])[0]

        return lambda first, newest: tokens(first)


def window_of(spectrograms: Float[Tensor, "t h w"], start: int, num_frames: int) -> Float[Tensor, "n h w"]:
    """Return `num_frames` spectrograms from `start` on, reflected at the ends as short videos are."""
    return spectrograms[torch.from_numpy(reflect(start + np.arange(num_frames), len(spectrograms)))]


@lru_cache(maxsize=KEPT_SPECTROGRAMS)
def read_spectrograms(path: str, size: tuple[int, int]) -> Float[Tensor, "t h w"]:
    """Return the sound of a video or of an .npz file, in [-1, 1].

    It is the array `stft` in [0, 1] of shape (frames, height, width), in the .npz file beside the video, of the same
    name. Raises `UserError` if there is none or it has another size.
    """
    file = Path(path).with_suffix(".npz")
    try:
        with np.load(file) as arrays:
            spectrograms = torch.from_numpy(arrays[SPECTROGRAM_KEY]).float()
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise UserError(f"no sound in {file}: it must hold an array {SPECTROGRAM_KEY!r}") from error
    if spectrograms.ndim != 3 or spectrograms.shape[1:] != size or not len(spectrograms):
        raise UserError(
            f"{file}: {SPECTROGRAM_KEY!r} has shape {tuple(spectrograms.shape)}, not (frames, {size[0]}, {size[1]})"
        )
    return 2 * spectrograms - 1


def side_by_side(courses: Sequence[Course]) -> Callable[[int, int], Int[Tensor, "b l"]]:
    """Return the conditions of several videos as one."""
    return lambda first, newest: torch.stack([course(first, newest) for course in courses])
