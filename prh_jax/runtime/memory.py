"""Sizes in bytes: read, written for people, and how many a study may take."""

import functools
import os
import re
from pathlib import Path

import jax

MOST = 2**63
"""Bytes beyond what any address reaches."""

LEAST_ADDRESS_SPACE = 2**31
"""Bytes: with less, XLA ends the process, or waits without end, as it starts its threads, and no word says why."""


@functools.cache
def check_address_space() -> None:
    """Refuse to begin where a limit of the shell (`ulimit -v`) leaves too little for JAX; asked once a process.

    Raises
    ------
    MemoryError
        If less than `LEAST_ADDRESS_SPACE` is left, if the system reports it.
    """
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    left = limit - pages * os.sysconf("SC_PAGE_SIZE")
    if limit != resource.RLIM_INFINITY and left < LEAST_ADDRESS_SPACE:
        raise MemoryError(
            f"A limit of {size_text(limit)} of address space leaves {size_text(max(left, 0))} for JAX, which needs "
            f"{size_text(LEAST_ADDRESS_SPACE)} at the least. Raise it (ulimit -v unlimited, or the limit of the batch "
            "system), and run the same again. Nothing was changed."
        )


def default_memory() -> int:
    """Bytes a study may take by default: three quarters of what the device has, or half of the machine's memory."""
    stats = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] * 0.75)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def parse_bytes(text: str | int) -> int:
    """A number of bytes from text such as 8GiB, 500MB or 1e9."""
    number = r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+]?[0-9]+)?)"
    match = re.fullmatch(rf"\s*{number}\s*([kmgt]?)(i?)b?\s*", str(text), re.IGNORECASE | re.ASCII)
    unit = (1024 if match[3] else 1000) ** " kmgt".index(match[2].lower() or " ") if match else 0
    size = float(match[1]) * unit if match else 0.0
    if not 1 <= size < MOST:
        raise ValueError(
            "A size is written such as 8GiB, 500MB or 2000000000 (bytes), and is from 1 byte to 8 EiB (--memory, "
            f"memory=); got {str(text)[:40]!r}."
        )
    return int(size)


def size_text(count: float) -> str:
    """A number of bytes for people."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.1f} MiB"
