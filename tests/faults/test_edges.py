"""Studies of the smallest and oddest shapes, scored and calibrated; and what stands where nothing was written."""

import numpy as np
import pytest
import zarr

from faults.subjects import make_store
from prh_jax import Null, align, load_alignment, write_features
from prh_jax.results.null_grid import NullGrid

SHAPES = {
    "n = 4, k = n - 1": (4, [3, 3], ["mutual_knn:k=3", "cka"], Null(orders=23, alpha=0.2)),
    "width 1": (30, [1, 1], ["mutual_knn:k=5", "cka"], Null(orders=20)),
    "width 100,000": (8, [100_000], ["mutual_knn:k=3", "cka"], Null(orders=20)),
    "1,000 layers": (8, [2] * 1000, ["mutual_knn:k=3", "cka"], Null(orders=20)),
    "one model of one layer": (30, [6], ["mutual_knn:k=5", "cka"], Null(orders=20)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_odd_shapes(name, ledger, tmp_path):
    n, widths, metrics, null = SHAPES[name]
    rng = np.random.default_rng(len(name))
    layers = [rng.normal(size=(n, width)).astype(np.float32) for width in widths]
    store = write_features(tmp_path / "s.zarr", layers, spec={"model": "s"}, ids=[str(i) for i in range(n)])
    result = align(store, None, metrics, output=tmp_path / "r.zarr", null=null, progress=False)
    with ledger.kind("odd shapes") as kind:
        for metric in result.metrics:
            scores = result.dataset[metric].values
            own = np.diagonal(scores)
            right = np.isfinite(scores).all() and np.allclose(own, 1, atol=1e-5) and np.array_equal(scores, scores.T)
            p = result.calibration.pairs(metric)["p"].values
            right = right and bool(((p > 0) & (p <= 1)).all())
            kind.note("unchanged" if right else "wrong", f"{name}, {metric}: {scores.ravel()[:4]}, p {p.ravel()[:4]}")
        again = load_alignment(tmp_path / "r.zarr")
        kind.judge(name, lambda: again.dataset.equals(result.dataset), True)


def fills(path):
    """What every array below a folder reads as where a chunk is gone."""
    found = {}

    def visit(group, prefix):
        for name, array in group.arrays():
            found[prefix + name] = array
        for name, inner in group.groups():
            visit(inner, f"{prefix}{name}/")

    visit(zarr.open_group(path, mode="r"), "")
    return found


def test_no_fill_value_passes_for_a_number(subjects, ledger, tmp_path):
    """Numbers are NaN or -1 where nothing was written; labels are told by hashes, and 0 marks what is not done."""
    plain = make_store(tmp_path / "one_width.zarr", 3, [4, 4])
    with ledger.kind("fill values") as kind:
        for path in (plain, subjects.mixed, subjects.result, subjects.running, subjects.growing):
            for name, array in fills(path).items():
                value = array.metadata.fill_value
                if "done" in name.split("/"):
                    right = value == 0
                elif array.dtype.kind == "f":
                    right = bool(np.isnan(value))
                elif name.split("/")[-1].startswith("depth_") or array.dtype.kind not in "iu":
                    right = True  # a label: part of a hash, and read in whole (`test_files_deleted`)
                else:
                    right = value == -1
                kind.note("unchanged" if right else "wrong", f"{path.name}/{name}: {value!r}")
    assert NullGrid((1, 2, 1, 1), (1, 1), [slice(0, 2)], {}, cells=True, path=None).reached.sum() == 0
