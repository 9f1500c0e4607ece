"""Sampling from a trained GLOBER: condition -> global feature -> any frames of the video, as a stream.

Frames do not depend on each other (paper section 3.1), so a video is rendered chunk by chunk in constant memory, and a
frame looks the same whether it is rendered alone, in a chunk of any size or with the whole video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.utils import BaseOutput
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.core.errors import UserError
from longtake.data.transforms import resize_and_crop, to_frames, to_video
from longtake.glober import request, sampling
from longtake.glober.condition import GloberLabelEncoder, GloberTextEncoder
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.frame_vae import decode_frames, encode_frames
from longtake.glober.request import RECOMMENDED, SamplingOptions
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.nn import checks
from longtake.nn.pipeline import PretrainedPipeline

Frames = UInt8[np.ndarray, "t h w 3"]


@dataclass
class GloberPipelineOutput(BaseOutput):
    """What calling the pipeline returns.

    Attributes:
        frames: uint8 "t h w 3"; with `num_videos` > 1 "n t h w 3".
    """

    frames: np.ndarray


class GloberPipeline(PretrainedPipeline):
    """GLOBER: a feature generator makes the global feature of a video, a frame decoder renders frames from it.

    Args:
        frame_vae: image autoencoder of single frames.
        video_encoder: keyframes -> global feature (used by `encode` and `reconstruct`, and for the null feature).
        frame_decoder: (noisy frame latent, global feature, time index) -> noise or velocity.
        feature_generator: (noisy global feature, condition) -> noise or velocity; None while it is not trained yet, to
            reconstruct only.
        condition_encoder: class labels or captions -> condition tokens.
        decoder_scheduler: sampler of frames; its `prediction_type` is what the frame decoder was trained to predict.
        generator_scheduler: the same for the feature generator.
        span: frames of real time that one global feature covers (the length of the training clips).
        keyframes: frames of a clip that the video encoder sees.
        fps: frames per second of real time.
        classes: names of the classes, in the order of the labels; None for a model without classes.
        num_inference_steps: recommended number of sampling steps.
        feature_inference_steps: the feature generator's own number of steps, whatever is asked for the frames (its one
            feature costs little); None takes as many as the frames.
        guidance_scale: recommended guidance of the generator (1 is none).
        decoder_guidance_scale: recommended guidance of the decoder (1 is none).
        shared_noise: share in [0, 1) of the variance of the frames' noise that all frames of a video have in common.
        description: one line about the model, for lists of models.
    """

    model_cpu_offload_seq = "condition_encoder->feature_generator->video_encoder->frame_decoder->frame_vae"

    def __init__(  # noqa: PLR0913 (diffusers saves and restores exactly the constructor's parameters)
        self,
        frame_vae: AutoencoderKL,
        video_encoder: GloberVideoEncoder,
        frame_decoder: GloberFrameDecoder,
        feature_generator: GloberFeatureGenerator | None,
        condition_encoder: GloberLabelEncoder | GloberTextEncoder,
        decoder_scheduler: sampling.Scheduler,
        generator_scheduler: sampling.Scheduler,
        span: int = 16,
        keyframes: list[int] | tuple[int, ...] = (0, 5, 10, 15),
        fps: float = 25.0,
        classes: list[str] | tuple[str, ...] | None = None,
        num_inference_steps: int = 50,
        feature_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        decoder_guidance_scale: float = 1.0,
        shared_noise: float = 0.0,
        description: str = "",
    ) -> None:
        super().__init__()
        num_keyframes = video_encoder.config.num_keyframes
        if len(keyframes) != num_keyframes or not 0 <= min(keyframes) <= max(keyframes) < span:
            raise UserError(
                f"keyframes {list(keyframes)} do not fit: the encoder takes {num_keyframes}, each in 0..{span - 1}"
            )
        if not 0 <= shared_noise < 1:
            raise UserError(f"shared_noise must be in [0, 1), not {shared_noise}")
        self.register_modules(
            frame_vae=frame_vae,
            video_encoder=video_encoder,
            frame_decoder=frame_decoder,
            feature_generator=feature_generator,
            condition_encoder=condition_encoder,
            decoder_scheduler=decoder_scheduler,
            generator_scheduler=generator_scheduler,
        )
        self.register_to_config(
            span=span,
            keyframes=list(keyframes),
            fps=float(fps),
            classes=list(classes) if classes else None,
            num_inference_steps=num_inference_steps,
            feature_inference_steps=feature_inference_steps,
            guidance_scale=float(guidance_scale),
            decoder_guidance_scale=float(decoder_guidance_scale),
            shared_noise=float(shared_noise),
            description=description,
        )

    @property
    def image_size(self) -> int:
        """Height and width of the frames."""
        return self.frame_decoder.config.latent_size * 2 ** (len(self.frame_vae.config.block_out_channels) - 1)

    def use_scheduler(self, name: str) -> None:
        """Sample both stages with "ddim" or "dpm" (DPM-Solver++) from now on."""
        for component in ("decoder_scheduler", "generator_scheduler"):
            self.register_modules(**{component: sampling.convert_scheduler(getattr(self, component), name)})

    def stream(  # noqa: PLR0913 (one keyword per thing a user can ask of a video, as diffusers' pipelines have it)
        self,
        num_frames: int | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        label: int | str | None = None,
        prompt: str | None = None,
        seed: int = 0,
        video: int = 0,
        stretch: bool = False,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        decoder_guidance_scale: float | None = None,
        chunk: int = 16,
    ) -> Iterator[Frames]:
        """Sample one video and yield it in chunks of at most `chunk` frames; memory does not grow with its length.

        Frame k is a function of the model, the condition, (seed, video, k) and the sampling settings: any chunk size
        and any range of frames give the same picture, up to rounding. Arguments not listed: see `SamplingOptions`.

        Args:
            num_frames: frames of the whole video; None is the span the model was trained on.
            start: first frame to render.
            stop: one past the last frame to render; None is `num_frames`.
            label: class name or index, for a model with classes; None draws a class from (seed, video).
            prompt: caption, for a model with captions; None is no caption.
            stretch: spread `num_frames` over the span the model was trained on (slow motion), instead of real time.

        Raises:
            UserError: at the call, for a value out of range, an unknown label, a condition the model does not take, or
                more frames than the span without `stretch`.
        """
        options = SamplingOptions(
            seed=seed,
            video=video,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            decoder_guidance_scale=decoder_guidance_scale,
            chunk=chunk,
        )
        num_frames = self.config.span if num_frames is None else num_frames
        stop = num_frames if stop is None else stop
        checks.check_range(start, stop, num_frames)
        index = sampling.frame_indexes(range(start, stop), num_frames, self.config.span, stretch=stretch)
        condition = self.resolve_condition(label, prompt, seed=seed, video=video)

        def chunks() -> Iterator[Frames]:
            feature = self.sample_feature(condition, options)
            yield from self._render_video(feature, condition, range(start, stop), index, options)

        return chunks()

    def __call__(
        self,
        num_frames: int | None = None,
        *,
        num_videos: int = 1,
        video: int = 0,
        **options: Any,  # noqa: ANN401
    ) -> GloberPipelineOutput:
        """Sample whole videos into memory: numbers `video`, `video` + 1, ... of the series; options as in `stream`.

        Raises `UserError` as `stream` does, and if `num_videos` is less than 1.
        """
        checks.check_at_least("number of videos", num_videos, 1)
        streams = [self.stream(num_frames, video=video + position, **options) for position in range(num_videos)]
        videos = [np.concatenate(list(stream)) for stream in streams]
        return GloberPipelineOutput(frames=np.stack(videos) if num_videos > 1 else videos[0])

    def reconstruct(
        self,
        video: Frames,
        *,
        label: int | str | None = None,
        prompt: str | None = None,
        seed: int = 0,
        num_inference_steps: int | None = None,
        decoder_guidance_scale: float | None = None,
        chunk: int = 16,
    ) -> Frames:
        """Pass a video's first `span` frames through the video autoencoder: keyframes -> global feature -> all frames.

        Compare with `fit(video)`, and with `reconstruct_frames(video)`, the best that the frame VAE allows.
        Without label and prompt the decoder gets no condition. Raises `UserError` if the video is shorter than the
        span, and for options out of range.
        """
        options = SamplingOptions(
            seed=seed,
            num_inference_steps=num_inference_steps,
            decoder_guidance_scale=decoder_guidance_scale,
            chunk=chunk,
        )
        condition = self._null_condition
        if label is not None or prompt is not None:
            condition = self.resolve_condition(label, prompt, seed=seed, video=0)
        span = self.config.span
        index = sampling.frame_indexes(range(span), span, span, stretch=False)
        return np.concatenate(list(self._render_video(self.encode(video), condition, range(span), index, options)))

    @torch.no_grad()
    def reconstruct_frames(self, video: Frames, *, chunk: int = 16) -> Frames:
        """Pass each of a video's first `span` frames through the frame VAE alone: the ceiling of `reconstruct`."""
        checks.check_at_least("chunk", chunk, 1)
        with sampling.evaluating(self.frame_vae):
            latents = self._encode_frames(self.fit(video))
            return np.concatenate([self._decode_frames(part) for part in latents.split(chunk)])

    def fit(self, video: Frames) -> Frames:
        """Return the first `span` frames at the model's size (centre square, resized), as in training.

        Raises `UserError` if the video has fewer frames or is not uint8 frames.
        """
        checks.check_video(video, self.config.span)
        return resize_and_crop(video[: self.config.span], self.image_size)

    def resolve_condition(self, label: int | str | None, prompt: str | None, *, seed: int, video: int) -> int | str:
        """Return what `encode_condition` takes: the class index of a label (None: see `resolve_label`), or the caption.

        Raises `UserError` for an unknown label (naming the nearest) and for a condition the model does not take.
        """
        if isinstance(self.condition_encoder, GloberLabelEncoder):
            if prompt is not None:
                raise UserError(f"this model takes no prompt ({prompt!r}), only a label")
            return request.resolve_label(label, self.config.classes or (), seed=seed, video=video)
        if label is not None:
            raise UserError(f"this model has no classes, so it takes no label ({label!r}), only a prompt")
        return prompt or request.NO_CAPTION

    @torch.no_grad()
    def encode_condition(self, condition: int | str) -> Float[Tensor, "1 l d"]:
        """Tokens of a class index (-1: no class) or of a caption ("": none), whichever the model was trained on."""
        with sampling.evaluating(self.condition_encoder):
            if isinstance(self.condition_encoder, GloberLabelEncoder):
                return self.condition_encoder.encode(torch.tensor([condition], device=self.device))
            return self.condition_encoder.encode([condition])

    @torch.no_grad()
    def encode(self, video: Frames) -> Float[Tensor, "1 c h w"]:
        """Global feature (the posterior's mean) of the first `span` frames of a video, of any frame size.

        Raises `UserError` if the video is shorter.
        """
        with sampling.evaluating(self.frame_vae):
            latents = self._encode_frames(self.fit(video)[self.config.keyframes])
        return self._encode_latents(rearrange(latents, "k c h w -> 1 c k h w"))

    @torch.no_grad()
    def sample_feature(self, condition: int | str, options: SamplingOptions = RECOMMENDED) -> Float[Tensor, "1 c h w"]:
        """Draw a global feature for a condition (see `encode_condition`) with noise from (seed, video) alone."""
        model = self.feature_generator
        assert model is not None, "without a feature generator a pipeline only reconstructs"
        scale = self._chosen("guidance_scale", options.guidance_scale)
        context = self.encode_condition(condition)
        if scale != 1:
            context = torch.cat([self.encode_condition(self._null_condition), context])
        context = context.to(model.dtype)
        shape = (model.config.feature_channels, model.config.feature_size, model.config.feature_size)
        noise = sampling.video_noise(shape, options.seed, options.video, sampling.DRAW_FEATURE)

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            return model(noisy.to(model.dtype), timestep, context)

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
    ) -> UInt8[np.ndarray, "n h w 3"]:
        """Render frames in one batch, each from its own global feature at its own time index in [0, 1) of the span.

        Each starts from its own `noise` (see `sampling.shared_frame_noise`) and has its own condition tokens `context`,
        which a decoder without text does not use. Guidance drops condition and feature together.
        """
        model = self.frame_decoder
        scale = self._chosen("decoder_guidance_scale", options.decoder_guidance_scale)
        if scale != 1:
            null_context = self.encode_condition(self._null_condition)
            context = torch.cat([null_context.expand_as(context), context.to(self.device)])
            feature = torch.cat([self._null_feature().expand_as(feature), feature.to(self.device)])
            index = torch.cat([index, index])
        text = None if model.config.context_dim is None else context.to(self.device, model.dtype)

        with sampling.evaluating(model, self.frame_vae):
            # once, not at every step: the control features do not depend on the noisy frame
            control = model.control(feature.to(self.device, model.dtype), index.to(self.device))

            def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
                return model(noisy.to(model.dtype), timestep, control, text)

            latents = sampling.denoise(
                predict if scale == 1 else sampling.with_guidance(predict, scale),
                noise.to(self.device),
                self.decoder_scheduler,
                self._chosen("num_inference_steps", options.num_inference_steps),
            )
            return self._decode_frames(latents)

    def _render_video(
        self,
        feature: Float[Tensor, "1 c h w"],
        condition: int | str,
        frames: Sequence[int],
        index: Float[Tensor, " t"],
        options: SamplingOptions,
    ) -> Iterator[Frames]:
        config = self.frame_decoder.config
        shape = (config.latent_channels, config.latent_size, config.latent_size)
        context = self.encode_condition(condition)
        for first in range(0, len(frames), options.chunk):
            part = frames[first : first + options.chunk]
            yield self.render(
                repeat(feature, "1 c h w -> n c h w", n=len(part)),
                index[first : first + options.chunk],
                sampling.shared_frame_noise(shape, options.seed, options.video, part, self.config.shared_noise),
                repeat(context, "1 l d -> n l d", n=len(part)),
                options,
            )

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
