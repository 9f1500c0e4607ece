"""The cosine series in time against an explicit sum, and its meaning: what is written at a keyframe is read there."""

import math

import pytest
import torch

from longtake.core.errors import UserError
from longtake.glober.frame_decoder import GloberFrameDecoder
from longtake.glober.temporal_modes import at_time, channels_per_mode, check_modes, cosine_basis, to_modes


def slots(num_keyframes=5, channels=3):
    return torch.randn(
        2, num_keyframes, channels, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def test_coefficients_are_the_orthonormal_cosine_transform():
    maps, num_modes = slots(), 4
    modes = to_modes(maps, num_modes)
    for mode in range(num_modes):
        scale = math.sqrt((1 if mode == 0 else 2) / 5)
        expected = sum(scale * math.cos(math.pi * mode * (k + 0.5) / 5) * maps[:, k] for k in range(5))
        torch.testing.assert_close(modes[:, mode * 3 : mode * 3 + 3], expected, atol=1e-6, rtol=1e-6)


def test_the_series_meets_every_keyframe_when_there_is_a_mode_for_each():
    maps = slots()
    modes = to_modes(maps, 5)
    for k in range(5):
        time = torch.full((2,), (k + 0.5) / 5, dtype=torch.float64)
        torch.testing.assert_close(at_time(modes, time, 5), maps[:, k], atol=1e-6, rtol=1e-6)


def test_samples_are_read_each_at_its_own_time():
    modes, time = to_modes(slots(), 4), torch.tensor([0.1, 0.7], dtype=torch.float64)
    both = at_time(modes, time, 4)
    for row in range(2):
        torch.testing.assert_close(both[row : row + 1], at_time(modes[row : row + 1], time[row : row + 1], 4))


def test_basis_is_orthonormal_over_the_keyframe_times():
    basis = cosine_basis((torch.arange(8) + 0.5) / 8, 8, 8)
    torch.testing.assert_close(basis.T @ basis, torch.eye(8), atol=1e-5, rtol=0)


def test_modes_must_divide_the_channels_and_not_outnumber_the_keyframes():
    assert channels_per_mode(64, 16) == 4
    with pytest.raises(UserError, match="must divide the feature's 6 channels"):
        channels_per_mode(6, 4)
    with pytest.raises(UserError, match="at most 5, the number of keyframes"):
        check_modes(6, 5)


@torch.no_grad()
def test_the_decoder_sees_the_series_at_the_time_of_the_frame():
    torch.manual_seed(0)
    decoder = GloberFrameDecoder(
        latent_channels=2,
        latent_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention=(False, False),
        num_heads=2,
        norm_groups=4,
        context_dim=None,
        feature_channels=6,
        feature_size=4,
        temporal_modes=3,
    )
    # 6 + 2 channels into a block of 8 whose second convolution is zero: the block passes its input on
    torch.nn.init.dirac_(decoder.control_branch.zero_convs[0].weight)
    feature, time = torch.randn(2, 6, 4, 4), torch.tensor([0.2, 0.9])
    shown = decoder.control(feature, time)[0][:, 6:]
    expected = at_time(feature, time, 3).repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(shown, expected)
