"""The losses against closed forms, other libraries and slow loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from longtake.glober import losses
from longtake.glober.sampling import build_scheduler

TIMESTEPS = torch.tensor([0, 1, 250, 600, 998, 999])


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def clean(rng):
    return torch.randn(len(TIMESTEPS), 3, 4, 5, generator=rng)


@pytest.fixture
def noise(rng, clean):
    return torch.randn(clean.shape, generator=rng)


def test_kl_is_summed_over_a_sample_and_averaged_over_the_batch(rng):
    mean, logvar = torch.randn(2, 3, 4, 2, 2, generator=rng)
    posterior = Normal(mean, (0.5 * logvar).exp())
    expected = kl_divergence(posterior, Normal(torch.zeros(()), torch.ones(()))).sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(losses.kl_divergence(mean, logvar), expected)


def test_kl_by_value():
    assert losses.kl_divergence(torch.zeros(2, 5), torch.zeros(2, 5)) == 0
    assert losses.kl_divergence(torch.full((7, 6), 2.0), torch.zeros(7, 6)) == pytest.approx(6 * 2.0)  # mean**2 / 2
    logvar = torch.full((3, 4), 1.0)
    assert losses.kl_divergence(torch.zeros(3, 4), logvar) == pytest.approx(4 * (torch.e - 2) / 2)


def test_noise_schedule_is_stable_diffusions():
    alpha_bar = build_scheduler("epsilon").alphas_cumprod
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(alpha_bar.double(), (1 - betas).cumprod(0), rtol=1e-4, atol=0)
    signal, level = losses.signal_and_noise_levels(build_scheduler("epsilon"), TIMESTEPS)
    assert signal.shape == level.shape == (6, 1, 1, 1)
    torch.testing.assert_close(signal.flatten() ** 2, alpha_bar[TIMESTEPS])
    torch.testing.assert_close(signal**2 + level**2, torch.ones(6, 1, 1, 1))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noising_and_targets_are_those_of_the_sampler(clean, noise, prediction):
    schedule = build_scheduler(prediction)
    noisy = losses.add_noise(clean, noise, TIMESTEPS, schedule)
    torch.testing.assert_close(noisy, schedule.add_noise(clean, noise, TIMESTEPS))
    target = losses.denoising_target(clean, noise, TIMESTEPS, schedule, prediction)
    expected = noise if prediction == "epsilon" else schedule.get_velocity(clean, noise, TIMESTEPS)
    torch.testing.assert_close(target, expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_the_clean_latents_back(clean, noise, prediction):
    schedule = build_scheduler(prediction)
    clean, noise = clean.double(), noise.double()
    noisy = losses.add_noise(clean, noise, TIMESTEPS, schedule)
    target = losses.denoising_target(clean, noise, TIMESTEPS, schedule, prediction)
    estimate = losses.predicted_clean(noisy, target, TIMESTEPS, schedule, prediction)
    # the levels are float32: sqrt(ab)**2 + sqrt(1 - ab)**2 is 1 to 1e-7, and epsilon divides by sqrt(ab), 0.068 at last
    torch.testing.assert_close(estimate, clean, rtol=0, atol=2e-6)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_estimate_is_the_samplers_for_any_prediction(clean, noise, prediction):
    schedule = build_scheduler(prediction)
    guess = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    estimate = losses.predicted_clean(noise, guess, TIMESTEPS, schedule, prediction)
    schedule.set_timesteps(1000)
    for row, timestep in enumerate(TIMESTEPS):
        expected = schedule.step(guess[row : row + 1], timestep, noise[row : row + 1]).pred_original_sample
        torch.testing.assert_close(estimate[row : row + 1], expected, rtol=1e-4, atol=1e-4)


def test_both_predictions_name_the_same_clean_latents(clean, noise):
    """v = (signal * noisy - clean) / level and epsilon = (noisy - signal * clean) / level, for a wrong estimate too."""
    schedule, timestep = build_scheduler("epsilon"), torch.full((len(clean),), 500)
    signal, level = losses.signal_and_noise_levels(schedule, timestep)
    noisy, guess = clean, noise
    velocity, epsilon = (signal * noisy - guess) / level, (noisy - signal * guess) / level
    for prediction, value in (("v_prediction", velocity), ("epsilon", epsilon)):
        torch.testing.assert_close(losses.predicted_clean(noisy, value, timestep, schedule, prediction), guess)


@pytest.fixture
def frames(rng):
    """Real and reconstructed frames i and j of five clips."""
    return torch.randn(2, 5, 2, 3, 4, 4, generator=rng)


def pair(first, second):
    """c 2 h w, element by element."""
    result = torch.empty(first.shape[0], 2, *first.shape[1:])
    for channel, position in itertools.product(range(first.shape[0]), range(2)):
        result[channel, position] = (first, second)[position][channel]
    return result


def test_pairs_for_the_discriminator_against_a_loop(frames):
    real, fake = frames
    real_pairs, fake_pairs = losses.cra_discriminator_pairs(real, fake)
    assert real_pairs.shape == (5, 3, 2, 4, 4)
    assert fake_pairs.shape == (25, 3, 2, 4, 4)
    i, j = 0, 1
    expected = []
    for clip in range(5):
        assert torch.equal(real_pairs[clip], pair(real[clip, i], real[clip, j]))
    for first, second in (
        ((real, i), (fake, j)),
        ((fake, i), (real, j)),
        ((fake, i), (fake, j)),
        ((real, j), (real, i)),  # real, but in the wrong order
        ((fake, j), (fake, i)),
    ):
        expected += [pair(first[0][clip, first[1]], second[0][clip, second[1]]) for clip in range(5)]
    assert torch.equal(fake_pairs, torch.stack(expected))


def test_pairs_for_the_generator_are_the_three_in_order_with_a_reconstruction(frames):
    real, fake = frames
    pairs = losses.frame_pairs(real, fake, losses.GENERATED_PAIRS)
    _, fake_pairs = losses.cra_discriminator_pairs(real, fake)
    assert torch.equal(pairs, fake_pairs[:15])


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, -0.5, 0.0, 1.0])
    # real: relu(1 - 2) = 0, relu(1 - 0.5) = 0.5; fake: relu(1 - 3) = 0, 0.5, 1, 2
    assert losses.cra_discriminator_loss(real, fake) == pytest.approx((0 + 0.5 + 0 + 0.5 + 1 + 2) / 6)
    # relu(1 + 3) = 4, 1.5, 1, 0
    assert losses.cra_generator_loss(fake) == pytest.approx((4 + 1.5 + 1 + 0) / 4)


def test_hinge_is_the_mean_over_all_six_kinds_of_pairs(rng):
    """So a real pair weighs as much as a fake one, not as much as all five."""
    real, fake = torch.randn(4, generator=rng), torch.randn(20, generator=rng)
    total = sum(max(0.0, 1 - value) for value in real.tolist()) + sum(max(0.0, 1 + value) for value in fake.tolist())
    assert losses.cra_discriminator_loss(real, fake) == pytest.approx(total / 24)
    assert losses.cra_discriminator_loss(torch.full((4,), -1.0), torch.full((20,), -1.0)) == pytest.approx(2 * 4 / 24)
