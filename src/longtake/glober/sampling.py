"""Sampling as plain functions: noise, schedulers, classifier-free guidance and the denoising loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.errors import choose_one_of
from longtake.core.randomness import frame_noise, generator

Scheduler: TypeAlias = DDIMScheduler | DPMSolverMultistepScheduler
Predict = Callable[[Tensor, Tensor], Tensor]
"""(noisy "n ...", timestep "n") -> noise or velocity "n ...", whichever the scheduler's `prediction_type` says."""

SCHEDULERS = ("ddim", "dpm")

# What one draw of a video is for. Together with the window these make keys of four integers, which no frame's key
# (seed, video, frame) can equal. What is drawn once for a whole video is drawn with its first window.
DRAW_FEATURE, DRAW_LABEL, DRAW_SHARED_NOISE = 1, 2, 3
FIRST_WINDOW = 0


def build_scheduler(prediction_type: Literal["epsilon", "v_prediction"]) -> DDIMScheduler:
    """DDIM on the noise schedule of both stages (Stable Diffusion's, T = 1000), as the official code samples.

    `steps_offset=1` and `set_alpha_to_one=False`: 50 steps visit t = 981, 961, ..., 1, the last one goes to
    alpha_bar[0] instead of 1.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def convert_scheduler(scheduler: Scheduler, name: str) -> Scheduler:
    """Return the sampler `name` on the noise schedule of `scheduler`: "ddim" as the paper, or "dpm" for few steps.

    "dpm" is DPM-Solver++ (second order) at times uniform in log-SNR, as its authors have it: with 10 steps it keeps
    the spread of Gaussian data of std 0.5 to 2 %, where DDIM and diffusers' default spacing lose 18 %.
    """
    choose_one_of("scheduler", name, SCHEDULERS)
    if name == "dpm":
        return DPMSolverMultistepScheduler.from_config(scheduler.config, use_lu_lambdas=True)
    return DDIMScheduler.from_config(scheduler.config)


def video_noise(shape: Sequence[int], seed: int, video: int, draw: int, window: int = FIRST_WINDOW) -> Tensor:
    """Standard normal noise of `shape`, a function of (seed, video, window, what it is for), drawn on the CPU."""
    return torch.randn(*shape, generator=generator(seed, video, window, draw))


def shared_frame_noise(
    shape: Sequence[int], seed: int, video: int, frames: Sequence[int], shared: float
) -> Float[Tensor, "n ..."]:
    """Noise each frame starts from: a share of its variance common to the whole video, the rest the frame's own.

    `shared` in [0, 1) is that share: 0 is the paper (independent frames); more makes neighbouring frames flicker less.
    Any value gives each frame unit variance, and each frame is a function of (seed, video, frame) alone.
    """
    own = frame_noise(shape, seed, video, frames)
    if shared == 0:
        return own
    return shared**0.5 * video_noise(shape, seed, video, DRAW_SHARED_NOISE) + (1 - shared) ** 0.5 * own


def num_guided_passes(scale: float, feature_scale: float = 0.0) -> int:
    """How often `with_guidance` has the network see each frame."""
    return 3 if feature_scale else 1 if scale == 1 else 2


def with_guidance(predict: Predict, scale: float, feature_scale: float = 0.0) -> Predict:
    """Classifier-free guidance e_u + scale (e_c - e_u), for noise and velocity alike, in one pass.

    `predict` must expect the batch twice: the first half without the condition, the second half with it. A
    `feature_scale` adds feature_scale (e_c - e_t), for which the batch comes a third time, with the condition but
    without the global feature: the authors' later form, whose scales are "domain" and "video".
    """

    def predict_guided(noisy: Tensor, timestep: Tensor) -> Tensor:
        count = 3 if feature_scale else 2
        predictions = predict(torch.cat([noisy] * count), torch.cat([timestep] * count))
        unconditional, conditional, *rest = predictions.chunk(count)
        guided = unconditional + scale * (conditional - unconditional)
        return guided + feature_scale * (conditional - rest[0]) if rest else guided

    return predict_guided


def denoise(
    predict: Predict, noise: Float[Tensor, "n ..."], scheduler: Scheduler, num_steps: int
) -> Float[Tensor, "n ..."]:
    """Run the scheduler's (deterministic) trajectory from `noise` in float32, whatever the networks compute in."""
    # set_timesteps also clears what a multistep solver remembers, so chunks do not see each other
    scheduler.set_timesteps(num_steps, device=noise.device)
    sample = noise.float() * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        prediction = predict(scheduler.scale_model_input(sample, timestep), timestep.expand(len(sample)))
        sample = scheduler.step(prediction.float(), timestep, sample).prev_sample
    return sample


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Switch modules to evaluation (no dropout), then give every submodule back the mode it had."""
    training = [part for module in modules for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
