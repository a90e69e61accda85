"""Sizes in bytes: read, written for people, and how many a study may take."""

import os
import re

import jax

MOST = 2**63
"""Bytes beyond what any address reaches."""


def default_memory() -> int:
    """Bytes a study may take unless told: three quarters of what the device has, or half of the machine's memory."""
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
