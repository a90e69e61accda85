"""How the host computes while a study runs: threads of LAPACK, memory that is used again, compilers' efforts."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax

TRIM, MMAP = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
LARGEST = 1 << 28
"""Bytes of the largest block that is kept for its next use: features of a layer and what is made of them."""
USUAL = 1 << 25
"""Bytes that glibc's own threshold rises to where blocks come and go."""


def compiling_threads() -> int:
    """Programs compiled at once, beside the layers that are computed."""
    return max(1, (os.cpu_count() or 1) // 2)


def reading_threads() -> int:
    """Layers read at once, beside those that are computed."""
    return max(1, (os.cpu_count() or 1) // 4)


def quiet_blas() -> AbstractContextManager:
    """While it lasts, LAPACK runs on one thread.

    The threads of OpenBLAS, which JAX calls on a CPU, spin for a while after each call, and take a core from the
    products that come next: on two cores, SVCCA's sketch of a wide layer took 1.6 times as long.
    """
    import scipy.linalg  # noqa: F401  (only what is loaded can be limited)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


def _glibc() -> Any:
    """The C library where it is glibc, whose ways with memory can be set; else None."""
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """While it lasts, large blocks of memory that are freed stay with the process; at its end what is free goes back.

    glibc returns blocks above 32 MiB at once, and the kernel clears each page anew when the next layer comes: that took
    a seventh of a study's time. With other C libraries this does nothing.
    """
    if not (libc := _glibc()):
        yield
        return
    libc.mallopt(MMAP, LARGEST)
    libc.mallopt(TRIM, 2 * LARGEST)
    try:
        yield
    finally:
        libc.mallopt(MMAP, USUAL)
        libc.mallopt(TRIM, 2 * USUAL)
        libc.malloc_trim(0)


def compile_quickly(lowered: Any) -> Any:
    """Compile a program of which there will be many, one a width: on a CPU without the emitters of fused loops.

    Those take half of the compiler's time, and what they make of products and reductions is no faster.
    """
    if jax.default_backend() == "cpu":
        try:
            return lowered.compile(compiler_options={"xla_cpu_use_fusion_emitters": False})
        except jax.errors.JaxRuntimeError as error:
            if "xla_cpu_use_fusion_emitters" not in str(error):
                raise
    return lowered.compile()
