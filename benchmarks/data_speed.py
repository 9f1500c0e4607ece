"""Decoding speed of a folder of videos, and what encoding it beforehand saves a training step.

    python benchmarks/data_speed.py --data ../shared/data/weizmann-actions

Decoding: clips per second straight from the files, nothing kept in memory, with 0, 1 and 2 worker processes.
Training: steps of the third stage of `glober_weizmann_64` and of the transformers of `tats_weizmann_64` (random weights
of the recipes' sizes, so nothing has to be trained first). Clips are decoded and encoded anew, as in a data set that
is larger than memory; encoded anew, the decoded videos kept in memory; or encodings are kept in memory, or read from
disk. What is kept in memory has to be encoded when it first comes up, and GLOBER's features of cached clips always
have to, so first steps with a cache cost more than later ones: both are stated. Seconds are CPU seconds of all
processes, one thread each, because wall time on a shared machine says little; that is given too.

`--source-size 320x240` makes the videos as large as those of published data sets first: files at the size that a recipe
trains at need no resizing and decode in a fraction of the time. Enlarged pictures hold no more detail than the small
ones did, so real ones of that size take longer, if anything.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex, index_folder, video_name
from longtake.data.loading import clip_batches
from longtake.data.variants import EncodeSettings
from longtake.glober import build as glober_build
from longtake.glober import recipes as glober_recipes
from longtake.glober.config import GeneratorConfig, GloberRecipe
from longtake.glober.encode import encode_dataset as encode_latents
from longtake.glober.generator_stage import GeneratorStage
from longtake.tats import build as tats_build
from longtake.tats import recipes as tats_recipes
from longtake.tats.config import ROLES, TatsRecipe, TransformerConfig
from longtake.tats.encode import encode_dataset as encode_codes
from longtake.tats.transformer_stages import TransformerStage
from longtake.training.processes import process_state
from longtake.training.run import run_config
from longtake.training.run_folder import RunFolder
from longtake.training.stage import Stage
from longtake.training.trainer import Trainer
from longtake.video import read_video, write_video

Config = TypeVar("Config", GeneratorConfig, TransformerConfig)
PARTS = ("decoding", "glober", "tats")


class Clock:
    """CPU seconds of this process and its ended children, and wall seconds, since it was made."""

    def __init__(self) -> None:
        self.cpu, self.wall = self._now()

    def read(self) -> tuple[float, float]:
        cpu, wall = self._now()
        return cpu - self.cpu, wall - self.wall

    @staticmethod
    def _now() -> tuple[float, float]:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in usages), time.perf_counter()


def parse_size(text: str) -> tuple[int, int]:
    """Return the width and height in "320x240"."""
    width, height = map(int, text.split("x"))
    return width, height


def enlarge(index: VideoIndex, size: tuple[int, int], folder: Path) -> VideoIndex:
    """Write the videos to `folder`, stretched to `size` (width, height), as H.264 with few keyframes."""
    for entry in index.entries:
        frames = [np.asarray(Image.fromarray(frame).resize(size)) for frame in read_video(entry.path)]
        path = (folder / video_name(index.root, entry.path)).with_suffix(".mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.stack(frames), entry.info.fps)
    return index_folder(folder)


def decoding(index: VideoIndex, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Clips per second for each number of worker processes."""
    clip = ClipConfig(num_frames=arguments.frames, size=arguments.size, short_videos="reflect")
    num_batches = arguments.clips // arguments.batch_size
    rows = []
    for num_workers in (0, 1, 2):
        dataset = ClipDataset(index, clip, AugmentConfig(), seed=0, cache_bytes=0)
        clock = Clock()
        batches = clip_batches(dataset, arguments.batch_size, num_workers=num_workers)
        for _ in itertools.islice(batches, num_batches):
            pass
        batches.close()
        cpu, wall = clock.read()
        clips = num_batches * arguments.batch_size
        rows.append(
            {
                "workers": num_workers,
                "clips": clips,
                "cpu_seconds": round(cpu, 3),
                "wall_seconds": round(wall, 3),
                "clips_per_cpu_second": round(clips / cpu, 1),
                "clips_per_wall_second": round(clips / wall, 1),
            }
        )
    return rows


def glober_training(index: VideoIndex, arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds per step of the DiT stage, for each source of its latents."""
    recipe: GloberRecipe = glober_recipes.RECIPES["glober_weizmann_64"]()
    config = replace(recipe.generator, ema_decay=None)

    def make_stage(config: GeneratorConfig) -> GeneratorStage:
        torch.manual_seed(0)
        frame_vae = glober_build.frame_vae(recipe)
        return GeneratorStage(
            replace(recipe, generator=config),
            index,
            frame_vae,
            glober_build.video_encoder(recipe, frame_vae),
            glober_build.frame_decoder(recipe, frame_vae),
            None,
        )

    with tempfile.TemporaryDirectory() as folder:
        model, out = Path(folder) / "frame_vae", Path(folder) / "encoded"
        make_stage(config).frame_vae.save_pretrained(model)
        settings = EncodeSettings(arguments.variants, recipe.size, config.augment, config.seed)
        clock = Clock()
        report = encode_latents(str(model), index.root, out, settings)
        encoding_seconds, _ = clock.read()
        return {
            "recipe": "glober_weizmann_64",
            "encoding_cpu_seconds": round(encoding_seconds, 2),
            "encoding_mb": round(report.num_bytes / 1e6, 2),
            **compare_sources(make_stage, config, out, arguments),
        }


def tats_training(index: VideoIndex, arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds per step of each transformer's stage, for each source of its codes."""
    recipe: TatsRecipe = tats_recipes.RECIPES["tats_weizmann_64"]()

    def make_stage(role: str, config: TransformerConfig) -> TransformerStage:
        torch.manual_seed(0)
        return TransformerStage(role, replace(recipe, **{role: config}), index, tats_build.vqgan(recipe))

    with tempfile.TemporaryDirectory() as folder:
        run, out = RunFolder(Path(folder) / "run"), Path(folder) / "encoded"
        run.start(run_config(recipe, "tats_weizmann_64", index.root), resume=False)
        torch.manual_seed(0)
        tats_build.vqgan(recipe).save_pretrained(run.components / "vqgan" / "vqgan")
        clock = Clock()
        report = encode_codes(str(run.path), index.root, out, EncodeSettings(arguments.variants))
        encoding_seconds, _ = clock.read()
        return {
            "recipe": "tats_weizmann_64",
            "encoding_cpu_seconds": round(encoding_seconds, 2),
            "encoding_mb": round(report.num_bytes / 1e6, 2),
            "stages": {
                role: compare_sources(
                    partial(make_stage, role), replace(getattr(recipe, role), ema_decay=None), out, arguments
                )
                for role in ROLES
            },
        }


def compare_sources(
    make_stage: Callable[[Config], GeneratorStage | TransformerStage],
    config: Config,
    encoded: Path,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """CPU seconds per step for each source of the encodings, and what reading them from disk gains."""
    config = replace(config, precision=arguments.precision)
    anew = replace(config, cached_variants=0, encoded=None)
    sources = {
        "decoded and encoded anew": anew,
        "encoded anew": anew,
        "in memory": replace(config, cached_variants=arguments.variants, encoded=None),
        "from disk": replace(config, cached_variants=0, encoded=str(encoded)),
    }
    rows = {}
    for name, changed in sources.items():
        stage = make_stage(changed)
        if name == "decoded and encoded anew":
            stage.dataset.cache_bytes = 0
        rows[name] = step_seconds(stage, arguments)
    disk = rows["from disk"]
    return {
        "batch_size": config.batch_size,
        "precision": arguments.precision,
        "variants": arguments.variants,
        "cpu_seconds_per_step": rows,
        "times_faster_from_disk": {
            name: {steps: round(row[steps] / disk[steps], 2) for steps in row}
            for name, row in rows.items()
            if name.endswith("anew")
        },
    }


def step_seconds(stage: Stage, arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of one of the first steps, and of one after `--warm-up` steps."""
    trainer = Trainer(stage, process_state())
    trainer.begin(None)
    batches = stage.batches(0, 0, 1)

    def measure(first: int) -> float:
        clock = Clock()
        for step in range(first, first + arguments.steps):
            trainer.step(step, [next(batches)])
        return clock.read()[0] / arguments.steps

    early = measure(0)
    for step in range(arguments.steps, arguments.warm_up):
        trainer.step(step, [next(batches)])
    late = measure(max(arguments.steps, arguments.warm_up))
    return {"first steps": round(early, 4), "later steps": round(late, 4)}


def figures(index: VideoIndex, arguments: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for."""
    report: dict[str, Any] = {
        "data": arguments.data.name,
        "videos": len(index.entries),
        "source_sizes": sorted({f"{entry.info.width}x{entry.info.height}" for entry in index.entries}),
        "device": "CPU, one thread per process",
        "torch": torch.__version__,
    }
    if "decoding" in arguments.parts:
        settings = {name: getattr(arguments, name) for name in ("frames", "size", "batch_size")}
        report["decoding"] = {**settings, "workers": decoding(index, arguments)}
    if "glober" in arguments.parts:
        report["glober"] = glober_training(index, arguments)
    if "tats" in arguments.parts:
        report["tats"] = tats_training(index, arguments)
    return report


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of videos, in one folder per class")
    parser.add_argument("--source-size", type=parse_size, metavar="WxH", help="stretch the videos to this size first")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    parser.add_argument("--frames", type=int, default=16, help="of a clip, when decoding")
    parser.add_argument("--size", type=int, default=64, help="of a clip's frames, when decoding")
    parser.add_argument("--batch-size", type=int, default=8, help="when decoding")
    parser.add_argument("--clips", type=int, default=512, help="decoded for each number of workers")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the steps")
    parser.add_argument("--variants", type=int, default=1, help="of each video that are encoded")
    parser.add_argument("--steps", type=int, default=4, help="measured at a time")
    parser.add_argument("--warm-up", type=int, default=30, help="steps before the later steps, for the caches to fill")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    index = index_folder(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.source_size is not None:
            index = enlarge(index, arguments.source_size, Path(folder))
        print(json.dumps(figures(index, arguments), indent=2))


if __name__ == "__main__":
    main()
