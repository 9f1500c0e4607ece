"""Decoding speed of a folder of videos, and what encoding it beforehand saves a training step.

    python benchmarks/data_speed.py --data ../shared/data/weizmann-actions

Decoding: clips per second straight from the files, nothing kept in memory, with 0, 1 and 2 worker processes.
Training: steps of the third stage of `glober_weizmann_64` (random weights of the recipe's sizes, so nothing has to be
trained first), each clip decoded and encoded anew, against latents kept in memory and latents read from disk. Features
of cached clips are kept as well, so the first steps with a cache cost more than later ones: both are stated. Seconds
are CPU seconds of all processes, one thread each, because wall time on a shared machine says little; that is given too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from longtake.data.config import AugmentConfig, ClipConfig
from longtake.data.dataset import ClipDataset
from longtake.data.index import VideoIndex, index_folder
from longtake.data.loading import clip_batches
from longtake.data.variants import EncodeSettings
from longtake.glober import build
from longtake.glober.config import GloberRecipe
from longtake.glober.encode import encode_dataset
from longtake.glober.recipes import RECIPES
from longtake.glober.stages import GeneratorStage
from longtake.training.processes import process_state
from longtake.training.trainer import Trainer

RECIPE = "glober_weizmann_64"
STAGE = "generator"


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


def training(index: VideoIndex, arguments: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds per step of the DiT stage, for each source of its latents."""
    recipe: GloberRecipe = RECIPES[RECIPE]()
    config = replace(recipe.generator, ema_decay=None)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        frame_vae = build.frame_vae(recipe)
        frame_vae.save_pretrained(Path(folder) / "frame_vae")
        settings = EncodeSettings(arguments.variants, recipe.size, config.augment, config.seed)
        clock = Clock()
        report = encode_dataset(str(Path(folder) / "frame_vae"), index.root, Path(folder) / "encoded", settings)
        encode_seconds, _ = clock.read()
        sources = {
            "encoded anew": replace(config, cached_variants=0, encoded=None),
            "in memory": replace(config, cached_variants=arguments.variants, encoded=None),
            "from disk": replace(config, cached_variants=0, encoded=str(Path(folder) / "encoded")),
        }
        rows = {
            name: step_seconds(replace(recipe, generator=changed), index, arguments)
            for name, changed in sources.items()
        }
    anew, disk = rows["encoded anew"], rows["from disk"]
    return {
        "recipe": RECIPE,
        "stage": STAGE,
        "batch_size": config.batch_size,
        "variants": arguments.variants,
        "encoding_cpu_seconds": round(encode_seconds, 2),
        "encoding_mb": round(report.num_bytes / 1e6, 2),
        "cpu_seconds_per_step": rows,
        "times_faster_from_disk": {
            "first steps": round(anew["first steps"] / disk["first steps"], 2),
            "later steps": round(anew["later steps"] / disk["later steps"], 2),
        },
    }


def step_seconds(recipe: GloberRecipe, index: VideoIndex, arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of one of the first steps, and of one after `--warm-up` steps."""
    torch.manual_seed(0)
    frame_vae = build.frame_vae(recipe)
    stage = GeneratorStage(
        recipe, index, frame_vae, build.video_encoder(recipe, frame_vae), build.frame_decoder(recipe, frame_vae), None
    )
    trainer = Trainer(stage, process_state())
    trainer.begin(None)
    batches = stage.batches(0, 0, 1)

    def measure(first: int) -> float:
        clock = Clock()
        for step in range(first, first + arguments.steps):
            trainer.step(step, [next(batches)])
        return clock.read()[0] / arguments.steps

    early = late = measure(0)
    if stage.config.cached_variants or stage.config.encoded:
        for step in range(arguments.steps, arguments.warm_up):
            trainer.step(step, [next(batches)])
        late = measure(max(arguments.steps, arguments.warm_up))
    return {"first steps": round(early, 4), "later steps": round(late, 4)}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of videos, in one folder per class")
    parser.add_argument("--frames", type=int, default=16, help="of a clip, when decoding")
    parser.add_argument("--size", type=int, default=64, help="of a clip's frames, when decoding")
    parser.add_argument("--batch-size", type=int, default=8, help="when decoding")
    parser.add_argument("--clips", type=int, default=512, help="decoded for each number of workers")
    parser.add_argument("--variants", type=int, default=1, help="of each video that are encoded")
    parser.add_argument("--steps", type=int, default=4, help="measured at a time")
    parser.add_argument("--warm-up", type=int, default=30, help="steps before the later steps, for the caches to fill")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    index = index_folder(arguments.data)
    report = {
        "data": arguments.data.name,
        "videos": len(index.entries),
        "device": "CPU, one thread per process",
        "torch": torch.__version__,
        "decoding": {
            "frames": arguments.frames,
            "size": arguments.size,
            "batch_size": arguments.batch_size,
            "workers": decoding(index, arguments),
        },
        "training": training(index, arguments),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
