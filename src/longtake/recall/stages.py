"""What the engine trains first: encoder and generator against the discriminators of clips and of frames.

One class for the whole family: how clips become fakes to judge and reconstructions to compare differs by model
(`GANStage._render`), the losses and the turns are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import ModelMixin
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from longtake.core.batch import VideoBatch
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex
from longtake.data.loading import clip_batches
from longtake.data.transforms import to_frames
from longtake.data.windows import SequenceDataset
from longtake.recall import build, losses
from longtake.recall.config import CLIP_FRAMES, GANConfig, RecallRecipe
from longtake.recall.encoder import RecallEncoder
from longtake.recall.latents import LatentSpace
from longtake.recall.lstm_encoder import RecallLSTMEncoder, RecurrentState
from longtake.recall.sequences import SequenceBatch, sequence_batches
from longtake.recall.stitching import stitch
from longtake.training.stage import Player, Stage

NUM_PREVIEWS = 4

Clips = Float[Tensor, "n c t h w"]
Losses = tuple[Tensor, dict[str, Tensor]]
Batch = VideoBatch | SequenceBatch


@dataclass(frozen=True)
class Decoded:
    """What encoder and generator make of real clips.

    Attributes:
        clips: generated from the latent spaces.
        targets: the real clips that they should be.
        latents: the latent spaces.
        judged: kinds of fake clips for the clip discriminator: losses are averaged within a kind, then added.
        stitched: R2's third clip, and the real one over the same frames.
    """

    clips: Clips
    targets: Clips
    latents: LatentSpace
    judged: list[Clips]
    stitched: tuple[Clips, Clips] | None = None


@dataclass(frozen=True)
class Rendering:
    """One pass through encoder and generator.

    Attributes:
        real: clips that the discriminators should call real.
        decoded: from encoded clips; none without an encoder.
        from_noise: generated from N(0, 1); none without noise terms.
    """

    real: Clips
    decoded: Decoded | None
    from_noise: Clips | None


class GANStage(Stage[Batch]):
    """Stage 1: the discriminators take a step, then the encoder, then the generator; from R2 on the last two as one.

    The discriminators are one player: neither's step changes the other's loss, and one pass of the generator serves
    both.
    """

    name = "gan"
    config: GANConfig

    def __init__(self, recipe: RecallRecipe, index: VideoIndex) -> None:
        self.recipe = recipe
        self.config = config = recipe.gan
        clip = build.clip_config(recipe)
        self.sequences: SequenceDataset | None = None
        if recipe.model == "lencgan":
            self.sequences = SequenceDataset(index, clip, config.augment, config.seed)
        else:
            self.dataset = ClipDataset(index, clip, config.augment, config.seed)
        self.encoder = build.encoder(recipe) if recipe.model != "g3an" else None
        self.generator = build.generator(recipe)
        self.image_discriminator = build.image_discriminator(recipe)
        self.video_discriminator = build.video_discriminator(recipe)

    def modules(self) -> dict[str, nn.Module]:
        """Encoder (but for G3AN), generator and both discriminators."""
        return {**self.exported(), "image_discriminator": self.image_discriminator}

    def exported(self) -> dict[str, ModelMixin]:
        """What sampling needs of them: the clip discriminator picks among candidates (VDrej)."""
        encoder = {"encoder": self.encoder} if self.encoder is not None else {}
        return {**encoder, "generator": self.generator, "video_discriminator": self.video_discriminator}

    def ema(self) -> tuple[str, ...]:
        """Encoder and generator."""
        names = ("encoder", "generator") if self.encoder is not None else ("generator",)
        return names if self.config.ema_decay is not None else ()

    def players(self) -> list[Player]:
        """Discriminators; encoder, generator, or both as one (an autoencoder)."""
        judges = [*self.image_discriminator.parameters(), *self.video_discriminator.parameters()]
        judge = self.recipe.discriminators.optimizer
        players = [Player("discriminators", judges, judge, start=self.config.adversarial_start)]
        makers = {"generator": list(self.generator.parameters())}
        if self.encoder is not None:
            encoder = list(self.encoder.parameters())
            if self.config.joint:
                makers = {"autoencoder": encoder + makers["generator"]}
            else:
                makers = {"encoder": encoder, **makers}
        return players + [Player(name, parameters, self.config.optimizer) for name, parameters in makers.items()]

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[Batch]:
        """Clips; windows of two overlapping clips; or clips with all that came before them."""
        size, seed = self.config.batch_size, self.config.seed
        if self.sequences is not None:
            return sequence_batches(self.sequences, seed, size, first, rank, world_size)
        return clip_batches(self.dataset, size, first, rank, world_size, self.config.num_workers)

    def loss(self, player: str, batch: Batch, step: int, generator: torch.Generator) -> Losses:
        """Loss of the discriminators, of the encoder (Eq. 3.1), the generator (3.4), or both (4.4, 5.1)."""
        if player == "discriminators":
            with torch.no_grad():
                rendering = self._render(batch, generator, with_noise=self.config.noise_terms)
            return self._discriminator_loss(rendering, generator)
        is_encoder, is_generator = player in ("encoder", "autoencoder"), player in ("generator", "autoencoder")
        rendering = self._render(batch, generator, with_noise=is_generator and self.config.noise_terms)
        terms: dict[str, Tensor] = {}
        loss = batch.video.new_zeros(())
        if rendering.decoded is not None:
            if is_encoder or self.config.generator_recon != "none":
                terms["train/loss_recon"] = self._reconstruction(rendering.decoded, is_encoder, is_generator)
                loss = loss + self.config.recon_weight * terms["train/loss_recon"]
            if is_encoder:
                content, motion = losses.latent_kl(rendering.decoded.latents)
                terms |= {"train/loss_kl_content": content, "train/loss_kl_motion": motion}
                loss = loss + self.config.kl_weight * (content + motion)
        if is_generator and step >= self.config.adversarial_start:
            frames = [self.image_discriminator(draw_frame(fake, generator)) for fake in frame_fakes(rendering)]
            clips = [self.video_discriminator(fake) for fake in clip_fakes(rendering)]
            terms["train/loss_adv_image"] = losses.adversarial_loss(frames)
            terms["train/loss_adv_video"] = losses.adversarial_loss(clips)
            loss = loss + terms["train/loss_adv_image"] + terms["train/loss_adv_video"]
        return loss, terms

    def _discriminator_loss(self, rendering: Rendering, generator: torch.Generator) -> Losses:
        real_frames = self.image_discriminator(draw_frame(rendering.real, generator))
        fake_frames = [self.image_discriminator(draw_frame(fake, generator)) for fake in frame_fakes(rendering)]
        real_clips = self.video_discriminator(rendering.real)
        fake_clips = [self.video_discriminator(fake) for fake in clip_fakes(rendering)]
        loss_image = losses.discriminator_loss(real_frames, fake_frames)
        loss_video = losses.discriminator_loss(real_clips, fake_clips)
        return loss_image + loss_video, {
            "train/loss_disc_image": loss_image,
            "train/loss_disc_video": loss_video,
            "train/logit_real": real_clips.mean(),
            "train/logit_fake": torch.cat(fake_clips).mean(),
        }

    def _reconstruction(self, decoded: Decoded, is_encoder: bool, is_generator: bool) -> Tensor:
        config = self.config
        if config.recon_target == "motion" or (config.recon_target == "motion_in_encoder" and is_encoder):
            return losses.motion_reconstruction(decoded.targets, decoded.clips, config.recon_loss)
        clips, targets = decoded.clips, decoded.targets
        if is_generator and config.generator_recon == "stitched":
            assert decoded.stitched is not None
            clips, targets = (torch.cat(pair) for pair in zip((clips, targets), decoded.stitched, strict=True))
        return losses.anchored_reconstruction(
            targets, clips, config.anchor_frame, config.recon_loss, config.motion_weight
        )

    def _render(self, batch: Batch, generator: torch.Generator, with_noise: bool) -> Rendering:
        from_noise = self._from_noise(batch.video, generator) if with_noise else None
        if self.recipe.model == "g3an":
            return Rendering(batch.video, None, from_noise)
        if self.recipe.model in build.PAIRED:
            first, second = batch.video[:, :, :CLIP_FRAMES], batch.video[:, :, self.recipe.hop :]
            if self.recipe.model == "ar2":
                return Rendering(second, self._predict(first, second, generator), from_noise)
            decoded = self._decode_pair(first, second, generator)
            return Rendering(decoded.targets, decoded, from_noise)
        latents = self._encode(batch)
        clips = self._generate(latents, generator)
        return Rendering(batch.video, Decoded(clips, batch.video, latents, [clips]), from_noise)

    def _decode_pair(self, first: Clips, second: Clips, generator: torch.Generator) -> Decoded:
        """R2 (Alg. 6): both clips in one batch, and a third that begins as the first and goes on as the second."""
        assert isinstance(self.encoder, RecallEncoder)
        clips, content = torch.cat([first, second]), None
        if self.recipe.encoder.latter_content == "shared":
            content = first[:, :, self.recipe.encoder.content_frame].repeat(2, 1, 1, 1)
        latents = self.encoder(clips, content)
        generated = self._generate(latents, generator)
        earlier, later = generated.chunk(2)
        stitched = stitch(earlier, later, self.recipe.hop)
        judged = torch.cat([generated, stitched]) if self.config.stitched_clip else generated
        return Decoded(generated, clips, latents, [judged], (stitched, first))

    def _predict(self, first: Clips, second: Clips, generator: torch.Generator) -> Decoded:
        """AR2 (Alg. 9): the second clip from the first's latent space, also stitched to the first's real frames."""
        assert isinstance(self.encoder, RecallEncoder)
        latents = self.encoder(first)
        generated = self._generate(latents, generator)
        stitched = [stitch(first, generated, self.recipe.hop)] if self.config.stitched_clip else []
        return Decoded(generated, second, latents, [generated, *stitched])

    def _encode(self, batch: Batch) -> LatentSpace:
        """EncGAN3 (Alg. 1), or LEncGAN (Alg. 3, 4) with the states that the earlier clips leave behind."""
        if isinstance(self.encoder, RecallEncoder):
            return self.encoder(batch.video)
        assert self.encoder is not None
        assert isinstance(batch, SequenceBatch)
        state = RecurrentState.stack([state_after(self.encoder, clips) for clips in batch.history])
        return self.encoder(batch.video, state)[0]

    def _generate(self, latents: LatentSpace, generator: torch.Generator) -> Clips:
        content, motion = latents.mean() if self.config.latents == "mean" else latents.sample(generator)
        return self.generator(content, motion)

    def _from_noise(self, video: Clips, generator: torch.Generator) -> Clips:
        config, device = self.recipe.generator, generator.device
        shapes = ((len(video), config.content_channels), (len(video), config.motion_channels))
        content, motion = (torch.randn(shape, generator=generator, device=device).to(video) for shape in shapes)
        return self.generator(content, motion)

    def preview(self, generator: torch.Generator) -> dict[str, UInt8[np.ndarray, "n t h w 3"]]:
        """Training clips, each followed by what is decoded for it; and clips from noise where those are learned."""
        device = self.generator.device
        batches = self.batches(0, 0, 1)
        rendering = self._render(next(batches).to(device), generator, with_noise=self.config.noise_terms)
        videos = {}
        if rendering.decoded is not None:
            pairs = torch.stack([rendering.decoded.targets, rendering.decoded.clips], dim=1)[:NUM_PREVIEWS]
            videos["reconstruction"] = to_frames(pairs.flatten(0, 1))
        if rendering.from_noise is not None:
            videos["samples"] = to_frames(rendering.from_noise[: 2 * NUM_PREVIEWS])
        return videos

    def export(self, folder: Path) -> None:
        """Save what sampling needs."""
        for name, module in self.exported().items():
            module.save_pretrained(folder / name)


def frame_fakes(rendering: Rendering) -> list[Clips]:
    """The kinds of clips that fake frames are drawn from."""
    decoded = [rendering.decoded.clips] if rendering.decoded is not None else []
    return decoded + ([rendering.from_noise] if rendering.from_noise is not None else [])


def clip_fakes(rendering: Rendering) -> list[Clips]:
    """The kinds of fake clips."""
    decoded = rendering.decoded.judged if rendering.decoded is not None else []
    return decoded + ([rendering.from_noise] if rendering.from_noise is not None else [])


def draw_frame(clips: Clips, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Return one frame of each clip, the same of all."""
    number = torch.randint(clips.shape[2], (), generator=generator, device=generator.device)
    return clips[:, :, int(number)]


@torch.no_grad()
def state_after(encoder: RecallLSTMEncoder, clips: Float[Tensor, "n c t h w"]) -> RecurrentState:
    """Return the states that a video's clips, one after the other, leave to the next."""
    state = encoder.initial_state(1)
    for clip in clips:
        _, state = encoder(clip[None], state)
    return state
