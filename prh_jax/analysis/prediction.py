"""How well layers predict targets of samples that they have not seen: nested ridge regression."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ..arrays import NotRealError, real_numbers
from ..engine.preprocess import Preprocess
from ..metrics.out_of_sample.folds import RIDGES, check_folds, cross_validated, fold_fits, split
from ..null.orders import count_orders, group_codes, make_orders
from ..null.pvalues import as_close
from ..numerics.whole import check_whole
from ..runtime.host import quiet_blas
from ..runtime.progress import progress as shown
from .subsets import Layers, layers_of

AS_GIVEN = Preprocess(clip_quantile=1, normalize=False)


def ridge_prediction(
    layers: Layers,
    targets: Any,
    *,
    ridges: Iterable[float] = RIDGES,
    folds: int = 5,
    groups: Iterable[Any] | None = None,
    null: int = 0,
    seed: int = 0,
    preprocess: Preprocess | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Predict targets of held-out samples from each layer, by ridge regression with nested cross-validation.

    The samples are split into folds. Each fold is predicted by a regression on the other folds. Its penalty is chosen
    for each target, on these other folds alone, by leaving out one sample at a time (in closed form). No sample is
    ever predicted by a regression, or with a penalty, that has seen it.

    Parameters
    ----------
    layers
        Features (n, d), a sequence of layers, or a feature store or its path. They have the digits of float32.
    targets
        Numbers to predict, (n, t) or (n,): responses of t voxels or units, or the features of another layer. Row i is
        the sample of row i of the features.
    ridges
        Penalties, in units of the mean eigenvalue of the inner products of the fitted samples: scikit-learn's `alpha`
        is the penalty times the total variance of the features (`x.var(axis=0).sum()`).
    folds
        Number of folds.
    groups
        A label for each sample. Samples of one group are in one fold, so that no sample is predicted from its twins.
    null
        Number of permutations of the samples' targets, for p-values: the whole procedure is repeated under each. With
        groups, whole groups of equal size are exchanged.
    seed
        Seed of the folds and of the permutations.
    preprocess
        Preprocessing of the layers of a store. If None, features stay as they are: the thresholds of `Preprocess` are
        those of all samples, held-out ones included. Arrays are taken as they are.
    progress
        Show progress on standard error. None shows it on a terminal.

    Returns
    -------
    Dataset
        With dimensions (layer, target): `r`, the Pearson correlation of prediction and target as a mean over folds. It
        is 0 in a fold where one of them does not vary. `r2`, one minus the squared error as a share of that of the
        fitted samples' mean, over all folds; it is below 0 where the mean predicts better. `ridge`, the geometric
        mean over folds of the chosen penalties. With dimension layer: `mean_r` and `mean_r2`, over the targets that
        vary; the others have NaN. Permutations add `p` of `mean_r` for each layer, `null` (order, layer), and the
        attribute `p_best` of the best layer.

    Raises
    ------
    ValueError
        If shapes do not match, values are not finite, a setting is out of range, or there are fewer groups than folds.

    References
    ----------
    Naselaris et al. 2011, doi:10.1016/j.neuroimage.2010.07.073; Stone 1974, doi:10.1111/j.2517-6161.1974.tb00994.x.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 20))
    >>> y = x[:, :2] + rng.normal(size=(100, 2))
    >>> found = prh_jax.ridge_prediction([x, rng.normal(size=(100, 20))], y, null=19)
    >>> found["p"].values
    array([0.05, 0.75])
    """
    names, given = layers_of(layers, preprocess or AS_GIVEN)
    given = [np.asarray(layer, np.float64) for layer in given]
    y = _numbers(targets)
    y = y[:, None] if y.ndim == 1 else y
    tried = np.sort(np.atleast_1d(np.asarray(list(ridges) if isinstance(ridges, Iterable) else ridges, np.float64)))
    _check(given, y, tried, folds, null, seed)
    y = y / np.where(y.any(axis=0), np.abs(y).max(axis=0), 1)  # squares of very small numbers would vanish
    n = len(y)
    codes = None if groups is None else group_codes(list(groups), n)
    parts = split(n, folds, seed, codes)
    if null and codes is not None and count_orders(n, codes, "whole") == 1:
        raise ValueError(
            "No two groups hold equally many samples, so that whole groups cannot be exchanged: give null=0, or "
            "leave out samples until groups are of one size."
        )
    again = make_orders(n, null, seed, codes, "whole") if null else np.empty((0, n), np.int64)
    tables: dict[str, list[np.ndarray]] = {"r": [], "r2": [], "ridge": []}
    permuted = np.empty((len(again), len(given)))
    quiet = None if progress is None else not progress
    with quiet_blas():
        for column, layer in enumerate(shown(given, "predicting", "layers", quiet=quiet)):
            fits = fold_fits(layer, parts)
            for name, values in zip(tables, cross_validated(fits, parts, y, tried), strict=True):
                tables[name].append(values)
            for row, order in enumerate(again):
                permuted[row, column] = np.nanmean(cross_validated(fits, parts, y[order], tried)[0])
    dims = ("layer", "target")
    found = xr.Dataset({name: (dims, np.stack(rows)) for name, rows in tables.items()}, coords={"layer": names})
    found = found.assign(mean_r=found["r"].mean("target"), mean_r2=found["r2"].mean("target"))
    if null:
        observed = found["mean_r"].values
        found["null"] = (("order", "layer"), permuted)
        found["p"] = ("layer", (1 + as_close(permuted, observed).sum(axis=0)) / (len(permuted) + 1))
        reached = as_close(permuted.max(axis=1), observed.max())
        found.attrs["p_best"] = float((1 + reached.sum()) / (len(permuted) + 1))
    return found.assign_attrs(folds=folds, samples=n, orders=len(again))


def _numbers(targets: Any) -> np.ndarray:
    """The targets in float64; TypeError unless real numbers."""
    try:
        return np.asarray(real_numbers(targets), np.float64)
    except NotRealError as error:
        raise TypeError(f"ridge_prediction predicts real numbers, and was given {error}.") from error


def _check(layers: Sequence[np.ndarray], y: np.ndarray, ridges: np.ndarray, folds: Any, null: Any, seed: Any) -> None:
    if not layers:
        raise ValueError("There is no layer to predict from: give features (n, d), or a list of them.")
    counts = sorted({len(layer) for layer in layers} | {len(y)})
    if y.ndim != 2 or len(counts) != 1 or y.shape[1] == 0:
        raise ValueError(
            f"Features and targets need the same samples, row by row, and targets are (n, t) or (n,); there are "
            f"{counts} rows, and targets of shape {y.shape}."
        )
    if not np.isfinite(y).all() or not all(np.isfinite(layer).all() for layer in layers):
        raise ValueError("Features and targets must be finite: leave out samples and targets with NaN or infinity.")
    if not ridges.size or not (np.isfinite(ridges) & (ridges > 0)).all():
        raise ValueError(f"Penalties are finite numbers above 0, got {ridges.tolist()!r}.")
    check_folds(len(y), folds)
    check_whole(null=null, seed=seed)
