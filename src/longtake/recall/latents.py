"""The latent space of a clip: one Gaussian for its content, one for its motion; and the same as a token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LatentSpace:
    """The posteriors of a batch of clips.

    Attributes:
        content_mean: "b c_a".
        content_logvar: logarithm of the variance, "b c_a".
        motion_mean: "b c_m".
        motion_logvar: "b c_m".
    """

    content_mean: Float[Tensor, "b c_a"]
    content_logvar: Float[Tensor, "b c_a"]
    motion_mean: Float[Tensor, "b c_m"]
    motion_logvar: Float[Tensor, "b c_m"]

    def mean(self) -> tuple[Float[Tensor, "b c_a"], Float[Tensor, "b c_m"]]:
        """Return content and motion at the centre of the space."""
        return self.content_mean, self.motion_mean

    def sample(self, generator: torch.Generator) -> tuple[Float[Tensor, "b c_a"], Float[Tensor, "b c_m"]]:
        """Draw content and motion: z = mean + exp(logvar / 2) noise."""
        content = self.content_mean + (0.5 * self.content_logvar).exp() * draw_normal(self.content_mean, generator)
        motion = self.motion_mean + (0.5 * self.motion_logvar).exp() * draw_normal(self.motion_mean, generator)
        return content, motion

    def tokens(self) -> Float[Tensor, "b d"]:
        """Return what R3's GPT reads: mean and log-variance of content, then of motion; d = 2 (c_a + c_m)."""
        return torch.cat([self.content_mean, self.content_logvar, self.motion_mean, self.motion_logvar], dim=1)

    @classmethod
    def from_tokens(cls, tokens: Float[Tensor, "b d"], content_channels: int) -> LatentSpace:
        """Take tokens apart again."""
        motion_channels = tokens.shape[1] // 2 - content_channels
        return cls(*tokens.split([content_channels, content_channels, motion_channels, motion_channels], dim=1))


def draw_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape, dtype and device of `like`, drawn on the generator's device."""
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like)
