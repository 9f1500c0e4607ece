"""What a device computes in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from longtake.core.device import is_native

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.is_file(), reason="only Linux lists what its processor can do")
def test_a_processor_without_wide_registers_has_no_bfloat16():
    flags = next((line.split() for line in CPUINFO.read_text().splitlines() if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("this processor lists no flags")
    native = is_native(torch.bfloat16, torch.device("cpu"))
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        assert native
    if "avx512f" not in flags and "avx_ne_convert" not in flags:
        assert not native


def test_other_devices_are_left_alone():
    assert is_native(torch.float16, torch.device("meta"))
