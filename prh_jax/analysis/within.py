"""Scores of the tokens of one sample: how alike two models arrange the patches of a picture, or the words of a text."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ..engine.preprocess import Preprocess
from ..metrics.base import Metric
from ..metrics.registry import check_permutable
from ..null.orders import group_codes
from ..null.pvalues import as_close
from ..numerics.whole import check_whole
from ..sketches.base import SketchContext, Sketcher
from ..stores.checks import check_same_samples
from ..stores.reader import FeatureStore, open_store
from ..stores.tokens import check_tokens, samples_of
from .subsets import Layers, as_metric, layers_of, score_null

AT_ONCE = 2**26
"""Numbers that the samples of one call may take: features, and matrices of their tokens."""


def within_samples(
    x: Layers,
    y: Layers,
    metric: str | Metric = "cka",
    *,
    groups: Iterable[Any] | None = None,
    null: int = 0,
    seed: int = 0,
    preprocess: Preprocess | None = None,
) -> xr.Dataset:
    """Score two models on the tokens of one sample at a time, and take the mean over samples.

    The score of two layers is `mean_i metric(x_i, y_i)`, where x_i and y_i are the tokens of sample i. Neighbours are
    then other tokens of the same sample. `align(..., groups="sample", exclude_own_group=True)` does the reverse: it
    takes neighbours from other samples alone.

    Parameters
    ----------
    x, y
        Features (n, d) of one layer, a sequence of layers, or a store of tokens or its path. Row i is the same token in
        both.
    metric
        Name of a metric, or a `Metric`.
    groups
        The sample of each row, (n,). If None, the ids of the stores tell it.
    null
        Number of permutations, for p-values. Each permutes the tokens of y within every sample.
    seed
        Seed of the permutations.
    preprocess
        Preprocessing of the layers of a store, of all tokens together. The clipping and unit rows of `align` if None.
        Arrays are taken as they are.

    Returns
    -------
    Dataset
        `score` (layer_x, layer_y), the mean over the samples that have a score, in the range of the metric. `each`
        (layer_x, layer_y, sample), the score of each sample. It is NaN if the sample has too few tokens for the metric,
        or if its tokens are all equal in a layer. `tokens` (sample), the number of tokens. The attribute `left_out` is
        the number of samples without a score in any pair of layers. Permutations add `p` (layer_x, layer_y), at least
        1 / (1 + null), and `null` (order, layer_x, layer_y).

    Raises
    ------
    ValueError
        If rows do not match, the samples are not known, or no sample has enough tokens for the metric.

    Notes
    -----
    The permutations ask whether tokens correspond at all. Patches that are side by side are alike in every model, so
    that trained and untrained models alike have small p-values. A p-value here is no evidence for more than shared
    layout.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> x = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    >>> found = prh_jax.within_samples(x, 3 * x, "cka", groups=["a"] * 5 + ["b"] * 7)
    >>> print(f"{found['score'].item():.3f}", found["tokens"].values)
    1.000 [5 7]
    """
    check_whole(null=null, seed=seed)
    metric = as_metric(metric)
    if null:
        check_permutable({str(metric): metric})
    x, y = (open_store(z) if isinstance(z, str | Path) else z for z in (x, y))
    stores = [z for z in (x, y) if isinstance(z, FeatureStore)]
    check_tokens(stores)
    if len(stores) == 2:
        check_same_samples(str(x.path), x.ids, str(y.path), y.ids)
    if groups is None and not stores:
        raise ValueError("Arrays do not tell which rows are of one sample: give groups=, a label for each row.")
    labels = samples_of(stores) if groups is None else [str(label) for label in groups]
    (names_x, xs), (names_y, ys) = (layers_of(z, preprocess) for z in (x, y))
    lengths = {len(layer) for layer in (*xs, *ys)}
    if lengths != {len(labels)} or not labels:
        raise ValueError(
            f"All layers need the same tokens, row by row: there are layers of {sorted(lengths)} rows, and "
            f"{len(labels)} labels of samples."
        )
    codes = np.array(group_codes(labels, len(labels)))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    each, chance = _scores(metric, xs, ys, members, null, seed)
    scored = ~np.isnan(each)
    dims = ("layer_x", "layer_y")
    coords = {"layer_x": names_x, "layer_y": names_y, "sample": list(dict.fromkeys(labels))}
    with np.errstate(invalid="ignore"):  # no sample has a score: NaN
        score = np.nansum(each, axis=2) / scored.sum(axis=2)
    table: dict[str, Any] = {
        "score": (dims, score),
        "each": ((*dims, "sample"), each),
        "tokens": ("sample", [len(rows) for rows in members]),
    }
    if null:
        sign = 1 if metric.larger_is_closer else -1
        p = (1 + as_close(sign * chance, sign * score).sum(axis=0)) / (1 + null)
        table["p"] = (dims, np.where(np.isnan(score), np.nan, p))
        table["null"] = (("order", *dims), chance)
    left_out = int((~scored.any(axis=(0, 1))).sum())
    return xr.Dataset(table, coords=coords, attrs={"metric": str(metric), "left_out": left_out})


def _scores(
    metric: Metric, xs: list[Any], ys: list[Any], members: list[np.ndarray], null: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (x, y, samples), and the mean over samples of each permutation (orders, x, y).

    Samples of equally many tokens are scored in one program, a few at a time.
    """
    each = np.full((len(xs), len(ys), len(members)), np.nan)
    chance, done = np.zeros((null, len(xs), len(ys))), np.zeros((len(xs), len(ys)), int)
    widths = tuple(sorted({layer.shape[1] for layer in (*xs, *ys)}))
    refused, tried = None, False
    counts = np.array([len(rows) for rows in members])
    for count in np.unique(counts):
        try:
            sketcher = metric.sketcher.specialise(SketchContext(int(count), widths))
            for layer in (*xs, *ys):
                jax.eval_shape(sketcher, jax.ShapeDtypeStruct((int(count), layer.shape[1]), layer.dtype))
        except ValueError as error:  # too few tokens for the metric
            refused = error
            continue
        chosen = np.flatnonzero(counts == count)
        size = count * (sum(layer.shape[1] for layer in (*xs, *ys)) + (len(xs) + len(ys)) * count * (1 + min(null, 8)))
        step = int(min(len(chosen), max(1, AT_ONCE // size)))
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            filled = np.resize(part, step)  # of one shape: a program takes longer to compile than to run
            rows = np.stack([members[i] for i in filled])
            orders = np.stack([_orders(int(count), null, seed, int(i)) for i in filled])
            left, right = (_sketches(tuple(layer[rows] for layer in side), sketcher=sketcher) for side in (xs, ys))
            found, permuted = _compared(left, right, orders, metric=metric)
            scores, permuted = np.asarray(found)[: len(part)], np.asarray(permuted, np.float64)[: len(part)]
            each[:, :, part] = np.moveaxis(scores, 0, 2)
            scored = ~np.isnan(scores)  # not where tokens are all equal, which would make the mean NaN
            chance += np.where(scored[:, None], permuted, 0).sum(axis=0)
            done += scored.sum(axis=0)
            tried = True
    if not tried and refused is not None:
        raise ValueError(f"No sample has enough tokens (at most {counts.max()}) for {metric}: {refused}") from refused
    with np.errstate(invalid="ignore"):
        return each, chance / done


def _orders(count: int, null: int, seed: int, sample: int) -> np.ndarray:
    """Orders (null, tokens) of the tokens of a sample."""
    random = np.random.default_rng([seed, sample])
    return random.permuted(np.tile(np.arange(count, dtype=np.int32), (null, 1)), axis=1)


@partial(jax.jit, static_argnames=("sketcher",))
def _sketches(layers: tuple[Any, ...], *, sketcher: Sketcher) -> Any:
    """Sketches of all samples (samples, tokens, d) of all layers, stacked: leaves (samples, layers, ...)."""
    found = [jax.vmap(sketcher)(layer) for layer in layers]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *found)


def _compared(left: Any, right: Any, orders: Any, *, metric: Metric) -> tuple[Any, Any]:
    """Scores (samples, x, y), and those of permuted tokens (samples, orders, x, y)."""
    if metric.tile_kernel.on_host:
        left, right = jax.tree.map(np.asarray, (left, right))

        def sample(i: int) -> tuple[Any, Any]:
            a, b = (jax.tree.map(lambda z: z[i], side) for side in (left, right))
            return score_null(a, b, orders[i], metric=metric)

        scores, permuted = zip(*map(sample, range(len(orders))), strict=True)
        return np.stack(scores), np.stack(permuted)
    return _compiled(left, right, orders, metric=metric)


@partial(jax.jit, static_argnames=("metric",))
def _compiled(left: Any, right: Any, orders: Any, *, metric: Metric) -> tuple[jax.Array, jax.Array]:
    """Scores (samples, x, y), and those of permuted tokens (samples, orders, x, y)."""
    if not orders.shape[1]:
        scores = jax.vmap(metric.tile_kernel.tile)(left, right)
        return scores, jnp.zeros((len(scores), 0, *scores.shape[1:]))
    return jax.vmap(partial(score_null, metric=metric))(left, right, orders)
