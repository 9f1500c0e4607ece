"""`longtake demo`: the shipped models at work, and a page that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longtake import models
from longtake.cli.demo_page import Scene, write_page
from longtake.cli.output import check_can_create_folder
from longtake.cli.parsing import Command, OptionalText
from longtake.cli.sample import load_pipeline
from longtake.cli.terminal import Stopwatch, progress_bar, say
from longtake.core.errors import UserError
from longtake.core.wording import counted

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass(frozen=True)
class Shot:
    """One video of a model's demo.

    Attributes:
        name: ends the file's name.
        caption: what a viewer should know.
        num_frames: frames of the video; None is the span the model was trained on.
        options: further arguments of the pipeline's `stream`.
    """

    name: str
    caption: str
    num_frames: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


# What each family shows.
SHOTS: dict[str, tuple[Shot, ...]] = {
    "glober": (
        Shot("long", "real time, window after window: 256 frames", 256),
        Shot("slow-motion", "its beginning at a quarter of the speed: 64 frames", 64, {"speed": 0.25}),
    ),
    "tats": (Shot("long", "real time, beyond the clips it was trained on: 256 frames", 256),),
    "recall": (Shot("long", "real time, one clip after another: 256 frames", 256),),
}


@dataclass(frozen=True)
class Demo(Command):
    """Sample from every model that ships with longtake, and write a page that shows the videos."""

    out: Path = Path("demo")
    """Folder for videos, contact sheets and index.html."""
    seed: int = 3
    """Chooses the label (of the shipped models wave2, by default) and everything random; the same seed gives the same
    videos."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""

    def run(self) -> None:
        """Make every shot of every shipped model."""
        if self.seed < 0:
            raise UserError(f"--seed must be at least 0, not {self.seed}")
        shows = [(model.name, SHOTS[model.family]) for model in models.available_models()]
        if not shows:
            raise UserError(
                "no model ships with this version, so there is nothing to show: train one (longtake recipes)"
            )
        check_can_create_folder(self.out)
        clock = Stopwatch()
        scenes: list[Scene] = []
        with progress_bar() as progress:
            for name, shots in shows:
                pipe = load_pipeline(name, self.device)
                label = choose_label(pipe, self.seed)
                tasks = [
                    progress.add_task(f"{name}: {shot.name}", total=shot.num_frames or pipe.config.span, start=False)
                    for shot in shots
                ]
                for shot, task in zip(shots, tasks, strict=True):
                    progress.start_task(task)
                    scenes.append(self.make(pipe, name, shot, label, partial(progress.advance, task)))
        page = write_page(self.out / "index.html", scenes)
        for scene in scenes:
            say(
                f"wrote {self.out / scene.video}: {scene.caption} ({counted(scene.num_frames, 'frame')}, made "
                f"in {scene.took})"
            )
        say(f"wrote {page} in {clock} altogether: open it in a browser ({page.resolve().as_uri()})")

    def make(
        self, pipe: DiffusionPipeline, model: str, shot: Shot, label: str | None, advance: Callable[[int], None]
    ) -> Scene:
        """Sample one video with its contact sheet; `advance` is told how many frames each chunk brought."""
        from longtake.video import SheetRows, open_writer

        clock = Stopwatch()
        num_frames = shot.num_frames or pipe.config.span
        options = {**shot.options, **({"label": label} if label is not None else {})}
        stream = pipe.stream(num_frames, seed=self.seed, **options)
        video, sheet = f"{model}-{shot.name}.mp4", SheetRows(num_frames)
        sheet.begin_row()
        with open_writer(self.out / video, pipe.config.fps) as writer:
            for chunk in stream:
                writer.write(chunk)
                sheet.add(chunk)
                advance(len(chunk))
        took = str(clock)
        picture = f"{model}-{shot.name}.png"
        sheet.write(self.out / picture)
        return Scene(model, shot.caption, video, picture, label, self.seed, num_frames, pipe.config.fps, took)


def choose_label(pipe: DiffusionPipeline, seed: int) -> str | None:
    """Return a class of the model, so that all its shots show the same; None for a model without classes."""
    classes = pipe.config.get("classes")
    return classes[seed % len(classes)] if classes else None
