"""Losses against closed forms and numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from longtake.recall import losses
from longtake.recall.encoder import difference_maps
from longtake.recall.latents import LatentSpace


def clips(seed, frames=16):
    return torch.randn(2, 3, frames, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_adversarial_terms_are_cross_entropies():
    logits = torch.tensor([-2.0, 0.5, 3.0])
    ones, zeros = torch.ones(3), torch.zeros(3)
    cross_entropy = torch.nn.BCEWithLogitsLoss()
    torch.testing.assert_close(losses.real_loss(logits), cross_entropy(logits, ones))
    torch.testing.assert_close(losses.fake_loss(logits), cross_entropy(logits, zeros))
    assert losses.real_loss(torch.tensor([0.0])).item() == pytest.approx(math.log(2))
    assert losses.real_loss(torch.tensor([1.5])).item() == pytest.approx(-math.log(1 / (1 + math.exp(-1.5))))


def test_discriminator_loss_adds_kinds_and_averages_within_one():
    real, first, second = torch.tensor([1.0]), torch.tensor([0.0, 2.0]), torch.tensor([-1.0])
    expected = math.log1p(math.exp(-1)) + (math.log(2) + math.log1p(math.exp(2))) / 2 + math.log1p(math.exp(-1))
    assert losses.discriminator_loss(real, [first, second]).item() == pytest.approx(expected)
    expected = (math.log(2) + math.log1p(math.exp(-2))) / 2 + math.log1p(math.exp(1))
    assert losses.adversarial_loss([first, second]).item() == pytest.approx(expected)


def test_discriminator_and_generator_pull_fakes_apart():
    logit = torch.tensor([0.3], requires_grad=True)
    losses.discriminator_loss(torch.zeros(1), [logit]).backward()
    down, logit.grad = logit.grad, None
    losses.adversarial_loss([logit]).backward()
    assert down > 0 > logit.grad  # each minimised: one lowers the fake's logit, the other raises it


@pytest.mark.parametrize(("mean", "logvar"), [(0.0, 0.0), (1.0, 0.0), (0.3, -2.0), (-2.0, 1.0)])
def test_kl_is_that_of_two_normal_distributions(mean, logvar):
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, math.exp(logvar / 2)), torch.distributions.Normal(0.0, 1.0)
    )
    found = losses.kl_divergence(torch.full((2, 5), mean), torch.full((2, 5), logvar))
    torch.testing.assert_close(found, exact)


def test_latent_kl_keeps_content_and_motion_apart():
    zeros = torch.zeros(2, 3)
    content, motion = losses.latent_kl(LatentSpace(zeros + 1, zeros, torch.zeros(2, 2), torch.zeros(2, 2)))
    assert (content.item(), motion.item()) == (0.5, 0.0)


def test_reconstruction_distances():
    zeros = torch.zeros(1, 3, 2, 2, 2)
    for shift, l1, smooth in ((0.5, 0.5, 0.125), (3.0, 3.0, 2.5)):
        assert losses.reconstruction(zeros, zeros + shift, "l1").item() == pytest.approx(l1)
        assert losses.reconstruction(zeros, zeros + shift, "smooth_l1").item() == pytest.approx(smooth)


def test_anchor_adds_the_error_of_its_frame():
    real, decoded = clips(0), clips(1)
    plain = (real - decoded).abs().mean()
    anchored = losses.anchored_reconstruction(real, decoded, 8, "l1")
    torch.testing.assert_close(anchored, plain + (real[:, :, 8] - decoded[:, :, 8]).abs().mean())
    torch.testing.assert_close(losses.anchored_reconstruction(real, decoded, None, "l1"), plain)


def test_difference_maps_are_earlier_minus_later():
    video = torch.arange(4.0).reshape(1, 1, 4, 1, 1) ** 2
    assert difference_maps(video).flatten().tolist() == [-1, -3, -5]


def test_rebuilding_from_difference_maps_telescopes():
    """Eq. 4.2 and 4.3 with their signs put right give back the decoded frames, so Eq. 4.4 compares whole clips."""
    decoded, anchor = clips(2), 8
    maps = difference_maps(decoded)  # maps[j - 1] = x_{j-1} - x_j
    rebuilt = {anchor: decoded[:, :, anchor]}
    for frame in range(anchor + 1, 16):
        rebuilt[frame] = rebuilt[frame - 1] - maps[:, :, frame - 1]
    for frame in range(anchor - 1, -1, -1):
        rebuilt[frame] = rebuilt[frame + 1] + maps[:, :, frame]
    torch.testing.assert_close(torch.stack([rebuilt[frame] for frame in range(16)], dim=2), decoded)


def test_motion_reconstruction_is_blind_to_a_constant_but_for_the_first_frame():
    real = clips(3)
    torch.testing.assert_close(losses.motion_reconstruction(real, real + 0.25, "l1").item(), 0.25)
    slower = real.clone()
    slower[:, :, 1:] += 0.5  # the first difference map alone changes
    torch.testing.assert_close(losses.motion_reconstruction(real, slower, "l1").item(), 0.5 / 15)
