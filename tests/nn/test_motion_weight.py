"""Weights of the pixel error: written out pixel by pixel."""

from __future__ import annotations

import torch

from longtake.core.randomness import generator
from longtake.nn.motion_weight import motion_weights


def test_weights_are_those_of_a_loop() -> None:
    video = torch.rand(2, 3, 4, 2, 2, generator=generator(0))
    weights = motion_weights(video, 1.5)
    for clip in range(2):
        mean = video[clip].mean(dim=1)
        distance = torch.zeros(4, 2, 2)
        for time in range(4):
            distance[time] = (video[clip, :, time] - mean).abs().mean(dim=0)
        expected = (1 + 1.5 * distance / distance.mean()) / 2.5
        torch.testing.assert_close(weights[clip, 0], expected)


def test_mean_is_one_and_the_mover_counts_more() -> None:
    video = torch.zeros(1, 3, 4, 4, 4)
    video[:, :, 0, 0, 0] = 1.0
    weights = motion_weights(video, 1.0)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    assert weights[0, 0, 0, 0, 0] > 10 * weights[0, 0, 0, 3, 3]


def test_without_motion_or_strength_all_weights_are_one() -> None:
    still = torch.rand(1, 3, 1, 4, 4, generator=generator(0)).expand(-1, -1, 5, -1, -1)
    assert (motion_weights(still, 0.0) == 1).all()
    moving = torch.rand(1, 3, 5, 4, 4, generator=generator(0))
    assert (motion_weights(moving, 0.0) == 1).all()
    assert (motion_weights(torch.zeros(1, 3, 5, 4, 4), 2.0) == 1 / 3 + 2 / 3).all()
