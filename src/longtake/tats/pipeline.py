"""Sampling from trained TATS transformers: condition -> codes, latent frame by latent frame -> frames, as a stream.

Frames are real time and a video may be of any length: the window slides on, and only the latent frames around those
being decoded are in work. A frame depends on all before it, so frames start..stop need all codes up to there, but only
they are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import ModelMixin
from diffusers.utils import BaseOutput
from einops import rearrange
from jaxtyping import Int, UInt8
from torch import Tensor

from longtake.core.errors import UserError
from longtake.core.randomness import generator
from longtake.data.transforms import resize_and_crop, to_frames, to_video
from longtake.nn import checks
from longtake.nn.pipeline import PretrainedPipeline
from longtake.tats import request, sampling
from longtake.tats.condition import (
    Condition,
    LabelCondition,
    NoCondition,
    SoundCondition,
    TextCondition,
    side_by_side,
)
from longtake.tats.request import Mode, Prompt, SamplingOptions, Steer
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vocabulary import BytePairs, ClipVocabulary
from longtake.tats.vqgan import TatsVQGAN

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

Frames = UInt8[np.ndarray, "t h w 3"]


@dataclass
class TatsPipelineOutput(BaseOutput):
    """What calling the pipeline returns.

    Attributes:
        frames: uint8 "t h w 3"; with `num_videos` > 1 "n t h w 3".
    """

    frames: np.ndarray


@dataclass(frozen=True)
class Wish:
    """What one video is to be.

    Attributes:
        video: its number in the series.
        steer: see `request.resolve_steer`.
        given: codes of the latent frames that it begins with.
    """

    video: int
    steer: Steer
    given: Int[Tensor, "t s"]


@dataclass(frozen=True)
class Part:
    """Frames `start` to `stop` of a video of `num_frames`."""

    start: int
    stop: int
    num_frames: int


class TatsPipeline(PretrainedPipeline):
    """TATS: transformers make the codes of a video, a VQGAN decodes them.

    Args:
        vqgan: codes -> frames.
        transformer: autoregressive over neighbouring latent frames, for mode "sliding".
        sparse: autoregressive over every few latent frames, and
        interpolation: what fills in between, for mode "hierarchical".
        tokenizer: CLIP's, of a model with captions; None: the byte pairs in `merges`.
        stft_vqgan: spectrograms -> codes, of a model with sound.
        condition: what steers the video: "none", "label", "caption" or "stft".
        span: frames of a training clip of the transformer with the longest; the default length of a video.
        fps: frames per second.
        classes: names of the classes, in the order of the labels.
        class_weights: each class' share of the training data.
        merges: byte pairs of captions (see `BytePairs`).
        stft_size: height and width of a spectrogram.
        temperature: recommended divisor of the logits.
        top_k: recommended number of codes to draw among (None: all).
        top_p: recommended probability of the codes to draw among (None: all).
        context: recommended number of latent frames that a new one sees.
        compat: fill in as the authors' code does, for their checkpoints.
        description: one line about the model, for lists of models.

    Raises:
        UserError: without a transformer, or with half of the hierarchical pair.
    """

    model_cpu_offload_seq = "stft_vqgan->transformer->sparse->interpolation->vqgan"
    _optional_components = ["transformer", "sparse", "interpolation", "tokenizer", "stft_vqgan"]  # noqa: RUF012

    def __init__(  # noqa: PLR0913 (diffusers saves and restores exactly the constructor's parameters)
        self,
        vqgan: TatsVQGAN,
        transformer: TatsTransformer | None = None,
        sparse: TatsTransformer | None = None,
        interpolation: TatsTransformer | None = None,
        tokenizer: CLIPTokenizer | None = None,
        stft_vqgan: TatsVQGAN | None = None,
        condition: str = "none",
        span: int = 16,
        fps: float = 25.0,
        classes: Sequence[str] | None = None,
        class_weights: Sequence[float] | None = None,
        merges: Sequence[Sequence[int]] | None = None,
        stft_size: Sequence[int] = (64, 16),
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        context: int = 3,
        compat: bool = False,
        description: str = "",
    ) -> None:
        super().__init__()
        if (sparse is None) != (interpolation is None) or (transformer is None and sparse is None):
            raise UserError("a TATS pipeline needs a transformer, or a sparse and an interpolation transformer, or all")
        self.register_modules(
            vqgan=vqgan,
            transformer=transformer,
            sparse=sparse,
            interpolation=interpolation,
            tokenizer=tokenizer,
            stft_vqgan=stft_vqgan,
        )
        for component in self.components.values():
            if isinstance(component, ModelMixin):
                component.eval()
        self.register_to_config(
            condition=condition,
            span=span,
            fps=float(fps),
            classes=list(classes) if classes else None,
            class_weights=[float(weight) for weight in class_weights] if class_weights else None,
            merges=[list(pair) for pair in merges] if merges is not None else None,
            stft_size=list(stft_size),
            temperature=float(temperature),
            top_k=top_k,
            top_p=top_p,
            context=context,
            compat=compat,
            description=description,
        )

    @property
    def condition(self) -> Condition:
        """What steers this model's videos."""
        match self.config.condition:
            case "label":
                return LabelCondition(len(self.config.classes))
            case "caption":
                vocabulary = ClipVocabulary(self.tokenizer) if self.tokenizer else BytePairs(self.config.merges)
                return TextCondition(vocabulary, self._first_model.config.condition_length)
            case "stft":
                height, width = self.config.stft_size
                return SoundCondition(self.stft_vqgan, (height, width))
        return NoCondition()

    @property
    def image_size(self) -> int:
        """Height and width of the frames."""
        return self._first_model.config.latent_size[0] * self.vqgan.downsample[1]

    def stream(  # noqa: PLR0913 (one keyword per thing a user can ask of a video, as diffusers' pipelines have it)
        self,
        num_frames: int | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        label: int | str | None = None,
        prompt: Prompt | None = None,
        audio: str | Path | None = None,
        first_clip: Frames | None = None,
        seed: int = 0,
        video: int = 0,
        mode: Mode | None = None,
        context: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        compat: bool | None = None,
        chunk: int = 16,
    ) -> Iterator[Frames]:
        """Sample one video and yield it in chunks of at most `chunk` frames; memory does not grow with its length.

        Frame k is a function of the model, the condition, (seed, video) and the sampling settings: any chunk size and
        any range of frames give the same picture. Arguments not listed: see `SamplingOptions`.

        Args:
            num_frames: frames of the whole video, of any number; None is the span the model was trained on.
            start: first frame to decode.
            stop: one past the last frame to decode; None is `num_frames`.
            label: class name or index, for a model with classes; None draws a class from their shares in training.
            prompt: caption, for a model with captions, or a story: (first frame, caption) pairs, the first from 0.
            audio: .npz file with the sound's spectrograms (see `condition.read_spectrograms`), for a model with sound.
            first_clip: video to go on from: the new one begins with (at most a window of) its end.
            video: number of the video in the series.

        Raises:
            UserError: at the call, for a value out of range, an unknown label, a condition or mode the model does not
                have, or a clip without frames enough.
        """
        options = SamplingOptions(
            seed=seed,
            mode=mode,
            context=context,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            compat=compat,
            chunk=chunk,
        )
        part = self._part(num_frames, start, stop)
        wish = self._wish(options, video, label, prompt, audio, first_clip)
        return self._frames(self._latents([wish], options), part, options.chunk)

    def __call__(
        self,
        num_frames: int | None = None,
        *,
        num_videos: int = 1,
        video: int = 0,
        start: int = 0,
        stop: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> TatsPipelineOutput:
        """Sample videos into memory, in one batch: numbers `video`, `video` + 1, ... of the series; see `stream`.

        A video is what `stream` makes of it, up to rounding in the networks. Raises `UserError` as `stream` does, and
        if `num_videos` is less than 1.
        """
        checks.check_at_least("number of videos", num_videos, 1)
        names = {field.name for field in fields(SamplingOptions)}
        how = SamplingOptions(**{name: options.pop(name) for name in names & options.keys()})
        part = self._part(num_frames, start, stop)
        wishes = [self._wish(how, video + position, **options) for position in range(num_videos)]
        codes = torch.stack(list(islice(self._latents(wishes, how), self._num_latents(part))))  # t b s
        streams = [self._frames(iter(codes[:, row : row + 1]), part, how.chunk) for row in range(num_videos)]
        videos = [np.concatenate(list(stream)) for stream in streams]
        return TatsPipelineOutput(frames=np.stack(videos) if num_videos > 1 else videos[0])

    @torch.no_grad()
    def reconstruct(self, video: Frames) -> Frames:
        """Pass a video's first `span` frames through the VQGAN; compare with `fit(video)`."""
        codes = self.encode(self.fit(video))
        return to_frames(self.vqgan.decode(codes[None]))[0]

    def fit(self, video: Frames) -> Frames:
        """Return the first `span` frames at the model's size (centre square, resized), as in training.

        Raises `UserError` if the video has fewer frames or is not uint8 frames.
        """
        checks.check_video(video, self.config.span)
        return resize_and_crop(video[: self.config.span], self.image_size)

    @torch.no_grad()
    def encode(self, frames: Frames) -> Int[Tensor, "t h w"]:
        """Return the codes of frames of the model's size; their number must be a multiple of a latent frame's."""
        return self.vqgan.encode(to_video(frames)[None].to(self.device, self.vqgan.dtype))[0]

    @property
    def _first_model(self) -> TatsTransformer:
        return self.transformer or self.sparse

    @property
    def _rate(self) -> int:
        """Frames per latent frame."""
        return self.vqgan.downsample[0]

    def _mode(self, options: SamplingOptions) -> Mode:
        mode = options.mode or ("sliding" if self.sparse is None else "hierarchical")
        if (self.sparse if mode == "hierarchical" else self.transformer) is None:
            raise UserError(f"this model has no mode {mode!r}: it lacks the transformers for it")
        return mode

    def _part(self, num_frames: int | None, start: int, stop: int | None) -> Part:
        num_frames = self.config.span if num_frames is None else num_frames
        stop = num_frames if stop is None else stop
        checks.check_range(start, stop, num_frames)
        return Part(start, stop, num_frames)

    def _num_latents(self, part: Part) -> int:
        """Latent frames to generate: up to the last frame wanted and what its decoding depends on after it."""
        _, after = self.vqgan.decoder_context
        whole = -(-part.num_frames // self._rate)
        return min(whole, -(-part.stop // self._rate) + after) if self._decodes_in_parts else whole

    @property
    def _decodes_in_parts(self) -> bool:
        """Group norm depends on the whole video."""
        return self.vqgan.config.norm == "batch"

    def _wish(
        self,
        options: SamplingOptions,
        video: int,
        label: int | str | None = None,
        prompt: Prompt | None = None,
        audio: str | Path | None = None,
        first_clip: Frames | None = None,
    ) -> Wish:
        """Check what is asked for: raises `UserError` as `stream` says."""
        steer = request.resolve_steer(
            self.config, label=label, prompt=prompt, audio=audio, seed=options.seed, video=video
        )
        return Wish(video, steer, self._given(first_clip, self._mode(options)))

    def _given(self, first_clip: Frames | None, mode: Mode) -> Int[Tensor, "t s"]:
        """Codes of the end of a clip: a window, or whole steps of the sparse model's window and a frame."""
        if first_clip is None:
            return torch.empty(0, self._first_model.tokens_per_latent, dtype=torch.long, device=self.device)
        checks.check_video(first_clip, self._rate)
        count = len(first_clip) // self._rate
        if mode == "sliding":
            count = min(count, self.transformer.config.num_latents)
        else:
            step = self.sparse.config.latent_step
            count = min((count - 1) // step, self.sparse.config.num_latents - 1) * step + 1
        codes = self.encode(resize_and_crop(first_clip[-count * self._rate :], self.image_size))
        return rearrange(codes, "t h w -> t (h w)")

    def _latents(self, wishes: Sequence[Wish], options: SamplingOptions) -> Iterator[Int[Tensor, "b s"]]:
        """Return the latent frames of several videos, without end. Raises `UserError` for too much context."""
        mode = self._mode(options)
        model = self.transformer if mode == "sliding" else self.sparse
        context = options.context or self.config.context
        if context >= model.config.num_latents:
            raise UserError(f"context is {context}; this model sees 1 to {model.config.num_latents - 1} latent frames")

        def draw(purpose: int) -> sampling.CodeSampler:
            return sampling.CodeSampler(
                [generator(options.seed, wish.video, purpose) for wish in wishes],
                options.temperature or self.config.temperature,
                (self.config.top_k if options.top_k is None else options.top_k) or None,
                self.config.top_p if options.top_p is None else options.top_p,
            )

        def courses(model: TatsTransformer) -> sampling.Conditions:
            window = model.config.num_latents * model.config.latent_step * self._rate
            return side_by_side([self.condition.course(wish.steer, self._rate, window) for wish in wishes])

        given = torch.stack([wish.given for wish in wishes], dim=1).unbind()
        if mode == "sliding":
            new = sampling.slide(model, courses(model), draw(sampling.DRAW_CODES), context=context, given=given)
            return chain(given, new)
        sparse_given = given[:: model.config.latent_step]
        sparse_draw = draw(sampling.DRAW_SPARSE_CODES)
        sparse = sampling.slide(model, courses(model), sparse_draw, context=context, given=sparse_given)
        new = sampling.slide_sparsely(
            sparse,
            self.interpolation,
            courses(self.interpolation),
            draw(sampling.DRAW_CODES_BETWEEN),
            given=given,
            compat=self.config.compat if options.compat is None else options.compat,
        )
        return chain(given, new)

    @torch.no_grad()
    def _frames(self, latents: Iterator[Int[Tensor, "1 s"]], part: Part, chunk: int) -> Iterator[Frames]:
        """Decode a part of one video as its latent frames come up; each is decoded with all that it depends on."""
        height, _ = self._first_model.config.latent_size
        before, after = self.vqgan.decoder_context
        num_latents, rate = self._num_latents(part), self._rate
        parts = range(part.start // rate, -(-part.stop // rate), max(1, chunk // rate))
        if not self._decodes_in_parts:
            parts = range(0, num_latents, num_latents)
        codes: list[Int[Tensor, "1 h w"]] = []
        for first in parts:
            last = min(first + parts.step, num_latents)
            needed = min(last + after, num_latents) - len(codes)
            codes += [rearrange(latent, "1 (h w) -> 1 h w", h=height) for latent in islice(latents, needed)]
            begin = max(0, first - before)
            window = torch.stack(codes[begin : last + after], dim=1)
            video = to_frames(self.vqgan.decode_part(window, first - begin, last - begin))[0]
            wanted = video[max(0, part.start - first * rate) : part.stop - first * rate]
            yield from np.split(wanted, range(chunk, len(wanted), chunk))
