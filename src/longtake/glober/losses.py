"""GLOBER's training losses, each a plain function of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor


class NoiseSchedule(Protocol):
    """The part of a diffusers scheduler that training needs."""

    alphas_cumprod: Tensor


def kl_divergence(mean: Float[Tensor, "b ..."], logvar: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """KL(N(mean, exp(logvar)) || N(0, 1)), summed over a sample's elements, averaged over the batch (paper Eq. 2).

    The equation is written per element; the authors' code sums, and their weight of 1e-6 goes with the sum.
    """
    per_element = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar)
    return per_element.flatten(1).sum(1).mean()


def signal_and_noise_levels(
    schedule: NoiseSchedule, timestep: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n 1 1 1"], Float[Tensor, "n 1 1 1"]]:
    """Return sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t), shaped to multiply "n c h w"."""
    alpha_bar = schedule.alphas_cumprod.to(timestep.device)[timestep].float()
    alpha_bar = rearrange(alpha_bar, "n -> n 1 1 1")
    return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()


def add_noise(
    clean: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n c h w"],
    timestep: Int[Tensor, " n"],
    schedule: NoiseSchedule,
) -> Float[Tensor, "n c h w"]:
    """z_t = sqrt(alpha_bar) z_0 + sqrt(1 - alpha_bar) n: paper Eq. 5, which prints the last root without its sign."""
    signal, level = signal_and_noise_levels(schedule, timestep)
    return signal * clean + level * noise


def denoising_target(
    clean: Float[Tensor, "n c h w"],
    noise: Float[Tensor, "n c h w"],
    timestep: Int[Tensor, " n"],
    schedule: NoiseSchedule,
    prediction_type: str,
) -> Float[Tensor, "n c h w"]:
    """What the network must predict: the noise n (paper Eq. 7), or for v_prediction sqrt(ab) n - sqrt(1-ab) z_0."""
    if prediction_type == "epsilon":
        return noise
    assert prediction_type == "v_prediction", prediction_type
    signal, level = signal_and_noise_levels(schedule, timestep)
    return signal * noise - level * clean


def predicted_clean(
    noisy: Float[Tensor, "n c h w"],
    prediction: Float[Tensor, "n c h w"],
    timestep: Int[Tensor, " n"],
    schedule: NoiseSchedule,
    prediction_type: str,
) -> Float[Tensor, "n c h w"]:
    """The estimate of z_0 that a prediction implies: paper Eq. 9 with the root that its last term lacks."""
    signal, level = signal_and_noise_levels(schedule, timestep)
    if prediction_type == "epsilon":
        return (noisy - level * prediction) / signal
    assert prediction_type == "v_prediction", prediction_type
    return signal * noisy - level * prediction


# Coherence and realism adversarial (CRA) loss, paper section 3.3. x_i and x_j are frames of one clip, i < j; xh their
# reconstructions. The discriminator sees ordered pairs; only two real frames in the right order count as real.

GENERATED_PAIRS = (("real_i", "fake_j"), ("fake_i", "real_j"), ("fake_i", "fake_j"))
DISORDERED_PAIRS = (("real_j", "real_i"), ("fake_j", "fake_i"))


def frame_pairs(
    real: Float[Tensor, "b 2 c h w"], fake: Float[Tensor, "b 2 c h w"], kinds: Sequence[tuple[str, str]]
) -> Float[Tensor, "n c 2 h w"]:
    """Stack the named pairs, kind after kind: n = len(kinds) * b. Index 0 of dim 1 is frame i, index 1 frame j."""
    frames = {"real_i": real[:, 0], "real_j": real[:, 1], "fake_i": fake[:, 0], "fake_j": fake[:, 1]}
    return torch.cat([torch.stack([frames[first], frames[second]], dim=2) for first, second in kinds])


def cra_discriminator_pairs(
    real: Float[Tensor, "b 2 c h w"], fake: Float[Tensor, "b 2 c h w"]
) -> tuple[Float[Tensor, "b c 2 h w"], Float[Tensor, "m c 2 h w"]]:
    """Return the real pairs <x_i, x_j> and all fake ones, five kinds (m = 5b), for the discriminator to tell apart."""
    return frame_pairs(real, fake, [("real_i", "real_j")]), frame_pairs(
        real, fake, [*GENERATED_PAIRS, *DISORDERED_PAIRS]
    )


def cra_discriminator_loss(real_logits: Float[Tensor, " b"], fake_logits: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Hinge loss, the mean over all 6b pairs.

    Paper Eq. 10 prints log(1 - D(real)) + log D(fake), which has no lower bound; the authors' code is this hinge.
    """
    return F.relu(torch.cat([1.0 - real_logits, 1.0 + fake_logits])).mean()


def cra_generator_loss(fake_logits: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Hinge relu(1 - D) over the three pair kinds that hold a reconstruction in the right order (the authors' form)."""
    return F.relu(1.0 - fake_logits).mean()
