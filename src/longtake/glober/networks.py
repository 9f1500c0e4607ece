"""What the networks of a GLOBER pipeline do, one at a time: encode, draw a global feature, render frames from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.data.clips import part_edges
from longtake.data.transforms import resize_and_crop, to_frames, to_video
from longtake.glober import request, sampling
from longtake.glober.condition import GloberLabelEncoder
from longtake.glober.endless import Blend
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.frame_vae import decode_frames, encode_frames
from longtake.glober.request import RECOMMENDED, SamplingOptions
from longtake.glober.text_encoder import ConditionEncoder
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.nn import checks
from longtake.nn.pipeline import PretrainedPipeline

Frames = UInt8[np.ndarray, "t h w 3"]


class GloberNetworks(PretrainedPipeline):
    """The networks of a `GloberPipeline` and the settings they are used with."""

    frame_vae: AutoencoderKL
    video_encoder: GloberVideoEncoder
    frame_decoder: GloberFrameDecoder
    feature_generator: GloberFeatureGenerator | None
    condition_encoder: ConditionEncoder
    decoder_scheduler: sampling.Scheduler
    generator_scheduler: sampling.Scheduler

    @property
    def image_size(self) -> int:
        """Height and width of the frames."""
        return self.frame_decoder.config.latent_size * 2 ** (len(self.frame_vae.config.block_out_channels) - 1)

    @property
    def is_endless(self) -> bool:
        """Whether features come in a chain, so that real time has no end."""
        return self.feature_generator is not None and bool(self.feature_generator.config.previous_window)

    def use_scheduler(self, name: str) -> None:
        """Sample both stages with "ddim" or "dpm" (DPM-Solver++) from now on."""
        for component in ("decoder_scheduler", "generator_scheduler"):
            self.register_modules(**{component: sampling.convert_scheduler(getattr(self, component), name)})

    def fit(self, video: Frames) -> Frames:
        """Return the first `span` frames at the model's size (centre square, resized), as in training.

        A model of whole videos takes `span` frames spread over all of the video: frame k F / span, rounded down, of F.
        Raises `UserError` if the video has fewer frames (than keyframes, for such a model) or is not uint8 frames.
        """
        span = self.config.span
        if self.config.frames == "whole_video":
            checks.check_video(video, len(self.config.keyframes))
            return resize_and_crop(video[part_edges(len(video), span)[:-1]], self.image_size)
        checks.check_video(video, span)
        return resize_and_crop(video[:span], self.image_size)

    @torch.no_grad()
    def encode_condition(self, condition: int | str) -> Float[Tensor, "1 l d"]:
        """Tokens of a class index (-1: no class) or of a caption ("": none), whichever the model was trained on."""
        encoder: Any = self.condition_encoder
        with sampling.evaluating(encoder):
            if isinstance(encoder, GloberLabelEncoder):
                return encoder.encode(torch.tensor([condition], device=self.device))
            return encoder.encode([condition])

    @torch.no_grad()
    def encode(self, video: Frames) -> Float[Tensor, "1 c h w"]:
        """Global feature (the posterior's mean) of a video of any frame size; what of it is seen says `fit`.

        Raises `UserError` as `fit` does.
        """
        with sampling.evaluating(self.frame_vae):
            latents = self._encode_frames(self.fit(video)[self.config.keyframes])
        return self._encode_latents(rearrange(latents, "k c h w -> 1 c k h w"))

    @torch.no_grad()
    def sample_feature(
        self,
        condition: int | str,
        options: SamplingOptions = RECOMMENDED,
        window: int = sampling.FIRST_WINDOW,
        previous: Float[Tensor, "1 c h w"] | None = None,
    ) -> Float[Tensor, "1 c h w"]:
        """Draw a global feature for a condition (see `encode_condition`) with noise from (seed, video, window) alone.

        `previous` is the feature of the window before, for an endless model. Guidance drops the condition, never that.
        """
        model = self.feature_generator
        assert model is not None, "without a feature generator a pipeline only reconstructs"
        scale = self._chosen("guidance_scale", options.guidance_scale)
        context = self.encode_condition(condition)
        if scale != 1:
            context = torch.cat([self.encode_condition(self._null_condition), context])
        context = context.to(model.dtype)
        shape = (model.config.feature_channels, model.config.feature_size, model.config.feature_size)
        noise = sampling.video_noise(shape, options.seed, options.video, sampling.DRAW_FEATURE, window)
        before = None if previous is None else model.normalize(previous.to(self.device, model.dtype))

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            given = None if before is None else before.expand_as(noisy)
            return model(noisy.to(model.dtype), timestep, context, given)

        with sampling.evaluating(model):
            feature = sampling.denoise(
                predict if scale == 1 else sampling.with_guidance(predict, scale),
                rearrange(noise, "c h w -> 1 c h w").to(self.device),
                self.generator_scheduler,
                self.config.feature_inference_steps or self._chosen("num_inference_steps", options.num_inference_steps),
            )
        return model.denormalize(feature).float()

    @torch.no_grad()
    def render(
        self,
        feature: Float[Tensor, "n c h w"],
        index: Float[Tensor, " n"],
        noise: Float[Tensor, "n c h w"],
        context: Float[Tensor, "n l d"],
        options: SamplingOptions = RECOMMENDED,
        blend: Blend | None = None,
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Render frames in one batch, each from its own global feature at its own time index in [0, 1) of the span.

        Each starts from its own `noise` (see `sampling.shared_frame_noise`) and has its own condition tokens `context`,
        which a decoder without text does not use. Guidance drops condition and feature together, or the feature alone.
        `blend` says what else shares in the frames (see `endless.py`).
        """
        model = self.frame_decoder
        scale = self._chosen("decoder_guidance_scale", options.decoder_guidance_scale)
        feature_scale = self._chosen("decoder_feature_guidance_scale", options.decoder_feature_guidance_scale)
        num_passes = sampling.num_guided_passes(scale, feature_scale)
        if num_passes > 1:
            context = context.to(self.device)
            null_context = self.encode_condition(self._null_condition).expand_as(context)
            context = torch.cat([null_context, context, context][:num_passes])
        text = None if model.config.context_dim is None else context.to(self.device, model.dtype)

        with sampling.evaluating(model, self.frame_vae):
            # once, not at every step: the control features do not depend on the noisy frame
            control = self._control(feature, index, num_passes)
            if blend is not None:
                other = self._control(blend.other.feature, blend.other.index, num_passes)
                share = repeat(blend.share.to(self.device), "n -> (p n) 1 1 1", p=num_passes)
                control = [torch.lerp(one, two, share.to(one)) for one, two in zip(control, other, strict=True)]

            def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
                return model(noisy.to(model.dtype), timestep, control, text)

            latents = sampling.denoise(
                predict if num_passes == 1 else sampling.with_guidance(predict, scale, feature_scale),
                noise.to(self.device),
                self.decoder_scheduler,
                self._chosen("num_inference_steps", options.num_inference_steps),
            )
            return self._decode_frames(latents)

    def _control(
        self, feature: Float[Tensor, "n c h w"], index: Float[Tensor, " n"], num_passes: int
    ) -> list[Float[Tensor, "pn d i j"]]:
        """Control features of frames for each pass of guidance, with and without the global feature."""
        feature = feature.to(self.device)
        if num_passes > 1:
            null_feature = self._null_feature().expand_as(feature)
            feature = torch.cat([null_feature, feature, null_feature][:num_passes])
            index = torch.cat([index] * num_passes)
        return self.frame_decoder.control(feature.to(self.frame_decoder.dtype), index.to(self.device))

    @property
    def _null_condition(self) -> int | str:
        return request.NO_LABEL if isinstance(self.condition_encoder, GloberLabelEncoder) else request.NO_CAPTION

    def _null_feature(self) -> Float[Tensor, "1 c h w"]:
        """Feature that stands for no video: of zero latents, which training drops keyframes to."""
        config = self.video_encoder.config
        shape = (1, config.latent_channels, config.num_keyframes, config.latent_size, config.latent_size)
        return self._encode_latents(torch.zeros(shape, device=self.device))

    def _encode_latents(self, latents: Float[Tensor, "b c k h w"]) -> Float[Tensor, "b c h w"]:
        with sampling.evaluating(self.video_encoder):
            mean, _ = self.video_encoder(latents.to(self.video_encoder.dtype))
        return mean.float()

    def _encode_frames(self, frames: UInt8[np.ndarray, "n h w 3"]) -> Float[Tensor, "n c h w"]:
        pixels = rearrange(to_video(frames), "c n h w -> n c h w")
        return encode_frames(self.frame_vae, pixels.to(self.device, self.frame_vae.dtype))

    def _decode_frames(self, latents: Float[Tensor, "n c h w"]) -> UInt8[np.ndarray, "n h w 3"]:
        pixels = decode_frames(self.frame_vae, latents.to(self.frame_vae.dtype))
        return to_frames(rearrange(pixels, "n c h w -> c n h w"))

    def _chosen(self, name: str, value: float | None) -> Any:  # noqa: ANN401
        """Return the value asked for, or else the one the model recommends."""
        return self.config[name] if value is None else value
