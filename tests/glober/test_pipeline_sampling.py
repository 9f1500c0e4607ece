"""Guidance, schedulers, the denoising loop and frame noise, against closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from longtake.core.errors import UserError
from longtake.core.randomness import frame_noise
from longtake.glober import sampling

NOISE = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))


def signal_shares():
    """Alpha_bar of Stable Diffusion's schedule, in double precision."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def predict_stub(noisy, timestep):
    """A smooth function of both arguments, in place of a network."""
    return torch.sin(noisy) * (timestep / 1000).view(-1, 1, 1, 1) + 0.1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_visits_the_official_timesteps_and_follows_the_plain_recursion(prediction):
    seen = []

    def predict(noisy, timestep):
        assert timestep.shape == (3,)
        assert (timestep == timestep[0]).all()
        seen.append(int(timestep[0]))
        return predict_stub(noisy, timestep)

    scheduler = sampling.build_scheduler(prediction)
    result = sampling.denoise(predict, NOISE, scheduler, 50)

    assert seen == list(range(981, 0, -20))
    shares = signal_shares()
    x = NOISE.double()
    for t in range(981, 0, -20):
        a, a_next = shares[t], shares[t - 20] if t > 20 else shares[0]
        out = predict_stub(x, torch.full((3,), t))
        if prediction == "epsilon":
            eps, x0 = out, (x - (1 - a) ** 0.5 * out) / a**0.5
        else:
            eps, x0 = a**0.5 * out + (1 - a) ** 0.5 * x, a**0.5 * x - (1 - a) ** 0.5 * out
        x = a_next**0.5 * x0 + (1 - a_next) ** 0.5 * eps
    torch.testing.assert_close(result, x.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "num_steps", "tolerance"), [("ddim", 500, 0.01), ("dpm", 10, 0.025), ("dpm", 50, 0.005)]
)
def test_both_samplers_turn_noise_into_gaussian_data(name, num_steps, tolerance):
    """For data N(0, s^2) the ideal prediction is linear and the trajectory known: x0 = s x_T / sqrt(a s^2 + 1 - a)."""
    shares, std = torch.tensor(signal_shares()), 0.5

    def predict(noisy, timestep):
        a = shares[timestep].view(-1, 1, 1, 1)
        return ((1 - a).sqrt() * noisy / (a * std**2 + 1 - a)).float()

    scheduler = sampling.convert_scheduler(sampling.build_scheduler("epsilon"), name)
    result = sampling.denoise(predict, NOISE, scheduler, num_steps)
    first = float(shares[scheduler.timesteps[0]])
    expected = std * NOISE / (first * std**2 + 1 - first) ** 0.5
    assert (result - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("name", ["ddim", "dpm"])
def test_a_scheduler_forgets_the_last_chunk(name):
    scheduler = sampling.convert_scheduler(sampling.build_scheduler("v_prediction"), name)
    first = sampling.denoise(predict_stub, NOISE, scheduler, 7)
    sampling.denoise(predict_stub, NOISE[:1], scheduler, 4)
    assert torch.equal(sampling.denoise(predict_stub, NOISE, scheduler, 7), first)


def test_converting_keeps_schedule_and_prediction_type():
    config = sampling.convert_scheduler(sampling.build_scheduler("v_prediction"), "dpm").config
    assert (config.prediction_type, config.beta_schedule, config.beta_end) == ("v_prediction", "scaled_linear", 0.012)
    with pytest.raises(UserError, match="unknown scheduler 'dpn'; did you mean 'dpm'"):
        sampling.convert_scheduler(sampling.build_scheduler("epsilon"), "dpn")


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0, 9.0])
def test_guidance_is_e_u_plus_s_times_the_difference_in_one_pass(scale):
    condition = torch.tensor([0.0, 0.0, 0.0, 2.0, 2.0, 2.0]).view(-1, 1, 1, 1)  # without, then with the condition
    calls = []

    def predict(noisy, timestep):
        calls.append(len(noisy))
        return noisy * condition + timestep.view(-1, 1, 1, 1)

    guided = sampling.with_guidance(predict, scale)(NOISE, torch.tensor([5, 6, 7]))
    torch.testing.assert_close(guided, scale * 2 * NOISE + torch.tensor([5.0, 6.0, 7.0]).view(-1, 1, 1, 1))
    assert calls == [6]


def test_shared_noise_has_unit_variance_and_the_stated_covariance():
    shape = (64, 64)
    for shared in (0.0, 0.3, 0.8):
        noise = sampling.shared_frame_noise(shape, 3, 1, range(4), shared)
        covariance = torch.cov(noise.flatten(1))
        expected = torch.full((4, 4), shared).fill_diagonal_(1)
        assert (covariance - expected).abs().max() < 0.08
    assert torch.equal(sampling.shared_frame_noise(shape, 3, 1, [2], 0.0), frame_noise(shape, 3, 1, [2]))
    # of the frame alone, and of another video something else
    assert torch.equal(sampling.shared_frame_noise(shape, 3, 1, [2, 0], 0.8)[0], noise[2])
    other = sampling.shared_frame_noise(shape, 3, 2, [2], 0.8)
    assert abs(float((other * noise[2]).mean())) < 0.08


def test_evaluating_gives_every_part_its_mode_back():
    network = nn.Sequential(nn.Linear(1, 1), nn.Dropout())
    network[0].eval()
    with sampling.evaluating(network):
        assert not any(part.training for part in network.modules())
    assert [part.training for part in network.modules()] == [True, False, True]
