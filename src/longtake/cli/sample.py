"""`longtake sample`: videos from a trained model, streamed to files."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.markup import escape

from longtake.cli.output import FolderFormat, check_can_create, video_files
from longtake.cli.parsing import Command, Flag, OptionalFloat, OptionalInt, OptionalPath, OptionalText
from longtake.cli.terminal import Stopwatch, progress_bar, say
from longtake.core.errors import UserError, choose_one_of
from longtake.core.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from diffusers import DiffusionPipeline

Story = Annotated[
    tyro.conf.UseAppendAction[tuple[str, ...]],
    tyro.conf.arg(metavar="[FRAME:]TEXT", help_behavior_hint=""),
]


@dataclass(frozen=True)
class Sample(Command):
    """Sample videos from a model."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A shipped model's name (see `longtake models`), a pipeline folder, a run folder, or a hub id."""
    out: Path
    """File: x.mp4, x.webm, x.gif or x.npy (several videos: x-000.mp4, ..., but one x.npy); no suffix: a folder."""
    frames: OptionalInt = None
    """Frames of the whole video (default: the span the model was trained on)."""
    start: int = 0
    """First frame to make."""
    stop: OptionalInt = None
    """One past the last frame to make (default: all)."""
    count: int = 1
    """Number of videos."""
    seed: int = 0
    """The same seed gives the same videos."""
    label: OptionalText = None
    """Class name or index, for a model with classes (default: drawn from the seed)."""
    prompt: OptionalText = None
    """Description of the video, for a model with captions."""
    story: Story = ()
    """A part of a video that changes, as its caption or class; repeat for each part. They share the video evenly, or
    begin where they say: --story "0:a sunny day" --story "96:lightning at night"."""
    audio: OptionalPath = None
    """Sound to make the video to, for a model with sound: a sound file, a video, or an .npz of spectra."""
    first_clip: OptionalPath = None
    """Video to go on from, or to recreate, for a model that takes one."""
    stretch: Flag = False
    """Spread the frames over the span the model was trained on: slow motion."""
    fps: OptionalFloat = None
    """Frames per second of the file (default: the model's own rate). A GLOBER shows real time at this rate; with
    --stretch, and from other models, the frames stay the same."""
    speed: OptionalFloat = None
    """How fast time goes by, for a model that can show any moment (default: 1; 0.5: slow motion)."""
    reverse: Flag = False
    """Play the video backwards, for a model that can make its frames in any order."""
    steps: OptionalInt = None
    """Denoising steps (default: the model's recommended number)."""
    guidance: OptionalFloat = None
    """Strength of guidance towards label or prompt (default: the model's recommended strength; 1: none)."""
    decoder_guidance: OptionalFloat = None
    """The same for a GLOBER's frames, towards text and global feature together; --guidance is for the feature alone."""
    mode: OptionalText = None
    """How an autoregressive model samples: tats sliding or hierarchical; recall mean, sample or vdrej."""
    rollout: OptionalText = None
    """How R3 goes on: robust or faster."""
    candidates: OptionalInt = None
    """Clips that the recall models' discriminator chooses among."""
    context: OptionalInt = None
    """Latent frames that TATS looks back on."""
    temperature: OptionalFloat = None
    """What TATS divides its logits by."""
    top_k: OptionalInt = None
    """Tokens that TATS draws from: this many of the likeliest ..."""
    top_p: OptionalFloat = None
    """... and of them the likeliest that together have this probability."""
    compat: Flag = False
    """Fill in between latent frames as the authors' code does, for their hierarchical TATS checkpoints."""
    chunk: int = 16
    """Frames made at once: speed against memory."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""
    folder_format: FolderFormat = "mp4"
    """Format of the files when --out is a folder; png: one folder of pictures per video."""
    contact_sheet: OptionalPath = None
    """Also write one picture with a row of frames per video."""

    def run(self) -> None:
        """Check everything that can be checked, load the model, and write chunk by chunk."""
        from longtake.video import SheetRows, check_rate, open_writer

        self.check_numbers()
        files = video_files(self.out, self.count, self.folder_format)
        if self.fps is not None:
            check_rate(files[0], self.fps)
        if self.contact_sheet is not None:
            choose_one_of("contact sheet format", self.contact_sheet.suffix.lower(), [".png"])
            check_can_create(self.contact_sheet)
        clock = Stopwatch()
        pipe = load_pipeline(self.model, self.device)
        options = self.stream_options(pipe)
        num_frames = (self.stop or self.frames or self.default_frames(pipe)) - self.start
        fps = self.fps or pipe.config.fps

        sheet = SheetRows(num_frames)
        with progress_bar() as progress:
            task = progress.add_task(escape(self.model), total=num_frames * self.count)
            lead = progress.add_task("what comes before the first frame", total=100, visible=False)

            def preparing(share: float) -> None:
                progress.update(lead, completed=100 * share, visible=share < 1)

            # All made here: the pipeline checks its arguments at the call, so nothing is half-written.
            streams = [
                pipe.stream(self.frames, video=video, preparing=preparing, **options) for video in range(self.count)
            ]
            # One writer per file; several videos in one .npy go through one writer.
            for file, part in zip(files, split_evenly(streams, len(files)), strict=True):
                with open_writer(file, fps, num_videos=len(part) if len(part) > 1 else None) as writer:
                    for stream in part:
                        sheet.begin_row()
                        progress.reset(lead, visible=False)
                        for chunk in stream:
                            writer.write(chunk)
                            sheet.add(chunk)
                            progress.advance(task, len(chunk))
        if self.contact_sheet is not None:
            sheet.write(self.contact_sheet)
        self.report(files, num_frames, fps, clock)

    def check_numbers(self) -> None:
        """Raise `UserError` for a number that no model could take, before one is loaded."""
        for name in ("frames", "count", "chunk", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} must be at least 1, not {value}")
        if self.speed is not None and not 0 < self.speed < math.inf:
            raise UserError(f"--speed must be above 0, not {self.speed}")
        for name in ("guidance", "decoder_guidance"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise UserError(f"--{name.replace('_', '-')} must be a number, not {value}")
        if self.start < 0:
            raise UserError(f"--start must be at least 0, not {self.start}")
        if self.stop is not None and self.stop <= self.start:
            raise UserError(f"--stop must be above --start ({self.start}), not {self.stop}")

    def default_frames(self, pipe: DiffusionPipeline) -> int:
        """Return how many frames a video has if nothing is said: as many as show the span the model was trained on."""
        from longtake.glober.timeline import frames_that_fit

        if self.stretch or "fps" not in inspect.signature(pipe.stream).parameters:
            return pipe.config.span
        step = (self.speed or 1) * pipe.config.fps / (self.fps or pipe.config.fps)
        return frames_that_fit(pipe.config.span, step)

    def stream_options(self, pipe: DiffusionPipeline) -> dict[str, Any]:
        """Return what was asked for as arguments of `pipe.stream`; raises `UserError` for what this family lacks."""
        from longtake.nn.stream_options import flag
        from longtake.tats.story import read_story
        from longtake.video import read_video

        asked: dict[str, Any] = {
            "label": self.label,
            "prompt": self.prompt,
            "story": read_story(self.story, self.frames or self.default_frames(pipe)) if self.story else None,
            "audio": self.audio,
            "first_clip": self.first_clip,
            "stretch": self.stretch or None,
            "speed": self.speed,
            "reverse": self.reverse or None,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "decoder_guidance_scale": self.decoder_guidance,
            "mode": self.mode,
            "rollout": self.rollout,
            "candidates": self.candidates,
            "context": self.context,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "compat": self.compat or None,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        taken = inspect.signature(pipe.stream).parameters
        for name in asked:
            if name not in taken:
                raise UserError(f"{self.model} ({type(pipe).__name__}) takes no {flag(name)}")
        if self.first_clip is not None:
            asked["first_clip"] = read_video(self.first_clip)
        if self.fps is not None and "fps" in taken:
            asked["fps"] = self.fps
        return {"start": self.start, "stop": self.stop, "seed": self.seed, "chunk": self.chunk, **asked}

    def report(self, files: list[Path], num_frames: int, fps: float, clock: Stopwatch) -> None:
        """Say what was written."""
        where = str(files[0]) if len(files) == 1 else f"{files[0]} .. {files[-1].name}"
        each = counted(num_frames, "frame")
        if self.count > 1:
            each = f"{counted(self.count, 'video')} of {each}"
        say(f"wrote {where}: {each}, {num_frames / fps:.2f} s at {fps:g} fps, made in {clock}")
        if self.contact_sheet is not None:
            say(f"wrote {self.contact_sheet}")


def load_pipeline(model: str, device: str | None) -> DiffusionPipeline:
    """Load a model (torch and diffusers come with it); raises `UserError` if there is none."""
    import longtake

    return longtake.load(model, device=device)


def split_evenly(streams: list[Iterator[np.ndarray]], num_files: int) -> list[list[Iterator[np.ndarray]]]:
    """Share out the videos among the files, in order."""
    share = len(streams) // num_files
    return [streams[file * share : (file + 1) * share] for file in range(num_files)]
