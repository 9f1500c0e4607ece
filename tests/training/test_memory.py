"""What stays in a process' memory of what it has freed, as the system counts it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

MB_KEPT = """
import os
from pathlib import Path
import torch
from longtake.training.memory import keep_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
{call}
torch.ones(1)
before = resident()
blocks = [torch.ones(5 * 2**20) for _ in range(8)]
assert resident() - before > 150
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc"
)
def test_freed_memory_stays_with_the_process() -> None:
    given_back, kept = (
        float(subprocess.check_output([sys.executable, "-c", MB_KEPT.format(call=call)]))
        for call in ("", "keep_freed_memory()")
    )
    assert given_back < 50
    assert kept > 150
