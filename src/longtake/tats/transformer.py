"""The transformers: condition tokens, then the codes of a window of latent frames, one after the other.

A sequence is [condition, frame 0, frame 1, ...], each latent frame row by row. Code k of the VQGAN is token
`condition_vocabulary` + k. Positions are absolute in the sequence, so a window that moves on is read anew.
Shapes: "t" latent frames of "h w" codes, "s" = h w codes of one latent frame, "l" condition tokens, "v" all token ids,
"k" the VQGAN's codes.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longtake.nn.gpt import GPT, KVCache


class TatsTransformer(ModelMixin, ConfigMixin):
    """A GPT over the codes of a window: autoregressive, or filling in between the window's first and last frame.

    Args:
        num_codes: codes of the VQGAN.
        latent_size: height and width of a latent frame.
        num_latents: latent frames in the window.
        latent_step: latent frames of the video from one of the window to the next (4 in the sparse model).
        condition_vocabulary: ids of condition tokens; 0 without a condition, whose start token is then id 0, the
            first code's (as the authors have it).
        condition_length: condition tokens in front of the codes.
        interpolates: first and last frame are given, and what lies between is generated in order.
        num_positions: rows of the table of positions; None: as many as a sequence needs.
        hidden_size: width.
        depth: number of blocks.
        num_heads: attention heads.
        dropout: of the embedding and the residual branches (not in the paper).
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 (diffusers saves and restores exactly the constructor's parameters)
        self,
        num_codes: int,
        latent_size: tuple[int, int],
        num_latents: int = 4,
        latent_step: int = 1,
        condition_vocabulary: int = 0,
        condition_length: int = 1,
        interpolates: bool = False,
        num_positions: int | None = None,
        hidden_size: int = 1024,
        depth: int = 24,
        num_heads: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        assert condition_length >= 1
        assert not interpolates or num_latents >= 3
        self.tokens_per_latent = latent_size[0] * latent_size[1]
        # the last code is predicted, but never read
        self.sequence_length = condition_length + num_latents * self.tokens_per_latent - 1
        assert num_positions is None or num_positions >= self.sequence_length
        vocabulary_size = condition_vocabulary + num_codes
        block_size = num_positions or self.sequence_length
        self.gpt = GPT(vocabulary_size, block_size, hidden_size, depth, num_heads, dropout)

    def forward(self, condition: Int[Tensor, "b l"], codes: Int[Tensor, "b t h w"]) -> Float[Tensor, "b n v"]:
        """Return the logits of the tokens in `targets(codes)`, each given the true tokens that it may see.

        An autoregressive window may be shorter than the one trained on.
        """
        config = self.config
        tokens = torch.cat([condition, self.tokens(codes)[:, :-1]], dim=1)
        if not config.interpolates:
            return self.gpt(tokens, rows=slice(config.condition_length - 1, None))
        assert codes.shape[1] == config.num_latents
        first_row = config.condition_length + self.tokens_per_latent - 1
        rows = slice(first_row, first_row + (config.num_latents - 2) * self.tokens_per_latent)
        return self.gpt(tokens, mask=self.mask(), rows=rows)

    def tokens(self, codes: Int[Tensor, "b t h w"]) -> Int[Tensor, "b n"]:
        """Return codes as tokens in the order of the sequence."""
        return rearrange(codes, "b t h w -> b (t h w)") + self.config.condition_vocabulary

    def targets(self, codes: Int[Tensor, "b t h w"]) -> Int[Tensor, "b n"]:
        """Return the tokens that are learned: all, or when interpolating those of the frames between.

        The official loss also counts the first and the last frame, which the interpolation sees in its input.
        """
        return self.tokens(codes[:, 1:-1] if self.config.interpolates else codes)

    def mask(self) -> Bool[Tensor, "n n"]:
        """Return what sees what in a window whose ends are given: true where the row's token sees the column's.

        The ends are [condition, first frame] and the last frame without its last code, which no sequence reads.
        """
        position = torch.arange(self.sequence_length, device=self.device)
        begin_length, end_length = self.config.condition_length + self.tokens_per_latent, self.tokens_per_latent - 1
        is_end = (position < begin_length) | (position >= len(position) - end_length)
        return is_end | (~is_end[:, None] & (position[:, None] >= position))

    def next_logits(
        self,
        tokens: Int[Tensor, "b n"],
        cache: KVCache,
        *,
        positions: Int[Tensor, " n"] | None = None,
        mask: Bool[Tensor, "n m"] | None = None,
        row: int = -1,
    ) -> Float[Tensor, "b k"]:
        """Read tokens into the cache and return the logits of the codes (of nothing else) that follow token `row`."""
        row %= tokens.shape[1]
        logits = self.gpt(
            tokens,
            positions=positions,
            mask=mask,
            cache=cache,
            rows=slice(row, row + 1),
            first_token=self.config.condition_vocabulary,
        )
        return rearrange(logits, "b 1 k -> b k")

    def new_cache(self) -> KVCache:
        """Return a cache with room for a whole window, and for the one token more of the authors' interpolation."""
        return KVCache(self.sequence_length + 1)
