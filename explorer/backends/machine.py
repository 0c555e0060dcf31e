"""This machine: its processor, how much memory it has and has free, and giving some back."""

import ctypes
import platform
import sys
from contextlib import suppress
from pathlib import Path

import psutil

M_ARENA_MAX = -8  # of malloc.h

# A container's limit, by version of Linux' control groups; the machine around it may have more.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def total_memory() -> int:
    """Bytes of memory that this process may use."""
    total = int(psutil.virtual_memory().total)
    for path in _LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max"
            total = min(total, int(path.read_text()))
    return total


def free_memory() -> int:
    return int(psutil.virtual_memory().available)


def use_few_heaps() -> None:
    """Let threads share two heaps.

    GNU's C library makes up to eight for each core, and what one thread frees in its own, a
    KV cache say, no other can use. Only before there are threads does this have an effect.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library other than GNU's
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def give_back() -> None:
    """Return to the system what the C library keeps of freed memory for later."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library other than GNU's
            ctypes.CDLL(None).malloc_trim(0)


def processor() -> str:
    """What the processor calls itself, or at least its kind."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
