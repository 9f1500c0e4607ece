"""What the engine trains after the VQGAN: transformers over the codes that the frozen VQGAN gives (paper section 2.2).

Three stages of one kind: "transformer" (neighbouring latent frames), "sparse" (every few), and "interpolation" (what
lies between two of the sparse ones).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from einops import rearrange
from torch import Tensor, nn

from longtake.core.batch import VideoBatch
from longtake.core.randomness import generator as seeded
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex
from longtake.data.loading import clip_batches
from longtake.data.transforms import to_frames
from longtake.models import find_folder
from longtake.nn.gpt import undecayed_parameters
from longtake.nn.trained_parts import start_from
from longtake.tats import build
from longtake.tats.config import TatsRecipe, TransformerConfig
from longtake.tats.interpolation import fill_between
from longtake.tats.sampling import DRAW_CODES, CodeSampler, slide
from longtake.tats.sound import SoundCondition
from longtake.tats.tokens import TokenBatch, TokenClips, window_codes
from longtake.tats.vqgan import TatsVQGAN
from longtake.training.stage import Player, Stage

NUM_PREVIEWS = 4


class TransformerStage(Stage):
    """Cross-entropy of every code of a window, or of those between its ends when interpolating."""

    config: TransformerConfig

    def __init__(self, name: str, recipe: TatsRecipe, index: VideoIndex, vqgan: TatsVQGAN) -> None:
        self.name = name
        self.recipe = recipe
        self.config = config = getattr(recipe, name)
        self.vqgan = vqgan
        self.condition = build.condition(recipe, index)
        self.model = build.transformer(recipe, name, self.condition)
        if config.init:
            start_from(find_folder(config.init), self.modules())
        self.num_frames = build.window_frames(recipe, name)
        self.dataset = ClipDataset(index, build.clip(recipe, self.num_frames), config.augment, config.seed)
        self._cache: TokenClips | None = None

    def modules(self) -> dict[str, ModelMixin]:
        """The transformer."""
        return {self.name: self.model}

    def frozen(self) -> dict[str, nn.Module]:
        """The VQGAN, and that of the sound."""
        sound = {"stft_vqgan": self.condition.vqgan} if isinstance(self.condition, SoundCondition) else {}
        return {"vqgan": self.vqgan, **sound}

    def players(self) -> list[Player]:
        """One optimizer, with weight decay of linear layers' weights alone, as the authors have it."""
        undecayed = undecayed_parameters(self.model)
        return [Player(self.name, list(self.model.parameters()), self.config.optimizer, undecayed=undecayed)]

    def prepare(self, device: torch.device) -> None:
        """Set up the cache of codes, if the stage has one."""
        del device  # the engine has moved the VQGAN
        config = self.config
        if config.cached_variants or config.encoded:
            store = Path(config.encoded) / self.name if config.encoded else None
            self._cache = TokenClips(self.dataset, self.vqgan, config.latent_step, config.cached_variants, store)

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[VideoBatch | TokenBatch]:
        """Batches of clips, as codes if they are cached or encoded and as video if not."""
        if self._cache is not None:
            return self._cache.batches(self.config.batch_size, first, rank, world_size)
        return clip_batches(self.dataset, self.config.batch_size, first, rank, world_size, self.config.num_workers)

    def loss(
        self, player: str, batch: VideoBatch | TokenBatch, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict each code from those that it may see."""
        del player, step, generator
        codes = window_codes(batch, self.vqgan, self.config.latent_step)
        condition = self.condition.tokens(batch, self.num_frames).to(codes.device)
        logits = rearrange(self.model(condition, codes), "b n v -> (b n) v").float()
        targets = rearrange(self.model.targets(codes), "b n -> (b n)")
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        return F.cross_entropy(logits, targets), {"train/accuracy": accuracy}

    def preview(self, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Videos sampled under the conditions of training clips; an interpolation fills in between their true ends.

        Those of the sparse stage run `latent_step` times as fast.
        """
        del generator  # the same draws every time, to compare
        batch = next(clip_batches(self.dataset, NUM_PREVIEWS)).to(self.vqgan.device)
        condition = self.condition.tokens(batch, self.num_frames).to(self.vqgan.device)
        sampling = self.recipe.sampling
        generators = [seeded(self.config.seed, number, DRAW_CODES) for number in range(NUM_PREVIEWS)]
        draw = CodeSampler(generators, sampling.temperature, sampling.top_k, sampling.top_p)
        if self.model.config.interpolates:
            true = rearrange(window_codes(batch, self.vqgan, self.config.latent_step), "b t h w -> t b (h w)")
            between = fill_between(self.model, self.model.new_cache(), condition, true[0], true[-1], draw)
            latents = [true[0], *between.unbind(dim=1), true[-1]]
        else:
            context = min(sampling.context_latents, self.config.num_latents - 1)
            sampled = slide(self.model, lambda first, newest: condition, draw, context=context)
            latents = list(islice(sampled, 2 * self.config.num_latents))
        height, _ = self.model.config.latent_size
        codes = rearrange(latents, "t b (h w) -> b t h w", h=height)
        return {"samples": to_frames(self.vqgan.decode(codes))}

    def export(self, folder: Path) -> None:
        """Save the transformer."""
        self.model.save_pretrained(folder / self.name)
