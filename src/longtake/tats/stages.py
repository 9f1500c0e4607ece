"""What the engine trains first: the VQGAN, with its discriminators against it. The rest: `transformer_stages.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.core.batch import VideoBatch
from longtake.data.config import ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex
from longtake.data.loading import clip_batches
from longtake.data.transforms import to_frames
from longtake.nn.motion_weight import motion_weights
from longtake.tats import build, losses
from longtake.tats.codebook import Assignment, sum_assignments
from longtake.tats.config import SpectrogramRecipe, TatsRecipe, VQGANConfig
from longtake.training.stage import Player, Stage

NUM_PREVIEWS = 4

Losses = tuple[Tensor, dict[str, Tensor]]


class Reconstruction(NamedTuple):
    """Clips through the autoencoder.

    Attributes:
        z: encoder outputs.
        vectors: their codes' vectors.
        codes: the codes.
        real: frames in [-0.5, 0.5].
        fake: their reconstructions.
    """

    z: Float[Tensor, "b d t h w"]
    vectors: Float[Tensor, "b d t h w"]
    codes: Int[Tensor, "b t h w"]
    real: Float[Tensor, "b 3 t2 h2 w2"]
    fake: Float[Tensor, "b 3 t2 h2 w2"]


class VQGANStage(Stage):
    """Stage 1: pixels, LPIPS, commitment, and from some step on two discriminators with feature matching."""

    name = "vqgan"
    config: VQGANConfig

    def __init__(self, recipe: TatsRecipe, index: VideoIndex) -> None:
        self._begin(recipe, index, build.clip(recipe, recipe.span), channels=3)

    def _begin(
        self, recipe: TatsRecipe | SpectrogramRecipe, index: VideoIndex, clip: ClipConfig, channels: int
    ) -> None:
        self.config = config = recipe.vqgan
        self.dataset = ClipDataset(index, clip, config.augment, config.seed)
        self.vqgan = build.vqgan(recipe, channels)
        self.discriminators = build.discriminators(recipe, channels)
        self.perceptual = losses.build_perceptual() if config.perceptual_weight else None
        # of the micro-batches of one step, so that the codes move once per step
        self._assignments: list[Assignment] = []

    def modules(self) -> dict[str, nn.Module]:
        """The VQGAN, and where the recipe has them image_discriminator and video_discriminator."""
        return {"vqgan": self.vqgan, **{f"{name}_discriminator": one for name, one in self.discriminators.items()}}

    def frozen(self) -> dict[str, nn.Module]:
        """LPIPS."""
        return {"perceptual": self.perceptual} if self.perceptual else {}

    def ema(self) -> tuple[str, ...]:
        """The VQGAN alone."""
        return ("vqgan",) if self.config.ema_decay is not None else ()

    def players(self) -> list[Player]:
        """The autoencoder, then both discriminators under one optimizer."""
        players = [Player("autoencoder", list(self.vqgan.parameters()), self.config.optimizer)]
        if self.discriminators:
            config = self.config.discriminator
            parameters = [value for one in self.discriminators.values() for value in one.parameters()]
            players.append(Player("discriminator", parameters, config.optimizer, start=config.start))
        return players

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[VideoBatch]:
        """Batches of clips."""
        return clip_batches(self.dataset, self.config.batch_size, first, rank, world_size, self.config.num_workers)

    def loss(self, player: str, batch: VideoBatch, step: int, generator: torch.Generator) -> Losses:
        """Loss of the autoencoder, whose turn also moves the codes, or of the discriminators."""
        if player == "discriminator":
            with torch.no_grad():
                done = self._reconstruct(batch.video, step)
            return self._discriminator_loss(done, generator)
        return self._autoencoder_loss(self._reconstruct(batch.video, step, generator), step, generator)

    def _reconstruct(
        self, video: Float[Tensor, "b 3 t h w"], step: int, code_generator: torch.Generator | None = None
    ) -> Reconstruction:
        """Encode, quantise (from the codebook's start on) and decode; given a generator, the codes learn."""
        codebook, rate = self.vqgan.codebook, self.vqgan.config.downsample[0]
        is_cut = self.config.padding == "real"
        encoder_margin = self.vqgan.encoder_context if is_cut else (0, 0)
        decoder_margin = self.vqgan.decoder_context if is_cut else (0, 0)
        z = cut_ends(self.vqgan.pre_quant(video).float(), encoder_margin)
        is_quantised = step >= self.config.codebook.start
        if is_quantised and code_generator is not None:
            codebook.initialize(z, code_generator)
        codes = codebook.nearest(z)
        vectors = codebook.lookup(codes) if is_quantised else z
        if is_quantised and code_generator is not None:
            self._learn_codes(z, codes, code_generator)
        fake = cut_ends(self.vqgan.decode_vectors(losses.straight_through(z, vectors)), decoder_margin, rate)
        real = cut_ends(cut_ends(video, encoder_margin, rate), decoder_margin, rate)
        return Reconstruction(z, vectors, codes, real / 2, fake / 2)

    def _learn_codes(
        self, z: Float[Tensor, "b d t h w"], codes: Int[Tensor, "b t h w"], generator: torch.Generator
    ) -> None:
        """Collect what each code was chosen for; at the step's last micro-batch move the codes, once."""
        config, codebook = self.config.codebook, self.vqgan.codebook
        self._assignments.append(codebook.assign(z, codes))
        if len(self._assignments) < self.config.accumulation:
            return
        codebook.update(sum_assignments(self._assignments), config.decay)
        self._assignments.clear()
        if config.restart_dead_codes:
            codebook.restart_dead(z, config.restart_threshold, generator)

    def _autoencoder_loss(self, done: Reconstruction, step: int, generator: torch.Generator) -> Losses:
        config, judge = self.config, self.config.discriminator
        loss_l1 = ((done.fake - done.real).abs() * motion_weights(done.real, config.motion_weight)).mean()
        loss_commitment = losses.commitment_loss(done.z, done.vectors)
        loss = config.l1_weight * loss_l1 + config.commitment_weight * loss_commitment
        terms = {
            "train/loss_l1": loss_l1,
            "train/loss_commitment": loss_commitment,
            "train/psnr": losses.peak_signal_to_noise(done.real, done.fake),
            "train/codes_used": done.real.new_tensor(done.codes.unique().numel()),
        }
        frames = draw_frames(done.real, generator)
        if self.perceptual is not None:
            real, fake = losses.pick_frames(done.real, frames), losses.pick_frames(done.fake, frames)
            terms["train/loss_perceptual"] = self.perceptual(fake, real).mean()
            loss = loss + config.perceptual_weight * terms["train/loss_perceptual"]
        if step < judge.start:
            return loss, terms
        for name, discriminator in self.discriminators.items():
            fake_verdict = discriminator(seen_by(name, done.fake, frames))
            with torch.no_grad():
                real_verdict = discriminator(seen_by(name, done.real, frames))
            terms[f"train/loss_{name}"] = losses.generator_loss(fake_verdict.logits)
            terms[f"train/loss_{name}_features"] = losses.feature_matching_loss(
                real_verdict.features, fake_verdict.features
            )
            weight = judge.image_weight if name == "image" else judge.video_weight
            loss = loss + weight * terms[f"train/loss_{name}"]
            loss = loss + judge.feature_weight * terms[f"train/loss_{name}_features"]
        return loss, terms

    def _discriminator_loss(self, done: Reconstruction, generator: torch.Generator) -> Losses:
        config = self.config.discriminator
        frames = draw_frames(done.real, generator)
        loss = torch.zeros((), device=done.real.device)
        terms: dict[str, Tensor] = {}
        for name, discriminator in self.discriminators.items():
            real = discriminator(seen_by(name, done.real, frames)).logits
            fake = discriminator(seen_by(name, done.fake, frames)).logits
            weight = config.image_weight if name == "image" else config.video_weight
            loss = loss + weight * losses.discriminator_loss(real, fake, config.loss)
            terms |= {f"train/logit_{name}_real": real.mean(), f"train/logit_{name}_fake": fake.mean()}
        return loss, terms

    def preview(self, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Training clips, each followed by its reconstruction."""
        del generator
        video = next(clip_batches(self.dataset, NUM_PREVIEWS)).video.to(self.vqgan.device)
        decoded = self.vqgan.decode(self.vqgan.encode(video)).float()
        return {"reconstruction": to_frames(rearrange([video, decoded], "which b ... -> (b which) ..."))}

    def export(self, folder: Path) -> None:
        """Save the VQGAN."""
        self.vqgan.save_pretrained(folder / self.name)


def cut_ends(x: Float[Tensor, "b c t h w"], latents: tuple[int, int], rate: int = 1) -> Float[Tensor, "b c t2 h w"]:
    """Leave out so many latent frames' worth at the start and at the end, where a latent frame is `rate` frames."""
    before, after = latents
    return x[:, :, before * rate : x.shape[2] - after * rate]


def draw_frames(video: Float[Tensor, "b c t h w"], generator: torch.Generator) -> Int[Tensor, " b"]:
    """Draw a frame of each clip."""
    return torch.randint(video.shape[2], (len(video),), generator=generator, device=generator.device)


def seen_by(name: str, video: Float[Tensor, "b c t h w"], frames: Int[Tensor, " b"]) -> Float[Tensor, "b c ..."]:
    """Return what the discriminator `name` looks at: one frame of each clip, or the clips."""
    return losses.pick_frames(video, frames) if name == "image" else video
