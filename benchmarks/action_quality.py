"""How good are a model's videos of people's actions?

Reconstruction: PSNR per frame of held-out videos through the model's video autoencoder, and motion correlation (1: all
motion in place, 0: a still image; see `longtake.metrics.frames`). "frame vae" is GLOBER's image autoencoder alone, and
"mean image" the original clip's own mean frame, a still that no model can know.

Recognition: a small 3D convolutional classifier is trained on the real videos of all people but one, scored on that
one, and then asked which action each sample shows.

    python benchmarks/action_quality.py glober-weizmann --data weizmann-actions --held-out subject8
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import longtake
from longtake.data.clips import reflect
from longtake.data.index import VideoEntry, index_folder
from longtake.data.transforms import resize_and_crop
from longtake.metrics.frames import motion_correlation, psnr
from longtake.video import read_video, write_contact_sheet

CLASSIFIER_FRAMES = 32  # every second frame of 64
CLASSIFIER_SIZE = 32


class ActionClassifier(nn.Sequential):
    """Small 3D convolutional network on the luminance's change from the clip's mean: motion, not clothes."""

    def __init__(self, num_classes: int) -> None:
        layers: list[nn.Module] = []
        channels = [1, 16, 32, 64]
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv3d(before, after, 3, stride=2, padding=1), nn.BatchNorm3d(after), nn.ReLU()]
        super().__init__(
            *layers, nn.AdaptiveAvgPool3d((2, 2, 2)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(512, num_classes)
        )


def motion(video: np.ndarray) -> Tensor:
    """Uint8 "t h w 3" -> "1 t h w", small and grey, minus its mean over time."""
    grey = torch.from_numpy(video.astype(np.float32)).mean(-1)[None, None] / 255
    small = F.interpolate(grey, (CLASSIFIER_FRAMES, CLASSIFIER_SIZE, CLASSIFIER_SIZE), mode="area")[0]
    return small - small.mean(1, keepdim=True)


def clip_of(entry: VideoEntry, span: int, start: int) -> np.ndarray:
    """`span` frames of a video from `start`, going on backwards beyond its end."""
    return read_video(entry.path, reflect(start + np.arange(span), entry.info.num_frames).tolist())


def train_classifier(entries: list[VideoEntry], num_classes: int, span: int, steps: int) -> ActionClassifier:
    """Train on random clips of `entries`, mirrored and shifted at random."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = ActionClassifier(num_classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    clips = [
        (motion(clip_of(entry, span, int(start))), entry.label)
        for entry in entries
        for start in rng.integers(0, max(1, entry.info.num_frames - span + 1), 4)
    ]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        batch = [clips[i] for i in rng.integers(0, len(clips), 32)]
        video = torch.stack([clip for clip, _ in batch])
        if rng.random() < 0.5:
            video = video.flip(-1)
        video = video.roll(tuple(int(n) for n in rng.integers(-3, 4, 2)), (-2, -1))
        loss = F.cross_entropy(model(video), torch.tensor([label for _, label in batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def recognised(model: ActionClassifier, videos: list[np.ndarray], labels: list[int]) -> float:
    """Share of videos whose action is the most probable one."""
    predicted = model(torch.stack([motion(video) for video in videos])).argmax(1)
    return (predicted == torch.tensor(labels)).float().mean().item()


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--held-out", default="subject8", help="files whose name begins so are not the classifier's")
    parser.add_argument("--frames", type=int, default=64, help="frames of each clip and each sample")
    parser.add_argument("--samples", type=int, default=8, help="samples per class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classifier-steps", type=int, default=300)
    parser.add_argument("--sheet", type=Path, help="contact sheet of the first samples of each class")
    arguments = parser.parse_args()

    pipe = longtake.load(arguments.model)
    span = arguments.frames
    index = index_folder(arguments.data)
    held_out = [entry for entry in index.entries if entry.path.name.startswith(arguments.held_out)]
    others = [entry for entry in index.entries if not entry.path.name.startswith(arguments.held_out)]
    if not held_out or not others:
        parser.error(f"no split: {len(held_out)} videos begin with {arguments.held_out!r}, {len(others)} do not")

    report: dict[str, object] = {"model": arguments.model, "frames": span, "held_out": arguments.held_out}
    for name, entries in (("held_out", held_out), ("others", others[:: max(1, len(others) // 8)])):
        originals = [resize_and_crop(clip_of(entry, span, 0), pipe.image_size) for entry in entries]
        results = [pipe.reconstruct(original) for original in originals]
        # some families rebuild whole clips alone
        originals = [original[: len(result)] for original, result in zip(originals, results, strict=True)]
        pairs = list(zip(originals, results, strict=True))
        stills = [np.broadcast_to(original.mean(0).round().astype(np.uint8), original.shape) for original in originals]
        report[f"reconstruction_{name}"] = {
            "videos": len(pairs),
            "psnr": round(float(np.mean([psnr(a, b) for a, b in pairs])), 2),
            "psnr_mean_image": round(float(np.mean([psnr(*pair) for pair in zip(originals, stills, strict=True)])), 2),
            "motion_correlation": round(float(np.mean([motion_correlation(a, b) for a, b in pairs])), 3),
        }
        if hasattr(pipe, "reconstruct_frames"):
            frame_vae = np.mean([psnr(a, pipe.reconstruct_frames(a)) for a in originals])
            report[f"psnr_frame_vae_{name}"] = round(float(frame_vae), 2)

    classes = list(pipe.config.classes)
    classifier = train_classifier(others, len(classes), span, arguments.classifier_steps)
    real = [clip_of(entry, span, 0) for entry in held_out]
    labels = [label for label in range(len(classes)) for _ in range(arguments.samples)]
    samples = [
        pipe(num_frames=span, label=label, seed=arguments.seed, video=number).frames
        for number, label in enumerate(labels)
    ]
    report["classifier_accuracy_held_out"] = recognised(classifier, real, [entry.label for entry in held_out])
    report["samples"] = len(samples)
    report["samples_recognised"] = recognised(classifier, samples, labels)
    if arguments.sheet:
        shown = [
            samples[i]
            for label in range(len(classes))
            for i in range(label * arguments.samples, label * arguments.samples + 2)
        ]
        write_contact_sheet(arguments.sheet, shown, num_columns=16)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
