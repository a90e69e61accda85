"""How complex is each layer? Estimates of its dimension, side by side."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from ..engine.preprocess import Preprocess
from ..engine.programs import summary_program
from ..engine.read_ahead import read_ahead
from ..errors import StoreError
from ..numerics.exact_neighbors import ExactFeatures, U, settle
from ..numerics.whole import check_whole, is_whole
from ..results.description import Description
from ..runtime.host import cores, kept_memory
from ..runtime.memory import default_memory, parse_bytes, size_text
from ..runtime.progress import progress
from ..sketches.distances import SummarizeClosest
from ..stores.labels import label_stores
from ..stores.reader import Stores, open_stores
from ..stores.source import ModelSource
from .dimension import SPECTRAL, Estimate, errors_by_halves, kept_ratios, maximum_likelihood, spectral_estimates, two_nn

NEAREST = ("two_nn", "maximum_likelihood")
ESTIMATORS = (*NEAREST, *SPECTRAL)
"""Names of the estimators, in the order of results."""
AS_GIVEN = Preprocess(clip_quantile=1, normalize=False)
MODEST = 2**30
"""Bytes that the spectrum of a layer may take, whatever the budget."""
TOO_NEAR = 1e-2
"""Relative error of squared distances above which float32 is not enough for standard errors."""


class Settings(NamedTuple):
    """Settings of `describe`."""

    estimators: tuple[str, ...]
    k: int
    discard: float
    splits: int
    seed: int
    preprocess: Preprocess

    @property
    def nearest(self) -> dict[str, Callable[[Any], float]]:
        """The estimators of nearest neighbours that were asked for."""
        known = {"two_nn": partial(two_nn, discard=self.discard), "maximum_likelihood": maximum_likelihood}
        return {name: estimate for name, estimate in known.items() if name in self.estimators}

    @property
    def neighbors(self) -> int:
        """How many neighbours of a sample the estimators need."""
        return self.k if "maximum_likelihood" in self.estimators else 2

    @property
    def listed(self) -> int:
        """How many neighbours are listed: with errors, enough to have `neighbors` of a sample's own half in each list.

        The number of a half in a list of m is binomial, m / 2 in the mean. Six standard deviations are allowed for.
        """
        return int(((6 + (36 + 8 * self.neighbors) ** 0.5) / 2) ** 2) + 1 if self.splits else self.neighbors

    @property
    def least(self) -> int:
        """The fewest different samples that do."""
        half = self.neighbors + 1
        while kept_ratios(half, self.discard) < 2:
            half += 1
        return 2 * half if self.splits else half


def describe(
    stores: Stores | Any,
    estimators: Sequence[str] | str | None = None,
    *,
    k: int = 20,
    discard: float = 0.1,
    splits: int = 50,
    seed: int = 0,
    preprocess: Preprocess | None = None,
    memory: int | str | None = None,
    progress: bool | None = None,
) -> Description:
    """Estimate the dimension of every layer of every model, by several estimators side by side.

    Two estimators look at the distances to the nearest samples, and two at the spectrum of the covariance. They answer
    different questions, and their values differ, often severalfold. Compare the values of one estimator over layers
    and models with the same samples, not the values of two estimators. Report the estimator with k and n.

    Parameters
    ----------
    stores
        Feature stores or their paths, one or a list, or features in memory by the names of models, {"vit": layers}, as
        `align` takes them; or one array (n, d), or a list of such arrays, the layers of one model. Models may have
        different samples.
    estimators
        Names of estimators; all if None.

        "two_nn" (Facco et al. 2017) fits the ratios of the distances to the second and the first neighbour.
        "maximum_likelihood" (Levina and Bickel 2005) takes the distances to k neighbours, and averages the inverses of
        the estimates at all samples (MacKay and Ghahramani 2005). "participation_ratio" is `(sum l)^2 / sum l^2` of
        the eigenvalues l of the covariance. "effective_rank" (Roy and Vetterli 2007) is `exp(entropy)` of the singular
        values, which are the roots of l, divided by their sum.
    k
        Number of neighbours of "maximum_likelihood", at least 3.
    discard
        Share of the largest ratios that "two_nn" discards, in [0, 1). With 0 it is the estimate of maximum likelihood.
    splits
        Number of random splits for the standard errors of the estimators of nearest neighbours. 0 computes no standard
        errors.
    seed
        Seed of the splits.
    preprocess
        Preprocessing of the features. If None, features stay as they are: clipping flattens the farthest samples onto
        the faces of a cube, and unit rows lie on a sphere, which removes one dimension and changes the spectrum. Give
        the `Preprocess` of a study to describe what its metrics see.
    memory
        Bytes ("8GiB") that the matrices of one layer may take. Half of the machine's memory if None.
    progress
        Show progress on standard error. None shows it on a terminal.

    Returns
    -------
    Description
        Value and standard error of every layer by every estimator.

    Raises
    ------
    StoreError
        If stores are incomplete or damaged, or a layer has the same features for all samples or too few different ones.
    ValueError
        If an estimator is unknown, a setting is out of range, or a layer takes more memory than it may.

    Warns
    -----
    RuntimeWarning
        If a layer has equal samples.

    Notes
    -----
    Estimators disagree on the same layer (see also arXiv:2604.20276). Those of nearest neighbours are biased low in
    high dimensions, as the number of samples that fills a space grows exponentially with its dimension. Of 1,000
    samples of a Gaussian in 20 dimensions, "two_nn" gives 16.5 and "maximum_likelihood" 14.6 on average.

    A sample that equals another one has a neighbour at distance 0, which says nothing about the dimension. Estimators
    of nearest neighbours therefore take equal samples once. `distinct` in the result is the number of different
    samples. Spectra are of all samples. An estimate is infinite if all distances are equal.

    Features have at most the digits of float32, as in `align`. Distances between them are those of float64: float32
    finds the candidates, and where it leaves in doubt which samples are the nearest, float64 decides.

    The standard error of an estimator of nearest neighbours comes from halves of the samples without a sample in
    common, as in `interval`, but from the logarithms of estimates, so that the bias at n / 2 samples does not matter.
    That of a spectral estimator comes from the infinitesimal jackknife. Both are for samples drawn independently. In
    simulations of Gaussians of 5 to 2,000 dimensions with 256 and 1,000 samples, `value +- 1.96 * standard_error`
    covered the expected value at this n in 88 to 98 % of cases ("two_nn", "maximum_likelihood") and 92 to 100 %
    (spectra). Errors of spectra were up to 1.5 times too large, most of all where the value is near the width, its
    largest. They do not contain the bias.

    References
    ----------
    Facco, d'Errico, Rodriguez and Laio (2017), Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information, doi:10.1038/s41598-017-11873-y.

    Levina and Bickel (2005), Maximum likelihood estimation of intrinsic dimension, NeurIPS 17.

    MacKay and Ghahramani (2005), Comments on 'Maximum likelihood estimation of intrinsic dimension'.

    Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality, EUSIPCO.
    """
    settings = _checked(estimators, k, discard, splits, seed, preprocess)
    opened = open_stores({"model": stores} if _is_layers(stores) else stores)
    budget = parse_bytes(memory) if memory is not None else default_memory()
    _check_memory(opened, settings, budget)
    quiet = None if progress is None else not progress
    layers = sum(len(store.layers) for store in opened)
    rows: list[list[Estimate]] = []
    distinct: list[int] = []
    with kept_memory(budget):
        for where, x, threshold in _shown(_layers(opened, settings, budget), layers, quiet):
            exact = ExactFeatures(x, "distance", settings.preprocess.normalize, threshold)
            found, count = describe_layer(where, exact, settings)
            rows.append([found[name] for name in settings.estimators])
            distinct.append(count)
    counts = [store.n for store in opened for _ in store.layers]
    _warn_of_equal(distinct, counts)
    return _labelled(opened, settings, rows, {"n": counts} | ({"distinct": distinct} if settings.nearest else {}))


def _is_layers(given: Any) -> bool:
    """Whether features are given without the name of a model: an array, or a list of arrays."""
    first = given[0] if isinstance(given, list | tuple) and given else given
    return hasattr(first, "shape")


def _checked(
    estimators: Sequence[str] | str | None,
    k: Any,
    discard: float,
    splits: Any,
    seed: Any,
    preprocess: Preprocess | None,
) -> Settings:
    """The settings; ValueError if one is out of range."""
    chosen = (estimators,) if isinstance(estimators, str) else tuple(ESTIMATORS if estimators is None else estimators)
    unknown = [name for name in chosen if name not in ESTIMATORS]
    if unknown or not chosen:
        raise ValueError(f"The estimators are {', '.join(ESTIMATORS)}; got {', '.join(unknown) or 'none'}.")
    if not is_whole(k) or k < 3:
        raise ValueError(f"Maximum likelihood needs a whole number of at least 3 neighbours, got k = {k!r}.")
    check_whole(splits=splits, seed=seed)
    if not 0 <= discard < 1:
        raise ValueError(f"discard is the share of the largest ratios to discard, 0 to below 1; got {discard}.")
    if splits == 1:
        raise ValueError(f"Standard errors need at least 2 splits, or 0 for none; got {splits}.")
    return Settings(tuple(dict.fromkeys(chosen)), k, float(discard), splits, seed, preprocess or AS_GIVEN)


def _shown(layers: Iterator[Any], count: int, quiet: bool | None) -> Iterator[Any]:
    return progress(read_ahead(layers, 1), "describing", "layers", total=count, quiet=quiet)


def _check_memory(stores: Sequence[ModelSource], settings: Settings, budget: int) -> None:
    """ValueError if the spectrum of a layer takes more than the budget."""
    if not set(settings.estimators) & set(SPECTRAL):
        return
    for store in stores:
        for layer in store.layers:
            taken = 4 * 8 * min(store.n, layer.dim) ** 2
            if taken > max(budget, MODEST):
                raise ValueError(
                    f"The spectrum of {store.path}, layer {layer.name!r}, takes {size_text(taken)}, and the budget is "
                    f"{size_text(budget)}: give more memory, or choose other estimators."
                )


def _layers(stores: Sequence[ModelSource], settings: Settings, budget: int) -> Iterator[tuple[str, np.ndarray, float]]:
    """Each layer: its name for messages, its features, and its clipping threshold."""
    for store in stores:
        thresholds = settings.preprocess.thresholds(store, memory=budget // 4)
        for i, threshold in enumerate(thresholds):
            yield f"{store.path}, layer {store.layers[i].name!r}", store.read_layer(i), float(threshold)


def describe_layer(where: str, exact: ExactFeatures, settings: Settings) -> tuple[dict[str, Estimate], int]:
    """The estimates of a layer, and how many different samples it has."""
    found: dict[str, Estimate] = {}
    spectral = [name for name in settings.estimators if name in SPECTRAL]
    if spectral:
        estimates = spectral_estimates(exact, spectral, errors=settings.splits > 0)
        if estimates is None:
            raise _constant(where, len(exact.given))
        found |= estimates
    if not settings.nearest:
        return found, len(exact.given)
    exact, near = distinct_samples(where, exact, settings)
    closest = near.distances[:, : settings.neighbors]
    values = [estimate(closest) for estimate in settings.nearest.values()]
    errors = [np.nan] * len(values)
    if settings.splits:
        options = (settings.neighbors, settings.splits, settings.seed)
        errors = errors_by_halves(list(settings.nearest.values()), values, near.lists, near.distances, *options)
    estimates = map(Estimate, values, errors)
    return found | dict(zip(settings.nearest, estimates, strict=True)), len(exact.given)


class Near(NamedTuple):
    """The samples nearest to each, nearest first, and their distances."""

    lists: Int[np.ndarray, "n m"]
    distances: Float[np.ndarray, "n m"]


def distinct_samples(where: str, exact: ExactFeatures, settings: Settings) -> tuple[ExactFeatures, Near]:
    """The features without samples that equal one before them, and the nearest of each."""
    # rows of length one were rounded when they were divided
    same = 16 * U if exact.unit_rows else 0.0
    while True:
        n = len(exact.given)
        if n < settings.least:
            errors = " with standard errors" if settings.splits else ""
            raise StoreError(
                f"{where} has {n} different samples, and estimates from {settings.neighbors} neighbours{errors} need "
                f"{settings.least} or more: choose a smaller k, splits=0, or other estimators."
            )
        near = nearest_distances(where, exact, settings)
        repeats = ((near.distances <= same) & (near.lists < np.arange(n)[:, None])).any(axis=1)
        if not repeats.any():
            return exact, near
        # of many equal samples a list may not have the first, and the rest is found in the next round
        exact = ExactFeatures(exact.given[~repeats], "distance", exact.unit_rows, exact.threshold)


def nearest_distances(where: str, exact: ExactFeatures, settings: Settings) -> Near:
    """The nearest samples of each sample; distances are exact for the first, and to a hundredth for the others."""
    n, k = len(exact.given), settings.neighbors
    most = min(max(k, settings.listed), n - 1)
    summarizer = SummarizeClosest(most, normalized=exact.unit_rows)
    # widths share programs: columns of zeros change no distance
    x = np.pad(exact.given, ((0, 0), (0, -exact.given.shape[1] % 128)))
    program = summary_program(x.shape, x.dtype, (summarizer,), settings.preprocess, jax.local_devices()[0])
    (made,) = program(*jax.device_put((x, np.float32(exact.threshold))))
    if bool(made.degenerate):
        raise _constant(where, n)
    lists, values, margin, offset = (np.array(z) for z in (made.neighbors, made.values, made.margin, made.offset))
    squares = np.maximum(-2 * (values.astype(float) + offset.astype(float)[:, None]), 0)
    coarse = (margin[:, None] > TOO_NEAR * squares[:, k:most]).any(axis=1)
    fine, coarse = np.flatnonzero(~coarse), np.flatnonzero(coarse)
    changed, settled = settle(lists[fine], values[fine], margin[fine], fine, k, exact, ordered=False)
    if len(changed):
        changed = fine[changed]
        # the others stay in their order behind the first k
        first = (lists[changed, :, None] == settled[:, None]).any(axis=2)
        others = np.argsort(first, axis=1, kind="stable")[:, : lists.shape[1] - k]
        squares[changed, k:] = np.take_along_axis(squares[changed], others, axis=1)
        lists[changed] = np.hstack([settled, np.take_along_axis(lists[changed], others, axis=1)])
    changed, settled = settle(lists[coarse], values[coarse], margin[coarse], coarse, most, exact)
    lists[coarse[changed], :most] = settled
    lists, distances = lists[:, :most], np.sqrt(squares[:, :most]) / float(made.factor)
    distances[fine, :k] = _distances(exact, fine, lists[fine, :k])
    distances[coarse] = _distances(exact, coarse, lists[coarse])
    order = np.argsort(distances[:, :k], axis=1, kind="stable")
    for z in (lists, distances):
        z[:, :k] = np.take_along_axis(z[:, :k], order, axis=1)
    return Near(lists, distances)


def _distances(
    exact: ExactFeatures, samples: Int[np.ndarray, " m"], lists: Int[np.ndarray, "m k"]
) -> Float[np.ndarray, "m k"]:
    """Exact distances of samples from those in their lists, by all cores."""
    pieces = zip(*(np.array_split(z, cores()) for z in (samples, lists)), strict=True)
    with ThreadPoolExecutor(cores()) as pool:
        return np.concatenate(list(pool.map(lambda piece: exact.distances(*piece), pieces)))


def _constant(where: str, n: int) -> StoreError:
    return StoreError(
        f"{where} has the same features for all {n} samples, up to rounding, so it has no dimension: extract it again, "
        "or leave it out."
    )


def _warn_of_equal(distinct: Sequence[int], counts: Sequence[int]) -> None:
    lacking = [n - m for m, n in zip(distinct, counts, strict=True) if m < n]
    if lacking:
        warnings.warn(
            f"{len(lacking)} of {len(counts)} layers have samples that equal another one, at most {max(lacking)}: "
            "estimators of nearest neighbours take equal samples once. `distinct` in the result has the numbers.",
            RuntimeWarning,
            stacklevel=3,
        )


def _labelled(
    stores: Sequence[ModelSource],
    settings: Settings,
    rows: Sequence[Sequence[Estimate]],
    counts: dict[str, list[int]],
) -> Description:
    """The estimates with labels and settings."""
    layers = [
        (label, layer.name, i, i / (len(store.layers) - 1) if len(store.layers) > 1 else 1.0, layer.dim)
        for store, label in zip(stores, label_stores(stores), strict=True)
        for i, layer in enumerate(store.layers)
    ]
    names = ("model", "layer_name", "depth", "relative_depth", "width")
    columns = dict(zip(names, zip(*layers, strict=True), strict=True)) | counts
    kinds = {"model": object, "layer_name": object}
    coords: dict[str, Any] = {name: ("layer", np.array(z, kinds.get(name))) for name, z in columns.items()}
    dims, values = ("layer", "estimator"), np.array(rows, float)
    return Description(
        xr.Dataset(
            {"value": (dims, values[..., 0]), "standard_error": (dims, values[..., 1])},
            coords=coords | {"estimator": list(settings.estimators)},
            attrs={
                **{name: getattr(settings, name) for name in ("k", "discard", "splits", "seed")},
                "clip_quantile": settings.preprocess.clip_quantile,
                "normalize": settings.preprocess.normalize,
            },
        )
    )
