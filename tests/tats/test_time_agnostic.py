"""Replicate padding makes codes depend less on where a clip begins than zero padding does: the paper's claim."""

from __future__ import annotations

import pytest
import torch
from toy_tats import moving_square, random_vqgan

from longtake.data.transforms import to_video


@torch.no_grad()
def dependence(padding: str, video: torch.Tensor, num_frames: int = 16) -> float:
    """Relative difference between a clip's vectors alone and within the video, over clips that it has on both sides."""
    vqgan = random_vqgan(padding=padding, downsample=(4, 4, 4), base_channels=8)
    whole = vqgan.pre_quant(video)
    length = num_frames // 4
    errors = []
    for first in range(8, whole.shape[2] - length - 8, 3):
        alone = vqgan.pre_quant(video[:, :, 4 * first : 4 * (first + length)])
        inside = whole[:, :, first : first + length]
        errors.append(((alone - inside).norm() / inside.norm()).item())
    assert errors
    return sum(errors) / len(errors)


def test_of_a_still_video_replicate_padding_loses_nothing_and_zero_padding_does():
    still = to_video(moving_square(0, 3, 1)[None]).expand(-1, -1, 96, -1, -1)
    assert dependence("replicate", still) < 1e-5
    assert dependence("reflect", still) < 1e-5
    assert dependence("zero", still) > 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_of_a_moving_video_replicate_padding_loses_less_than_zero_padding(axis):
    moving = to_video(moving_square(axis, 3, 96)[None])
    assert dependence("replicate", moving) < 0.8 * dependence("zero", moving)
