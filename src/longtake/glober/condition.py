"""Small condition encoders: class label or text -> tokens for the generator and the frame decoder.

Trained, they stand in for the paper's frozen CLIP text encoder (`text_encoder.py`) where there is none. Label -1 and
text "" are the null condition of classifier-free guidance, learned with the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.glober.blocks import SelfAttention

NUM_BYTES = 256


class GloberLabelEncoder(ModelMixin, ConfigMixin):
    """Class label -> tokens: one that is learned, or a text encoder's states of the class's prompt.

    Args:
        num_classes: number of classes.
        dim: channels of a token.
        num_tokens: tokens of a class.
    """

    @register_to_config
    def __init__(self, num_classes: int, dim: int, num_tokens: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes + 1, num_tokens * dim)

    def encode(self, labels: Int[Tensor, " b"]) -> Float[Tensor, "b l d"]:
        """Return the tokens of class labels; -1 is the null condition. Raises `UserError` for any other label."""
        num_classes = self.config.num_classes
        outside = labels[(labels < -1) | (labels >= num_classes)]
        if len(outside):
            raise UserError(f"label {int(outside[0])} is not among the {num_classes} classes (0 to {num_classes - 1})")
        return self(labels)

    def forward(self, labels: Int[Tensor, " b"]) -> Float[Tensor, "b l d"]:
        """Return the tokens of class labels, unchecked."""
        tokens = self.embedding(torch.where(labels < 0, self.config.num_classes, labels))
        return rearrange(tokens, "b (l d) -> b l d", l=self.config.num_tokens)


class TextBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        """Apply attention and MLP."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class GloberTextEncoder(ModelMixin, ConfigMixin):
    """Text -> `max_length` tokens, one per UTF-8 byte, the rest padding; no vocabulary to ship.

    Text of no bytes is all padding: what the transformer makes of that is the null condition.

    Args:
        dim: channels of a token.
        depth: number of transformer blocks.
        num_heads: attention heads.
        max_length: number of tokens; text beyond so many bytes is cut off.
    """

    @register_to_config
    def __init__(self, dim: int, depth: int, num_heads: int, max_length: int = 77) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NUM_BYTES + 1, dim)
        self.positions = nn.Parameter(0.02 * torch.randn(max_length, dim))
        self.blocks = nn.ModuleList(TextBlock(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "b l d"]:
        """Return the tokens of texts; "" is the null condition."""
        length = self.config.max_length
        tokens = torch.full((len(texts), length), NUM_BYTES)
        for row, text in zip(tokens, texts, strict=True):
            encoded = list(text.encode())[:length]
            row[: len(encoded)] = torch.tensor(encoded, dtype=torch.long)
        return self(tokens.to(self.positions.device))

    def forward(self, tokens: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """Return the states of byte tokens (256 is padding)."""
        states = self.embedding(tokens) + self.positions
        for block in self.blocks:
            states = block(states)
        return self.norm(states)
