"""Stores, archives and results as version 0.1.0 of 2026-11-27 left them: run once with it, and a folder to make."""

import json
import sys
from pathlib import Path

import numpy as np
from prh_jax.feature_store import Layer
from prh_jax.feature_writer import open_writer
from prh_jax.null_store import NullGrid
from prh_jax.score_grid import ScoreGrid

import prh_jax
from prh_jax import archive, engine, null_study

METRICS = ["mutual_knn", "cka", "cknna"]


class Stop(Exception):
    pass


def stopping(put, after):
    calls = []

    def wrapped(*args, **options):
        calls.append(1)
        if len(calls) > after:
            raise Stop
        return put(*args, **options)

    return wrapped


root = Path(sys.argv[1])
root.mkdir()
rng = np.random.default_rng(16)
n = 32
latent = rng.normal(size=(n, 6))
stores = {}
for name, widths, dtype in (("one", (8, 8, 8), "float32"), ("two", (9, 12), "bfloat16"), ("three", (5,), "float16")):
    layers = [latent @ rng.normal(size=(6, w)) + rng.normal(size=(n, w)) for w in widths]
    stores[name] = prh_jax.write_features(
        root / f"{name}.zarr",
        layers,
        ids=[f"s{i}" for i in range(n)],
        spec={"model": name, "modality": "vision", "pool": "mean", "random_init": 0 if name == "two" else None},
        dtype=dtype,
    )
archive.pack(root / "three.zarr", root / "three.zarr.zip")

writer = open_writer(
    root / "unfinished.zarr",
    spec={"model": "unfinished", "pool": "mean"},
    ids=[f"s{i}" for i in range(260)],
    layers=[Layer("first", 4), Layer("second", 3)],
)
features = [rng.normal(size=(260, w)).astype("float32") for w in (4, 3)]
writer.write_block(0, [f[:256] for f in features])
np.savez(root / "unfinished.npz", *features)

engine.TILE = 2
null_study.BLOCK = 5
null = prh_jax.Null(orders=20, seed=3, cells=True)
xs, ys = [stores["one"].path, stores["two"].path], [stores["three"].path, stores["two"].path]
whole = prh_jax.align(xs, ys, METRICS, output=root / "whole.zarr", null=null, progress=False)
prh_jax.align(xs, metrics=METRICS, output=root / "itself.zarr", null=prh_jax.Null(orders=20, seed=3), progress=False)

put = ScoreGrid.put
ScoreGrid.put = stopping(put, 4)
try:
    prh_jax.align(xs, ys, METRICS, output=root / "tiles.zarr", progress=False)
except Stop:
    ScoreGrid.put = put
put = NullGrid.put
NullGrid.put = stopping(put, 6)
try:
    prh_jax.align(xs, ys, METRICS, output=root / "null.zarr", null=null, progress=False)
except Stop:
    NullGrid.put = put

expected = {key: whole.dataset[key].values for key in METRICS}
for key in METRICS:
    pairs = whole.calibration.pairs(key)
    expected |= {f"{key}/{name}": pairs[name].values for name in pairs.data_vars}
    expected[f"{key}/null_cell"] = whole.calibration.cells(key)["null_cell"].values
np.savez(root / "expected.npz", **expected)
(root / "versions.json").write_text(json.dumps(whole.protocol["versions"]))
