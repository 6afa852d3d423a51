"""The C library's allocator, told to keep little of what was freed, so that the process is as large as what it holds.

By default it has an arena for each thread, in which large blocks stay between small ones, and after the first large
block that is freed it takes others of this size from there, too (mallopt(3)). Other C libraries have no mallopt.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 256 * 1024
"""Blocks from this size on are mapped each by itself, and given back to the kernel at once."""
_KEPT_BYTES = 4 * 1024 * 1024
"""Free at the end of the heap, so that small blocks do not move it to and fro."""
_ARENAS_MAX = 2

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_little() -> None:
    """Before other threads run: arenas that there are stay."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_ARENA_MAX, _ARENAS_MAX)
        set_option(_M_MMAP_THRESHOLD, LARGE_BYTES)
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back() -> None:
    """To the kernel, whatever is freed and still kept (malloc_trim(3))."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
