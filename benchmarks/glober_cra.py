"""Does GLOBER's coherence and realism adversarial (CRA) loss help? The ablation of the paper's Table 3, in the small.

The second stage of `glober_weizmann_64` is trained with and without the loss, from the same initial weights, on the
same clips in the same order, for the same number of steps, with several seeds. Each result then reconstructs the same
videos: Frechet distance of their 16-frame segments from the real ones in local features (less is better), PSNR and
motion correlation.

    python benchmarks/glober_cra.py --data weizmann-actions --out cra --steps 400 --seeds 0 1 2

Runs are kept in OUT and go on where they stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
from diffusers import AutoencoderKL

from longtake.core.files import atomic_path, remove
from longtake.data.clips import reflect
from longtake.data.index import VideoIndex, index_folder
from longtake.data.transforms import resize_and_crop
from longtake.glober import build
from longtake.glober.config import GloberRecipe
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.recipes import RECIPES
from longtake.glober.stages import AutoencoderStage
from longtake.glober.video_encoder import GloberVideoEncoder
from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.frames import motion_correlation, psnr
from longtake.models import find_folder
from longtake.training.run import train_stages
from longtake.training.run_folder import RunFolder
from longtake.video import read_video, write_video

SEGMENT = 16
FEATURES = "local:evaluator-weizmann"


def ablated(
    recipe: GloberRecipe, arguments: argparse.Namespace, cra_weight: float, seed: int, vae: Path
) -> GloberRecipe:
    """The small recipe on a trained frame VAE, with or without the loss."""
    autoencoder = replace(
        recipe.autoencoder,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        cached_variants=arguments.variants,
        precision=arguments.precision,
        cra_weight=cra_weight,
        seed=seed,
        sample_every=0,
    )
    return replace(recipe, frame_vae=replace(recipe.frame_vae, pretrained=str(vae)), autoencoder=autoencoder)


def train(recipe: GloberRecipe, index: VideoIndex, run: RunFolder, seed: int) -> float:
    """Train the second stage in `run`, or go on; return the CPU seconds spent now."""
    begun = time.process_time()
    vae = AutoencoderKL.from_pretrained(recipe.frame_vae.pretrained)
    train_stages({"autoencoder": lambda _: AutoencoderStage(recipe, index, vae)}, run, resume=True, seed=seed)
    return time.process_time() - begun


def reconstruct(recipe: GloberRecipe, index: VideoIndex, run: RunFolder, videos: list[np.ndarray]) -> list[np.ndarray]:
    """Each video through the autoencoder in `run`."""
    parts = run.components / "autoencoder"
    pipe = build.pipeline(
        recipe,
        index,
        AutoencoderKL.from_pretrained(recipe.frame_vae.pretrained),
        GloberVideoEncoder.from_pretrained(parts / "video_encoder"),
        GloberFrameDecoder.from_pretrained(parts / "frame_decoder"),
        None,
        build.condition_encoder(recipe, index),
    )
    return [pipe.reconstruct(video, decoder_guidance_scale=1.0) for video in videos]


def write_segments(videos: list[np.ndarray], folder: Path) -> None:
    """Write every whole 16-frame segment of every video as a video of its own."""
    remove(folder)
    with atomic_path(folder) as partial:
        partial.mkdir()
        for number, video in enumerate(videos):
            for start in range(0, len(video) - SEGMENT + 1, SEGMENT):
                write_video(partial / f"{number:03d}-{start:03d}.npy", video[start : start + SEGMENT], fps=25)


def scores(videos: list[np.ndarray], results: list[np.ndarray], real: Path, fake: Path) -> dict[str, float]:
    """Distance of the results' segments, written to `fake`, from those in `real`; PSNR; motion correlation."""
    write_segments(results, fake)
    config = EvaluationConfig(features=FEATURES, metrics=("frechet_distance",), resamples=0)
    (number,) = evaluate(real, fake, config).numbers
    pairs = list(zip(videos, results, strict=True))
    return {
        "frechet_distance": round(number.value, 3),
        "psnr": round(float(np.mean([psnr(*pair) for pair in pairs])), 2),
        "motion_correlation": round(float(np.mean([motion_correlation(*pair) for pair in pairs])), 3),
    }


def main() -> None:
    """Train, reconstruct and score every combination; print and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of report.json")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--variants", type=int, default=2, help="differently augmented latents of each video")
    parser.add_argument("--weights", type=float, nargs="+", default=(0.0, 0.1), help="of the loss (the paper: 0.1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--videos", type=int, default=24, help="videos to reconstruct")
    arguments = parser.parse_args()

    diffusers.utils.logging.disable_progress_bar()
    index = index_folder(arguments.data)
    vae = find_folder("glober-weizmann") / "frame_vae"
    basis = RECIPES["glober_weizmann_64"]()
    videos = [
        resize_and_crop(read_video(entry.path, reflect(np.arange(basis.span), entry.info.num_frames)), basis.size)
        for entry in index.entries[:: max(1, len(index.entries) // arguments.videos)][: arguments.videos]
    ]
    real = arguments.out / "real"
    write_segments(videos, real)
    results: dict[str, list[dict[str, float]]] = {}
    for seed in arguments.seeds:
        for weight in arguments.weights:
            recipe = ablated(basis, arguments, weight, seed, vae)
            run = RunFolder(arguments.out / f"weight-{weight:g}-seed-{seed}")
            seconds = train(recipe, index, run, seed)
            score = scores(videos, reconstruct(recipe, index, run, videos), real, run.path / "reconstructed")
            results.setdefault(f"{weight:g}", []).append({"seed": seed, **score, "cpu_seconds": round(seconds, 1)})
            print(f"weight {weight:g}, seed {seed}: {score}")
    facts = {name: getattr(arguments, name) for name in ("steps", "batch_size", "variants")}
    report = {**facts, "videos": len(videos), "features": FEATURES, "by_cra_weight": results}
    with atomic_path(arguments.out / "report.json") as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
