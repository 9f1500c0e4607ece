"""Text -> token ids: byte pairs learned from a data set's captions, or CLIP's vocabulary from a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from longtake.core.errors import UserError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

NUM_BYTES = 256
CLIP_SIZE = 49408

Pair = tuple[int, int]


class Vocabulary(Protocol):
    """Text -> ids.

    Attributes:
        size: number of ids, padding included.
        padding: id that fills up short texts.
    """

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def padding(self) -> int: ...  # noqa: D102

    def ids(self, text: str, limit: int) -> list[int]:
        """Return the ids of a text, without padding, cut off after `limit`."""
        ...


class BytePairs:
    """The 256 bytes, then pairs of ids that were frequent in some captions, then padding.

    Without pairs every byte of the text is a token.

    Args:
        merges: the pairs; the k-th becomes id 256 + k.
    """

    def __init__(self, merges: Iterable[Sequence[int]] = ()) -> None:
        self.merges: tuple[Pair, ...] = tuple((first, second) for first, second in merges)

    @classmethod
    def learn(cls, texts: Sequence[str], num_merges: int) -> BytePairs:
        """Merge the most frequent neighbours, again and again, until there are `num_merges` or none occurs twice."""
        sequences = [list(text.encode()) for text in texts]
        merges: list[Pair] = []
        while len(merges) < num_merges:
            counts = Counter(pair for ids in sequences for pair in pairwise(ids))
            # of equally frequent ones the smallest, whatever the order of the texts
            pair, times = min(counts.items(), key=lambda item: (-item[1], item[0]), default=((0, 0), 0))
            if times < 2:
                break
            sequences = [_merge(ids, pair, NUM_BYTES + len(merges)) for ids in sequences]
            merges.append(pair)
        return cls(merges)

    @property
    def size(self) -> int:
        """Bytes, pairs and padding."""
        return NUM_BYTES + len(self.merges) + 1

    @property
    def padding(self) -> int:
        """The last id."""
        return self.size - 1

    def ids(self, text: str, limit: int) -> list[int]:
        """Merge the text's bytes in the order in which the pairs were learned."""
        ids = list(text.encode())
        for number, pair in enumerate(self.merges):
            ids = _merge(ids, pair, NUM_BYTES + number)
        return ids[:limit]


class ClipVocabulary:
    """CLIP's byte pairs between marks of beginning and end, padded with id 0, as the authors' code has them.

    Texts are lower-cased. The authors also repair wrong encodings (with the package ftfy) and HTML entities; here
    captions are taken as they are.

    Raises `UserError` if the tokenizer has not CLIP's 49408 ids: an empty folder gives one of two ids without a word.
    """

    size = CLIP_SIZE
    padding = 0

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        if len(tokenizer) != CLIP_SIZE:
            where = tokenizer.name_or_path or "the model"
            raise UserError(f"the CLIP tokenizer of {where} has {len(tokenizer)} ids; it must have {CLIP_SIZE}")
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: str) -> ClipVocabulary:
        """Load a transformers folder with vocab.json and merges.txt; raises `UserError` if it is none."""
        if not Path(folder).is_dir():
            raise UserError(f"no CLIP tokenizer in {folder}: give a folder with vocab.json and merges.txt")
        from transformers import CLIPTokenizer  # takes seconds

        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the CLIP tokenizer in {folder}: {' '.join(str(error).split())}") from error
        return cls(tokenizer)

    def ids(self, text: str, limit: int) -> list[int]:
        """Return CLIP's ids of a text, 49406 before and 49407 after it, also where it is cut off."""
        return self.tokenizer(text, truncation=True, max_length=limit)["input_ids"]


def _merge(ids: list[int], pair: Pair, merged: int) -> list[int]:
    result: list[int] = []
    for second in ids:
        if result and (result[-1], second) == pair:
            result[-1] = merged
        else:
            result.append(second)
    return result
