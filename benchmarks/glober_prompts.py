"""Do prompts steer? Videos of several prompts, and which action a classifier of real videos sees in them.

    python benchmarks/glober_prompts.py runs/captions "a person waves both hands" "a person bends down" \
        --features local:evaluator-weizmann --samples 8 --out prompts.json

The classifier is one of `longtake train evaluator_...`, trained on real videos alone. It sees every whole clip of a
sampled video, cut one after the other from the first frame on; a video shows what is most probable in the mean over its
clips. Videos number 0, 1, ... of each prompt start from the same noise, so that the prompt alone tells them apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from diffusers import DiffusionPipeline
from jaxtyping import Float32, UInt8

import longtake
from longtake.core.errors import UserError
from longtake.core.files import atomic_path
from longtake.core.wording import counted
from longtake.metrics.networks.features import load_features
from longtake.metrics.networks.local import LocalFeatures

FEATURES = "local:evaluator-weizmann"

Counts = Mapping[str, int]


def clip_probabilities(network: LocalFeatures, frames: UInt8[np.ndarray, "t h w 3"]) -> Float32[np.ndarray, "n k"]:
    """Return what the classifier makes of every whole clip of a video. Raises `UserError` if there is none."""
    num_clips = len(frames) // network.min_frames
    if not num_clips:
        raise UserError(
            f"{network.name} takes clips of {counted(network.min_frames, 'frame')}, and the videos have {len(frames)}"
        )
    clips = frames[: num_clips * network.min_frames].reshape(num_clips, network.min_frames, *frames.shape[1:])
    return network.probabilities(clips, "crop")


def count(probabilities: Sequence[Float32[np.ndarray, " k"]], names: Sequence[str]) -> Counts:
    """Return how often each class is the most probable one."""
    likeliest = [int(row.argmax()) for row in probabilities]
    return {name: likeliest.count(number) for number, name in enumerate(names)}


def measure(
    pipe: DiffusionPipeline, network: LocalFeatures, prompt: str, arguments: argparse.Namespace
) -> dict[str, Counts]:
    """Sample a prompt's videos and count their classes, by video and by clip. Raises `UserError` as `stream` does."""
    videos = []
    for video in range(arguments.samples):
        frames = pipe(arguments.frames, prompt=prompt, video=video, seed=arguments.seed).frames
        videos.append(clip_probabilities(network, frames))
        sys.stderr.write(f"{prompt}: {video + 1} of {counted(arguments.samples, 'video')}\n")
    names = network.class_names
    return {
        "videos": count([clips.mean(axis=0) for clips in videos], names),
        "clips": count([clip for clips in videos for clip in clips], names),
    }


def table(results: Mapping[str, Mapping[str, Counts]]) -> str:
    """Return videos by prompt and class as lines of text."""
    names = list(next(iter(results.values()))["videos"])
    width = max(map(len, results))
    lines = [" ".join(["prompt".ljust(width), *(name.rjust(6) for name in names)])]
    for prompt, counts in results.items():
        cells = [str(counts["videos"][name]).rjust(max(6, len(name))) for name in names]
        lines.append(" ".join([prompt.ljust(width), *cells]))
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> None:
    """Sample, count and write. Raises `UserError` for what cannot be sampled or classified."""
    network = load_features(arguments.features)
    if not isinstance(network, LocalFeatures):
        raise UserError(f"{arguments.features} knows no classes of one's own; give local:PATH")
    pipe = longtake.load(arguments.model, device=arguments.device)
    results = {prompt: measure(pipe, network, prompt, arguments) for prompt in dict.fromkeys(arguments.prompts)}
    print(table(results))
    facts = {name: getattr(arguments, name) for name in ("model", "features", "samples", "frames", "seed")}
    report = json.dumps({**facts, "features_sha256": network.sha256, "prompts": results}, indent=2)
    if arguments.out is None:
        print(report)
        return
    with atomic_path(arguments.out) as partial:
        partial.write_text(report + "\n")


def main(words: Sequence[str] | None = None) -> None:
    """Print the table, and print the JSON or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="pipeline folder or run folder of a model with captions")
    parser.add_argument("prompts", nargs="+", metavar="PROMPT")
    parser.add_argument("--features", default=FEATURES, help="classifier, as of longtake evaluate --features")
    parser.add_argument("--samples", type=int, default=8, help="videos of each prompt")
    parser.add_argument("--frames", type=int, help="frames of each video (default: the model's own number)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, help="report, .json")
    arguments = parser.parse_args(words)
    try:
        run(arguments)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
