"""VDrej picks what a planted discriminator prefers, and judges transitions."""

from __future__ import annotations

import inspect

import pytest
import torch
from toy_sampling import pipeline

from longtake.recall.generator import FusedStreams, Grown
from longtake.recall.latents import LatentSpace
from longtake.recall.rejection import best
from longtake.recall.sampling import ClipMaker


def clips(*levels):
    return torch.stack([torch.full((3, 16, 2, 2), level) for level in levels])


class Flat:
    """A generator of clips of a single brightness, which notes how many clips of how many frames it paints."""

    def __init__(self, calls):
        self.calls = calls

    def grow(self, content, motion):
        level = content[:, :1, None, None, None].tanh()
        return Grown(level, FusedStreams(None, level.expand(-1, 3, 16, 2, 2)), level.expand(-1, 1, 16, 1, 1))

    def paint(self, grown):
        self.calls.append((len(grown.spatial), grown.video.moving.shape[2]))
        return grown.video.moving


def brightness(batch):
    return batch.mean(dim=(1, 2, 3, 4))


@pytest.mark.parametrize("brightest", range(4))
def test_first_clip_is_the_argmax(brightest):
    levels = [0.0, 0.1, 0.2, 0.3]
    levels[brightest] = 0.9
    assert best(clips(*levels), None, brightness, 8) == brightest


def test_later_clips_are_judged_by_their_transition():
    """The discriminator sees 8 frames of the clip before and 8 of each candidate, in one batch."""
    seen = []

    def smoothness(batch):
        seen.append(batch)
        return -(batch[:, :, 8] - batch[:, :, 7]).abs().mean(dim=(1, 2, 3))

    previous = torch.linspace(-1, 1, 16).view(1, 1, 16, 1, 1).expand(1, 3, 16, 2, 2)
    candidates = clips(0.9, float(previous[0, 0, 7, 0, 0]) + 0.01, -0.9)
    assert best(candidates, previous, smoothness, 8) == 1
    assert best(candidates[:, :, :8], previous, smoothness, 8) == 1
    batch, of_begun_candidates = seen
    assert torch.equal(batch, of_begun_candidates)
    for judged, candidate in zip(batch, candidates, strict=True):
        assert torch.equal(judged, torch.cat([previous[0, :, :8], candidate[:, :8]], dim=1))


def test_all_candidates_pass_networks_at_once():
    calls = []

    network = Flat(calls)
    space = LatentSpace(*(torch.zeros(1, channels) for channels in (4, 4, 2, 2)))
    make = ClipMaker(network, brightness, mode="vdrej")
    chosen = make(space, 0, None)
    assert calls == [(20, 16)]
    content, _ = make.draw(space, 0)
    assert content.shape == (20, 4)
    assert chosen.unique().item() == content[:, 0].tanh().max()


@pytest.mark.parametrize("hop", [8, 4])
def test_of_candidates_after_a_clip_only_what_is_judged_is_made(hop):
    calls = []

    network = Flat(calls)
    space = LatentSpace(*(torch.zeros(1, channels) for channels in (4, 4, 2, 2)))
    make = ClipMaker(network, brightness, mode="vdrej", hop=hop, num_candidates=5)
    chosen = make(space, 1, clips(0.0))
    assert calls == [(5, 16 - hop), (1, hop)]
    assert chosen.shape == (1, 3, 16, 2, 2)
    assert chosen.unique().item() == make.draw(space, 1)[0][:, 0].tanh().max()


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
