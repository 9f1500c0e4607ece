"""The optimizers that a player may have: AdamW, or AdamW with its moments in 8 bits."""

from __future__ import annotations

from typing import Any

import torch

from longtake.core.errors import UserError
from longtake.training.config import OptimizerConfig


def adamw_class(config: OptimizerConfig) -> Any:  # noqa: ANN401 (bitsandbytes' own class, or torch's)
    """Return the optimizer's class. Raises `UserError` if it needs bitsandbytes, which is not installed."""
    if not config.eight_bit:
        return torch.optim.AdamW
    try:
        from bitsandbytes.optim import AdamW8bit
    except (ImportError, RuntimeError, OSError) as error:  # it fails in its own ways where it finds no CUDA
        raise UserError("optimizer.eight_bit needs bitsandbytes, with CUDA: pip install bitsandbytes") from error
    return AdamW8bit


def check_optimizer(config: OptimizerConfig) -> None:
    """Raise `UserError` if this optimizer cannot be built here."""
    adamw_class(config)
