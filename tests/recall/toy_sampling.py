"""Recall pipelines so small that they sample in a fraction of a second, and clips for them."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn
from toy_recall import RECIPES, SIZE, changed

from longtake.recall import build
from longtake.recall.config import RecallRecipe
from longtake.recall.gpt import RecallGPT
from longtake.recall.pipeline import RecallPipeline

CLASSES = ("bend", "jump")
TOKEN = 2 * (6 + 4)
R3 = changed(RECIPES["r2"], model="r3", gpt__depth=2, gpt__num_heads=2, gpt__max_tokens=6)


def wake_up(*networks: nn.Module) -> None:
    """Draw all weights wide, so that every token has a say in what comes out."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                spread = min(1.0, 1 / max(1, parameter[0].numel()) ** 0.5)
                parameter.add_(spread * torch.randn(parameter.shape, generator=rng))


def gpt(**changes) -> RecallGPT:
    """A random GPT in eval mode, with two examples of each class."""
    settings = {"token_channels": TOKEN, "depth": 2, "num_heads": 2, "num_positions": 6, "num_examples": 4, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RecallGPT(**settings)
    wake_up(model.core, model.head)
    rng = torch.Generator().manual_seed(1)
    model.examples.copy_(0.5 * torch.randn(model.examples.shape, generator=rng))
    model.example_lengths.copy_(torch.arange(settings["num_examples"]) % model.examples.shape[1] + 1)
    model.example_labels.copy_(torch.arange(settings["num_examples"]) % 2)
    return model.eval()


def networks(recipe: RecallRecipe) -> dict[str, nn.Module]:
    """A recipe's random networks in eval mode, as arguments of the pipeline; do not change them."""
    return dict(_networks(recipe))


@cache
def _networks(recipe: RecallRecipe) -> dict[str, nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {"generator": build.generator(recipe)}
        if recipe.model != "g3an":
            parts["encoder"] = build.encoder(recipe)
        if recipe.model in build.PAIRED:
            parts["video_discriminator"] = build.video_discriminator(recipe)
        settle(recipe, **parts)
    return parts


@torch.no_grad()
def settle(
    recipe: RecallRecipe,
    generator: nn.Module,
    encoder: nn.Module | None = None,
    video_discriminator: nn.Module | None = None,
) -> None:
    """Let batch and spectral norm see what passes, as training does, and leave the networks in eval mode."""
    content, motion = recipe.generator.content_channels, recipe.generator.motion_channels
    generator.to_rgb.weight.mul_(20)
    for _ in range(8):
        clips = generator(torch.randn(8, content), torch.randn(8, motion))
        for network in (encoder, video_discriminator):
            if network is not None:
                network(clips)
    for network in (generator, encoder, video_discriminator):
        if network is not None:
            network.eval()


def pipeline(model: str = "r3", *, layout: str = "padded", recipe_changes: dict | None = None, **settings):
    """A random pipeline of 16x16 frames."""
    recipe = changed(R3 if model == "r3" else RECIPES[model], **(recipe_changes or {}))
    if model == "r3":
        settings = {"gpt": gpt(layout=layout, num_classes=2), "classes": CLASSES, **settings}
    hop = build.sequence_hop(recipe) if model == "lencgan" else recipe.hop
    return RecallPipeline(**{**networks(recipe), "model": model, "hop": hop, "num_candidates": 3, **settings})


def noise_video(num_frames: int, height: int = SIZE, width: int = SIZE, seed: int = 0) -> np.ndarray:
    """Frames of noise."""
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def as_clip(frames: np.ndarray) -> torch.Tensor:
    """Bytes to floats in [-1, 1], written out."""
    return torch.tensor(frames).permute(3, 0, 1, 2)[None] / 127.5 - 1


def as_frames(video: torch.Tensor) -> np.ndarray:
    """Floats to bytes, written out."""
    return ((video[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 3, 0).numpy()


def joined(stream) -> np.ndarray:
    """All chunks of a stream."""
    return np.concatenate(list(stream))


def close(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal up to rounding in the networks."""
    return first.shape == second.shape and bool(np.abs(first.astype(int) - second.astype(int)).max() <= 1)
