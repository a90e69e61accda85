"""Compiled programs kept on disk, so that the next process does not compile them again."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import jax

SECONDS_OF_JAX = 1.0
"""JAX keeps programs that took longer to compile, by default; hardly any of ours does."""
LEAST_TIME = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def keep_compiled(folder: str | Path | None = None) -> Path:
    """Keep compiled programs in a folder from now on, and reuse those that it holds.

    The command `prh` does this; in Python, call it before the first computation. Programs are kept however quickly they
    compile, unless `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS` sets a least time. `JAX_ENABLE_COMPILATION_CACHE=0`
    disables the cache, and `JAX_LOG_COMPILES=1` logs each program.

    Parameters
    ----------
    folder
        The folder. By default it is in the user's cache (`XDG_CACHE_HOME`, or ~/.cache), one for each kind of
        processor, because programs compiled for one can fail on another. A folder in `JAX_COMPILATION_CACHE_DIR` takes
        precedence.

    Returns
    -------
    Path
        The folder.
    """
    config: Any = jax.config
    if folder is None and config.jax_compilation_cache_dir:
        path = Path(config.jax_compilation_cache_dir)
    else:
        path = Path(folder) if folder is not None else _user_cache() / f"compiled-{_processor()}"
        config.update("jax_compilation_cache_dir", str(path))
        config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if config.jax_persistent_cache_min_compile_time_secs == SECONDS_OF_JAX and LEAST_TIME not in os.environ:
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return path


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prh_jax"


def _processor() -> str:
    """A short name of the processor's instruction set."""
    words = f"{platform.machine()} {platform.processor()}"
    try:
        with open("/proc/cpuinfo") as file:
            words = next((line for line in file if line.startswith(("flags", "Features"))), words)
    except OSError:
        pass
    return hashlib.sha256(words.encode()).hexdigest()[:12]
