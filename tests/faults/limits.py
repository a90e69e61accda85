"""Disks that are full or may not be written, as the system would say it."""

import builtins
import contextlib
import io
import os
import resource
from pathlib import Path

import pytest


class Writes:
    """Opens below a folder that write: how many there were, and from which on they fail."""

    def __init__(self, folder, fails=None, code=0):
        self.folder, self.fails, self.code, self.count = str(folder), fails, code, 0

    @contextlib.contextmanager
    def watched(self):
        """With `fails`, that open and all later ones end with the error of the code: a full disk stays full."""
        whole = io.open

        def opened(file, mode="r", *args, **options):
            writes = isinstance(file, str | Path) and str(file).startswith(self.folder) and set(mode) & set("wxa+")
            if writes:
                self.count += 1
                if self.fails is not None and self.count >= self.fails:
                    raise OSError(self.code, os.strerror(self.code), str(file))
            return whole(file, mode, *args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            yield self


@contextlib.contextmanager
def largest_file(size):
    """No file grows beyond so many bytes: a write fails halfway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
