"""A GPT of pre-norm blocks (GPT-2's, with separate query, key and value), and the cache it samples with.

`GPTCore` works on vectors, so that continuous tokens can pass through it; `GPT` puts a token embedding and a head
around it. Shapes: "b" sequences of "n" new tokens of width "c", "m" tokens that attention sees (the cached ones, then
the new), "h" heads of "d" channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

INITIAL_STD = 0.02


class KVCache:
    """Keys and values of the tokens so far, in memory that is allocated once and written in place.

    Attributes:
        capacity: tokens there is room for.
        length: tokens stored, in every layer, at the end of a pass.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._layers: list[tuple[Tensor, Tensor]] = []

    def reset(self) -> None:
        """Forget the tokens and keep the memory."""
        self.length = 0

    def append(
        self, layer: int, keys: Float[Tensor, "b h n d"], values: Float[Tensor, "b h n d"]
    ) -> tuple[Float[Tensor, "b h m d"], Float[Tensor, "b h m d"]]:
        """Store what `layer` makes of the new tokens; return views of all that it has stored, the new included."""
        if layer == len(self._layers):
            shape = (*keys.shape[:2], self.capacity, keys.shape[3])
            self._layers.append((keys.new_empty(shape), values.new_empty(shape)))
        end = self.length + keys.shape[2]
        assert end <= self.capacity, f"{end} tokens, but the cache has room for {self.capacity}"
        stored_keys, stored_values = self._layers[layer]
        stored_keys[:, :, self.length : end] = keys
        stored_values[:, :, self.length : end] = values
        return stored_keys[:, :, :end], stored_values[:, :, :end]


class Attention(nn.Module):
    """Multi-head self-attention of new tokens to the cached ones and themselves."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        assert width % num_heads == 0, f"{width} channels cannot be split among {num_heads} heads"
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "b n c"], mask: Bool[Tensor, "... n m"] | None, cache: KVCache | None, layer: int
    ) -> Float[Tensor, "b n c"]:
        """Attend where `mask` is true; without one, to all that came before and to oneself."""
        queries, keys, values = (
            rearrange(part(x), "b n (h d) -> b h n d", h=self.num_heads) for part in (self.query, self.key, self.value)
        )
        if cache is not None:
            keys, values = cache.append(layer, keys, values)
        num_new, num_seen = queries.shape[2], keys.shape[2]
        if mask is None and 1 < num_new < num_seen:
            mask = torch.ones(num_new, num_seen, dtype=torch.bool, device=x.device).tril(num_seen - num_new)
        # a single new token sees all the others: no mask, and not "is_causal", which counts from the first key
        is_causal = mask is None and num_new > 1
        if torch.is_autocast_enabled("cpu"):
            # torch's kernel for CPUs is slower in bf16 than in float32, most of all backwards and for small heads
            queries, keys, values = queries.float(), keys.float(), values.float()
        with torch.autocast("cpu", enabled=False):
            attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=is_causal)
        return self.proj(rearrange(attended, "b h n d -> b n (h d)"))


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), with an exact GELU and four times the width."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "b n c"], mask: Bool[Tensor, "... n m"] | None, cache: KVCache | None, layer: int
    ) -> Float[Tensor, "b n c"]:
        """Apply attention and MLP."""
        x = x + self.dropout(self.attention(self.norm1(x), mask, cache, layer))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GPTCore(nn.Module):
    """Learned positions, blocks and a final norm, on vectors.

    Args:
        width: channels of a token.
        depth: number of blocks.
        num_heads: attention heads; they divide `width`.
        block_size: number of positions.
        dropout: of the input and of what every attention and MLP adds.
    """

    def __init__(self, width: int, depth: int, num_heads: int, block_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(block_size, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, num_heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.apply(initialise)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        *,
        positions: Int[Tensor, " n"] | None = None,
        mask: Bool[Tensor, "... n m"] | None = None,
        cache: KVCache | None = None,
        rows: slice = slice(None),
    ) -> Float[Tensor, "b r c"]:
        """Return the normed states of the tokens in `rows` (default: all).

        Args:
            x: the new tokens, embedded.
            positions: of each new token; by default they follow the cached ones.
            mask: true where a new token may look, at the cached tokens and the new ones; by default back only.
            cache: tokens of earlier passes; the new ones are added to it.
            rows: which of the new tokens' states are wanted.
        """
        start, length = (cache.length if cache is not None else 0), x.shape[1]
        assert positions is not None or start + length <= len(self.positions), (
            f"{start + length} tokens, but there are {len(self.positions)} positions"
        )
        x = self.dropout(x + self.positions[slice(start, start + length) if positions is None else positions])
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, cache, layer)
        if cache is not None:
            cache.length += length
        return self.norm(x[:, rows])


class GPT(nn.Module):
    """Token ids -> logits: an embedding, the core, and a head of its own without bias.

    Args:
        vocabulary_size: number of token ids.
        block_size: longest sequence.
        width: channels of a token.
        depth: number of blocks.
        num_heads: attention heads; they divide `width`.
        dropout: as in `GPTCore`.
    """

    def __init__(
        self, vocabulary_size: int, block_size: int, width: int, depth: int, num_heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.core = GPTCore(width, depth, num_heads, block_size, dropout)
        self.head = nn.Linear(width, vocabulary_size, bias=False)
        initialise(self.token_embedding)
        initialise(self.head)

    def forward(
        self,
        tokens: Int[Tensor, "b n"],
        *,
        positions: Int[Tensor, " n"] | None = None,
        mask: Bool[Tensor, "... n m"] | None = None,
        cache: KVCache | None = None,
        rows: slice = slice(None),
        first_token: int = 0,
    ) -> Float[Tensor, "b r v"]:
        """Return the logits of what follows each token in `rows`, of the ids from `first_token` on.

        The other arguments are those of `GPTCore.forward`.
        """
        embedded = self.token_embedding(tokens)
        states = self.core(embedded, positions=positions, mask=mask, cache=cache, rows=rows)
        return F.linear(states, self.head.weight[first_token:])


def undecayed_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return all parameters but the linear layers' weights: biases, norms, embeddings and positions (as minGPT)."""
    decayed = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)}
    return [parameter for parameter in module.parameters() if id(parameter) not in decayed]


def initialise(module: nn.Module) -> None:
    """Draw weights of linear layers and embeddings from N(0, 0.02^2); biases start at 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
