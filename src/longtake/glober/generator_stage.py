"""What the engine trains last: the feature generator, on the global features of the frozen video encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ModelMixin
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.batch import VideoBatch
from longtake.data.index import VideoIndex
from longtake.data.known_clips import KnownClips
from longtake.glober import build, losses
from longtake.glober.config import GeneratorConfig, GloberRecipe
from longtake.glober.draws import draw_kept, draw_normal, draw_timesteps
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.latents import LatentBatch
from longtake.glober.pipeline import GloberPipeline
from longtake.glober.sampling import build_scheduler
from longtake.glober.stages import NUM_PREVIEWS, ClipStage, Losses, encode_condition, trainable
from longtake.glober.text_encoder import ConditionEncoder
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.models import find_folder
from longtake.training.stage import Player

NUM_STATISTICS_CLIPS = 64


class GeneratorStage(ClipStage):
    """Stage 3: a diffusion model of the global features that the frozen video encoder gives (paper section 3.4)."""

    name = "generator"
    config: GeneratorConfig

    def __init__(
        self,
        recipe: GloberRecipe,
        index: VideoIndex,
        frame_vae: AutoencoderKL,
        video_encoder: GloberVideoEncoder,
        frame_decoder: GloberFrameDecoder,
        condition_encoder: ConditionEncoder | None,
    ) -> None:
        self.config = config = recipe.generator
        super().__init__(recipe, index, config.augment)
        self.frame_vae = frame_vae
        self.video_encoder = video_encoder
        self.frame_decoder = frame_decoder
        self.schedule = build_scheduler(config.prediction)
        # trained here, unless the autoencoder stage already did
        self.trains_condition = condition_encoder is None
        self.condition_encoder = condition_encoder or build.condition_encoder(recipe, index)
        self.feature_generator = build.feature_generator(recipe, frame_vae)
        if config.gradient_checkpointing:
            self.feature_generator.enable_gradient_checkpointing()
        if config.init:
            build.start_from(find_folder(config.init), self.modules())
        if config.previous_window:
            self.first_windows = config.previous_dropout
        self._known_features = KnownClips()

    def modules(self) -> dict[str, ModelMixin]:
        """The feature generator, and the condition encoder if it is not trained yet."""
        trained: dict[str, ModelMixin] = {"feature_generator": self.feature_generator}
        return trained | ({"condition_encoder": self.condition_encoder} if self.trains_condition else {})

    def frozen(self) -> dict[str, nn.Module]:
        """All that earlier stages trained."""
        frozen = {
            "frame_vae": self.frame_vae,
            "video_encoder": self.video_encoder,
            "frame_decoder": self.frame_decoder,
        }
        return frozen | ({} if self.trains_condition else {"condition_encoder": self.condition_encoder})

    def players(self) -> list[Player]:
        """One optimizer."""
        return [Player("generator", trainable(*self.modules().values()), self.config.optimizer)]

    def prepare(self, device: torch.device) -> None:
        """Measure the features' mean and deviation, if they are scaled and did not come with the initial weights."""
        super().prepare(device)
        if self.config.feature_scale == "none" or self.config.init:
            return
        generator = torch.Generator(device).manual_seed(self.config.seed)
        batches = self.batches(0, 0, 1)
        count = -(-NUM_STATISTICS_CLIPS // self.config.batch_size)
        features = torch.cat([self._features(next(batches).to(device), generator) for _ in range(count)])
        std, mean = torch.std_mean(features.double(), dim=(0, 2, 3))
        if self.config.feature_scale == "global":
            std = std.square().mean().sqrt().expand_as(std)
        self.feature_generator.feature_mean.copy_(rearrange(mean, "c -> c 1 1"))
        self.feature_generator.feature_std.copy_(rearrange(std, "c -> c 1 1"))

    def loss(self, player: str, batch: VideoBatch | LatentBatch, step: int, generator: torch.Generator) -> Losses:
        """Denoise global features under their condition, and where it has one under the window before."""
        del player, step
        clean = self.feature_generator.normalize(self._features(batch, generator))
        timestep = draw_timesteps(len(clean), generator)
        noise = draw_normal(clean, generator)
        noisy = losses.add_noise(clean, noise, timestep, self.schedule)
        kept = draw_kept(len(clean), self.config.condition_dropout, generator)
        context = encode_condition(self.condition_encoder, batch, kept)
        prediction = self.feature_generator(noisy, timestep, context, self._previous(batch, clean, generator))
        target = losses.denoising_target(clean, noise, timestep, self.schedule, self.config.prediction)
        loss = F.mse_loss(prediction.float(), target)
        return loss, {}

    def _previous(
        self, batch: VideoBatch | LatentBatch, clean: Float[Tensor, "b c h w"], generator: torch.Generator
    ) -> Float[Tensor, "b c h w"] | None:
        """Normalised features of the windows before, zeros for clips without; with noise, as a chain's have errors."""
        if not isinstance(batch, LatentBatch) or batch.follows is None:
            return None
        previous = torch.zeros_like(clean)
        if batch.previous is not None:
            features = self.feature_generator.normalize(self._features(batch.previous, generator))
            level = torch.rand(len(features), 1, 1, 1, generator=generator, device=generator.device).to(features)
            noise = self.config.previous_noise * level * draw_normal(features, generator)
            previous[batch.follows] = features + noise
        return previous

    @torch.no_grad()
    def _features(self, batch: VideoBatch | LatentBatch, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """The posterior's mean, as the authors take it; of cached clips encoded once, when they first come up."""
        keyframes = self.keyframe_latents(batch, generator)
        if not isinstance(batch, LatentBatch):
            return self.video_encoder(keyframes)[0].float()
        for clip, clip_keyframes in zip(batch.clips, keyframes, strict=True):
            if clip not in self._known_features:
                # alone: in a batch its last bits might depend on its neighbours, and a resumed run meets others
                self._known_features.add(clip, self.video_encoder(clip_keyframes[None])[0][0].float())
        return self._known_features.stack(batch.clips)

    def pipeline(self) -> GloberPipeline:
        """The whole model as it stands."""
        return build.pipeline(
            self.recipe,
            self.dataset.index,
            self.frame_vae,
            self.video_encoder,
            self.frame_decoder,
            self.feature_generator,
            self.condition_encoder,
        )

    def preview(self, generator: torch.Generator) -> dict[str, np.ndarray]:
        """Sampled videos, of one class or training caption after the other."""
        del generator
        pipeline = self.pipeline()
        videos = []
        for number in range(NUM_PREVIEWS):
            label = number % len(pipeline.config.classes) if pipeline.config.classes else None
            entry = self.dataset.entries[number % len(self.dataset)]
            prompt = entry.text if self.recipe.condition == "caption" else None
            videos.append(pipeline(video=number, label=label, prompt=prompt).frames)
        return {"samples": np.stack(videos)}

    def export(self, folder: Path) -> None:
        """Save the feature generator and the condition encoder."""
        self.feature_generator.save_pretrained(folder / "feature_generator")
        self.condition_encoder.save_pretrained(folder / "condition_encoder")
