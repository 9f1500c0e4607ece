"""LEncGAN's encoder: each stream as a sequence through an LSTM, whose states pass from clip to clip (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from longtake.recall.config import CLIP_FRAMES
from longtake.recall.encoder import (
    NUM_MAPS,
    ContentStream,
    MotionStream,
    check_clips,
    check_encoder_size,
    difference_maps,
    motion_head,
    start_at,
)
from longtake.recall.latents import LatentSpace

LSTMState = tuple[Float[Tensor, "1 b c"], Float[Tensor, "1 b c"]]  # output h, cell c

MID_MAPS = CLIP_FRAMES // 2


@dataclass(frozen=True)
class RecurrentState:
    """What a clip inherits from the clip before it: output and cell of either LSTM."""

    content: LSTMState
    motion: LSTMState

    @classmethod
    def stack(cls, states: Sequence[RecurrentState]) -> RecurrentState:
        """Put the states of single clips together as those of a batch."""

        def along_batch(parts: Sequence[LSTMState]) -> LSTMState:
            return torch.cat([h for h, _ in parts], dim=1), torch.cat([c for _, c in parts], dim=1)

        return cls(along_batch([s.content for s in states]), along_batch([s.motion for s in states]))


class RecallLSTMEncoder(ModelMixin, ConfigMixin):
    """Clips of 16 frames and the states before them -> their latent spaces and the states they leave behind.

    At t = 1..15 the content LSTM reads frame t - 1 and the motion LSTM the difference map x_{t-1} - x_t; the latent
    space is read off their cells at t = 15.

    Args:
        size: height and width of the frames.
        content_channels: channels of the content latents.
        motion_channels: channels of the motion latents.
        channels: channels of the convolutions of either stream.
        content_features: channels of the linear layers on a frame.
        motion_features: channels of the linear layers on a difference map.
        lstm_channels: channels of both LSTMs.
        motion_head_relu: a ReLU between the two layers of a motion head.
        inherit: which states are left behind; the others are zero.
        inherit_at: the states after the last map, or after the eighth.
        initial_logvar: what the log-variances start at.

    Raises:
        UserError: if the number of convolutions does not fit `size`.
    """

    @register_to_config
    def __init__(  # noqa: PLR0913 (the arguments are the saved config)
        self,
        size: int = 64,
        content_channels: int = 128,
        motion_channels: int = 10,
        channels: Sequence[int] = (8, 8, 16, 16, 32, 32),
        content_features: Sequence[int] = (512,),
        motion_features: Sequence[int] = (512,),
        lstm_channels: int = 512,
        motion_head_relu: bool = True,
        inherit: Literal["none", "cell", "output", "both"] = "both",
        inherit_at: Literal["mid", "last"] = "last",
        initial_logvar: float = 0.0,
    ) -> None:
        super().__init__()
        check_encoder_size(size, channels)
        self.content_stream = ContentStream(channels, content_features)
        self.content_lstm = nn.LSTM(content_features[-1], lstm_channels, batch_first=True)
        self.content_mean = nn.Linear(lstm_channels, content_channels)
        self.content_logvar = nn.Linear(lstm_channels, content_channels)
        self.motion_stream = MotionStream(channels, motion_features)
        self.motion_lstm = nn.LSTM(motion_features[-1], lstm_channels, batch_first=True)
        self.motion_mean = motion_head(lstm_channels, lstm_channels, motion_channels, motion_head_relu)
        self.motion_logvar = motion_head(lstm_channels, lstm_channels, motion_channels, motion_head_relu)
        for layer in (self.content_logvar, self.motion_logvar[-1]):
            start_at(layer, initial_logvar)

    @property
    def hop(self) -> int:
        """Frames from the start of a clip to where its states are taken, which is where the next clip starts."""
        return MID_MAPS if self.config.inherit_at == "mid" else NUM_MAPS

    def initial_state(self, num_clips: int) -> RecurrentState:
        """Return the state before the first clip: zero (Alg. 3)."""

        def zeros() -> LSTMState:
            weight = self.content_mean.weight
            shape = (1, num_clips, self.config.lstm_channels)
            return weight.new_zeros(shape), weight.new_zeros(shape)

        return RecurrentState(zeros(), zeros())

    def forward(
        self, clips: Float[Tensor, "b 3 16 h w"], state: RecurrentState | None = None
    ) -> tuple[LatentSpace, RecurrentState]:
        """Encode clips in [-1, 1] after `state`; return their latent spaces and what the next clips inherit.

        Raises `UserError` for clips of another length or size.
        """
        check_clips(clips, self.config.size)
        state = state or self.initial_state(len(clips))
        frames = self._sequence(self.content_stream, clips[:, :, :-1])
        maps = self._sequence(self.motion_stream, difference_maps(clips))
        content_cell, content_state = self._run(self.content_lstm, frames, state.content)
        motion_cell, motion_state = self._run(self.motion_lstm, maps, state.motion)
        latents = LatentSpace(
            self.content_mean(content_cell),
            self.content_logvar(content_cell),
            self.motion_mean(motion_cell),
            self.motion_logvar(motion_cell),
        )
        return latents, RecurrentState(content_state, motion_state)

    def _sequence(self, stream: nn.Module, frames: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b t d"]:
        features = stream(rearrange(frames, "b c t h w -> (b t) c h w"))
        return rearrange(features, "(b t) d -> b t d", b=len(frames))

    def _run(
        self, lstm: nn.LSTM, features: Float[Tensor, "b t d"], state: LSTMState
    ) -> tuple[Float[Tensor, "b c"], LSTMState]:
        """Return the cell after the last step, and the state that the next clip inherits."""
        _, at_hop = lstm(features[:, : self.hop], state)
        last = at_hop
        if self.hop < features.shape[1]:
            _, last = lstm(features[:, self.hop :], at_hop)
        output, cell = at_hop
        inherit = self.config.inherit
        return last[1][0], (
            output if inherit in ("output", "both") else torch.zeros_like(output),
            cell if inherit in ("cell", "both") else torch.zeros_like(cell),
        )
