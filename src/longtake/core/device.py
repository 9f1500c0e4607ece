"""Devices by name."""

from __future__ import annotations

import torch

from longtake.core.errors import UserError


def find_device(name: str | torch.device) -> torch.device:
    """Return the device "cpu", "cuda", "cuda:1", ...; raise `UserError` if it is not there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was compiled with CUDA
        raise UserError(f"cannot use device {str(name)!r}: {' '.join(str(error).split())}") from error
    return device
