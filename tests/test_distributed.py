"""One study by several processes that each hold some of the samples: what one process finds."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

import prh_jax
from prh_jax import Preprocess
from prh_jax.preprocess import Part


def processes(count, work):
    """`work(i, stacked)` by as many threads, `stacked` bringing together what each has of an array."""
    barrier, given = Barrier(count), [None] * count

    def run(i):
        def stacked(array):
            given[i] = array
            barrier.wait()
            longest = max(map(len, given))
            filled = [np.pad(a, [(0, longest - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in given]
            barrier.wait()
            return np.stack(filled)

        return work(i, stacked)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("widths", [(9, 9), (7, 12)])
def test_thresholds_of_parts_are_those_of_all_rows(tmp_path, exact, dtype, widths):
    rng = np.random.default_rng(0)
    n = 700
    layers = [rng.normal(size=(n, d)).astype(np.float32) * 3.0 ** rng.integers(-4, 4, size=(n, 1)) for d in widths]
    ids = [str(i) for i in range(n)]
    store = prh_jax.write_features(tmp_path / "a.zarr", layers, ids=ids, spec={"model": "a"}, dtype=dtype)
    preprocess = Preprocess(0.9, exact=exact)
    expected = preprocess.thresholds(store)
    edges = [0, 300, 300, 513, n]  # one holds nothing

    def found(i, stacked):
        rows = slice(edges[i], edges[i + 1])
        held = [store.read_layer(layer, rows) for layer in range(len(widths))] if i % 2 else None
        return preprocess.thresholds(store, held, memory=1 << 12, part=Part(rows, stacked))

    for thresholds in processes(4, found):
        np.testing.assert_array_equal(thresholds, expected)
