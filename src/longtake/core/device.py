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


def is_native(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 or float16 itself. Else torch emulates it, slower than float32."""
    if device.type == "cpu":
        kind = "bf16" if dtype == torch.bfloat16 else "fp16"
        return bool(getattr(torch.ops.mkldnn, f"_is_mkldnn_{kind}_supported")())  # torch has no public name for it
    return device.type != "cuda" or dtype != torch.bfloat16 or torch.cuda.is_bf16_supported(including_emulation=False)
