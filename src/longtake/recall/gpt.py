"""R3's GPT: a sequence of latent spaces, one token per clip, -> the next one, as a regression (Sec. 5.3).

Tokens are vectors (see `LatentSpace.tokens`), so there is neither a vocabulary nor a draw: what is drawn is the clip,
from the latent space that a token stands for. Shapes: "b" sequences of "n" tokens of "d" channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.nn.gpt import GPTCore, KVCache, initialise

Layout = Literal["padded", "paired", "labelled"]

NO_SYMBOL = -1
NUM_SYMBOLS = {"padded": 0, "paired": 0, "labelled": 3}  # class, length, length


def longest_sequence(layout: Layout, num_positions: int) -> int:
    """Return how many tokens of one video fit into `num_positions`."""
    return num_positions if layout == "padded" else (num_positions - NUM_SYMBOLS[layout]) // 2


def positions_for(layout: Layout, length: int) -> int:
    """Return how many positions a sequence takes that holds videos of `length` tokens."""
    return length if layout == "padded" else 2 * length + NUM_SYMBOLS[layout]


class RecallGPT(ModelMixin, ConfigMixin):
    """Latent spaces so far -> the next latent space.

    Args:
        token_channels: channels of a token, 2 (c_a + c_m).
        width: channels of the GPT; None: as many as a token has, and tokens enter as they are.
        depth: number of blocks.
        num_heads: attention heads.
        num_positions: longest sequence.
        dropout: dropout.
        layout: what a sequence is, see `GPTConfig`.
        num_classes: classes of the videos, for layout "labelled".
        num_examples: sequences of training videos that are kept.
        keep_first: whether a sliding window keeps the first token.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 (the arguments are the saved config)
        self,
        token_channels: int = 1536,
        width: int | None = None,
        depth: int = 48,
        num_heads: int = 24,
        num_positions: int = 128,
        dropout: float = 0.1,
        layout: Layout = "padded",
        num_classes: int = 0,
        num_examples: int = 0,
        keep_first: bool = False,
    ) -> None:
        super().__init__()
        self.longest = longest_sequence(layout, num_positions)
        assert self.longest >= 1, num_positions
        self.embed = nn.Identity() if width is None else nn.Linear(token_channels, width)
        width = width or token_channels
        self.symbols = nn.Embedding(num_classes + self.longest, width) if layout == "labelled" else None
        self.core = GPTCore(width, depth, num_heads, num_positions, dropout)
        self.head = nn.Linear(width, token_channels, bias=False)  # the norm before it has a bias
        for module in (self.embed, self.head, *([self.symbols] if self.symbols is not None else [])):
            initialise(module)
        # of a single video's sequence, the first token is all that is ever begun with
        length = 1 if layout == "padded" else self.longest
        self.register_buffer("examples", torch.zeros(num_examples, length, token_channels))
        self.register_buffer("example_lengths", torch.zeros(num_examples, dtype=torch.long))
        self.register_buffer("example_labels", torch.zeros(num_examples, dtype=torch.long))
        self.examples: Float[Tensor, "k n d"]
        self.example_lengths: Int[Tensor, " k"]
        self.example_labels: Int[Tensor, " k"]

    def forward(
        self,
        tokens: Float[Tensor, "b n d"],
        symbols: Int[Tensor, "b n"] | None = None,
        cache: KVCache | None = None,
        rows: slice = slice(None),
    ) -> Float[Tensor, "b r d"]:
        """Return the prediction of what follows each token in `rows`.

        Sequences of a batch are padded at the end, with anything: attention goes back only, so no token sees padding.

        Args:
            tokens: the new tokens.
            symbols: where this is not -1, the class or length that stands in the token's place (layout "labelled").
            cache: tokens of earlier passes; the new ones are added to it.
            rows: which of the new tokens to predict from.
        """
        embedded = self.embed(tokens)
        if symbols is not None and self.symbols is not None:
            is_symbol = (symbols != NO_SYMBOL).unsqueeze(-1)
            embedded = torch.where(is_symbol, self.symbols(symbols.clamp(min=0)), embedded)
        return self.head(self.core(embedded, cache=cache, rows=rows))

    @property
    def has_context(self) -> bool:
        """Whether sequences follow another video's."""
        return self.config.layout != "padded"

    def context(
        self, example: Float[Tensor, "m d"], label: int, length: int
    ) -> tuple[Float[Tensor, "p d"], Int[Tensor, " p"]]:
        """Return the tokens and symbols that a sequence of `length` tokens follows: nothing in layout "padded".

        In layout "paired" it is another video's sequence; in "labelled", class, the other video's length, its sequence,
        and the length of what is to come.
        """
        if self.config.layout == "padded":
            example = example[:0]
        symbols = torch.full((len(example),), NO_SYMBOL, device=example.device)
        if self.config.layout != "labelled":
            return example, symbols
        assert 0 <= label < self.config.num_classes, label
        first_length = self.config.num_classes - 1  # a length of 1 is the first symbol after the classes
        nothing, own = example.new_zeros(1, example.shape[1]), symbols.new_tensor([first_length + length])
        before = symbols.new_tensor([label, first_length + len(example)])
        return torch.cat([nothing, nothing, example, nothing]), torch.cat([before, symbols, own])

    def example(self, number: int) -> tuple[Float[Tensor, "m d"], int]:
        """Return the `number`-th kept sequence and its class."""
        return self.examples[number, : int(self.example_lengths[number])], int(self.example_labels[number])


class TokenRollout:
    """Tokens in, one by one; predictions of the next out: a GPT with a cache, for sequences of any length.

    What is fed need not be what was predicted: R3's robust rollout feeds the encoded clip (Alg. 11).

    A sequence longer than the GPT's positions is seen through a window of its last tokens, read anew for every step;
    with `keep_first`, of its first token and the last ones.

    After an example (layouts "paired" and "labelled"), room is for as many tokens as the example has: then the sequence
    begins anew with its last token, after the next example (Sec. 5.3, 5.8).

    Args:
        gpt: the model, in evaluation mode.
        example: number of a context -> the kept sequence to use.
    """

    def __init__(self, gpt: RecallGPT, example: Callable[[int], int]) -> None:
        self.gpt = gpt
        self._example = example
        self._cache = KVCache(gpt.config.num_positions)
        self._window: list[Float[Tensor, "1 d"]] = []
        self._num_contexts = 0

    @torch.no_grad()
    def __call__(self, token: Float[Tensor, "1 d"]) -> Float[Tensor, "1 d"]:
        """Add a token to the sequence; return the prediction of the one that follows it."""
        is_full = len(self._window) == self._room
        if is_full and self.gpt.has_context:
            self._window = []
        elif is_full:
            del self._window[1 if self.gpt.config.keep_first else 0]
        self._window.append(token)
        tokens, symbols = token[None], None
        if is_full or len(self._window) == 1:
            tokens, symbols = self._read_anew()
        return self.gpt(tokens, symbols, self._cache, slice(-1, None))[:, 0]

    @property
    def _room(self) -> int:
        """Tokens that the window holds."""
        if not self.gpt.has_context or self._num_contexts == 0:
            return self.gpt.longest
        return int(self.gpt.example_lengths[self._example(self._num_contexts - 1)])

    def _read_anew(self) -> tuple[Float[Tensor, "1 n d"], Int[Tensor, "1 n"]]:
        """Forget what was read; return the whole window behind its context."""
        self._cache.reset()
        window = torch.cat(self._window)
        context, symbols = window[:0], torch.empty(0, dtype=torch.long, device=window.device)
        if self.gpt.has_context:
            example, label = self.gpt.example(self._example(self._num_contexts))
            context, symbols = self.gpt.context(example.to(window), label, len(example))
            self._num_contexts += 1
        none = symbols.new_full((len(window),), NO_SYMBOL)
        return torch.cat([context, window])[None], torch.cat([symbols, none])[None]
