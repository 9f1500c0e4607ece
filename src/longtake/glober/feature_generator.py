"""The feature generator: a diffusion transformer over the global feature, conditioned on text or class (Sec. 3.2)."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.glober.blocks import SelfAttention, SinusoidMLP, run_block, zero_init

TIMESTEP_DIM = 256


class GeneratorBlock(nn.Module):
    """Transformer block modulated by the timestep (adaLN-Zero): every branch starts gated to zero."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, own_modulation: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attention = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.GELU(approximate="tanh"), nn.Linear(mlp_dim, dim))
        # Either its own map from the timestep, or an offset to the map that all blocks share
        self.modulation: nn.Linear | None = None
        self.modulation_offset: nn.Parameter | None = None
        if own_modulation:
            self.modulation = nn.Linear(dim, 6 * dim)
        else:
            self.modulation_offset = nn.Parameter(torch.zeros(6 * dim))

    def forward(
        self, tokens: Float[Tensor, "b l d"], timestep: Float[Tensor, "b d"], shared: Float[Tensor, "b six_d"] | None
    ) -> Float[Tensor, "b l d"]:
        """Apply attention and MLP; `timestep` is the activated embedding, `shared` the shared modulation, if any."""
        if self.modulation is not None:
            modulation = self.modulation(timestep)
        else:
            assert shared is not None
            assert self.modulation_offset is not None
            modulation = shared + self.modulation_offset
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, None].chunk(6, dim=-1)
        tokens = tokens + gate1 * self.attention(self.norm1(tokens) * (1 + scale1) + shift1)
        return tokens + gate2 * self.mlp(self.norm2(tokens) * (1 + scale2) + shift2)


class GloberFeatureGenerator(ModelMixin, ConfigMixin):
    """DiT whose sequence is the condition's tokens followed by the feature's patches; it predicts noise (or velocity).

    The condition enters as tokens of the joint self-attention alone (there is no cross-attention), the timestep by
    adaptive layer normalisation. `feature_mean` and `feature_std` (buffers, per channel, 0 and 1 until set) map
    features to about unit variance; the generator itself works on normalised features.

    Args:
        feature_channels: channels of the global feature.
        feature_size: height and width of the global feature.
        hidden_size: channels of a token.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden channels of a block's MLP, as a multiple of `hidden_size`.
        context_dim: channels of the condition's tokens.
        patch_size: height and width of a patch of the feature.
        shared_modulation: one map from the timestep for all blocks and a learned offset per block, instead of one map
            per block (not in the paper; saves about a third of the parameters).
        previous_window: also take the feature of the window before, which this one overlaps by half (not in the paper;
            see `endless.py`). Its patches are embedded by a map without bias that starts at zero and added to the noisy
            ones, so a network trained without it is a network that does not look at it yet.

    Raises:
        UserError: if sizes do not divide.
    """

    feature_mean: Tensor
    feature_std: Tensor
    position_embedding: Tensor
    _supports_gradient_checkpointing = True
    gradient_checkpointing = False

    @register_to_config
    def __init__(  # noqa: PLR0913 (the arguments are the saved config)
        self,
        feature_channels: int = 16,
        feature_size: int = 16,
        hidden_size: int = 1152,
        depth: int = 28,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        context_dim: int = 768,
        patch_size: int = 1,
        shared_modulation: bool = False,
        previous_window: bool = False,
    ) -> None:
        super().__init__()
        if feature_size % patch_size:
            raise UserError(f"feature_size {feature_size} is not a multiple of patch_size {patch_size}")
        if hidden_size % 4:
            raise UserError(f"hidden_size must be a multiple of 4, not {hidden_size}")
        self.patch_embedding = nn.Conv2d(feature_channels, hidden_size, patch_size, stride=patch_size)
        self.previous_embedding = (
            nn.Conv2d(feature_channels, hidden_size, patch_size, stride=patch_size, bias=False)
            if previous_window
            else None
        )
        # fixed, yet a parameter as in DiT, whose published sizes count it
        positions = sincos_positions(feature_size // patch_size, hidden_size)[None]
        self.position_embedding = nn.Parameter(positions, requires_grad=False)
        self.context_embedding = nn.Linear(context_dim, hidden_size)
        self.timestep_embedding = SinusoidMLP(TIMESTEP_DIM, hidden_size)
        self.modulation_for_all = nn.Linear(hidden_size, 6 * hidden_size) if shared_modulation else None
        self.blocks = nn.ModuleList(
            GeneratorBlock(hidden_size, num_heads, int(hidden_size * mlp_ratio), own_modulation=not shared_modulation)
            for _ in range(depth)
        )
        self.final_norm = nn.LayerNorm(hidden_size, eps=1e-6, elementwise_affine=False)
        self.final_modulation = nn.Linear(hidden_size, 2 * hidden_size)
        self.final_linear = nn.Linear(hidden_size, patch_size**2 * feature_channels)
        self.register_buffer("feature_mean", torch.zeros(feature_channels, 1, 1))
        self.register_buffer("feature_std", torch.ones(feature_channels, 1, 1))
        self._initialise()

    def _initialise(self) -> None:
        """Initialise as DiT: Xavier, small timestep MLP, zero modulations and zero output."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.view(self.config.hidden_size, -1))
        assert self.patch_embedding.bias is not None
        nn.init.zeros_(self.patch_embedding.bias)
        for module in self.timestep_embedding.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        for block in self.blocks:
            assert isinstance(block, GeneratorBlock)
            if block.modulation is not None:
                zero_init(block.modulation)
        if self.modulation_for_all is not None:
            zero_init(self.modulation_for_all)
        if self.previous_embedding is not None:
            zero_init(self.previous_embedding)
        zero_init(self.final_modulation)
        zero_init(self.final_linear)

    def normalize(self, feature: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Map global features to the scale the generator works on."""
        return (feature - self.feature_mean) / self.feature_std

    def denormalize(self, feature: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Map what the generator made back to global features."""
        return feature * self.feature_std + self.feature_mean

    def forward(
        self,
        noisy: Float[Tensor, "b c h w"],
        timestep: Shaped[Tensor, " b"],
        context: Float[Tensor, "b l d"],
        previous: Float[Tensor, "b c h w"] | None = None,
    ) -> Float[Tensor, "b c h w"]:
        """Return the prediction for noisy normalised features; `context` has any number of tokens.

        `previous` is the normalised feature of the window before, zeros where there is none; only for a network with
        `previous_window`.
        """
        patches = self.patch_embedding(noisy)
        if previous is not None:
            assert self.previous_embedding is not None, "the network was built without previous_window"
            patches = patches + self.previous_embedding(previous)
        patches = rearrange(patches, "b d h w -> b (h w) d") + self.position_embedding
        tokens = torch.cat([self.context_embedding(context), patches], dim=1)
        embedding = nn.functional.silu(self.timestep_embedding(timestep))
        shared = None if self.modulation_for_all is None else self.modulation_for_all(embedding)
        for block in self.blocks:
            tokens = run_block(self, block, tokens, embedding, shared)
        shift, scale = self.final_modulation(embedding)[:, None].chunk(2, dim=-1)
        out = self.final_linear(self.final_norm(tokens) * (1 + scale) + shift)[:, context.shape[1] :]
        patch = self.config.patch_size
        return rearrange(out, "b (h w) (p q c) -> b c (h p) (w q)", h=noisy.shape[-2] // patch, p=patch, q=patch)


def sincos_positions(size: int, dim: int) -> Float[Tensor, "{size}*{size} {dim}"]:
    """Return fixed positions of a size x size grid: [sin x, cos x, sin y, cos y], a quarter of `dim` each."""
    quarter = dim // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(size, dtype=torch.float64)[:, None] * frequencies
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = line[None].expand(size, -1, -1)
    rows = line[:, None].expand(-1, size, -1)
    return rearrange(torch.cat([columns, rows], dim=-1), "h w d -> (h w) d").float()
