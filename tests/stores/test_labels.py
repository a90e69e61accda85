"""Labels show what differs between the stores of one side."""

from pathlib import Path

import numpy as np
import pytest

from prh_jax.stores.labels import label_stores
from prh_jax.stores.memory import MemoryStore

HASHES = [f"{i:x}" * 40 for i in range(10, 13)]


@pytest.mark.parametrize(
    "specs, expected",
    [
        ([{}, {"model": "n"}], ["m", "n"]),
        ([{}, {"random_init": 0}, {"random_init": 3}], ["m", "m [random init 0]", "m [random init 3]"]),
        ([{"revision": f"step{i}"} for i in range(10)], [f"m@step{i}" for i in range(10)]),
        ([{"revision": h} for h in HASHES], ["m@aaaaaaaa", "m@bbbbbbbb", "m@cccccccc"]),
        ([{"revision": "sha256:" + "d" * 64}, {"revision": "sha256:" + "e" * 64}], ["m@dddddddd", "m@eeeeeeee"]),
        ([{"revision": "a"}, {"model": "n", "revision": "b"}], ["m", "n"]),
        ([{"pool": "mean"}, {"pool": "cls"}], ["m (mean)", "m (cls)"]),
        ([{"model": "/home/ada/run/llama"}, {"model": "./vit"}, {"model": "a/b"}], ["llama", "vit", "a/b"]),
        ([{"model": "C:\\nets\\llama"}, {"model": "~/llama-b"}], ["llama", "llama-b"]),
        ([{"model": "/run/1/last"}, {"model": "/run/2/last"}, {"model": "../x"}], ["1/last", "2/last", "x"]),
        ([{"model": "/nets/m"}, {}], ["nets/m", "m"]),
        ([{"model": "/nets/m"}, {"model": "/nets/m", "random_init": 0}], ["m", "m [random init 0]"]),
        ([{"model": "/n/m", "revision": h} for h in HASHES[:2]], ["m@aaaaaaaa", "m@bbbbbbbb"]),
        (
            [{"pool": pool, "revision": revision} for pool in ("mean", "last") for revision in "ab"],
            ["m@a (mean)", "m@b (mean)", "m@a (last)", "m@b (last)"],
        ),
        (
            [{"pool": "mean", "prompt": False, "layers": [0]}, {"pool": "mean", "prompt": True, "layers": [1]}],
            ["m (mean) [prompt=False]", "m (mean) [prompt=True]"],
        ),
    ],
)
def test_labels_show_what_differs(specs, expected):
    stores = [MemoryStore("m", np.ones((4, 2), np.float32)) for _ in specs]
    for store, spec in zip(stores, specs, strict=True):
        store.spec.update(spec)
        store.model = store.spec["model"]
    assert label_stores(stores) == expected


def test_stores_that_nothing_tells_apart_go_by_the_ends_of_their_paths():
    stores = [MemoryStore("m", np.full((4, 2), i, np.float32)) for i in range(2)]
    for store, folder in zip(stores, "ab", strict=True):
        store.path = Path("/home/ada/study") / folder / "m_pool-mean.zarr"
    assert label_stores(stores) == ["a/m_pool-mean.zarr", "b/m_pool-mean.zarr"]
