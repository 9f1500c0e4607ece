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


def choose_device(name: str | torch.device | None) -> torch.device:
    """Return the device of this name; for None a GPU if there is one, else the CPU. Raises `UserError`."""
    return find_device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
