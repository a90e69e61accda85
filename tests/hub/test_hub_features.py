"""Features that lie on a hub: stores that are read where they are, and tables that are imported."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prh_jax import load_alignment, open_store

ROWS, LAYERS = 20, ("a", "b")


def test_a_table_of_features_becomes_a_store(hub, online):
    features = {name: np.random.default_rng(i).normal(size=(ROWS, 6)) for i, name in enumerate(LAYERS)}
    buffer = io.BytesIO()
    table = {"key": [f"s{i}" for i in range(ROWS)], **{name: list(layer) for name, layer in features.items()}}
    pq.write_table(pa.table(table), buffer)
    hub.put("datasets", "lab/activations", {"data/train-00000-of-00001.parquet": buffer.getvalue()}, "v1")
    line = "import lab/activations@v1 -o imported.zarr --modality brain --pool mean --model mine --id-column key"
    done = online.run(f"{line} --key a b")
    assert done.status == 0, done.err
    store = open_store(online.folder / "imported.zarr")
    assert list(store.ids) == table["key"]
    for i, name in enumerate(LAYERS):
        np.testing.assert_allclose(store.read_layer(i), features[name], rtol=1e-6)
    refused = online.run(line.replace("@v1", "@v2"))
    assert refused.status == 2 and "lab/activations has no revision 'v2'; it has v1." in refused.err


def test_a_store_is_aligned_where_it_lies(hub, online):
    pytest.importorskip("fsspec")
    line = "extract --dataset emoji_1024 --num-samples 24 --output-dir classical --model hog color_histogram"
    assert online.run(line).status == 0
    hog, colors = (online.folder / f"classical/emoji_1024/{name}_pool-none.zarr" for name in ("hog", "color_histogram"))
    files = {f"hog.zarr/{p.relative_to(hog)}": p.read_bytes() for p in sorted(hog.rglob("*")) if p.is_file()}
    hub.put("datasets", "lab/stores", files)
    for where, name in ((hog, "here"), ("hf://datasets/lab/stores/hog.zarr", "there")):
        done = online.run(f"align --x {where} --y {colors} --metric cka -o {name}.zarr")
        assert done.status == 0, done.err
    here, there = (load_alignment(online.folder / f"{name}.zarr") for name in ("here", "there"))
    np.testing.assert_array_equal(here.scores("cka"), there.scores("cka"))
