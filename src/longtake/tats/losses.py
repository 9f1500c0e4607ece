"""The VQGAN's losses, with the authors' code where paper and code differ (README.md)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from longtake.core.errors import UserError


def commitment_loss(z: Float[Tensor, "b d t h w"], vectors: Float[Tensor, "b d t h w"]) -> Float[Tensor, ""]:
    """||z - sg(e)||^2, the mean over all elements: draws encoder outputs to their codes."""
    return F.mse_loss(z, vectors.detach())


def straight_through(z: Float[Tensor, "b d t h w"], vectors: Float[Tensor, "b d t h w"]) -> Float[Tensor, "b d t h w"]:
    """The value of `vectors`, with gradients as if it were `z`."""
    return z + (vectors - z).detach()


def discriminator_loss(
    real: Float[Tensor, "b 1 ..."], fake: Float[Tensor, "b 1 ..."], kind: Literal["hinge", "vanilla"]
) -> Float[Tensor, ""]:
    """Half the sum of both sides' mean.

    hinge: relu(1 - real), relu(1 + fake); vanilla: -log sigmoid(real), -log(1 - sigmoid(fake)).
    """
    if kind == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    assert kind == "vanilla", kind
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def generator_loss(fake: Float[Tensor, "b 1 ..."]) -> Float[Tensor, ""]:
    """-mean of the logits: the authors' form of the paper's saturating logarithm."""
    return -fake.mean()


def feature_matching_loss(
    real: Sequence[Float[Tensor, "b c ..."]], fake: Sequence[Float[Tensor, "b c ..."]]
) -> Float[Tensor, ""]:
    """Mean absolute difference per layer, summed over the layers before the logits, times 4 / their number."""
    differences = [F.l1_loss(f, r.detach()) for r, f in zip(real, fake, strict=True)]
    return 4 / len(differences) * torch.stack(differences).sum()


def pick_frames(video: Float[Tensor, "b c t h w"], frames: Sequence[int] | Tensor) -> Float[Tensor, "b c h w"]:
    """Return one frame of each clip."""
    return video[torch.arange(len(video), device=video.device), :, torch.as_tensor(frames, device=video.device)]


def peak_signal_to_noise(real: Float[Tensor, "b ..."], fake: Float[Tensor, "b ..."]) -> Float[Tensor, ""]:
    """PSNR in dB over the whole batch, of values in a range of length 1."""
    return -10 * (fake - real).square().mean().log10()


def check_perceptual() -> None:
    """Raise `UserError` if the package for LPIPS is not installed."""
    if importlib.util.find_spec("lpips") is None:
        raise UserError(
            "the perceptual loss needs the package lpips: pip install 'longtake[perceptual]', "
            "or train without it (--vqgan.perceptual-weight 0)"
        )


def build_perceptual() -> nn.Module:
    """Return LPIPS with VGG-16, a module of two batches of frames -> "b 1 1 1"; its weights are fetched if need be.

    The authors feed it frames in [-0.5, 0.5], though it was made for [-1, 1]; so do we. Raises `UserError` if its
    package is not installed.
    """
    check_perceptual()
    from lpips import LPIPS

    build: Callable[..., nn.Module] = LPIPS
    return build(net="vgg", verbose=False)
