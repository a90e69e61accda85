"""Damage done to files, each time seen to have changed something."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def files_of(path: Path) -> list[Path]:
    """Every file of a folder, or the one that the path is."""
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def copy(path: Path, folder: Path) -> Path:
    """A fresh copy of a file or folder, under its own name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target = folder / path.name
    return Path(shutil.copytree(path, target, symlinks=True) if path.is_dir() else shutil.copy2(path, target))


def flip(path: Path, rng: np.random.Generator) -> str:
    """Flip one random bit of a file; where it was."""
    data = bytearray(path.read_bytes())
    assert data, f"{path} is empty"
    at, bit = int(rng.integers(len(data))), int(rng.integers(8))
    data[at] ^= 1 << bit
    before, when = path.read_bytes(), path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))  # a disk that rots tells no time either
    assert path.read_bytes() != before
    return f"{path.name}, byte {at}, bit {bit}"


def swap(one: Path, two: Path) -> None:
    """Two files, or folders, change names."""
    aside = one.with_name(f"{one.name}.aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def link(one: Path, two: Path) -> None:
    """The first becomes a link to the second."""
    shutil.rmtree(one) if one.is_dir() else one.unlink()
    one.symlink_to(two)


def differing_pairs(paths: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Neighbours and ends of a list that hold other bytes: a swap of equal ones is none."""
    for one, two in [*itertools.pairwise(paths), *([(paths[0], paths[-1])] if len(paths) > 2 else [])]:
        if one.read_bytes() != two.read_bytes():
            yield one, two


def edit(path: Path, old: str, new: str) -> bool:
    """Replace the first of a text in a file; whether it was there."""
    text = path.read_text()
    path.write_text(text.replace(old, new, 1))
    return old in text and old != new
