"""Settings that every training stage shares. Plain dataclasses: importing this loads neither torch nor diffusers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from longtake.core.errors import UserError


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up."""

    lr: float = 1e-4
    """Learning rate after warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the running mean and mean square of the gradient."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup_steps: int = 0
    """Steps over which the rate rises linearly from 0."""
    schedule: Literal["constant", "cosine"] = "constant"
    """After warm-up: keep the rate, or let it fall to 0 along a half cosine that ends at the stage's `steps`."""
    clip_norm: float | None = None
    """Largest gradient norm; longer gradients are scaled down to it."""
    eight_bit: bool = False
    """Keep the optimizer's two moments in 8 bits each, of 32: needs bitsandbytes and a CUDA device."""

    def __post_init__(self) -> None:
        _require("lr", self.lr, self.lr >= 0, "at least 0")
        _require("betas", self.betas, all(0 <= beta < 1 for beta in self.betas), "in [0, 1)")
        _require("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        _require("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, "at least 0")
        _require("clip_norm", self.clip_norm, self.clip_norm is None or self.clip_norm > 0, "above 0")


@dataclass(frozen=True)
class StageConfig:
    """What the engine needs to know of one training stage; a family's stage configs extend it."""

    steps: int = 1000
    """Optimizer steps; schedules end here."""
    batch_size: int = 8
    """Clips per step and process, accumulation included in none: one step sees batch_size x accumulation clips."""
    accumulation: int = 1
    """Batches whose gradients are averaged into one step."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The main optimizer."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the networks while training; weights stay fp32."""
    ema_decay: float | None = None
    """Decay per step of the running mean of weights that is previewed and exported; none: the weights themselves."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; one more is written at the end."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    sample_every: int = 1000
    """Steps between previews in samples/; 0: none."""
    log_every: int = 10
    """Steps between lines in metrics.jsonl."""
    num_workers: int = 0
    """Processes that decode video, per training process."""
    seed: int = 0
    """Seed of everything random in the stage."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "checkpoint_every", "keep_checkpoints", "log_every"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("sample_every", "num_workers", "seed"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        _require("ema_decay", self.ema_decay, self.ema_decay is None or 0 <= self.ema_decay < 1, "in [0, 1)")


def _require(name: str, value: object, is_allowed: bool, allowed: str) -> None:
    if not is_allowed:
        raise UserError(f"{name} is {value}, but must be {allowed}")
