"""VDrej picks what a planted discriminator prefers, and judges transitions."""

from __future__ import annotations

import inspect

import pytest
import torch
from toy_sampling import pipeline

from longtake.recall.latents import LatentSpace
from longtake.recall.rejection import pick
from longtake.recall.sampling import ClipMaker


def clips(*levels):
    return torch.stack([torch.full((3, 16, 2, 2), level) for level in levels])


def brightness(batch):
    return batch.mean(dim=(1, 2, 3, 4))


@pytest.mark.parametrize("best", range(4))
def test_first_clip_is_the_argmax(best):
    levels = [0.0, 0.1, 0.2, 0.3]
    levels[best] = 0.9
    chosen = pick(clips(*levels), None, brightness, 8)
    assert chosen.shape == (1, 3, 16, 2, 2)
    assert chosen.unique().item() == pytest.approx(0.9)


def test_later_clips_are_judged_by_their_transition():
    """The discriminator sees 8 frames of the clip before and 8 of each candidate, in one batch."""
    seen = []

    def smoothness(batch):
        seen.append(batch)
        return -(batch[:, :, 8] - batch[:, :, 7]).abs().mean(dim=(1, 2, 3))

    previous = torch.linspace(-1, 1, 16).view(1, 1, 16, 1, 1).expand(1, 3, 16, 2, 2)
    candidates = clips(0.9, float(previous[0, 0, 7, 0, 0]) + 0.01, -0.9)
    chosen = pick(candidates, previous, smoothness, 8)
    assert torch.equal(chosen, candidates[1:2])
    (batch,) = seen
    for judged, candidate in zip(batch, candidates, strict=True):
        assert torch.equal(judged, torch.cat([previous[0, :, :8], candidate[:, :8]], dim=1))


def test_all_candidates_pass_networks_at_once():
    calls = []

    def network(content, motion):
        calls.append(len(content))
        return content[:, :1].tanh().view(-1, 1, 1, 1, 1).expand(-1, 3, 16, 2, 2)

    space = LatentSpace(*(torch.zeros(1, channels) for channels in (4, 4, 2, 2)))
    make = ClipMaker(network, brightness, mode="vdrej")
    chosen = make(space, 0, None)
    assert calls == [20]
    content, _ = make.draw(space, 0)
    assert content.shape == (20, 4)
    assert chosen.unique().item() == content[:, 0].tanh().max()


def test_choice_of_more_candidates_is_no_less_real():
    pipe = pipeline("r2")
    space = pipe.encode(torch.randint(0, 255, (16, 16, 16, 3), dtype=torch.uint8).numpy())
    with torch.no_grad():
        scores = {}
        for mode, count in (("sample", 1), ("vdrej", 20)):
            make = ClipMaker(pipe.generator, pipe.video_discriminator, mode=mode, num_candidates=count)
            scores[mode] = [float(pipe.video_discriminator(make(space, number, None))) for number in range(5)]
    assert sum(scores["vdrej"]) > sum(scores["sample"])


def test_twenty_candidates_unless_told_otherwise():
    assert inspect.signature(ClipMaker).parameters["num_candidates"].default == 20
