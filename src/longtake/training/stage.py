"""What a family hands to the engine: a stage, and the players that take turns in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from longtake.training.config import OptimizerConfig, StageConfig


class Batch(Protocol):
    """What a stage learns from at a time."""

    def to(self, device: torch.device) -> Self:
        """Return the batch with its tensors on `device`."""
        ...


B = TypeVar("B", bound=Batch)


@dataclass(frozen=True)
class Player:
    """Parameters with an optimizer of their own, such as an autoencoder or its discriminator.

    Attributes:
        name: appears in the log ("lr/<name>") and in checkpoints; unique within the stage.
        parameters: only these require gradients while the player steps; gradients still pass through the others.
        optimizer: settings of the player's AdamW.
        every: the player steps only in every such step of the stage: steps every, 2 every, ... counted from 1.
        start: first step (from 0) in which the player may step.
        undecayed: those of `parameters` that weight decay leaves alone.
    """

    name: str
    parameters: list[nn.Parameter]
    optimizer: OptimizerConfig
    every: int = 1
    start: int = 0
    undecayed: list[nn.Parameter] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.parameters, f"player {self.name!r} has no parameters"
        assert self.every >= 1, f"player {self.name!r} steps every {self.every} steps"


class Stage(ABC, Generic[B]):
    """One stage of training. The engine owns the loop; the stage says what is trained, on what, and by which loss.

    For an exact resume the stage must not carry anything from step to step outside the tensors of `modules()`.
    """

    name: str
    config: StageConfig
    preview_fps: ClassVar[float] = 25.0
    """Frames per second of the previews."""
    tell: Callable[[str], None] = staticmethod(lambda _: None)
    """What `prepare`, where it takes a while, calls with how far it is ("encoded 12 of 56 videos"); the engine sets it.
    """

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Return the trained networks by name: they are moved to the device, put in train mode and checkpointed."""

    def frozen(self) -> dict[str, nn.Module]:
        """Return networks that are only used: on the device, in eval mode, without gradients, not checkpointed."""
        return {}

    def ema(self) -> tuple[str, ...]:
        """Return the names of the `modules()` that get a running mean; by default all when `ema_decay` is set."""
        return tuple(self.modules()) if self.config.ema_decay is not None else ()

    @abstractmethod
    def players(self) -> list[Player]:
        """Return the players in the order in which they step."""

    @abstractmethod
    def batches(self, first: int, rank: int, world_size: int) -> Iterator[B]:
        """Yield batch `first`, `first + 1`, ... of this process without end; a batch has `.to(device)`.

        One step of the stage takes `config.accumulation` of them, which all its players share.
        """

    def prepare(self, device: torch.device) -> None:
        """Fill caches and statistics, after the weights are loaded and moved and before the first step.

        Called again on every resume, with the same random state: it must not touch trained parameters, and buffers
        it fills must come out the same. With several processes, rank 0's weights and buffers are sent round after it.
        """

    @abstractmethod
    def loss(self, player: str, batch: B, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a scalar loss for `player` and scalars to log by name ("train/loss_recon").

        Runs under the stage's autocast. `step` counts from 0. `generator` lives on the training device and, like
        torch's global one, is seeded from (seed, stage, rank, step, player).
        """

    def preview(self, generator: torch.Generator) -> dict[str, UInt8[np.ndarray, "n t h w 3"]]:
        """Return videos by name for samples/; called on rank 0 in eval mode with running-mean weights in place."""
        del generator
        return {}

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the finished networks into the existing, empty `folder`; running-mean weights are in place."""
