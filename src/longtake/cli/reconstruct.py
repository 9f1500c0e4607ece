"""`longtake reconstruct`: videos through a model's autoencoder and back, side by side with the originals."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from longtake.cli.output import check_can_create_folder
from longtake.cli.parsing import Command, OptionalInt, OptionalText
from longtake.cli.sample import load_pipeline
from longtake.cli.terminal import Stopwatch, progress_bar, say, show
from longtake.core.errors import UserError
from longtake.core.files import write_json
from longtake.core.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from diffusers import DiffusionPipeline

METRICS_FILE = "metrics.json"
SHEET_FILE = "contact-sheet.png"


@dataclass(frozen=True)
class Reconstruct(Command):
    """Pass videos through a model's autoencoder and back, with PSNR, SSIM and the correlation of motion."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A shipped model's name (see `longtake models`), a pipeline folder, a run folder, or a hub id."""
    videos: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO [VIDEO ...]", help_behavior_hint="")
    ]
    """Videos, or folders of videos: the first frames of each video, up to the span the model was trained on."""
    out: Path
    """Folder for originals and reconstructions side by side, a contact sheet, and every frame's numbers as JSON."""
    label: OptionalText = None
    """Class of the videos, for a model with classes (default: the folder a video lies in, if it is a class)."""
    seed: int = 0
    """Seed of the frame decoder's noise."""
    steps: OptionalInt = None
    """Denoising steps (default: the model's recommended number)."""
    device: OptionalText = None
    """cpu, cuda, cuda:1, ... (default: the best there is)."""

    def run(self) -> None:
        """Reconstruct every video, then write the sheet and the numbers."""
        from longtake.video import write_contact_sheet, write_video

        if not self.videos:
            raise UserError("missing VIDEO: at least one video file is needed")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"--steps must be at least 1, not {self.steps}")
        check_can_create_folder(self.out)
        videos = [video for path in self.videos for video in videos_in(path)]
        for path in videos:
            check_readable(path)
        clock = Stopwatch()
        pipe = load_pipeline(self.model, self.device)
        if not hasattr(pipe, "reconstruct"):
            raise UserError(f"{self.model} ({type(pipe).__name__}) cannot reconstruct videos")
        taken = inspect.signature(pipe.reconstruct).parameters
        for name, flag in {"num_inference_steps": "steps", "label": "label"}.items():
            if getattr(self, flag) is not None and name not in taken:
                raise UserError(f"{self.model} ({type(pipe).__name__}) reconstructs without --{flag}")
        # All videos are read before any is reconstructed: a broken one stops the command at once.
        whole = pipe.config.get("frames") == "whole_video"
        clips = [read_clip(path, pipe.config.span, whole=whole) for path in videos]

        records: list[dict[str, Any]] = []
        rows: list[np.ndarray] = []
        names = file_names(videos)
        with progress_bar() as progress:
            for path, name, (frames, num_real, fps) in progress.track(
                list(zip(videos, names, clips, strict=True)), description="videos"
            ):
                label = self.label or label_of(path, pipe)
                options = {"seed": self.seed, "num_inference_steps": self.steps, "label": label}
                options = {name: value for name, value in options.items() if name in taken}
                original = pipe.fit(frames)[:num_real]
                rebuilt = pipe.reconstruct(frames, **options)[:num_real]
                record: dict[str, Any] = {"video": str(path), "label": label, "frames": num_real}
                record |= compare(original, rebuilt)
                if hasattr(pipe, "reconstruct_frames"):
                    record["frame_autoencoder_alone"] = compare(original, pipe.reconstruct_frames(frames)[:num_real])
                records.append(record)
                rows += [original, rebuilt]
                write_video(self.out / name, beside(original, rebuilt), fps)
        titles = [title for path in videos for title in (path.name, "reconstruction")]
        write_contact_sheet(self.out / SHEET_FILE, rows, titles=titles)
        write_json(self.out / METRICS_FILE, {"model": self.model, "seed": self.seed, "videos": records})
        show_table(records)
        files = f"{counted(len(records), 'video')} (original | reconstruction), {SHEET_FILE}, {METRICS_FILE}"
        say(f"wrote {self.out}: {files}, made in {clock}")


def videos_in(path: Path) -> list[Path]:
    """Return the videos of a folder of videos, or else the path itself; raises `UserError` for a folder without any."""
    from longtake.video import is_video
    from longtake.video.find import find_videos

    return find_videos(path) if path.is_dir() and not is_video(path) else [path]


def check_readable(path: Path) -> None:
    """Raise `VideoError` if a video cannot be read."""
    from longtake.video import probe

    probe(path)


def read_clip(path: Path, span: int, *, whole: bool) -> tuple[np.ndarray, int, float]:
    """Return a video's first `span` frames "t h w 3", how many of them are real, and their rate.

    A shorter video goes on backwards from its last frame, as in training with `short_videos` "reflect". If it is to be
    the `whole` video, the frames are spread over all of it.
    """
    import numpy as np

    from longtake.data.clips import part_edges, reflect
    from longtake.video import VideoReader

    with VideoReader(path) as reader:
        num_frames, fps = reader.info.num_frames, reader.info.fps
        if whole:
            return reader.read(part_edges(num_frames, span)[:-1].tolist()), span, fps * span / num_frames
        num_real = min(span, num_frames)
        frames = reader.read(range(num_real))
    return frames[reflect(np.arange(span), num_real)], num_real, fps


def file_names(videos: Sequence[Path]) -> list[str]:
    """Name each result after its video; equal names are numbered."""
    stems = [video.stem for video in videos]
    return [
        f"{stem}.mp4" if stems.count(stem) == 1 else f"{stem}-{position:03d}.mp4" for position, stem in enumerate(stems)
    ]


def label_of(path: Path, pipe: DiffusionPipeline) -> str | None:
    """Return the folder that the video lies in, if the model knows it as a class."""
    folder = path.absolute().parent.name
    return folder if folder in (pipe.config.get("classes") or ()) else None


def compare(original: np.ndarray, rebuilt: np.ndarray) -> dict[str, Any]:
    """Return PSNR and SSIM of every frame, their means, and the correlation of motion."""
    from longtake.metrics.frames import motion_correlation, psnr, ssim

    decibels, similarity = psnr(original, rebuilt), ssim(original, rebuilt)
    return {
        "psnr": float(decibels.mean()),
        "ssim": float(similarity.mean()),
        "motion_correlation": motion_correlation(original, rebuilt),
        "psnr_per_frame": decibels.tolist(),
        "ssim_per_frame": similarity.tolist(),
    }


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Put two videos "t h w 3" next to each other."""
    import numpy as np

    return np.concatenate([left, right], axis=2)


def show_table(records: list[dict[str, Any]]) -> None:
    """Print one row per video, and the mean."""
    from rich.table import Table
    from rich.text import Text

    has_ceiling = "frame_autoencoder_alone" in records[0]
    ceiling = ["frames alone: PSNR", "SSIM"] if has_ceiling else []
    table = Table("video", "PSNR", "SSIM", "motion correlation", *ceiling)
    cells = []
    for record in records:
        values = [record["psnr"], record["ssim"], record["motion_correlation"]]
        if has_ceiling:
            values += [record["frame_autoencoder_alone"][name] for name in ("psnr", "ssim")]
        cells.append(values)
    means = [sum(column) / len(column) for column in zip(*cells, strict=True)]
    for name, values in [*zip([record["video"] for record in records], cells, strict=True), ("mean", means)]:
        table.add_row(
            Text(name),
            *(f"{value:.2f}" if position in (0, 3) else f"{value:.4f}" for position, value in enumerate(values)),
        )
    show(table)
