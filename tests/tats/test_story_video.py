"""A story seen: under one caption a red square crosses to the right, under the other a blue disc falls.

The transformer learns it from videos with captions, over exact codes, a table of all their blocks. The movers leave the
frame for a while and come back, so that it is the caption alone that says which of them is next.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_tats
from einops import rearrange
from toy_tats import begun, changed

from longtake.data.index import VideoIndex, index_folder
from longtake.data.transforms import to_video
from longtake.tats import build
from longtake.tats.config import TatsRecipe
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.transformer_stages import TransformerStage
from longtake.tats.vqgan import TatsVQGAN
from longtake.training.config import OptimizerConfig
from longtake.video import write_video

CAPTIONS = {"square": "a red square goes right", "disc": "a blue disc falls"}
COLOURS = {"square": (230, 40, 40), "disc": (40, 60, 240)}
SIZE, SIDE, SPEED, CYCLE = 16, 6, 2, 20  # a mover is out of sight in 9 of 20 frames
CHANGE, END = 60, 140
NUM_CODES, BLOCK = 512, (4, 8, 8)

RECIPE: TatsRecipe = changed(
    toy_tats.RECIPE,
    condition="caption",
    conditioning__num_text_tokens=4,
    vqgan__downsample=BLOCK,
    vqgan__codebook__num_codes=NUM_CODES,
    transformer__optimizer=OptimizerConfig(lr=1e-2, betas=(0.9, 0.95)),
    transformer__batch_size=16,
    transformer__num_latents=2,
    transformer__hidden_size=32,
    transformer__cached_variants=1,
    sampling__context_latents=1,
    sampling__top_p=0.8,
)


class BlockTable(TatsVQGAN):
    """Codes that stand for blocks of pixels as they are."""

    def __init__(self, video: torch.Tensor) -> None:
        super().__init__(base_channels=4, downsample=BLOCK, num_codes=NUM_CODES, code_dim=3 * 4 * 8 * 8)
        blocks = rearrange(self.pre_quant(video), "b d t h w -> (b t h w) d").unique(dim=0)
        assert len(blocks) <= NUM_CODES
        self.codebook.embeddings[: len(blocks)] = blocks
        self.codebook.embeddings[len(blocks) :] = 99.0  # far from any block

    def pre_quant(self, video: torch.Tensor) -> torch.Tensor:
        return rearrange(video, "b c (t x) (h y) (w z) -> b (c x y z) t h w", x=4, y=8, z=8)

    def decode_vectors(self, vectors: torch.Tensor) -> torch.Tensor:
        return rearrange(vectors, "b (c x y z) t h w -> b c (t x) (h y) (w z)", x=4, y=8, z=8)


def mover(name: str, start: int, num_frames: int) -> np.ndarray:
    """Frames of a mover that comes in, crosses, leaves and comes back, `start` frames into it."""
    y, x = np.mgrid[:SIZE, :SIZE]
    frames = np.full((num_frames, SIZE, SIZE, 3), 20, np.uint8)
    for frame, phase in zip(frames, (start + np.arange(num_frames)) % CYCLE, strict=True):
        edge = phase * SPEED - SIDE
        if name == "square":
            inside = (x >= edge) & (x < edge + SIDE) & (y >= 5) & (y < 5 + SIDE)
        else:
            inside = (x - 7.5) ** 2 + (y - edge - SIDE / 2 + 0.5) ** 2 < (SIDE / 2) ** 2
        frame[inside] = COLOURS[name]
    return frames


def write_data(root: Path) -> Path:
    captions = {}
    for name, caption in CAPTIONS.items():
        for start in range(0, CYCLE, 4):
            file = f"{name}-{start}.npy"
            root.mkdir(exist_ok=True)
            write_video(root / file, mover(name, start, 60), 10)
            captions[file] = caption
    (root / "captions.json").write_text(json.dumps(captions))
    return root


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> VideoIndex:
    return index_folder(write_data(tmp_path_factory.mktemp("story") / "data"))


@pytest.fixture(scope="module")
def pipe(index) -> TatsPipeline:
    """A pipeline whose transformer was trained for some hundred steps."""
    clips = np.stack([mover(name, start, CYCLE) for name in CAPTIONS for start in range(CYCLE)])
    vqgan = BlockTable(to_video(clips)).eval()
    torch.manual_seed(0)
    stage = TransformerStage("transformer", RECIPE, index, vqgan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "1")
        trainer = begun(stage)
    for step, batch in enumerate(islice(stage.batches(0, 0, 1), 400)):
        trainer.step(step, [batch])
    return build.pipeline(RECIPE, index, vqgan, stage.model.eval())


def strength(frames: np.ndarray, name: str) -> np.ndarray:
    """How much of a mover is seen in each frame: the share of pixels nearer to its colour than to any other."""
    colours = np.array([(20, 20, 20), *COLOURS.values()])
    nearest = np.abs(frames[:, :, :, None].astype(int) - colours).sum(axis=-1).argmin(axis=-1)
    return (nearest == 1 + list(COLOURS).index(name)).mean(axis=(1, 2))


def velocity(frames: np.ndarray, name: str) -> np.ndarray:
    """Mean movement per frame (down, right) of a mover's centre, where it is seen whole in two frames."""
    seen = np.abs(frames.astype(int) - COLOURS[name]).sum(axis=-1) < 100
    whole = seen.sum(axis=(1, 2)) >= 0.9 * seen.sum(axis=(1, 2)).max()
    centres = np.array([np.argwhere(one).mean(axis=0) if one.any() else (0, 0) for one in seen])
    return np.diff(centres, axis=0)[whole[:-1] & whole[1:]].mean(axis=0)


def test_each_caption_has_its_mover(pipe):
    for name, other, expected in (("square", "disc", (0, SPEED)), ("disc", "square", (SPEED, 0))):
        frames = pipe(END, prompt=CAPTIONS[name]).frames
        assert strength(frames, name).max() > 0.1
        assert strength(frames, other).max() == 0
        np.testing.assert_allclose(velocity(frames, name), expected, atol=0.3)


def test_story_goes_on_with_the_other_mover(pipe):
    """After the change the square may finish its way across, within a cycle; from then on there is only the disc."""
    frames = pipe(END, story=[(0, CAPTIONS["square"]), (CHANGE, CAPTIONS["disc"])]).frames
    before, after = frames[:CHANGE], frames[CHANGE + CYCLE :]
    assert (strength(before, "square").max(), strength(before, "disc").max()) == (pytest.approx(36 / 256), 0)
    assert (strength(after, "square").max(), strength(after, "disc").max()) == (0, pytest.approx(32 / 256))
    np.testing.assert_allclose(velocity(before, "square"), (0, SPEED), atol=0.3)
    np.testing.assert_allclose(velocity(after, "disc"), (SPEED, 0), atol=0.3)
