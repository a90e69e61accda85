"""How alignment changes as the gallery grows in which neighbours are sought, with one caption per image or several."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtri

from ..engine.preprocess import Preprocess
from ..null.orders import group_codes
from ..numerics.whole import check_whole, is_whole
from ..runtime.progress import progress_bar
from ..stores.memory import MemoryStore
from ..stores.pairing import Pair, pair_samples
from ..stores.reader import open_stores
from ..stores.source import ModelSource
from ..stores.url import Url
from .nested_lists import NestedGalleries

QUERIES = 1024
"""Samples that are asked about by default."""


def curve_over_gallery(
    x: Any,
    y: Any,
    sizes: Any = None,
    *,
    k: int = 10,
    queries: int | None = None,
    pair: Pair = "exact",
    captions: Any = None,
    depths: tuple[int, int] = (-1, -1),
    preprocess: Preprocess | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: bool | None = None,
) -> xr.Dataset:
    """Compute mutual kNN of some samples against galleries of growing size, up to millions of samples.

    `score(n) = mean over queries of |N_x(i) & N_y(i)| / k`, with N(i) the k rows of largest cosine with row i in a
    gallery of n samples. The galleries contain one another and the queries, in an order from the seed. The features
    are read once, a block of rows at a time, and no list of all samples is made.

    Parameters
    ----------
    x, y
        Features (n, d) of one layer, a list or mapping of layers, or a feature store or its path.
    sizes
        Numbers of samples in the galleries, a list. If None, all samples, a quarter of them, a sixteenth, and so on,
        while at least 100 k are left.
    k
        Number of neighbours.
    queries
        Number of samples whose neighbours are compared, at most the smallest size. 1024 or the smallest size if None.
    pair
        As in `align`: {"x": ids}, the image of each row of x, if x has many rows for one of y. Samples are then
        images. All captions of an image are in a gallery if the image is, and none is a neighbour of another.
    captions
        Numbers of captions of each image that are used, the first in the order of rows: (1, 5) gives two curves. All
        if None.
    depths
        Layer of either side, by position.
    preprocess
        Preprocessing of stores; as in `align` if None. Arrays are taken as they are. Rows are divided by their length.
    confidence
        Coverage of the intervals.
    seed
        Seed of the order in which galleries grow.
    progress
        False shows no progress bar. If None, it is shown on a terminal.

    Returns
    -------
    Dataset
        `score`, `standard_error`, `low`, `high` and `chance` by captions and n, the number of samples in the gallery.
        Intervals are those over queries, whole images at a time. They do not contain that another gallery would give
        another score, and cover less where the gallery is not much larger than the queries. `chance` is the expected
        score of a random pairing: k divided by the number of rows that can be neighbours.

    Raises
    ------
    ValueError
        If a size, k or another setting is out of range.
    StoreError
        If features are missing, not finite, or not of the same samples.

    References
    ----------
    Koepke et al. 2026, arXiv:2604.18572.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> latent = rng.normal(size=(4000, 8))
    >>> x, y = (latent @ rng.normal(size=(8, 20)) + rng.normal(size=(4000, 20)) for _ in range(2))
    >>> curve = prh_jax.curve_over_gallery(x, y, [250, 1000, 4000], queries=250, progress=False)
    >>> print(curve["score"].values.round(2))
    [[0.4  0.29 0.19]]
    """
    _check_lists(k=[k], queries=[queries or 0], sizes=sizes, captions=captions, depths=depths)
    check_whole(seed=seed)
    given = [_store(z, name) for z, name in ((x, "x"), (y, "y"))]
    paired = pair_samples([given[0]], [given[1]], pair)
    stores = (paired.xs[0], paired.ys[0])
    rows = stores[0].n
    names = paired.groups(None)
    groups = np.arange(rows) if names is None else np.array(group_codes(names, rows))
    counts = np.bincount(groups)
    chosen = _captions(captions, names is not None, counts)
    n = len(counts)
    sizes = _sizes(sizes, n, k)
    asked = min(QUERIES, sizes[0]) if queries is None else queries
    if not 2 <= asked <= sizes[0]:
        raise ValueError(
            f"The queries are from 2 to {sizes[0]} samples, those of the smallest gallery; got {asked}. "
            "Ask for fewer, or leave out the smallest size."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is between 0 and 1, got {confidence!r}.")
    layers = [_layer(store, depth, side) for store, depth, side in zip(stores, depths, "xy", strict=True)]
    thresholds = [_threshold(*each, preprocess) for each in zip(given, layers, strict=True)]
    place = np.random.default_rng(seed).permutation(n)
    nth = _nth_of_group(groups)
    points = []
    quiet = None if progress is None else not progress
    with progress_bar("reading", "rows", 2 * rows * len(chosen), quiet=quiet, leave=False, delay=1) as bar:
        for count in chosen:
            position = np.where(nth < count, place[groups], -1)
            first = np.flatnonzero((position >= 0) & (position < asked))
            galleries = NestedGalleries(groups, position, np.array(sizes), first)
            _check_k(k, sizes[0], galleries)
            a, b = (
                galleries.lists(store, layer, k, threshold, bar.update)
                for store, layer, threshold in zip(stores, layers, thresholds, strict=True)
            )
            points.append(_points(a, b, galleries, confidence))
    found = xr.concat(points, dim="captions").assign_coords(captions=chosen, n=list(sizes))
    return found.assign_attrs(k=k, queries=asked, seed=seed, confidence=confidence)


def _check_lists(**settings: Any) -> None:
    """ValueError naming the first setting that is no whole number, or no list of them."""
    for name, values in settings.items():
        listed = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        if values is not None and not (listed and all(map(is_whole, values))):
            raise ValueError(
                f"{name} is made of whole numbers, got {values if not listed or len(values) > 1 else values[0]!r}; "
                "sizes=, captions= and depths= are lists of them."
            )


def _store(features: Any, name: str) -> ModelSource:
    """The layers of one side as a store."""
    if isinstance(features, str | Path | Url | ModelSource):
        return open_stores(features)[0]
    return MemoryStore(name, features)


def _layer(store: ModelSource, depth: int, side: str) -> int:
    """The position of a layer, counted from the first; ValueError if there is no such layer."""
    count = len(store.layers)
    if not -count <= depth < count:
        raise ValueError(f"There is no layer {depth} of {side}, which has {count} layers. Choose another in depths=.")
    return depth % count


def _threshold(store: ModelSource, layer: int, preprocess: Preprocess | None) -> float:
    """Magnitude at which a layer is clipped; infinite for arrays."""
    return (
        float("inf") if isinstance(store, MemoryStore) else float((preprocess or Preprocess()).thresholds(store)[layer])
    )


def _sizes(sizes: Sequence[int] | None, n: int, k: int) -> list[int]:
    """Sizes of galleries in ascending order; ValueError unless there are that many samples."""
    if sizes is None:
        found = [n]
        while found[-1] // 4 >= 100 * k:
            found.append(found[-1] // 4)
        return found[::-1]
    found = sorted({int(size) for size in sizes})
    if not found or found[0] < 4 or found[-1] > n:
        raise ValueError(f"Sizes are numbers of samples from 4 to {n}, got {list(sizes)!r:.100}.")
    return found


def _captions(captions: Sequence[int] | None, paired: bool, counts: np.ndarray) -> list[int]:
    """Numbers of rows of each sample that are used; ValueError unless samples have several."""
    most = int(counts.max())
    if captions is None:
        return [most]
    found = [int(count) for count in captions]
    if not paired or not found or not all(1 <= count <= most for count in found):
        raise ValueError(
            f"captions= are numbers from 1 to {most}, the most rows of one sample, and need pair={{...}}; "
            f"got {list(captions)!r:.100}."
        )
    return found


def _check_k(k: int, size: int, galleries: NestedGalleries) -> None:
    """ValueError unless each query has k rows of other samples in the smallest gallery."""
    inside = galleries.group[(galleries.position >= 0) & (galleries.position < size)]
    least = len(inside) - int(np.bincount(inside).max())
    if not 1 <= k <= least:
        raise ValueError(
            f"The gallery of {size} samples leaves a query {least} rows of others to choose k = {k} neighbours from. "
            "Choose a smaller k, or larger sizes."
        )


def _nth_of_group(groups: np.ndarray) -> np.ndarray:
    """How many rows of its group come before each row."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered)
    nth = np.empty(len(groups), np.int64)
    nth[order] = np.arange(len(groups)) - first
    return nth


def _points(a: np.ndarray, b: np.ndarray, galleries: NestedGalleries, confidence: float) -> xr.Dataset:
    """Scores of all sizes, from the lists of both sides (sizes, queries, k)."""
    k = a.shape[2]
    # a number that is in both lists stands next to itself
    both = np.sort(np.concatenate([a, b], axis=2), axis=2)
    shared = (both[..., 1:] == both[..., :-1]).sum(axis=2) / k
    group = galleries.group[galleries.queries]
    _, code = np.unique(group, return_inverse=True)
    rows = np.bincount(code)
    score = shared.mean(axis=1)
    # of a ratio of sums over images: images are drawn, not captions
    apart = np.stack([np.bincount(code, weights=each - mean) for each, mean in zip(shared, score, strict=True)])
    error = np.sqrt((apart**2).sum(axis=1) * len(rows) / (len(rows) - 1)) / rows.sum()
    reach = ndtri((1 + confidence) / 2) * error
    others = []
    for size in galleries.sizes:
        inside = np.bincount(galleries.group[(galleries.position >= 0) & (galleries.position < size)])
        others.append(np.mean(k / (inside.sum() - inside[group])))
    values = {
        "score": score,
        "standard_error": error,
        "low": np.maximum(score - reach, 0),
        "high": np.minimum(score + reach, 1),
        "chance": np.array(others),
    }
    return xr.Dataset({name: ("n", value) for name, value in values.items()})
