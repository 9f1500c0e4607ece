"""Sampling from trained TATS transformers: condition -> codes, latent frame by latent frame -> frames, as a stream.

Frames are real time and a video may be of any length: the window slides on, and only the latent frames around those
being decoded are in work. A frame depends on all before it, so frames start..stop need all codes up to there, but only
they are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from longtake.nn.preparation import Preparing, untold
from longtake.nn.stream_options import StreamOptions, has_component
from longtake.tats import request, sampling
from longtake.tats.condition import Condition, LabelCondition, NoCondition, TextCondition, side_by_side
from longtake.tats.decoding import Part, num_latents, stream_frames
from longtake.tats.request import Mode, SamplingOptions, Steer, Story, Wish
from longtake.tats.sound import SoundCondition
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
class Plan:
    """What one video is to be, resolved.

    Attributes:
        video: its number in the series.
        steer: see `request.resolve_steer`.
        given: codes of the latent frames that it begins with.
    """

    video: int
    steer: Steer
    given: Int[Tensor, "t s"]


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

    @classmethod
    def stream_options(cls, index: Mapping[str, Any]) -> StreamOptions:
        """Return what can be asked of a model's videos, see `PretrainedPipeline`: it depends on its condition, and on
        which transformers it has.
        """
        options = super().stream_options(index)
        for name, conditions in request.TAKERS.items():
            if index["condition"] not in conditions:
                options.pop(name, None)
        parts = {"sliding": "transformer", "hierarchical": "sparse"}
        options["mode"] = tuple(mode for mode in options["mode"] if has_component(index, parts[mode]))
        if "hierarchical" not in options["mode"]:
            del options["compat"]
        return options

    def stream(  # noqa: PLR0913 (one keyword per thing a user can ask of a video, as diffusers' pipelines have it)
        self,
        num_frames: int | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        label: int | str | None = None,
        prompt: str | None = None,
        story: Story | None = None,
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
        preparing: Preparing = untold,
    ) -> Iterator[Frames]:
        """Sample one video and yield it in chunks of at most `chunk` frames; memory does not grow with its length.

        Frame k is a function of the model, the condition, (seed, video) and the sampling settings: any chunk size and
        any range of frames give the same picture. Arguments not listed: see `SamplingOptions`.

        Args:
            num_frames: frames of the whole video, of any number; None is the span the model was trained on.
            start: first frame to decode.
            stop: one past the last frame to decode; None is `num_frames`.
            label: class name or index, for a model with classes; None draws a class from their shares in training.
            prompt: caption, for a model with captions.
            story: captions or classes in place of one, as (first frame, caption or class) pairs, the first from 0.
            audio: file with sound or its spectra (see `sound.read_sound`), for a model with sound.
            first_clip: video to go on from: the new one begins with (at most a window of) its end.
            video: number of the video in the series.
            preparing: see `nn.preparation`: earlier latent frames are sampled, but not decoded.

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
        wish = Wish(label=label, prompt=prompt, story=story, audio=audio, first_clip=first_clip)
        latents = self._latents([self._plan(wish, part, options, video)], options)
        return self._frames(latents, part, options.chunk, preparing)

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
        plans = [self._plan(Wish(**options), part, how, video + position) for position in range(num_videos)]
        codes = torch.stack(list(islice(self._latents(plans, how), num_latents(self.vqgan, part))))  # t b s
        streams = [self._frames(iter(codes[:, row : row + 1]), part, how.chunk) for row in range(num_videos)]
        videos = [np.concatenate(list(stream)) for stream in streams]
        return TatsPipelineOutput(frames=np.stack(videos) if num_videos > 1 else videos[0])

    def codes(
        self, num_frames: int | None = None, *, label: int | str | None = None, seed: int = 0, video: int = 0
    ) -> Iterator[Int[Tensor, "1 s"]]:
        """Sample what `stream` decodes: yield the codes of one latent frame after the other. Arguments as of `stream`.

        Raises `UserError` as `stream` does.
        """
        options, part = SamplingOptions(seed=seed), self._part(num_frames, 0, None)
        plan = self._plan(Wish(label=label), part, options, video)
        return islice(self._latents([plan], options), num_latents(self.vqgan, part))

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
        if options.compat and mode == "sliding":
            raise UserError("compat is a way to fill in between latent frames, which mode 'sliding' does not do")
        return mode

    def _part(self, num_frames: int | None, start: int, stop: int | None) -> Part:
        num_frames = self.config.span if num_frames is None else num_frames
        return Part(start, num_frames if stop is None else stop, num_frames)

    def _plan(self, wish: Wish, part: Part, options: SamplingOptions, video: int = 0) -> Plan:
        """Check what is asked for: raises `UserError` as `stream` says."""
        steer = request.resolve_steer(self.config, wish, part.num_frames, seed=options.seed, video=video)
        return Plan(video, steer, self._given(wish.first_clip, self._mode(options)))

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

    def _latents(self, plans: Sequence[Plan], options: SamplingOptions) -> Iterator[Int[Tensor, "b s"]]:
        """Return the latent frames of several videos, without end. Raises `UserError` for too much context."""
        mode = self._mode(options)
        model = self.transformer if mode == "sliding" else self.sparse
        context = options.context or self.config.context
        if not 1 <= context < model.config.num_latents:
            raise UserError(f"context is {context}; this model sees 1 to {model.config.num_latents - 1} latent frames")

        def draw(purpose: int) -> sampling.CodeSampler:
            return sampling.CodeSampler(
                [generator(options.seed, plan.video, purpose) for plan in plans],
                options.temperature or self.config.temperature,
                (self.config.top_k if options.top_k is None else options.top_k) or None,
                self.config.top_p if options.top_p is None else options.top_p,
            )

        def courses(model: TatsTransformer) -> sampling.Conditions:
            window = model.config.num_latents * model.config.latent_step * self._rate
            return side_by_side([self.condition.course(plan.steer, self._rate, window) for plan in plans])

        given = torch.stack([plan.given for plan in plans], dim=1).unbind()
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

    def _frames(
        self, latents: Iterator[Int[Tensor, "1 s"]], part: Part, chunk: int, preparing: Preparing = untold
    ) -> Iterator[Frames]:
        height, _ = self._first_model.config.latent_size
        return stream_frames(self.vqgan, latents, height, part, chunk, preparing)
