"""Videos -> sequences of tokens -> the GPT's batches.

One video is one sequence: a token for every overlapping clip (Sec. 5.3), the latent space that the frozen encoder gives
it, as it is: nothing is drawn. Sequences are computed once, before training. Shapes: "b" sequences of "n" tokens of "d"
channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longtake.core.randomness import derive_seed
from longtake.core.wording import counted
from longtake.data.transforms import to_video
from longtake.data.windows import SequenceDataset
from longtake.recall.encoder import RecallEncoder
from longtake.recall.gpt import NO_SYMBOL, RecallGPT
from longtake.recall.sequences import read_sequence

SEQUENCE_ORDER, SEQUENCE_CHOICE = 3, 4  # what a seed is for; the data set's own draws have 0 to 2
CLIPS_AT_ONCE = 32
MIN_WITH_GAP = 4  # tokens: the first, one left out, and two of which one is predicted from the other
GAP_FREE = 0.5  # share of the sequences without a gap


@dataclass(frozen=True)
class TokenSequence:
    """A video's tokens and its class (-1: none).

    With a gap the video has further tokens between the first and the second.
    """

    tokens: Float[Tensor, "n d"]
    label: int
    has_gap: bool = False


@torch.no_grad()
def encode_sequences(
    dataset: SequenceDataset,
    encoder: RecallEncoder,
    num_variants: int,
    device: torch.device,
    tell: Callable[[str], None],
) -> list[TokenSequence]:
    """Return the sequence of every video, `num_variants` times, each time augmented anew; tokens are on the CPU.

    `tell` is called after each with how far it is.
    """
    sequences = []
    total = num_variants * len(dataset)
    videos = counted(len(dataset), "video")
    what = videos if num_variants == 1 else f"{counted(total, 'variant')} of {videos}"
    for position in range(total):
        video = read_sequence(dataset, position)
        parts = range(0, len(video.windows), CLIPS_AT_ONCE)
        clips = (to_video(video.windows[first : first + CLIPS_AT_ONCE]).to(device) for first in parts)
        tokens = torch.cat([encoder(part).tokens() for part in clips])
        sequences.append(TokenSequence(tokens.float().cpu(), video.source.label))
        tell(f"encoded {len(sequences)} of {what}")
    return sequences


@dataclass(frozen=True)
class TokenBatch:
    """Sequences of equal length, padded with zeros at the end.

    Attributes:
        tokens: "b n d"; zeros in the place of symbols and padding.
        symbols: class or length that stands in a token's place, else -1, "b n".
        is_token: whether there is a token, neither symbol nor padding, "b n".
        is_target: whether it is to be predicted: all but the token after a gap, "b n".
    """

    tokens: Float[Tensor, "b n d"]
    symbols: Int[Tensor, "b n"]
    is_token: Bool[Tensor, "b n"]
    is_target: Bool[Tensor, "b n"]

    def to(self, device: torch.device) -> TokenBatch:
        """Return the batch with its tensors on `device`."""
        parts = (self.tokens, self.symbols, self.is_token, self.is_target)
        return TokenBatch(*(part.to(device) for part in parts))


def lay_out(pairs: Sequence[tuple[TokenSequence, TokenSequence]], gpt: RecallGPT) -> TokenBatch:
    """Return a batch of (example, sequence) pairs in the GPT's layout, which may leave the example out."""
    rows, symbols = [], []
    for example, sequence in pairs:
        context, context_symbols = gpt.context(example.tokens, sequence.label, len(sequence.tokens))
        rows.append(torch.cat([context, sequence.tokens]))
        symbols.append(torch.cat([context_symbols, torch.full((len(sequence.tokens),), NO_SYMBOL)]))
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    marks = torch.nn.utils.rnn.pad_sequence(symbols, batch_first=True, padding_value=NO_SYMBOL)
    is_real = torch.arange(padded.shape[1]) < lengths[:, None]
    is_token = is_real & (marks == NO_SYMBOL)
    is_target = is_token.clone()
    is_target[torch.tensor([sequence.has_gap for _, sequence in pairs]), 1] = False
    return TokenBatch(padded, marks, is_token, is_target)


def crop(sequence: TokenSequence, length: int, rng: np.random.Generator) -> TokenSequence:
    """Return so many consecutive tokens of a longer sequence, from a random one on."""
    start = int(rng.integers(max(0, len(sequence.tokens) - length) + 1))
    return TokenSequence(sequence.tokens[start : start + length], sequence.label)


def leave_gap(sequence: TokenSequence, length: int, rng: np.random.Generator) -> TokenSequence:
    """Return a random token and as many consecutive later ones as `length` allows, not right behind it.

    Half of the time, and where the sequence is too short for that, it is a `crop`.
    """
    num_tokens = len(sequence.tokens)
    if num_tokens < MIN_WITH_GAP or rng.random() < GAP_FREE:
        return crop(sequence, length, rng)
    first = int(rng.integers(num_tokens - MIN_WITH_GAP + 1))
    second = int(rng.integers(first + 2, num_tokens - 1))
    tokens = torch.cat([sequence.tokens[first : first + 1], sequence.tokens[second : second + length - 1]])
    return TokenSequence(tokens, sequence.label, has_gap=True)


def token_batches(
    sequences: Sequence[TokenSequence],
    gpt: RecallGPT,
    seed: int,
    batch_size: int,
    first_batch: int,
    rank: int,
    world_size: int,
) -> Iterator[TokenBatch]:
    """Yield the endless batches of one rank: each epoch every sequence once, with a random other of its class."""
    of_class: dict[int, list[int]] = {}
    for number, sequence in enumerate(sequences):
        of_class.setdefault(sequence.label, []).append(number)
    batch, order, epoch_of_order = first_batch, np.arange(0), -1
    while True:
        pairs = []
        first = (batch * world_size + rank) * batch_size
        for position in range(first, first + batch_size):
            epoch, place = divmod(position, len(sequences))
            if epoch != epoch_of_order:
                rng = np.random.default_rng(derive_seed(seed, SEQUENCE_ORDER, epoch))
                order, epoch_of_order = rng.permutation(len(sequences)), epoch
            number = int(order[place])
            sequence = sequences[number]
            others = [other for other in of_class[sequence.label] if other != number] or [number]
            rng = np.random.default_rng(derive_seed(seed, SEQUENCE_CHOICE, position))
            example = sequences[int(rng.choice(others))]
            cut = leave_gap if gpt.config.keep_first else crop
            pairs.append((crop(example, gpt.longest, rng), cut(sequence, gpt.longest, rng)))
        yield lay_out(pairs, gpt)
        batch += 1
