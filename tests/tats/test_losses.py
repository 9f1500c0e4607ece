"""VQGAN losses against closed forms."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch

from longtake.core.errors import UserError
from longtake.tats import losses


def test_hinge_discriminator_loss():
    real, fake = torch.tensor([[2.0, 0.5]]), torch.tensor([[-3.0, 0.25]])
    # margins missed: 0 and 0.5 by the real ones, 0 and 1.25 by the fake
    assert losses.discriminator_loss(real, fake, "hinge").item() == pytest.approx(0.5 * (0.25 + 0.625))


def test_vanilla_discriminator_loss():
    real, fake = torch.tensor([[1.5]]), torch.tensor([[-0.5, 2.0]])
    expected = -math.log(1 / (1 + math.exp(-1.5)))
    expected += -0.5 * sum(math.log(1 - 1 / (1 + math.exp(-x))) for x in (-0.5, 2.0))
    assert losses.discriminator_loss(real, fake, "vanilla").item() == pytest.approx(0.5 * expected)


def test_generator_loss_is_minus_the_mean_logit():
    assert losses.generator_loss(torch.tensor([[1.0, -4.0]])).item() == 1.5


def test_commitment_moves_the_encoder_only():
    z = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    vectors = torch.tensor([0.0, 5.0]).reshape(1, 2, 1, 1, 1).requires_grad_()
    loss = losses.commitment_loss(z, vectors)
    assert loss.item() == 5.0  # (1 + 9) / 2
    loss.backward()
    assert z.grad.flatten().tolist() == [1.0, -3.0]
    assert vectors.grad is None


def test_straight_through_has_the_codes_value_and_the_encoders_gradient():
    z = torch.randn(1, 2, 1, 2, 2, requires_grad=True)
    vectors = torch.randn(1, 2, 1, 2, 2, requires_grad=True)
    out = losses.straight_through(z, vectors)
    torch.testing.assert_close(out, vectors)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    assert vectors.grad is None


def test_feature_matching_weighs_layers_alike():
    real = [torch.zeros(1, 2, 3), torch.zeros(1, 4, 2)]
    fake = [torch.full((1, 2, 3), 0.5), torch.full((1, 4, 2), -2.0)]
    assert losses.feature_matching_loss(real, fake).item() == pytest.approx(4 / 2 * 2.5)
    # four layers before the logits: each counts once, as with the authors' sizes
    assert losses.feature_matching_loss(2 * real, 2 * fake).item() == pytest.approx(5.0)


def test_feature_matching_passes_no_gradient_to_the_real_features():
    real, fake = torch.randn(1, 2, 3, requires_grad=True), torch.randn(1, 2, 3, requires_grad=True)
    losses.feature_matching_loss([real], [fake]).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_pick_frames_takes_one_frame_per_clip():
    video = torch.arange(2 * 1 * 3 * 1 * 1.0).reshape(2, 1, 3, 1, 1)
    assert losses.pick_frames(video, torch.tensor([2, 0])).flatten().tolist() == [2.0, 3.0]


def test_psnr():
    real = torch.zeros(1, 3, 2, 2, 2)
    assert losses.peak_signal_to_noise(real, real + 0.1).item() == pytest.approx(20.0, abs=1e-5)


def test_perceptual_loss_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package lpips: pip install 'longtake\[perceptual\]'"):
        losses.build_perceptual()
