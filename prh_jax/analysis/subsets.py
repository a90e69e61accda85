"""Scores of subsets of the samples, from inner products made once: what intervals and curves are made of."""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..engine.preprocess import Preprocess
from ..metrics.base import Metric
from ..metrics.registry import parse_metric
from ..numerics.real import as_real
from ..sketches.base import SketchContext, Sketcher, Summarizer
from ..sketches.inner_products import SummarizeInnerProducts
from ..stores.checks import check_same_samples
from ..stores.reader import FeatureStore, open_store

Layers = Any
"""Features (n, d) of one layer, a list of layers, or a feature store or its path (prepared as `align` does)."""


class Sides(NamedTuple):
    """Layers of both sides as arrays, the number of samples, and which layer pairs are one layer with itself."""

    xs: list[Any]
    ys: list[Any]
    n: int
    own: np.ndarray

    def apart(self, scores: Any) -> np.ndarray:
        """Scores (..., layers of x, layers of y), NaN for a layer with itself."""
        return np.where(self.own, np.nan, scores)


def both_sides(x: Layers, y: Layers, preprocess: Preprocess | None) -> Sides:
    """Layers of both sides; ValueError where the samples are not the same, or nothing but one layer with itself."""
    stores = [open_store(z) if isinstance(z, str | Path) else z for z in (x, y)]
    if all(isinstance(store, FeatureStore) for store in stores):
        check_same_samples(str(stores[0].path), stores[0].ids, str(stores[1].path), stores[1].ids)
    sides = [_layers(z, preprocess or Preprocess()) for z in stores]
    counts = {len(z) for side in sides for z in side}
    if len(counts) != 1 or 0 in map(len, sides):
        raise ValueError(f"All layers need the same samples, row by row; there are layers of {sorted(counts)} samples.")
    hashes = [[hashlib.sha256(np.asarray(z).tobytes()).digest() for z in side] for side in sides]
    own = np.array(
        [
            [a == b and u.shape == v.shape for b, v in zip(hashes[1], sides[1], strict=True)]
            for a, u in zip(hashes[0], sides[0], strict=True)
        ]
    )
    if own.all():
        raise ValueError(
            "x and y are one layer, and its score with itself is no evidence about another. Give the features of two "
            "models, or of several layers."
        )
    return Sides(sides[0], sides[1], counts.pop(), own)


def layers_of(x: Layers, preprocess: Preprocess | None) -> tuple[list[str], list[Any]]:
    """Names and features of the layers of one side."""
    store = open_store(x) if isinstance(x, str | Path) else x
    layers = _layers(store, preprocess or Preprocess())
    names = [layer.name for layer in store.layers] if isinstance(store, FeatureStore) else map(str, range(len(layers)))
    return list(names), layers


def _layers(x: Any, preprocess: Preprocess) -> list[Any]:
    if isinstance(x, FeatureStore):
        thresholds = preprocess.thresholds(x.require_complete())
        return [preprocess.apply(jnp.asarray(x.read_layer(i)), t) for i, t in enumerate(thresholds)]
    who = "A score of layers"
    if isinstance(x, list | tuple):
        layers = [as_real(who, z) for z in x]
    else:
        whole = as_real(who, x)
        layers = list(whole) if whole.ndim == 3 else [whole]
    wrong = next((layer.shape for layer in layers if layer.ndim != 2), None)
    if wrong is not None:
        raise ValueError(f"A layer is an array (n, d), and a list holds one array for each layer; got shape {wrong}.")
    return layers


def as_metric(metric: str | Metric) -> Metric:
    """A metric from its name or itself."""
    return parse_metric(metric) if isinstance(metric, str) else metric


def with_k(metric: Metric, n: int, m: int, scale_k: bool) -> Metric:
    """The metric for m of n samples: the same k, or the same share of the samples as neighbours (at least 1)."""
    if not scale_k or "k" not in metric.settings:
        return metric
    k = metric.settings["k"]
    return dataclasses.replace(metric, k=max(1, round(k * m / n)))


def layer_parts(sketcher: Sketcher, layers: Sequence[Any]) -> list[Any]:
    """Source of the sketches of subsets of a layer: its inner products if samples can be taken from them."""
    summarizer = sketcher.summarizer
    if not hasattr(jax.eval_shape(summarizer, layers[0]), "take"):
        return list(layers)
    if isinstance(summarizer, SummarizeInnerProducts) and not summarizer.row_centered:
        layers = [_filled_up(x) for x in layers]
    return [_summary(x, summarizer=summarizer) for x in layers]


def _filled_up(x: Any) -> Any:
    """Features with columns of zeros up to a power of two, which add nothing to a product: few widths to compile for.

    A program takes about a second to compile, whatever the width.
    """
    lacking = max(128, 1 << (x.shape[1] - 1).bit_length()) - x.shape[1]
    return jnp.pad(x, ((0, 0), (0, lacking)))


@partial(jax.jit, static_argnames=("summarizer",))
def _summary(x: Any, *, summarizer: Summarizer) -> Any:
    return summarizer(x)


def part_sketcher(metric: Metric, m: int, *sides: Sequence[Any]) -> Sketcher:
    """Program that sketches m samples of a part; if parts are features, for the widest, so that they stack."""
    widths = {part.shape[1] for side in sides for part in side if not hasattr(part, "_replace")}
    return metric.sketcher.specialise(SketchContext(m, tuple(sorted(widths)))) if widths else metric.sketcher


def sketch_part(sketcher: Sketcher, part: Any, samples: Any) -> Any:
    """The sketch of some samples, from a layer's part."""
    return sketcher.sketch(part.take(samples)) if hasattr(part, "_replace") else sketcher(part[samples])


def score_subsets(a: Any, b: Any, subsets: Any, *, metric: Metric) -> jax.Array:
    """Scores (subsets, x, y) of lists of parts, for each subset of samples (subsets, m).

    Layers are sketched one by one: a program for all of them would take longer to compile than to run.
    """
    sketcher = part_sketcher(metric, subsets.shape[1], a, b)
    scores = []
    for samples in subsets:
        sketches = ([_sketch(part, samples, sketcher=sketcher) for part in side] for side in (a, b))
        scores.append(_tile(*sketches, metric=metric))
    return jnp.stack(scores)


@partial(jax.jit, static_argnames=("sketcher",))
def _sketch(part: Any, samples: Any, *, sketcher: Sketcher) -> Any:
    return sketch_part(sketcher, part, samples)


def _tile(a: Any, b: Any, *, metric: Metric) -> Any:
    if metric.tile_kernel.on_host:
        return metric.tile_kernel.tile(*(jax.tree.map(lambda *leaves: np.stack(leaves), *side) for side in (a, b)))
    return _compiled_tile(a, b, metric=metric)


@partial(jax.jit, static_argnames=("metric",))
def _compiled_tile(a: Any, b: Any, *, metric: Metric) -> jax.Array:
    stacks = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *side) for side in (a, b))
    return metric.tile_kernel.tile(*stacks)


@partial(jax.jit, static_argnames=("sketcher",))
def sketch_subset(sides: tuple[Any, Any], samples: Any, *, sketcher: Sketcher) -> list[Any]:
    """Sketches of some samples of all layers of a side, stacked, for both sides."""
    sketches = ([sketch_part(sketcher, part, samples) for part in side] for side in sides)
    return [jax.tree.map(lambda *leaves: jnp.stack(leaves), *side) for side in sketches]


def score_null(left: Any, right: Any, orders: Any, *, metric: Metric) -> tuple[Any, Any]:
    """Scores (x, y) of stacks of sketches, and their null (orders, x, y)."""
    if metric.tile_kernel.on_host:
        left, right, orders = jax.tree.map(np.asarray, (left, right, orders))
        return metric.tile_kernel.tile(left, right), metric.tile_kernel.orders(left, right, orders)
    return _compiled_null(left, right, orders, metric=metric)


@partial(jax.jit, static_argnames=("metric",))
def _compiled_null(left: Any, right: Any, orders: Any, *, metric: Metric) -> tuple[jax.Array, jax.Array]:
    return metric.tile_kernel.tile(left, right), metric.tile_kernel.orders(left, right, orders)


def draw_halves(n: int, count: int, seed: int) -> np.ndarray:
    """Random splits (count, 2, n // 2) of n samples into halves without a sample in common."""
    half = n // 2
    orders = [np.random.default_rng([seed, i]).permutation(n) for i in range(count)]
    return np.stack([np.sort(order[: 2 * half].reshape(2, half), axis=1) for order in orders]).astype(np.int32)
