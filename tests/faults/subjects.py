"""What the battery damages: stores, results, nulls, caches and archives, and how all of each is read."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prh_jax import Null, align, calibrate, load_alignment, open_store
from prh_jax.results.null_grid import NullGrid
from prh_jax.results.score_grid import ScoreGrid
from prh_jax.results.storage import digest
from prh_jax.stores.archive import pack, unpack
from prh_jax.stores.layout import Layer
from prh_jax.stores.writer import open_writer

N = 300
"""Two blocks of samples."""
IDS = [f"s{i}" for i in range(N)]
METRICS = ["mutual_knn", "cka"]
NULL = Null(orders=80, seed=1, stop_after=3, cells=True)


@dataclass(frozen=True)
class Subject:
    """Something on disk, and what becomes of it when it is used: read in whole, or gone on with."""

    path: Path
    use: Callable[[Path], Any]

    def used(self, folder: Path) -> Any:
        """What an undamaged copy gives."""
        from faults.damage import copy

        return self.use(copy(self.path, folder))


class Stop(BaseException):
    """Ends a study on its way, as a kill does."""


def layers_of(seed: int, widths: list[int], n: int = N) -> list[np.ndarray]:
    """Layers that share a latent with those of all other seeds."""
    rng, latent = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(n, 4))
    made = [latent @ rng.normal(size=(4, d)) + rng.normal(size=(n, d)) for d in widths]
    return [layer.astype(np.float32) for layer in made]


def make_store(path: Path, seed: int, widths: list[int], *, blocks: int | None = None, dtype: str = "float32") -> Path:
    """A store with a loss for each sample; of some blocks only, if asked."""
    layers = [Layer(f"layer_{i}", width) for i, width in enumerate(widths)]
    writer = open_writer(
        path,
        spec={"model": path.stem, "pool": "mean"},
        ids=IDS,
        layers=layers,
        dtype=dtype,
        sample_arrays={"loss": "float32"},
    )
    features, loss = layers_of(seed, widths), np.random.default_rng(seed).normal(size=N).astype(np.float32)
    for block, rows in enumerate(writer.blocks[:blocks]):
        if block in writer.pending():
            writer.write_block(block, [f[rows] for f in features], loss=loss[rows])
    if blocks is None and not writer.complete:
        writer.finish(result={"loss": 1.5})
    return path


def store_contents(path: Path) -> str:
    """A hash of all that a store tells a reader; its `env` (seconds, machines) is not part of it."""
    store = open_store(path).require_complete()
    found = hashlib.sha256(repr((store.spec, store.ids, store.layers, str(store.dtype), store.result)).encode())
    for layer in range(len(store.layers)):
        found.update(store.read_layer(layer).tobytes())
    for name in store.sample_array_names:
        found.update(name.encode() + store.sample_array(name).tobytes())
    found.update(store.checksum().encode())
    return found.hexdigest()


def _values(dataset: Any) -> list[Any]:
    shapes = [(str(name), dataset[name].dims, str(dataset[name].dtype)) for name in sorted(dataset.variables, key=str)]
    return [shapes, digest(dataset)]


def result_contents(result: Any) -> str:
    """A hash of scores, labels, origin and calibration, with their dimensions and types."""
    found = [_values(result.dataset), result.protocol]
    if result.calibration is not None:
        found += [_values(result.calibration.dataset), result.calibration.settings]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def scores_of(result: Any) -> list[bytes]:
    """The scores alone."""
    return [result.dataset[name].values.tobytes() for name in result.metrics]


def stopped_after(cls: type, tiles: int, call: Callable[[], Any]) -> None:
    """Make a call that stops once so many tiles, or blocks of orders, are put."""
    put, seen = cls.put, []

    def limited(self, *args, **options):
        if len(seen) == tiles:
            raise Stop
        seen.append(1)
        return put(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(cls, "put", limited)
        call()


class Subjects:
    """All subjects, made once in a folder."""

    def __init__(self, root: Path):
        self.root = root
        self.a, self.b = (make_store(root / f"{name}.zarr", seed, [5, 5]) for seed, name in enumerate("ab"))
        self.mixed = make_store(root / "mixed.zarr", 7, [5, 5, 4])
        self.result = root / "result.zarr"
        align(self.a, self.b, METRICS, output=self.result, null=NULL, sketch_cache=root / "cache", progress=False)
        self.running = root / "running.zarr"
        stopped_after(ScoreGrid, 5, lambda: self.align(self.running))
        self.growing = Path(shutil.copytree(self.result, root / "growing.zarr"))
        shutil.rmtree(self.growing / "calibration")
        stopped_after(NullGrid, 7, lambda: self.calibrate(self.growing))
        self.archive = pack(self.mixed)

    def align(self, output: Path | None, **options: Any) -> Any:
        """The study, tile by tile of one layer pair."""
        return align(self.a, self.b, METRICS, output=output, progress=False, **options)

    def calibrate(self, path: Path) -> Any:
        """The null of a result."""
        return calibrate(path, NULL, progress=False, sketch_cache=self.root / "cache")

    def all(self) -> dict[str, Subject]:
        """Every subject by its name."""
        return {
            "feature store": Subject(self.mixed, store_contents),
            "result": Subject(self.result, lambda path: result_contents(load_alignment(path))),
            "interrupted result": Subject(self.running, self._resumed),
            "interrupted null": Subject(self.growing, self._calibrated),
            "sketch cache": Subject(self.root / "cache", lambda path: scores_of(self.align(None, sketch_cache=path))),
            "archive, read": Subject(self.archive, store_contents),
            "archive, unpacked": Subject(self.archive, self._unpacked),
        }

    def _resumed(self, path: Path) -> list[bytes]:
        made = scores_of(self.align(path))
        assert scores_of(load_alignment(path)) == made
        return made

    def _calibrated(self, path: Path) -> str:
        made = result_contents(self.calibrate(path))
        assert result_contents(load_alignment(path)) == made
        return made

    @staticmethod
    def _unpacked(path: Path) -> str:
        return store_contents(unpack(path, path.with_name("unpacked.zarr")))
