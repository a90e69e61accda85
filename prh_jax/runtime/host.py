"""Settings of the host for a study: threads, memory that the process keeps, and options of the compiler."""

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

TRIM, MMAP = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
LARGEST, USUAL = 1 << 28, 1 << 25
"""Bytes of the largest block that the process keeps, and of the threshold that glibc reaches by itself."""


def cores() -> int:
    """Number of cores that this process may use; a scheduler may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiling_threads() -> int:
    """Number of programs to compile at once, while other threads compute layers."""
    return max(1, cores() // 2)


def reading_threads() -> int:
    """Number of layers to read at once, while other threads compute layers."""
    return max(1, cores() // 4)


@functools.cache
def _blas() -> Any:
    """A controller of the threads of all loaded BLAS libraries."""
    import scipy.linalg  # noqa: F401  (the one that JAX calls)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_lock = threading.Lock()
_quiet: list[Any] = []
_held = False

CHOSEN_BY_USER = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that set the number of threads of OpenBLAS."""


def hold_blas() -> None:
    """Set LAPACK to one thread from now on, in the library that JAX calls on a CPU.

    A jitted metric runs inside the user's program, where `quiet_blas` cannot surround it. The threads of OpenBLAS spin
    while they wait for each other. Next to a process that kept one of two cores busy, a decomposition of 0.8 s took up
    to 22 s. numpy's own copy of the library keeps its threads. If the environment sets a number of threads, nothing
    changes.
    """
    global _held
    if _held or any(os.environ.get(name) for name in CHOSEN_BY_USER) or jax.default_backend() != "cpu":
        return
    with _lock:
        _held = True
        if not _quiet:
            _limit_scipy()


def _limit_scipy() -> None:
    """Set scipy's own copy of BLAS, from which JAX takes LAPACK, to one thread, unless numpy shares that copy."""
    import scipy

    package = Path(scipy.__file__).parent
    folders = {package, package.with_name("scipy.libs")}
    own = [found.filepath for found in _blas().lib_controllers if folders & set(Path(found.filepath).parents)]
    _blas().select(filepath=own).limit(limits=1)


@contextlib.contextmanager
def quiet_blas() -> Iterator[None]:
    """Run LAPACK on one thread within this context.

    JAX calls OpenBLAS on a CPU. Its threads spin for a while after each call, and take a core from the next products:
    on two cores, SVCCA's sketch of a wide layer took 1.6 times as long. Next to another busy process the threads wait
    for each other, and a singular value decomposition took up to thirty times as long.
    """
    with _lock:
        _quiet.append(_blas().limit(limits=1, user_api="blas") if not _quiet else None)
    try:
        yield
    finally:
        with _lock:
            limits = _quiet.pop(0)
            if _quiet:  # of calls in several threads the last one gives the threads back
                _quiet[0] = limits
            else:
                limits.restore_original_limits()
                if _held:
                    _limit_scipy()


_holders = 0


@contextlib.contextmanager
def kept_memory(budget: int | None = None) -> Iterator[None]:
    """Keep freed blocks of memory in the process within this context, each of at most an eighth of a budget of bytes.

    By default, glibc returns blocks above 32 MiB to the system at once, and the kernel clears each page again for the
    next layer, which took a seventh of the time of a study. Threads other than the first keep blocks of at most 64 MiB.
    At the end, free memory returns to the system, and the thresholds become those that glibc reaches by itself. Nothing
    changes if the environment sets them (`MALLOC_TRIM_THRESHOLD_` and similar variables), or with another C library.
    """
    libc = _glibc()
    if libc is None or _set_by_user():
        yield
        return
    global _holders
    largest = max(USUAL, min(LARGEST, (budget or 8 * LARGEST) // 8))
    with _lock:
        _holders += 1
        if _holders == 1:
            _set_thresholds(libc, largest)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _set_thresholds(libc, USUAL)
                libc.malloc_trim(0)


def _glibc() -> Any:
    """The C library if it is glibc, whose thresholds can be set; None otherwise."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
    known = all(hasattr(libc, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim"))
    return libc if known else None


def _set_by_user() -> bool:
    return "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "") or any(
        name.startswith("MALLOC_") and name.endswith("_") for name in os.environ
    )


def _set_thresholds(libc: Any, largest: int) -> None:
    if not libc.mallopt(MMAP, largest):  # older versions of glibc refuse more than 32 MiB
        libc.mallopt(MMAP, largest := USUAL)
    libc.mallopt(TRIM, 2 * largest)


QUICK = {"xla_cpu_use_fusion_emitters": False}
"""Options for studies, which compile many programs, one for each width: no emitters of fused loops on a CPU. The
emitters take half of the compiler's time, and do not make products and reductions faster."""


def compile_quickly(lowered: Any, platform: str) -> Any:
    """Compile a program with the options `QUICK`, if the compiler knows them."""
    if platform == "cpu":
        try:
            return lowered.compile(compiler_options=QUICK)
        except jax.errors.JaxRuntimeError as error:
            if not any(option in str(error) for option in QUICK):
                raise
    return lowered.compile()


def quick_jit(function: Callable[..., Any], **settings: Any) -> Callable[..., Any]:
    """Return `jax.jit(function)` with the options `QUICK` and one thread of the compiler.

    Do not call it inside another compiled program. Several threads would take more time in sum for a small program than
    one.
    """
    known = {
        "cpu": jax.jit(function, compiler_options={**QUICK, "xla_cpu_parallel_codegen_split_count": 1}, **settings)
    }
    plain = jax.jit(function, **settings)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        quick = known.get(jax.default_backend())
        if quick is not None:
            try:
                return quick(*args, **kwargs)
            except jax.errors.JaxRuntimeError as error:
                if "xla_cpu" not in str(error):
                    raise
                known.clear()  # another version of the compiler, without one of the options
        return plain(*args, **kwargs)

    return call
