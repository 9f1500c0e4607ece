"""Sampling from trained recall models: latent spaces -> clips -> one video of any length, as a stream.

The models differ in where the latent spaces come from: noise (G3AN, EncGAN3), an input video (EncGAN3, LEncGAN, R2),
the last clip (AR2), or a GPT that goes on from a first clip (R3). A frame depends on all before it, so frames
start..stop need all clips up to there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from diffusers import ModelMixin
from diffusers.utils import BaseOutput
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.core.errors import UserError
from longtake.core.randomness import generator as seeded
from longtake.core.wording import counted
from longtake.data.transforms import resize_and_crop, to_frames, to_video
from longtake.nn import checks
from longtake.nn.pipeline import PretrainedPipeline
from longtake.nn.preparation import Preparing, untold
from longtake.nn.stream_options import StreamOptions, has_component
from longtake.recall import sampling, stitching
from longtake.recall.config import CLIP_FRAMES, Model
from longtake.recall.discriminators import RecallVideoDiscriminator
from longtake.recall.encoder import RecallEncoder
from longtake.recall.generator import RecallGenerator
from longtake.recall.gpt import RecallGPT, TokenRollout
from longtake.recall.latents import LatentSpace
from longtake.recall.lstm_encoder import RecallLSTMEncoder
from longtake.recall.rejection import NUM_CANDIDATES
from longtake.recall.request import Rollout, SamplingOptions
from longtake.recall.sampling import ClipMaker, Mode
from longtake.recall.stitching import Clip

Frames = UInt8[np.ndarray, "t h w 3"]

RECREATE = ("lencgan", "r2")
"""Models that recreate a video; the others can do without one."""
CONTINUE = ("ar2", "r3")
"""Models that go on from a clip."""


@dataclass
class RecallPipelineOutput(BaseOutput):
    """What calling the pipeline returns.

    Attributes:
        frames: uint8 "t h w 3"; with `num_videos` > 1 "n t h w 3".
    """

    frames: np.ndarray


class RecallPipeline(PretrainedPipeline):
    """EncGAN3, LEncGAN, R2, AR2, R3 and G3AN: encoder, generator, and what decides how clip follows clip.

    Args:
        generator: content and motion latents -> 16 frames.
        encoder: 16 frames -> latent space; G3AN has none.
        video_discriminator: what chooses among candidates (VDrej).
        gpt: R3's continuation of latent spaces.
        model: which of the family, see `RecallRecipe`.
        hop: frames from one clip to the next.
        span: frames that training saw at once; the default length of a video.
        fps: frames per second.
        classes: names of the classes, in the order of the labels; None where no label can be asked for.
        mode: recommended way from latent space to clip, see `SamplingOptions`.
        num_candidates: recommended number of candidates in mode "vdrej".
        rollout: R3's recommended way of going on.
        description: one line about the model, for lists of models.

    Raises:
        UserError: for components that do not make such a model.
    """

    model_cpu_offload_seq = "encoder->gpt->generator->video_discriminator"
    _optional_components = ["encoder", "video_discriminator", "gpt"]  # noqa: RUF012

    def __init__(  # noqa: PLR0913 (diffusers saves and restores exactly the constructor's parameters)
        self,
        generator: RecallGenerator,
        encoder: RecallEncoder | RecallLSTMEncoder | None = None,
        video_discriminator: RecallVideoDiscriminator | None = None,
        gpt: RecallGPT | None = None,
        model: Model = "r2",
        hop: int = 8,
        span: int = 24,
        fps: float = 25.0,
        classes: Sequence[str] | None = None,
        mode: Mode = "sample",
        num_candidates: int = NUM_CANDIDATES,
        rollout: Rollout = "robust",
        description: str = "",
    ) -> None:
        super().__init__()
        if (encoder is None) != (model == "g3an") or (gpt is None) != (model != "r3"):
            raise UserError("a recall pipeline has an encoder, unless it is a G3AN, and a GPT if it is an R3")
        self.register_modules(generator=generator, encoder=encoder, video_discriminator=video_discriminator, gpt=gpt)
        for component in self.components.values():
            if isinstance(component, ModelMixin):
                component.eval()
        self.register_to_config(
            model=model,
            hop=hop,
            span=span,
            fps=float(fps),
            classes=list(classes) if classes else None,
            mode=mode,
            num_candidates=num_candidates,
            rollout=rollout,
            description=description,
        )

    @property
    def image_size(self) -> int:
        """Height and width of the frames."""
        return self.generator.size

    @classmethod
    def stream_options(cls, index: Mapping[str, Any]) -> StreamOptions:
        """Return what can be asked of a model's videos, see `PretrainedPipeline`: it depends on its networks."""
        options = super().stream_options(index)
        if not has_component(index, "encoder"):
            del options["first_clip"]
        if not has_component(index, "gpt"):
            del options["rollout"]
        if not has_component(index, "video_discriminator"):
            del options["candidates"]
            options["mode"] = tuple(mode for mode in options["mode"] if mode != "vdrej")
        return options

    def stream(  # noqa: PLR0913 (one keyword per thing a user can ask of a video, as diffusers' pipelines have it)
        self,
        num_frames: int | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        label: int | str | None = None,
        first_clip: Frames | None = None,
        seed: int = 0,
        video: int = 0,
        mode: Mode | None = None,
        candidates: int | None = None,
        rollout: Rollout | None = None,
        chunk: int = 16,
        preparing: Preparing = untold,
    ) -> Iterator[Frames]:
        """Sample one video and yield it in chunks of at most `chunk` frames; memory does not grow with its length.

        Frame k is a function of the model, what is given, (seed, video) and the sampling settings: any chunk size and
        any range of frames give the same picture, up to rounding. Arguments not listed: see `SamplingOptions`.

        Args:
            num_frames: frames of the whole video; None is the span the model was trained on. LEncGAN and R2 make as
                many as the input video allows, the others any number.
            start: first frame to yield.
            stop: one past the last frame to yield; None is `num_frames`.
            label: class name or index, for an R3 with classes: the video goes on from a training clip of that class.
                None draws one of all classes. Not together with a first clip that says what the video is.
            first_clip: frames of any size, 16 at least. LEncGAN and R2 need them and recreate them all; EncGAN3 the
                first 16; AR2 and R3 go on from the last 16, with which the new video begins.
            video: number of the video in the series.
            preparing: see `nn.preparation`: earlier clips are made as those to be seen.

        Raises:
            UserError: at the call, for a value out of range, an unknown label, a clip too short or missing, or what
                this model does not have.
        """
        options = SamplingOptions(
            seed=seed, video=video, mode=mode, candidates=candidates, rollout=rollout, chunk=chunk
        )
        num_frames = self.config.span if num_frames is None else num_frames
        stop = num_frames if stop is None else stop
        checks.check_range(start, stop, num_frames)
        make = self._maker(options)
        self._check_first_clip(first_clip, num_frames)
        if rollout is not None and self.gpt is None:
            raise UserError(f"this model has no GPT, so it takes no rollout ({rollout!r})")
        examples = self._examples(label, first_clip, options)
        if self.config.model in ("g3an", "encgan3"):
            space = self._prior() if first_clip is None else self.encode(first_clip)
            make = make.drawing() if first_clip is None else make
            return self._frames(sampling.unroll(space, make, num_frames), start, stop, chunk, preparing)
        clips = self._clips(first_clip, examples, make, options)
        total = stitching.clips_for(num_frames, self.config.hop)
        needed = min(total, 1 + (stop - 1) // self.config.hop)
        pieces = stitching.stitched(islice(clips, needed), self.config.hop)
        return self._frames(pieces, start, stop, chunk, preparing)

    def __call__(
        self,
        num_frames: int | None = None,
        *,
        num_videos: int = 1,
        video: int = 0,
        **options: Any,  # noqa: ANN401
    ) -> RecallPipelineOutput:
        """Sample whole videos into memory: numbers `video`, `video` + 1, ... of the series; options as in `stream`.

        Raises `UserError` as `stream` does, and if `num_videos` is less than 1.
        """
        checks.check_at_least("number of videos", num_videos, 1)
        streams = [self.stream(num_frames, video=video + position, **options) for position in range(num_videos)]
        videos = [np.concatenate(list(stream)) for stream in streams]
        return RecallPipelineOutput(frames=np.stack(videos) if num_videos > 1 else videos[0])

    @torch.no_grad()
    def encode(self, clip: Frames) -> LatentSpace:
        """Return the latent space of a clip's first 16 frames, of any size; see `arithmetic` for what to do with it.

        Raises `UserError` if there are fewer frames, or for a model without an encoder.
        """
        if self.encoder is None:
            raise UserError("this model has no encoder: it makes clips from noise alone")
        checks.check_video(clip, CLIP_FRAMES)
        return next(self._spaces(clip[:CLIP_FRAMES]))

    @torch.no_grad()
    def decode(self, space: LatentSpace, *, seed: int = 0, video: int = 0, mode: Mode | None = None) -> Frames:
        """Return a clip of 16 frames from a latent space. Options are those of `stream`, and so are the errors."""
        return to_frames(self._maker(SamplingOptions(seed=seed, video=video, mode=mode))(space, 0, None))[0]

    def fit(self, video: Frames) -> Frames:
        """Return the frames that `reconstruct` makes, at the model's size (centre square, resized), as in training.

        Raises `UserError` if the video has less than 16 frames or is not uint8 frames.
        """
        checks.check_video(video, CLIP_FRAMES)
        hop, count = self.config.hop, CLIP_FRAMES
        if self.config.model != "encgan3":
            count = stitching.frames_of(1 + (len(video) - CLIP_FRAMES) // hop, hop)
        return resize_and_crop(video[:count], self.image_size)

    def reconstruct(self, video: Frames) -> Frames:
        """Pass a video through encoder and generator, by the means of its latent spaces; compare with `fit(video)`.

        EncGAN3 does so with the first 16 frames; the others stitch clips. Raises `UserError` for a video that is too
        short, and for models that do not reconstruct.
        """
        if self.config.model in ("g3an", "ar2"):
            raise UserError(f"a model {self.config.model!r} reconstructs no videos: it makes new ones")
        make = self._maker(SamplingOptions(mode="mean"))
        pieces = stitching.stitched(sampling.decode(self._spaces(self.fit(video)), make), self.config.hop)
        return np.concatenate([to_frames(piece)[0] for piece in pieces])

    def _maker(self, options: SamplingOptions) -> ClipMaker:
        """Raises `UserError` for a mode that the model lacks, and for candidates where nothing is chosen."""
        mode = options.mode or self.config.mode
        if mode == "vdrej" and self.video_discriminator is None:
            raise UserError("this model has no clip discriminator: mode must be 'mean' or 'sample', not 'vdrej'")
        if mode != "vdrej" and options.candidates is not None:
            raise UserError(f"candidates is {options.candidates}, but mode {mode!r} chooses none; use mode 'vdrej'")
        return ClipMaker(
            self.generator,
            self.video_discriminator,
            mode=mode,
            hop=self.config.hop,
            seed=options.seed,
            video=options.video,
            num_candidates=options.candidates or self.config.num_candidates,
        )

    def _check_first_clip(self, first_clip: Frames | None, num_frames: int) -> None:
        model, hop = self.config.model, self.config.hop
        if first_clip is None:
            if model in RECREATE:
                raise UserError(f"a model {model!r} recreates a video: give it one (first_clip, --first-clip)")
            return
        if model == "g3an":
            raise UserError("this model makes clips from noise alone: it takes no first clip")
        checks.check_video(first_clip, CLIP_FRAMES)
        most = stitching.frames_of(1 + (len(first_clip) - CLIP_FRAMES) // hop, hop)
        if model in RECREATE and num_frames > most:
            raise UserError(
                f"cannot make {counted(num_frames, 'frame')}: the video has {len(first_clip)}, of which a model "
                f"{model!r} recreates {most}"
            )

    def _examples(self, label: int | str | None, first_clip: Frames | None, options: SamplingOptions) -> list[int]:
        """Numbers of the GPT's examples of a class in random order; none where none are used."""
        classes = self.config.classes or ()
        if label is not None and not classes:
            raise UserError(f"this model has no classes, so it takes no label ({label!r})")
        if label is not None and first_clip is not None and not self.gpt.has_context:
            raise UserError(f"the first clip says what the video is: give no label ({label!r}) with it")
        chosen = None if label is None else checks.class_index(label, classes)
        if self.gpt is None or (first_clip is not None and not self.gpt.has_context):
            return []
        labels = self.gpt.example_labels.tolist()
        if not labels:
            raise UserError("this model keeps no clips to begin with: give it one (first_clip, --first-clip)")
        rng = seeded(options.seed, options.video, sampling.DRAW_EXAMPLE)
        drawn = labels[int(torch.randint(len(labels), (), generator=rng))]
        chosen = drawn if chosen is None else chosen
        numbers = [number for number, other in enumerate(labels) if other == chosen]
        if not numbers:
            raise UserError(f"this model keeps no clip of class {classes[chosen]!r} to begin with")
        return [numbers[position] for position in torch.randperm(len(numbers), generator=rng).tolist()]

    @torch.no_grad()
    def _clips(
        self, first_clip: Frames | None, examples: list[int], make: ClipMaker, options: SamplingOptions
    ) -> Iterator[Clip]:
        """Yield the clips of a video: of LEncGAN and R2 all that were given, else without end."""
        group = max(1, options.chunk // self.config.hop)
        if self.config.model in RECREATE:
            assert first_clip is not None
            yield from sampling.decode(self._spaces(first_clip), make, group=group)
            return
        given = None if first_clip is None else self._clip(first_clip[-CLIP_FRAMES:])
        if self.gpt is None:
            first = make.drawing()(self._prior(), 0, None) if given is None else given
            yield from sampling.predict(first, self.encoder, make)
            return
        channels = self.encoder.config.content_channels
        if given is not None:
            first, token = given, self.encoder(given).tokens()
        else:
            token = self.gpt.example(examples[0])[0][:1]
            first = make(LatentSpace.from_tokens(token, channels), 0, None)
        # the context is not the example that the video itself begins with, unless there is no other
        rollout = TokenRollout(self.gpt, lambda number: examples[(number + 1) % len(examples)])
        if (options.rollout or self.config.rollout) == "robust":
            yield from sampling.continue_robustly(first, token, self.encoder, rollout, make)
        else:
            yield from sampling.continue_faster(first, token, rollout, make, content_channels=channels, group=group)

    def _prior(self) -> LatentSpace:
        config = self.generator.config
        return sampling.prior(config.content_channels, config.motion_channels, self.generator.to_rgb.weight)

    def _spaces(self, video: Frames) -> Iterator[LatentSpace]:
        """Yield the latent spaces of a video's clips; a clip is read and resized when its turn comes."""
        clips = (self._clip(window) for window in stitching.windows(video, self.config.hop))
        if isinstance(self.encoder, RecallLSTMEncoder):
            return sampling.encode_in_turn(clips, self.encoder)
        return sampling.encode(clips, self.encoder)

    def _clip(self, frames: Frames) -> Clip:
        return to_video(resize_and_crop(frames, self.image_size))[None].to(self.device, self.generator.dtype)

    @torch.no_grad()
    def _frames(
        self, pieces: Iterator[Float[Tensor, "1 3 t h w"]], start: int, stop: int, chunk: int, preparing: Preparing
    ) -> Iterator[Frames]:
        """Yield frames start..stop of consecutive pieces of a video."""
        position = 0
        for piece in pieces:
            wanted = to_frames(piece[:, :, max(0, start - position) : max(0, stop - position)])[0]
            if position <= start:
                preparing(min(1.0, (position + piece.shape[2]) / (start + 1)))
            position += piece.shape[2]
            if len(wanted):
                yield from np.split(wanted, range(chunk, len(wanted), chunk))
            if position >= stop:
                return
