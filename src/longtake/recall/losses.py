"""The recall family's training losses, each a plain function of tensors, in the form that is minimised.

The thesis prints some as quantities to maximise and some with slips of sign or symbol: README.md lists what was put
right. With l = -log sigmoid, a logit s costs l(s) where it should be real and l(-s) where it should be fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from longtake.nn.motion_weight import motion_weights
from longtake.recall.encoder import difference_maps
from longtake.recall.latents import LatentSpace

Distance = Literal["l1", "smooth_l1"]


def reconstruction(
    clips: Float[Tensor, "b c t h w"],
    decoded: Float[Tensor, "b c t h w"],
    distance: Distance,
    weights: Float[Tensor, "b 1 t h w"] | None = None,
) -> Float[Tensor, ""]:
    """Mean absolute error, or Smooth L1 (threshold 1), over all elements: rec of Eq. 3.1, rec_S of Eq. 5.1."""
    measure = F.l1_loss if distance == "l1" else F.smooth_l1_loss
    if weights is None:
        return measure(decoded, clips)
    return (measure(decoded, clips, reduction="none") * weights).mean()


def motion_reconstruction(
    clips: Float[Tensor, "b c t h w"], decoded: Float[Tensor, "b c t h w"], distance: Distance
) -> Float[Tensor, ""]:
    """rec(x_0) + rec(v): the first frame and the difference maps in place of all frames (Eq. 3.9, 3.10)."""
    first = reconstruction(clips[:, :, :1], decoded[:, :, :1], distance)
    return first + reconstruction(difference_maps(clips), difference_maps(decoded), distance)


def anchored_reconstruction(
    clips: Float[Tensor, "b c t h w"],
    decoded: Float[Tensor, "b c t h w"],
    anchor: int | None,
    distance: Distance,
    motion_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """rec(x) + rec(x_r), r = `anchor` (Eq. 4.4); without an anchor the first term alone.

    Both count more where the clip moves, by `motion_weight` (`nn.motion_weight`; not in the thesis).

    Eq. 4.4 compares with frames rebuilt from the decoded frame r and the decoded difference maps (Eq. 4.2, 4.3):
    those sums telescope to the decoded frames themselves.
    """
    weights = motion_weights(clips, motion_weight)
    loss = reconstruction(clips, decoded, distance, weights)
    if anchor is None:
        return loss
    return loss + reconstruction(clips[:, :, [anchor]], decoded[:, :, [anchor]], distance, weights[:, :, [anchor]])


def kl_divergence(mean: Float[Tensor, "b c"], logvar: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """KL(N(mean, exp(logvar)) || N(0, 1)), averaged over channels and batch."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()


def latent_kl(latents: LatentSpace) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The KL terms of content and of motion (Eq. 3.1)."""
    content = kl_divergence(latents.content_mean, latents.content_logvar)
    return content, kl_divergence(latents.motion_mean, latents.motion_logvar)


def real_loss(logits: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of l(s): what samples cost that should be taken for real."""
    return F.softplus(-logits).mean()


def fake_loss(logits: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Mean of l(-s): what samples cost that should be taken for fake."""
    return F.softplus(logits).mean()


def discriminator_loss(real: Float[Tensor, " n"], fakes: Sequence[Float[Tensor, " m"]]) -> Float[Tensor, ""]:
    """l(s) of real samples + l(-s) of each kind of fakes, averaged within a kind (Eq. 3.5, 3.6, 4.5 to 4.7, 5.2)."""
    return real_loss(real) + torch.stack([fake_loss(logits) for logits in fakes]).sum()


def adversarial_loss(fakes: Sequence[Float[Tensor, " m"]]) -> Float[Tensor, ""]:
    """l(s) of each kind of fake samples, averaged within a kind: the generator's side (Eq. 3.4, 4.4, 5.1)."""
    return torch.stack([real_loss(logits) for logits in fakes]).sum()
