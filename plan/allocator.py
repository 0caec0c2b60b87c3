"""How the C library keeps freed memory, in processes that carry long messages."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""See mallopt(3)."""
KEPT_BYTES = 64 << 20
LARGEST_KEPT = 32 << 20
"""The most that mallopt takes."""


def keep_freed_memory() -> bool:
    """Keep up to 64 MiB of what is freed, for this process, instead of giving it back to the system.

    A message travels in parts of a mebibyte, and each is taken from the system, page by page, and given back:
    up to a fifth of the time of a long message. Returns False where the C library is not glibc, and changes
    nothing there.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
