"""How do models' videos keep as they go on? Frechet distance of every 16-frame segment from the same real clips.

Any family's models take part, each written NAME=MODEL or NAME=MODEL,OPTION=VALUE,...: what `longtake sample` takes as
MODEL, and arguments of the pipeline's `stream`. A model with classes shows them in turn. Of an EncGAN3 the generator
runs once over more points in time, which is how the thesis stretches it (Fig. 3.13). A folder of videos made before
may stand for MODEL. With --first-clips video i goes on from the first 16 frames of a real one, those spread over the
folder, for models that take a first clip. All models have the same number of videos and are compared with the same real
clips, one of each real video, so that curves compare with each other.

    python benchmarks/segment_curve.py r3=runs/r3 "r3 mean=runs/r3,mode=mean,rollout=faster" "EncGAN3=runs/encgan3" \
        --real weizmann-actions --frames 512 --videos 8 --out curve.json
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from longtake.benchmarking.contestant import find_contestants
from longtake.benchmarking.samples import make_video
from longtake.core.device import choose_device
from longtake.core.errors import UserError, choose_one_of
from longtake.core.files import atomic_path
from longtake.core.wording import counted
from longtake.metrics.evaluation import plots
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.evaluation.report import CurveOfNumbers
from longtake.video import VIDEO_SUFFIXES, probe, read_video
from longtake.video.find import find_videos

SEGMENT = 16  # frames of a clip under protocol "longtake"
FEATURES = "local:evaluator-weizmann"
COLOURS = ((31, 96, 168), (200, 80, 30), (40, 130, 60), (130, 60, 150), (150, 120, 20), (20, 20, 20), (0, 140, 150))
LEGEND_STEP = 210  # pixels from one name to the next
SETTING = ("num_frames", "video", "seed", "label")  # arguments of `stream` that are the benchmark's own


@dataclass(frozen=True)
class Entry:
    """A line of the plot: a model and how to sample from it."""

    name: str
    model: str
    options: Mapping[str, Any]


def parse_entry(text: str) -> Entry:
    """NAME=MODEL,OPTION=VALUE,... -> entry; values are JSON, or else text. Raises `UserError` for another form."""
    head, *settings = text.split(",")
    pairs = [part.partition("=") for part in (head, *settings)]
    if not all(name and separator and value for name, separator, value in pairs):
        raise UserError(f"{text!r} is not NAME=MODEL or NAME=MODEL,OPTION=VALUE,...")
    (name, _, model), *rest = pairs
    return Entry(name, model, {option: parse_value(value) for option, _, value in rest})


def parse_value(text: str) -> Any:  # noqa: ANN401
    """A number or a truth value, or else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def made_before(entry: Entry, num_videos: int, num_frames: int) -> bool:
    """Whether the entry is a folder of videos. Raises `UserError` if they are not `num_videos` that are long enough."""
    folder = Path(entry.model)
    videos = [path for path in folder.glob("[!.]*") if path.suffix in VIDEO_SUFFIXES]
    if not videos:
        return False
    if entry.options:
        raise UserError(f"{entry.name} is a folder of videos, which takes no options")
    shortest = min(probe(video).num_frames for video in videos)
    if len(videos) != num_videos or shortest < num_frames:
        raise UserError(
            f"{folder}: {counted(len(videos), 'video')} of {shortest} frames and more; "
            f"wanted {num_videos} of {num_frames}"
        )
    return True


def first_clips(real: Path, count: int) -> list[np.ndarray]:
    """Return the first 16 frames of `count` videos, evenly spread over those of a folder."""
    videos = find_videos(real)
    return [read_video(videos[number * len(videos) // count], range(SEGMENT)) for number in range(count)]


def sample(entry: Entry, folder: Path, num_videos: int, num_frames: int, seed: int, begin: list[np.ndarray]) -> float:
    """Write an entry's videos to `folder`; return the CPU seconds that sampling took.

    `begin` are the clips that they go on from, if any. Raises `UserError` as `stream` does.
    """
    (contestant,) = find_contestants([entry.model])
    pipe = contestant.load(str(choose_device(None)))
    taken = [name for name in inspect.signature(pipe.stream).parameters if name not in SETTING]
    for option in entry.options:
        choose_one_of(f"option of {entry.name}", option, taken)
    if begin and "first_clip" not in taken:
        raise UserError(f"{entry.name} goes on from no first clip")
    seconds = 0.0
    for video in range(num_videos):
        given = {"seed": seed, "video": video, "first_clip": begin[video]} if begin else contestant.options(seed, video)
        file = folder / f"{video:03d}.npy"
        cost = make_video(pipe, file, num_frames, {**given, **entry.options}, tell=lambda _: None)
        seconds += cost.cpu_seconds
        sys.stderr.write(f"{entry.name}: {video + 1} of {counted(num_videos, 'video')}\n")
    return seconds


def measure(real: Path, folder: Path, features: str, seed: int, resamples: int) -> CurveOfNumbers:
    """Return the distance of each segment of the folder's videos from one clip of each real video."""
    config = EvaluationConfig(
        features=features, metrics=("segments",), seed=seed, resamples=resamples, allow_unequal=True
    )
    (curve,) = evaluate(real, folder, config).curves
    return curve


def draw(curves: Mapping[str, CurveOfNumbers], title: str) -> Image.Image:
    """Draw all curves over the number of a segment's first frame."""
    image = Image.new("RGB", (plots.WIDTH * plots.SCALE, plots.HEIGHT * plots.SCALE), "white")
    canvas = ImageDraw.Draw(image)
    write = plots.writer(canvas)
    values = [value for curve in curves.values() for value in curve.values]
    last = SEGMENT * max(curve.x[-1] for curve in curves.values())
    x_ticks, y_ticks = plots.whole_ticks(0, last), plots.ticks(0, max(values))
    to_x = plots.axis(0, max(last, x_ticks[-1]), plots.LEFT, plots.WIDTH - plots.RIGHT)
    to_y = plots.axis(y_ticks[0], y_ticks[-1], plots.HEIGHT - plots.BOTTOM, plots.TOP)
    plots.draw_axes(canvas, x_ticks, y_ticks, to_x, to_y)
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [(to_x(SEGMENT * x), to_y(y)) for x, y in zip(curve.x, curve.values, strict=True)]
        canvas.line(points, fill=colour, width=2 * plots.SCALE, joint="curve")
        write(plots.LEFT + number * LEGEND_STEP, 50, name, colour, "lm", plots.FONT_SIZE)
    write((plots.LEFT + plots.WIDTH) // 2, plots.HEIGHT - 22, "first frame of the segment", plots.GREY, "mm", 18)
    write(plots.LEFT, 20, title, plots.BLACK, "lm", plots.TITLE_SIZE)
    return image.resize((plots.WIDTH, plots.HEIGHT), Image.Resampling.LANCZOS)


def write_results(out: Path, facts: Mapping[str, Any], curves: Mapping[str, CurveOfNumbers]) -> None:
    """Write the JSON, and the plot beside it."""
    title = f"{next(iter(curves.values())).name}, {counted(facts['videos'], 'video')}"
    with atomic_path(out.with_suffix(".png")) as partial:
        draw(curves, title).save(partial, format="PNG")
    with atomic_path(out) as partial:
        partial.write_text(json.dumps(facts, indent=2) + "\n")


def run(arguments: argparse.Namespace) -> None:
    """Sample, measure and draw. Raises `UserError` for whatever cannot be sampled or measured."""
    entries = [parse_entry(text) for text in arguments.models]
    if len({entry.name for entry in entries}) < len(entries):
        raise UserError("two models have the same name")
    if arguments.out.suffix != ".json":
        raise UserError(f"{arguments.out}: the report is written as .json")
    curves, models = {}, {}
    for entry in entries:
        seconds: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(entry.model)
            if not made_before(entry, arguments.videos, arguments.frames):
                folder = Path(temporary)
                begin = first_clips(arguments.real, arguments.videos) if arguments.first_clips else []
                taken = sample(entry, folder, arguments.videos, arguments.frames, arguments.seed, begin)
                seconds = {"cpu_seconds": round(taken, 1)}
            curve = measure(arguments.real, folder, arguments.features, arguments.seed, arguments.resamples)
        curves[entry.name] = curve
        models[entry.name] = {"model": entry.model, "options": entry.options, **seconds, "curve": curve.to_json()}
        print(f"{entry.name}: {' '.join(f'{value:.1f}' for value in curve.values)}")
    facts = {name: getattr(arguments, name) for name in ("frames", "videos", "first_clips", "seed", "features")}
    write_results(arguments.out, {"real": str(arguments.real), **facts, "models": models}, curves)


def main(words: Sequence[str] | None = None) -> None:
    """Print every curve, and write all to a JSON file and a plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL[,OPTION=VALUE...]")
    parser.add_argument("--real", type=Path, required=True, help="folder of real videos")
    parser.add_argument("--out", type=Path, required=True, help="report, .json; the plot lies beside it, .png")
    parser.add_argument("--frames", type=int, default=512, help="frames of each sampled video")
    parser.add_argument("--videos", type=int, default=8, help="videos of each model")
    parser.add_argument("--first-clips", action="store_true", help="go on from the first 16 frames of real videos")
    parser.add_argument("--features", default=FEATURES, help="as of longtake evaluate --features")
    parser.add_argument("--resamples", type=int, default=0, help="resamples of the videos for intervals; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    try:
        run(arguments)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
