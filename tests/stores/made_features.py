"""Features, ids and stores that tests of stores make, and their files."""

import json

import numpy as np

from prh_jax.stores.reader import open_store

N, WIDTHS = 600, (24, 16, 24)


def make_features(dtype="float32", n=N):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, d)).astype(dtype) for d in WIDTHS]


def make_ids(n=N):
    return [f"sample/{i:04d}" for i in range(n)]


def chunk_files(store, array="features_16"):
    return sorted(p for p in (store.path / array / "c").rglob("*") if p.is_file())


def forget_contents(store):
    """The store opened as one of an earlier version, which recorded no hash of all contents."""
    root = store.path / "zarr.json"
    record = json.loads(root.read_text())
    del record["attributes"]["contents_sha256"]
    root.write_text(json.dumps(record))
    return open_store(store.path)
