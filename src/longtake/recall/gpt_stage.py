"""What the engine trains second, for R3 alone: the GPT over latent spaces that the frozen encoder gives (Sec. 5.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from longtake.core.errors import UserError
from longtake.data.config import ClipConfig
from longtake.data.index import VideoIndex, usable
from longtake.data.transforms import to_frames
from longtake.data.windows import SequenceDataset
from longtake.recall.config import CLIP_FRAMES, GPTConfig, RecallRecipe
from longtake.recall.encoder import RecallEncoder
from longtake.recall.generator import RecallGenerator
from longtake.recall.gpt import RecallGPT, TokenRollout, positions_for
from longtake.recall.latents import LatentSpace
from longtake.recall.sampling import ClipMaker, continue_faster
from longtake.recall.stitching import stitched
from longtake.recall.token_sequences import TokenBatch, encode_sequences, token_batches
from longtake.training.stage import Player, Stage

NUM_PREVIEWS = 4
PREVIEW_CLIPS = 16


def check(recipe: RecallRecipe, index: VideoIndex) -> None:
    """Raise `UserError` for a layout with classes where the data has none, and for sequences without a next token."""
    config = recipe.gpt
    if config.layout == "labelled" and any(entry.label < 0 for entry in index.entries):
        raise UserError("gpt.layout is 'labelled', but not all videos have a class: sort them into folders")
    least = positions_for(config.layout, 3 if config.keep_first else 2)
    if config.max_tokens < least:
        raise UserError(f"gpt.max_tokens is {config.max_tokens}; layout {config.layout!r} takes at least {least}")
    if config.keep_first and config.layout != "padded":
        raise UserError(f"gpt.keep_first is for layout 'padded': {config.layout!r} begins anew after another video")
    if not 0 <= config.own_share <= 1 or config.own_passes < 1:
        raise UserError("gpt.own_share must be in [0, 1], and gpt.own_passes at least 1")
    if config.cached_variants < 1 or config.examples_per_class < 1:
        raise UserError("gpt.cached_variants and gpt.examples_per_class must be at least 1")


class GPTStage(Stage[TokenBatch]):
    """Smooth L1 between each predicted token and the next one of the video (Eq. 5.3).

    Videos without two clips have no next token and are left out. A sequence never exceeds that of the longest video:
    positions beyond it would stay untrained. Longer sequences than `max_tokens` are cut at random places.

    Raises `UserError` if no video is usable, and as `check` does.
    """

    name = "gpt"
    config: GPTConfig

    def __init__(
        self, recipe: RecallRecipe, index: VideoIndex, encoder: RecallEncoder, generator: RecallGenerator
    ) -> None:
        self.recipe = recipe
        self.config = config = recipe.gpt
        self.encoder = encoder
        self.generator = generator
        check(recipe, index)
        windows = ClipConfig(CLIP_FRAMES, "windows", size=recipe.size, stride=recipe.hop)
        long_enough, _ = usable(index, CLIP_FRAMES + recipe.hop)
        self.dataset = SequenceDataset(long_enough, windows, config.augment, config.seed, config.max_frames)
        self.gpt = RecallGPT(
            token_channels=2 * (recipe.generator.content_channels + recipe.generator.motion_channels),
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            num_positions=min(config.max_tokens, positions_for(config.layout, self.dataset.longest)),
            dropout=config.dropout,
            layout=config.layout,
            num_classes=len(index.classes),
            num_examples=len(self._examples([entry.label for entry in self.dataset.entries])),
            keep_first=config.keep_first,
        )

    @classmethod
    def on(cls, recipe: RecallRecipe, index: VideoIndex, parts: Path) -> GPTStage:
        """Return the stage on what the first stage has exported to the folder `parts`."""
        encoder = RecallEncoder.from_pretrained(parts / "encoder")
        return cls(recipe, index, encoder, RecallGenerator.from_pretrained(parts / "generator"))

    def modules(self) -> dict[str, nn.Module]:
        """The GPT."""
        return {"gpt": self.gpt}

    def frozen(self) -> dict[str, nn.Module]:
        """Encoder and, for previews, generator."""
        return {"encoder": self.encoder, "generator": self.generator}

    def players(self) -> list[Player]:
        """One optimizer."""
        return [Player("gpt", list(self.gpt.parameters()), self.config.optimizer)]

    def prepare(self, device: torch.device) -> None:
        """Encode all videos, and keep some of their sequences with the GPT."""
        self.sequences = encode_sequences(self.dataset, self.encoder, self.config.cached_variants, device, self.tell)
        self._keep_examples()

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[TokenBatch]:
        """Sequences in the recipe's layout, padded to the longest of the batch."""
        size, seed = self.config.batch_size, self.config.seed
        return token_batches(self.sequences, self.gpt, seed, size, first, rank, world_size)

    def loss(
        self, player: str, batch: TokenBatch, step: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict every token but the first of a sequence; log what repeating the last token would cost, too."""
        del player, step
        tokens = self._with_own(batch, generator) if self.config.own_share else batch.tokens
        predicted = self.gpt(tokens[:, :-1], batch.symbols[:, :-1])
        wanted = batch.is_target[:, 1:]
        targets = batch.tokens[:, 1:][wanted]
        loss = F.smooth_l1_loss(predicted[wanted].float(), targets)
        return loss, {"train/loss_repeat": F.smooth_l1_loss(batch.tokens[:, :-1][wanted], targets)}

    @torch.no_grad()
    def _with_own(self, batch: TokenBatch, generator: torch.Generator) -> Float[Tensor, "b n d"]:
        """The batch's tokens, in some sequences all that follow another token replaced by what the GPT predicts."""
        drawn = torch.rand(len(batch.tokens), 1, generator=generator, device=generator.device)
        mine = (drawn < self.config.own_share).to(batch.tokens.device) & batch.is_token[:, :-1] & batch.is_target[:, 1:]
        tokens = batch.tokens
        for _ in range(self.config.own_passes):
            predicted = self.gpt(tokens[:, :-1], batch.symbols[:, :-1]).to(tokens)
            tokens = torch.cat([tokens[:, :1], torch.where(mine[..., None], predicted, batch.tokens[:, 1:])], dim=1)
        return tokens

    def preview(self, generator: torch.Generator) -> dict[str, UInt8[np.ndarray, "n t h w 3"]]:
        """Videos that go on from the first tokens of training videos, in latent space alone."""
        del generator  # nothing is drawn
        make = ClipMaker(self.generator, mode="mean", hop=self.recipe.hop)
        videos = []
        for number in range(min(NUM_PREVIEWS, self.gpt.config.num_examples)):
            token = self.gpt.example(number)[0][:1]
            channels = self.recipe.generator.content_channels
            first = make(LatentSpace.from_tokens(token, channels), 0, None)
            rollout = TokenRollout(self.gpt, lambda context, number=number: number)  # type: ignore[misc]
            clips = continue_faster(first, token, rollout, make, content_channels=channels, group=PREVIEW_CLIPS)
            video = torch.cat(list(stitched(islice(clips, PREVIEW_CLIPS), self.recipe.hop)), dim=2)
            videos.append(to_frames(video)[0])
        return {"samples": np.stack(videos)}

    def export(self, folder: Path) -> None:
        """Save the GPT."""
        self.gpt.save_pretrained(folder / "gpt")

    def _examples(self, labels: Sequence[int]) -> list[int]:
        """Numbers of the first videos of each class, as many as are kept."""
        counts = Counter[int]()
        chosen = []
        for number, label in enumerate(labels):
            counts[label] += 1
            if counts[label] <= self.config.examples_per_class:
                chosen.append(number)
        return chosen

    def _keep_examples(self) -> None:
        """Fill the GPT's examples from the first variant of the videos."""
        candidates = self.sequences[: len(self.dataset)]
        chosen = self._examples([sequence.label for sequence in candidates])
        for place in range(self.gpt.config.num_examples):
            # a video that cannot be decoded was replaced by another: then some class may have fewer
            kept = candidates[chosen[place % len(chosen)]]
            tokens = kept.tokens[: self.gpt.examples.shape[1]]
            self.gpt.examples[place, : len(tokens)] = tokens
            self.gpt.example_lengths[place] = len(tokens)
            self.gpt.example_labels[place] = kept.label
