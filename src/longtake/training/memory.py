"""The C library's memory: what a step frees, the next one needs again."""

from __future__ import annotations

import ctypes
import sys

# the numbers of these settings in <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = -1
_MOST = 2**25  # glibc takes no more


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory, which it would give back to the system and fault in again at every step.

    Blocks above 32 MB still come and go. Other C libraries are left as they are.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_TRIM_THRESHOLD, _NEVER)
        library.mallopt(_MMAP_THRESHOLD, _MOST)
