"""What the engine trains first: the frame VAE, then video encoder and frame decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ModelMixin
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.batch import VideoBatch
from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex
from longtake.data.loading import clip_batches
from longtake.data.transforms import to_frames
from longtake.glober import build, losses
from longtake.glober.condition import GloberTextEncoder
from longtake.glober.config import AutoencoderConfig, FrameVAEConfig, GeneratorConfig, GloberRecipe
from longtake.glober.draws import draw_kept, draw_normal, draw_targets, draw_timesteps
from longtake.glober.frame_vae import decode_frames, encode_frames
from longtake.glober.latents import LatentBatch, LatentClips, clip_lengths, frame_latents
from longtake.glober.request import NO_CAPTION, NO_LABEL
from longtake.glober.sampling import build_scheduler
from longtake.glober.text_encoder import ConditionEncoder, GloberClipEncoder
from longtake.training.stage import Player, Stage

NUM_PREVIEWS = 4
NUM_STATISTICS_FRAMES = 512

Losses = tuple[Tensor, dict[str, Tensor]]


class FrameVAEStage(Stage):
    """Stage 1: a KL autoencoder of single frames, mean absolute error + KL."""

    name = "frame_vae"
    config: FrameVAEConfig

    def __init__(self, recipe: GloberRecipe, index: VideoIndex) -> None:
        self.config = recipe.frame_vae
        clip = ClipConfig(num_frames=1, size=recipe.size)
        self.dataset = ClipDataset(index, clip, recipe.frame_vae.augment, recipe.frame_vae.seed)
        self.frame_vae = build.frame_vae(recipe)

    def modules(self) -> dict[str, nn.Module]:
        """The autoencoder."""
        return {"frame_vae": self.frame_vae}

    def players(self) -> list[Player]:
        """One optimizer."""
        return [Player("frame_vae", trainable(self.frame_vae), self.config.optimizer)]

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[VideoBatch]:
        """Batches of single frames."""
        return clip_batches(self.dataset, self.config.batch_size, first, rank, world_size, self.config.num_workers)

    def loss(self, player: str, batch: VideoBatch, step: int, generator: torch.Generator) -> Losses:
        """Reconstruct frames from a draw of the posterior."""
        frames = rearrange(batch.video, "b c 1 h w -> b c h w")
        posterior = self.frame_vae.encode(frames).latent_dist
        latents = posterior.mean + posterior.std * draw_normal(posterior.mean, generator)
        loss_recon = F.l1_loss(self.frame_vae.decode(latents).sample, frames)
        loss_kl = losses.kl_divergence(posterior.mean, posterior.logvar) / posterior.mean[0].numel()
        loss = loss_recon + self.config.kl_weight * loss_kl
        return loss, {"train/loss_recon": loss_recon, "train/loss_kl": loss_kl}

    def preview(self, generator: torch.Generator) -> dict[str, np.ndarray]:
        """A still per training frame: the frame, then its reconstruction."""
        batch = next(clip_batches(self.dataset, 2 * NUM_PREVIEWS)).to(self.frame_vae.device)
        frames = batch.video[:, :, 0]
        decoded = decode_frames(self.frame_vae, encode_frames(self.frame_vae, frames))
        return {"reconstruction": to_frames(torch.stack([frames, decoded], dim=2))}

    def export(self, folder: Path) -> None:
        """Save the autoencoder, with the mean and deviation of its latents over training frames in its config."""
        batches = clip_batches(self.dataset, 32)
        latents = []
        for _ in range(NUM_STATISTICS_FRAMES // 32):
            frames = next(batches).to(self.frame_vae.device).video[:, :, 0]
            latents.append(self.frame_vae.encode(frames).latent_dist.mode())
        std, mean = torch.std_mean(torch.cat(latents).double(), dim=(0, 2, 3))
        self.frame_vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
        self.frame_vae.save_pretrained(folder / "frame_vae")


class ClipStage(Stage):
    """What the stages on clips of frame latents share."""

    config: AutoencoderConfig | GeneratorConfig
    frame_vae: AutoencoderKL
    first_windows = 1.0
    """Share of cached clips that come without the window before them."""

    def __init__(self, recipe: GloberRecipe, index: VideoIndex, augment: AugmentConfig) -> None:
        self.recipe = recipe
        self.whole_videos = recipe.frames == "whole_video"
        num_frames = len(recipe.keyframes) if self.whole_videos else recipe.span
        clip = ClipConfig(num_frames=num_frames, size=recipe.size, short_videos=recipe.short_videos)
        self.dataset = ClipDataset(index, clip, augment, self.config.seed)
        self._cache: LatentClips | None = None

    def prepare(self, device: torch.device) -> None:
        """Set up the cache of latents, if the stage has one."""
        if self.config.cached_variants or self.config.encoded:
            self._cache = LatentClips(
                self.dataset,
                self.frame_vae,
                self.config.cached_variants,
                self.config.encoded,
                self.first_windows,
                whole_videos=self.whole_videos,
            )

    def batches(self, first: int, rank: int, world_size: int) -> Iterator[VideoBatch | LatentBatch]:
        """Batches of clips, as latents if they are cached and as video if not."""
        if self._cache is not None:
            return self._cache.batches(self.config.batch_size, first, rank, world_size)
        return clip_batches(self.dataset, self.config.batch_size, first, rank, world_size, self.config.num_workers)

    def keyframe_latents(
        self, batch: VideoBatch | LatentBatch, generator: torch.Generator
    ) -> Float[Tensor, "b c k h w"]:
        """The latents that the video encoder reads."""
        shares, span = self.recipe.keyframes, self.recipe.span
        keyframes = [[share * length // span for share in shares] for length in clip_lengths(batch)]
        frames = torch.tensor(keyframes, device=batch.label.device)
        latents = frame_latents(batch, frames, self.frame_vae, generator)
        return rearrange(latents, "b k c h w -> b c k h w")


class AutoencoderStage(ClipStage):
    """Stage 2: the video autoencoder, L = L_recon + lambda_1 L_KL + lambda_2 L_CRA (paper Eq. 8)."""

    name = "autoencoder"
    config: AutoencoderConfig

    def __init__(self, recipe: GloberRecipe, index: VideoIndex, frame_vae: AutoencoderKL) -> None:
        self.config = config = recipe.autoencoder
        super().__init__(recipe, index, config.augment)
        self.frame_vae = frame_vae
        self.schedule = build_scheduler(config.prediction)
        self.video_encoder = build.video_encoder(recipe, frame_vae)
        self.frame_decoder = build.frame_decoder(recipe, frame_vae)
        self.condition_encoder = build.condition_encoder(recipe, index) if config.decoder.reads_condition else None
        if config.gradient_checkpointing:
            self.video_encoder.enable_gradient_checkpointing()
            self.frame_decoder.enable_gradient_checkpointing()
        self.discriminator = build.discriminator(recipe, frame_vae) if config.cra_weight else None

    def modules(self) -> dict[str, nn.Module]:
        """Video encoder and frame decoder, and where the recipe has them condition encoder and discriminator."""
        return {**self.exported(), **({"discriminator": self.discriminator} if self.discriminator else {})}

    def exported(self) -> dict[str, ModelMixin]:
        """What sampling needs of them: all but the discriminator."""
        parts: dict[str, ModelMixin] = {"video_encoder": self.video_encoder, "frame_decoder": self.frame_decoder}
        return parts if self.recipe.text_encoder else {**parts, **self._condition_encoders()}

    def frozen(self) -> dict[str, nn.Module]:
        """The frame VAE, and a pretrained text encoder."""
        parts: dict[str, nn.Module] = {"frame_vae": self.frame_vae}
        return {**parts, **self._condition_encoders()} if self.recipe.text_encoder else parts

    def _condition_encoders(self) -> dict[str, ModelMixin]:
        return {"condition_encoder": self.condition_encoder} if self.condition_encoder else {}

    def ema(self) -> tuple[str, ...]:
        """All but the discriminator."""
        return tuple(self.exported()) if self.config.ema_decay is not None else ()

    def players(self) -> list[Player]:
        """The autoencoder, then its discriminator."""
        players = [Player("autoencoder", trainable(*self.exported().values()), self.config.optimizer)]
        if self.discriminator is not None:
            config = self.config.discriminator
            players.append(
                Player(
                    "discriminator",
                    trainable(self.discriminator),
                    config.optimizer,
                    every=config.every,
                    start=self.config.cra_start,
                )
            )
        return players

    def loss(self, player: str, batch: VideoBatch | LatentBatch, step: int, generator: torch.Generator) -> Losses:
        """Loss of the autoencoder, or of the discriminator on a fresh draw of frames and noise."""
        if player == "discriminator":
            with torch.no_grad():
                clean, reconstructed, *_ = self._reconstruct(batch, generator)
            return self._discriminator_loss(clean[:, :2], reconstructed[:, :2])
        clean, reconstructed, loss_recon, loss_kl = self._reconstruct(batch, generator)
        loss = loss_recon + self.config.feature_kl_weight * loss_kl
        terms = {"train/loss_recon": loss_recon, "train/loss_kl": loss_kl}
        if self.discriminator is not None and step >= self.config.cra_start:
            real, fake = self._judged(clean[:, :2]), self._judged(reconstructed[:, :2])
            logits = self.discriminator(losses.frame_pairs(real, fake, losses.GENERATED_PAIRS))
            terms["train/loss_cra"] = losses.cra_generator_loss(logits)
            loss = loss + self.config.cra_weight * terms["train/loss_cra"]
        return loss, terms

    def _reconstruct(
        self, batch: VideoBatch | LatentBatch, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b n c h w"], Float[Tensor, "b n c h w"], Tensor, Tensor]:
        """One denoising step at random timesteps: clean latents, their estimates, denoising loss and KL."""
        device, num_clips = batch.label.device, len(batch.label)
        keyframes = self.keyframe_latents(batch, generator)
        kept = draw_kept(num_clips, self.config.feature_dropout, generator)
        keyframes = keyframes * rearrange(kept, "b -> b 1 1 1 1").to(keyframes)
        mean, logvar = self.video_encoder(keyframes)
        feature = mean + (0.5 * logvar).exp() * draw_normal(mean, generator)

        lengths = clip_lengths(batch)
        frames = draw_targets(lengths, self.config.num_targets, generator).to(device)
        times = frames / torch.tensor(lengths, device=device)[:, None]
        clean = frame_latents(batch, frames, self.frame_vae, generator)
        flat = rearrange(clean, "b n c h w -> (b n) c h w")
        timestep = draw_timesteps(len(flat), generator).to(device)
        noise = draw_normal(flat, generator)
        noisy = losses.add_noise(flat, noise, timestep, self.schedule)

        num_targets = frames.shape[1]
        control = self.frame_decoder.control(repeat(feature, "b c h w -> (b n) c h w", n=num_targets), times.flatten())
        context = self._context(batch, num_targets, generator)
        prediction = self.frame_decoder(noisy, timestep, control, context)
        target = losses.denoising_target(flat, noise, timestep, self.schedule, self.config.prediction)
        estimate = losses.predicted_clean(noisy, prediction, timestep, self.schedule, self.config.prediction)
        estimate = rearrange(estimate, "(b n) c h w -> b n c h w", n=num_targets)
        return clean, estimate, F.mse_loss(prediction.float(), target), losses.kl_divergence(mean, logvar)

    def _context(
        self, batch: VideoBatch | LatentBatch, num_targets: int, generator: torch.Generator
    ) -> Float[Tensor, "n l d"] | None:
        if self.condition_encoder is None:
            return None
        kept = draw_kept(len(batch.label), self.config.condition_dropout, generator)
        return repeat(encode_condition(self.condition_encoder, batch, kept), "b l d -> (b n) l d", n=num_targets)

    def _judged(self, latents: Float[Tensor, "b 2 c h w"]) -> Float[Tensor, "b 2 c h w"]:
        """What the discriminator looks at: latents, or frames decoded from them with their gradients."""
        if self.config.discriminator.space == "latent":
            return latents
        frames = decode_frames(self.frame_vae, rearrange(latents, "b n c h w -> (b n) c h w"))
        return rearrange(frames, "(b n) c h w -> b n c h w", n=2)

    def _discriminator_loss(self, clean: Float[Tensor, "b 2 c h w"], estimate: Float[Tensor, "b 2 c h w"]) -> Losses:
        assert self.discriminator is not None
        with torch.no_grad():
            real, fake = self._judged(clean), self._judged(estimate)
        real_pairs, fake_pairs = losses.cra_discriminator_pairs(real, fake)
        logits = self.discriminator(torch.cat([real_pairs, fake_pairs]))
        real_logits, fake_logits = logits.split([len(real_pairs), len(fake_pairs)])
        loss = losses.cra_discriminator_loss(real_logits, fake_logits)
        return loss, {
            "train/loss_disc": loss,
            "train/logit_real": real_logits.mean(),
            "train/logit_fake": fake_logits.mean(),
        }

    def preview(self, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Training clips, each followed by its reconstruction."""
        del generator
        index = self.dataset.index
        condition_encoder = self.condition_encoder or build.condition_encoder(self.recipe, index)
        condition_encoder.to(self.frame_vae.device)
        pipeline = build.pipeline(
            self.recipe, index, self.frame_vae, self.video_encoder, self.frame_decoder, None, condition_encoder
        )
        videos = []
        if self.whole_videos:
            clips = [pipeline.fit(self.dataset.video(self.dataset.video_at(n))) for n in range(NUM_PREVIEWS // 2)]
        else:
            clips = list(to_frames(next(clip_batches(self.dataset, NUM_PREVIEWS // 2)).video))
        for clip in clips:
            videos += [clip, pipeline.reconstruct(clip)]
        return {"reconstruction": np.stack(videos)}

    def export(self, folder: Path) -> None:
        """Save what sampling needs."""
        for name, module in self.exported().items():
            module.save_pretrained(folder / name)


def trainable(*modules: nn.Module) -> list[nn.Parameter]:
    """All parameters but the fixed ones."""
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]


def encode_condition(
    encoder: ConditionEncoder, batch: VideoBatch | LatentBatch, kept: Tensor
) -> Float[Tensor, "b l d"]:
    """Tokens of each clip's label or caption, the null condition where `kept` is false."""
    if isinstance(encoder, GloberTextEncoder | GloberClipEncoder):
        return encoder.encode(
            [text if keep else NO_CAPTION for text, keep in zip(batch.text, kept.tolist(), strict=True)]
        )
    return encoder(torch.where(kept & (encoder.config.num_classes > 0), batch.label, NO_LABEL))
