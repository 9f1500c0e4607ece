"""Sampling from a trained GLOBER: condition -> global feature -> any frames of the video, as a stream.

Frames do not depend on each other (paper section 3.1), so a video is rendered chunk by chunk in constant memory, and a
frame looks the same whether it is rendered alone, in a chunk of any size or with the whole video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.utils import BaseOutput
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from longtake.core.errors import UserError, choose_one_of
from longtake.glober import request, sampling
from longtake.glober.condition import GloberLabelEncoder
from longtake.glober.config import ClipFrames
from longtake.glober.endless import FeatureChain, Places, places
from longtake.glober.feature_generator import GloberFeatureGenerator
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.networks import Frames, GloberNetworks
from longtake.glober.request import SamplingOptions
from longtake.glober.text_encoder import ConditionEncoder
from longtake.glober.timeline import Timeline
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.nn import checks
from longtake.nn.preparation import Preparing, untold
from longtake.nn.stream_options import StreamOptions


@dataclass
class GloberPipelineOutput(BaseOutput):
    """What calling the pipeline returns.

    Attributes:
        frames: uint8 "t h w 3"; with `num_videos` > 1 "n t h w 3".
    """

    frames: np.ndarray


class GloberPipeline(GloberNetworks):
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
        frames: what one global feature stands for: "contiguous", that many frames, or "whole_video", all of a video.
        keyframes: frames of a clip that the video encoder sees.
        fps: frames per second of real time.
        classes: names of the classes, in the order of the labels; None for a model without classes.
        num_inference_steps: recommended number of sampling steps.
        feature_inference_steps: the feature generator's own number of steps, whatever is asked for the frames (its one
            feature costs little); None takes as many as the frames.
        guidance_scale: recommended guidance of the generator (1 is none).
        decoder_guidance_scale: recommended guidance of the decoder (1 is none).
        decoder_feature_guidance_scale: recommended guidance of the decoder by the feature alone, beside it (0 is none).
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
        condition_encoder: ConditionEncoder,
        decoder_scheduler: sampling.Scheduler,
        generator_scheduler: sampling.Scheduler,
        span: int = 16,
        frames: str = "contiguous",
        keyframes: list[int] | tuple[int, ...] = (0, 5, 10, 15),
        fps: float = 25.0,
        classes: list[str] | tuple[str, ...] | None = None,
        num_inference_steps: int = 50,
        feature_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        decoder_guidance_scale: float = 1.0,
        decoder_feature_guidance_scale: float = 0.0,
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
            frames=choose_one_of("frames", frames, get_args(ClipFrames)),
            keyframes=list(keyframes),
            fps=float(fps),
            classes=list(classes) if classes else None,
            num_inference_steps=num_inference_steps,
            feature_inference_steps=feature_inference_steps,
            guidance_scale=float(guidance_scale),
            decoder_guidance_scale=float(decoder_guidance_scale),
            decoder_feature_guidance_scale=float(decoder_feature_guidance_scale),
            shared_noise=float(shared_noise),
            description=description,
        )

    @classmethod
    def stream_options(cls, index: Mapping[str, Any]) -> StreamOptions:
        """Return what can be asked of a model's videos, see `PretrainedPipeline`: a label encoder takes no prompt."""
        options = super().stream_options(index)
        if index["condition_encoder"][-1] == GloberLabelEncoder.__name__:
            del options["prompt"]
        return options

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
        fps: float | None = None,
        speed: float = 1.0,
        reverse: bool = False,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        decoder_guidance_scale: float | None = None,
        decoder_feature_guidance_scale: float | None = None,
        chunk: int = 16,
        preparing: Preparing = untold,
    ) -> Iterator[Frames]:
        """Sample one video and yield it in chunks of at most `chunk` frames; memory does not grow with its length.

        Frame k is a function of the model, the condition, (seed, video, k) and the sampling settings: any chunk size
        and any range of frames give the same picture, up to rounding. Arguments not listed: see `SamplingOptions`.

        Args:
            num_frames: frames of the whole video; None is the span the model was trained on. A model with a chain of
                features (see `endless.py`) goes on for any number, others must stay within the span.
            start: first frame to render.
            stop: one past the last frame to render; None is `num_frames`.
            label: class name or index, for a model with classes; None draws a class from (seed, video).
            prompt: caption, for a model with captions; None is no caption.
            stretch: spread `num_frames` over the span the model was trained on (slow motion), instead of real time.
            fps: frames per second of real time; None is the rate of the training videos.
            speed: how fast time goes by: 0.5 is slow motion.
            reverse: play the video of `num_frames` backwards.
            preparing: see `nn.preparation`: a chain's earlier features are drawn, but no frames of theirs.

        Raises:
            UserError: at the call, for a value out of range, an unknown label, a condition the model does not take, or
                more frames than the span without `stretch` or a chain.
        """
        options = SamplingOptions(
            seed=seed,
            video=video,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            decoder_guidance_scale=decoder_guidance_scale,
            decoder_feature_guidance_scale=decoder_feature_guidance_scale,
            chunk=chunk,
        )
        timeline = Timeline.of(
            num_frames, self.config.span, self.config.fps, fps=fps, speed=speed, stretch=stretch, reverse=reverse
        )
        frames = timeline.frames(start, stop)
        if not self.is_endless:
            timeline.check_within_span()
        condition = self.resolve_condition(label, prompt, seed=seed, video=video)

        def locate(part: Sequence[int]) -> Places:
            return places(timeline.times(part), is_chain=self.is_endless)

        needed = locate(frames[:chunk]).last_window + 1

        def draw(window: int, previous: Tensor | None) -> Float[Tensor, "1 c h w"]:
            feature = self.sample_feature(condition, options, window, previous)
            if window < needed:
                preparing((window + 1) / needed)
            return feature

        chain = FeatureChain(draw, oldest=int(locate(frames[-1:]).window) if reverse else None)
        return self._render_video(chain, condition, frames, locate, options)

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
        """Pass `fit(video)` through the video autoencoder: keyframes -> global feature -> `span` frames.

        Compare with `fit(video)`, and with `reconstruct_frames(video)`, the best that the frame VAE allows.
        Without label and prompt the decoder gets no condition. Raises `UserError` as `fit` does, and for options out of
        range.
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
        feature = self.encode(video)
        chain = FeatureChain(lambda _window, _previous: feature)

        def locate(part: Sequence[int]) -> Places:
            return places(Timeline(span, span).times(part), is_chain=False)

        return np.concatenate(list(self._render_video(chain, condition, range(span), locate, options)))

    @torch.no_grad()
    def reconstruct_frames(self, video: Frames, *, chunk: int = 16) -> Frames:
        """Pass each frame of `fit(video)` through the frame VAE alone: the ceiling of `reconstruct`."""
        checks.check_at_least("chunk", chunk, 1)
        with sampling.evaluating(self.frame_vae):
            latents = self._encode_frames(self.fit(video))
            return np.concatenate([self._decode_frames(part) for part in latents.split(chunk)])

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

    def _render_video(
        self,
        chain: FeatureChain,
        condition: int | str,
        frames: Sequence[int],
        locate: Callable[[Sequence[int]], Places],
        options: SamplingOptions,
    ) -> Iterator[Frames]:
        config = self.frame_decoder.config
        shape = (config.latent_channels, config.latent_size, config.latent_size)
        context = self.encode_condition(condition)
        for first in range(0, len(frames), options.chunk):
            part = frames[first : first + options.chunk]
            main, blend = chain.at(locate(part))
            yield self.render(
                main.feature,
                main.index,
                sampling.shared_frame_noise(shape, options.seed, options.video, part, self.config.shared_noise),
                repeat(context, "1 l d -> n l d", n=len(part)),
                options,
                blend,
            )
