"""A story of two captions: the video changes where its caption does."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_transformers import NUM_CODES, S, vqgan

from longtake.tats.condition import TextCondition
from longtake.tats.decoding import Part
from longtake.tats.pipeline import TatsPipeline
from longtake.tats.request import SamplingOptions, Wish
from longtake.tats.transformer import TatsTransformer
from longtake.tats.vocabulary import BytePairs

CAPTIONS = ("lightning at night", "sun between clouds")
CHANGE, END = 32, 64  # video frames
TEXTS = TextCondition(BytePairs.learn(CAPTIONS, 20), num_tokens=4)


def captioned_codes(num_latents: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Videos whose latent frames are of the lower half of the codes under one caption, of the upper under the other.

    One frame in ten is of the other half, so that a frame follows from the caption and not from those before it.
    """
    caption = torch.randint(2, (16,), generator=generator)
    is_upper = caption[:, None] ^ (torch.rand(16, num_latents, generator=generator) < 0.1)
    codes = torch.randint(NUM_CODES // 2, (16, num_latents, 2, 2), generator=generator)
    condition = torch.stack([TEXTS.encode(CAPTIONS[which]) for which in caption])
    return condition, codes + is_upper[..., None, None] * (NUM_CODES // 2)


def trained(**changes) -> TatsTransformer:
    """A transformer that has seen a hundred batches of captioned videos."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "depth": 1, "num_heads": 2, "condition_length": 4}
    model = TatsTransformer(NUM_CODES, (2, 2), condition_vocabulary=TEXTS.vocabulary_size, **{**sizes, **changes})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        condition, codes = captioned_codes(model.config.num_latents, generator)
        loss = F.cross_entropy(model(condition, codes).flatten(0, 1), model.targets(codes).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def pipe() -> TatsPipeline:
    models = {"transformer": trained(num_latents=4), "sparse": trained(num_latents=4, latent_step=4)}
    between = trained(num_latents=5, interpolates=True)
    settings = {"condition": "caption", "merges": TEXTS.vocabulary.merges, "top_p": 0.8}
    return TatsPipeline(vqgan(), **models, interpolation=between, **settings)


def upper_share(pipe: TatsPipeline, wish: Wish, mode: str) -> np.ndarray:
    """Share of codes of the upper half, by latent frame."""
    options = SamplingOptions(mode=mode)
    latents = islice(pipe._latents([pipe._plan(wish, Part(0, END, END), options)], options), END // 4)
    shares = [(codes >= NUM_CODES // 2).float().mean().item() for codes in latents]
    assert len(shares) * S == END // 4 * S
    return np.array(shares)


@pytest.mark.parametrize("mode", ["sliding", "hierarchical"])
def test_story_changes_the_video_where_its_caption_changes(pipe, mode):
    story = [(0, CAPTIONS[0]), (CHANGE, CAPTIONS[1])]
    assert upper_share(pipe, Wish(prompt=CAPTIONS[0]), mode).mean() < 0.2
    assert upper_share(pipe, Wish(prompt=CAPTIONS[1]), mode).mean() > 0.8
    before, after = np.split(upper_share(pipe, Wish(story=story), mode), [CHANGE // 4])
    assert before.mean() < 0.2
    assert after.mean() > 0.8

    one, two = pipe(END, prompt=CAPTIONS[0], mode=mode).frames, pipe(END, story=story, mode=mode).frames
    # a sparse frame has its neighbours in front of it made to fit, and decoding looks ahead
    same = CHANGE - (16 if mode == "hierarchical" else 0) - 4 * pipe.vqgan.decoder_context[1]
    assert (one[:same] == two[:same]).all()
    changed = (one != two).reshape(END, -1).mean(axis=1)
    assert changed[CHANGE:].min() > 0.01
