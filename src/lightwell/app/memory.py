"""The allocator of processes that handle megabytes at a time.

glibc gives big buffers back to the system and takes them again at every frame: that halves the throughput
of frames over HTTP, and costs a pack and its proof system time in the process that writes it.
"""

from __future__ import annotations

import contextlib
import ctypes

# Numbers of <malloc.h>: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_TOP_PAD.
_MALLOC = ((-1, 64 << 20), (-3, 32 << 20), (-2, 16 << 20))


def keep_memory() -> None:
    """Tune the allocator; on another C library there is nothing to tune."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for number, value in _MALLOC:
            mallopt(number, value)
