"""A feature network that sees brightness, colour and motion, and small videos of moving bars for it to see.

Also a script: evaluates two folders with it, so that a test can start it under torchrun.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from einops import reduce
from PIL import Image

from longtake.metrics.evaluation.config import EvaluationConfig
from longtake.metrics.evaluation.evaluation import evaluate
from longtake.metrics.networks.features import FeatureNetwork
from longtake.video import write_video

NUM_CLASSES = 3
CONFIG = EvaluationConfig(frames=4, resamples=10, batch_size=3)


class ToyNetwork(FeatureNetwork):
    """Mean colours of a 2 x 2 grid and of the change from frame to frame, randomly projected.

    `calls` counts the clips it has seen.
    """

    kind = "local"
    name = "toy"
    sha256 = "0" * 64
    min_frames = 2
    classes = NUM_CLASSES

    def __init__(self, dim: int = 4) -> None:
        self.dim = dim
        self.calls = 0
        self.projection = np.random.default_rng(0).normal(size=(24, max(dim, NUM_CLASSES))).astype(np.float32)

    def _features(self, clips, resize):
        self.calls += len(clips)
        return self._seen(clips)[:, : self.dim]

    def _probabilities(self, clips, resize):
        self.calls += len(clips)
        scores = np.exp(self._seen(clips)[:, :NUM_CLASSES])
        return scores / scores.sum(axis=1, keepdims=True)

    def _seen(self, clips):
        frames = clips.astype(np.float32) / 255
        height, width = (size // 2 * 2 for size in frames.shape[2:4])
        motion = np.abs(np.diff(frames, axis=1))
        seen = [
            reduce(part[:, :, :height, :width], "n t (a h) (b w) c -> n (a b c)", "mean", a=2, b=2)
            for part in (frames, motion)
        ]
        return np.concatenate(seen, axis=1) @ self.projection


def moving_bars(seed: int, num_frames: int, size: int = 16) -> np.ndarray:
    """A bright bar that travels over a dark, tinted ground."""
    rng = np.random.default_rng(seed)
    ground, colour = rng.integers(0, 60, 3), rng.integers(120, 256, 3)
    first, speed = rng.integers(0, size), rng.integers(1, 3)
    video = np.tile(ground.astype(np.uint8), (num_frames, size, size, 1))
    for t in range(num_frames):
        video[t, :, (first + speed * t) % size] = colour
    return video


def write_bars(folder: Path, seeds: range, num_frames: int = 12, size: int = 16) -> Path:
    """Write one npy video per seed."""
    for seed in seeds:
        path = folder / f"class-{seed % 2}" / f"bars-{seed:03d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, moving_bars(seed, num_frames, size), 25)
    return folder


def write_noise(folder: Path, count: int, num_frames: int = 12, size: int = 16) -> Path:
    """Write videos of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        frames = np.random.default_rng(seed).integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
        write_video(folder / f"noise-{seed:03d}.npy", frames, 25)
    return folder


def write_broken(folder: Path, num_frames: int = 12, size: int = 16, first_broken: int = 1) -> Path:
    """Write a folder of pictures which from one on end after their header: opening it finds nothing."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(moving_bars(0, num_frames, size)):
        Image.fromarray(frame).save(folder / f"{number}.jpg")
        if number >= first_broken:
            picture = folder / f"{number}.jpg"
            picture.write_bytes(picture.read_bytes()[:-20])
    return folder


if __name__ == "__main__":
    real, fake, out = map(Path, sys.argv[1:])
    report = evaluate(real, fake, CONFIG, network=ToyNetwork())
    report.write(out / f"process-{os.environ.get('RANK', '0')}" / "report.json")
