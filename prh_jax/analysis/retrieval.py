"""Retrieval after a map: whether a layer finds the partner of a sample that the map has not seen."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ..engine.preprocess import Preprocess
from ..metrics.out_of_sample.folds import RIDGES
from ..metrics.out_of_sample.maps import (
    Layer,
    best_penalties,
    orthogonal_similarities,
    plain_similarities,
    ridge_similarity,
)
from ..metrics.out_of_sample.splits import Chances, Part, check_galleries, first_rows, halves
from ..null.gallery_ranks import group_ranks, rank_scores
from ..null.orders import group_codes
from ..numerics.whole import check_whole, is_whole
from ..results.retrieval import DIRECTIONS, RetrievalResult
from ..runtime.host import quiet_blas
from ..runtime.progress import progress as shown
from ..stores.checks import check_same_samples
from ..stores.reader import FeatureStore, open_store
from .prediction import AS_GIVEN
from .subsets import Layers, layers_of


def retrieval(
    x: Layers,
    y: Layers,
    *,
    map: str = "ridge",
    k: Iterable[int] | int = (1, 5, 10),
    fit: float = 0.5,
    splits: int = 5,
    seed: int = 0,
    groups: Iterable[Any] | None = None,
    null: int = 999,
    ridges: Iterable[float] = RIDGES,
    preprocess: Preprocess | None = None,
    progress: bool | None = None,
) -> RetrievalResult:
    """Score how often each layer finds a sample's partner in each layer of another network, after a map.

    The samples are split at random. A map from x to y is fitted on one part. Each sample of the other part is mapped,
    and the samples of that part in y, the gallery, are ranked by their cosine with it. Recall at k is the share of
    samples whose partner (the same sample in y) is among the first k. The mean reciprocal rank is the mean of
    `1 / rank` of the partner. The direction from y to x has a map of its own.

    Parameters
    ----------
    x, y
        Features (n, d), a sequence of layers, or a feature store or its path. Row i is the same sample on both sides.
        They have the digits of float32.
    map
        "ridge" predicts y by ridge regression. Its penalty is chosen on the fitted samples by leaving out one at a time
        (in closed form), one for all columns of y. "orthogonal" is the rotation nearest to y (Procrustes), or the
        semi-orthogonal map if widths differ. Both subtract the means of the fitted samples. "none" compares features as
        they are. It needs equal widths, as two encoders of one space have.
    k
        Numbers of places that count as found, from 1 to the size of the gallery.
    fit
        Share of the samples that the map is fitted on, in (0, 1).
    splits
        Number of random splits.
    seed
        Seed of the splits and permutations.
    groups
        A label for each sample, such as the image of a caption. Samples of one group are on one side of a split, and
        each of them is a right answer for the others: the rank is that of the first. Rows of a group that are equal in
        all layers of a side (an image next to each of its captions) are asked, and take a place in the gallery, once.
    null
        Number of permutations for p-values, which exchange the partners of the held-out samples (whole groups of equal
        size). With 0 there are no p-values.
    ridges
        Penalties, as in `ridge_prediction`.
    preprocess
        Preprocessing of the layers of a store. If None, features stay as they are. Arrays are taken as they are.
    progress
        Show progress on standard error. None shows it on a terminal.

    Returns
    -------
    RetrievalResult
        Recall at each k, mean reciprocal rank and median rank of each layer pair in both directions, with chance in
        closed form, standard errors and p-values. Recall is in [0, 1].

    Raises
    ------
    ValueError
        If samples do not match, features are not finite or a layer is constant, a setting is out of range, or groups
        leave nothing to split or to exchange.

    Notes
    -----
    A score says whether a map that a user could fit carries over to new samples. Two layers with the same neighbours,
    but no linear map between them, have a high mutual kNN and a low recall. Recall depends on the size of the gallery:
    compare it with chance, and between models only for the same n and `fit`.

    In a gallery of m, chance is `k / m` for recall, and `(1 + 1/2 + ... + 1/m) / m` for the mean reciprocal rank. With
    g right answers, recall is `1 - C(m - g, k) / C(m, k)`. Ties count against the model: the rank is one more than the
    number of wrong samples that are at least as similar.

    The null hypothesis is that a map, once fitted, knows nothing of the partners of the held-out samples. The map stays
    as it is under permutations, so that the p-value of one split is exact. Splits share samples. The p-value of all
    splits is twice the mean of theirs, at most 1, which holds whatever their dependence (Rüschendorf 1982). With
    several splits it is therefore at least `2 / (null + 1)`.

    A standard error is `sqrt(1 / splits + held / fitted)` times the standard deviation over splits. The second term
    stands for the samples that splits share (Nadeau and Bengio 2003).

    References
    ----------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366; Rüschendorf 1982, doi:10.2307/1426677.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 10))
    >>> found = prh_jax.retrieval(x, 3 * x[:, ::-1] + 1, map="orthogonal", k=1)
    >>> found.dataset["recall"].values.ravel()
    array([1., 1.])
    >>> found.dataset["chance_recall"].values.ravel()
    array([0.025, 0.025])
    """
    sides = _sides(x, y, preprocess or AS_GIVEN)
    ks = sorted(set(k)) if isinstance(k, Iterable) else [k]
    tried = np.sort(np.atleast_1d(np.asarray(list(ridges) if isinstance(ridges, Iterable) else ridges, np.float64)))
    _check(sides, map, ks, fit, splits, null, seed, tried)
    n = len(sides[0].layers[0])
    codes = np.arange(n) if groups is None else np.array(group_codes(list(groups), n))
    once = [np.ones(n, bool) if groups is None else first_rows(side.layers, codes) for side in sides]
    parts = [Part(train, held, codes, once) for train, held in halves(n, fit, splits, seed, codes)]
    check_galleries(parts, ks[-1], null)
    shape = (splits, 2, len(sides[0].layers), len(sides[1].layers))
    scores, p = np.empty((2, *shape, len(ks) + 1))
    middle, penalties = np.empty((2, *shape))
    best = np.empty((splits, 2))
    quiet = None if progress is None else not progress
    with quiet_blas():
        ridged = map == "ridge"
        layers = [[Layer(z, ridged=ridged) for z in side.layers] if map != "none" else [] for side in sides]
        for s, part in enumerate(shown(parts, "retrieving", "splits", quiet=quiet)):
            chances = Chances(part, null, seed + s) if null else None
            for place, similarities in _similarities(sides, layers, part, map, tried, penalties[s]):
                for way, similarity in enumerate(similarities):
                    at = (s, way, *place)
                    ranks = group_ranks(similarity[np.ix_(part.asked[way], part.asked[1 - way])], part.codes[1 - way])
                    own = ranks[np.arange(len(ranks)), part.codes[way]]
                    scores[at], middle[at] = rank_scores(own, ks), np.median(own)
                    if chances is not None:
                        p[at] = chances.p(way, ranks, scores[at], ks)
            if chances is not None:
                best[s] = chances.p_best()
    attrs = {"x": sides[0].model, "y": sides[1].model, "map": map, "fit": float(fit), "splits": splits, "seed": seed}
    attrs |= {"null": null, "samples": n, "gallery": float(np.mean([len(part.held) for part in parts]))}
    shared = np.mean([len(part.held) / len(part.train) for part in parts])
    errors = np.full(scores.shape[1:], np.nan)
    if splits > 1:
        errors = np.sqrt(1 / splits + shared) * scores.std(axis=0, ddof=1)
        # of splits that share samples: twice the mean of their p-values holds whatever the dependence
        p, best = (np.minimum(1, 2 * z.mean(axis=0, keepdims=True)) for z in (p, best))
    chance = np.mean([[np.append(*part.chance(way, ks)) for way in range(2)] for part in parts], axis=0)
    dims = ("direction", "layer_x", "layer_y")
    found: dict[str, Any] = {"median_rank": (dims, middle.mean(axis=0))}
    for name, of in (("", scores.mean(axis=0)), ("_error", errors)):
        found |= {f"recall{name}": ((*dims, "k"), of[..., :-1]), f"reciprocal_rank{name}": (dims, of[..., -1])}
    found["chance_recall"] = (("direction", "k"), chance[:, :-1])
    found["chance_reciprocal_rank"] = (("direction",), chance[:, -1])
    if null:
        found |= {"p_recall": ((*dims, "k"), p[0, ..., :-1]), "p": (dims, p[0, ..., -1])}
        found["p_best"] = (("direction",), best[0])
    if map == "ridge":
        found["ridge"] = (dims, np.exp(np.log(penalties).mean(axis=0)))
    coords = {"direction": list(DIRECTIONS), "layer_x": sides[0].names, "layer_y": sides[1].names, "k": ks}
    return RetrievalResult(xr.Dataset(found, coords=coords, attrs=attrs))


class _Side(NamedTuple):
    """The layers of one side in float64, their names, and the model's."""

    model: str
    names: list[str]
    layers: list[np.ndarray]


def _sides(x: Layers, y: Layers, preprocess: Preprocess) -> list[_Side]:
    opened = [open_store(z) if isinstance(z, str | Path) else z for z in (x, y)]
    if all(isinstance(store, FeatureStore) for store in opened):
        check_same_samples(str(opened[0].path), opened[0].ids, str(opened[1].path), opened[1].ids)
    sides = []
    for letter, given in zip("xy", opened, strict=True):
        names, layers = layers_of(given, preprocess)
        model = given.model if isinstance(given, FeatureStore) else letter
        sides.append(_Side(model, names, [np.asarray(layer, np.float64) for layer in layers]))
    return sides


def _check(
    sides: Sequence[_Side],
    map: str,
    ks: Sequence[Any],
    fit: float,
    splits: Any,
    null: Any,
    seed: Any,
    ridges: np.ndarray,
) -> None:
    layers = [layer for side in sides for layer in side.layers]
    counts = sorted({len(layer) for layer in layers})
    if len(counts) != 1 or not all(side.layers for side in sides):
        raise ValueError(f"x and y need the same samples, row by row; there are layers of {counts} samples.")
    if not all(np.isfinite(layer).all() for layer in layers):
        raise ValueError("Features must be finite: leave out samples with NaN or infinity.")
    for side in sides:
        for name, layer in zip(side.names, side.layers, strict=True):
            if (layer == layer[:1]).all():
                raise ValueError(f"Layer {name!r} of {side.model} is the same for all samples: leave it out.")
    if map not in ("ridge", "orthogonal", "none"):
        raise ValueError(f"The maps are 'ridge', 'orthogonal' and 'none', got {map!r}.")
    widths = sorted({layer.shape[1] for layer in layers})
    if map == "none" and len(widths) > 1:
        raise ValueError(f"Without a map all layers need one width; there are layers of width {widths}. Choose a map.")
    if not ks or not all(is_whole(z) and z >= 1 for z in ks):
        raise ValueError(f"k is one or more whole numbers of at least 1, got {ks!r}.")
    if not 0 < fit < 1:
        raise ValueError(f"fit is the share of samples to fit on, between 0 and 1, got {fit}.")
    check_whole(1, splits=splits)
    check_whole(null=null, seed=seed)
    if not ridges.size or not (np.isfinite(ridges) & (ridges > 0)).all():
        raise ValueError(f"Penalties are finite numbers above 0, got {ridges.tolist()!r}.")


def _similarities(
    sides: Sequence[_Side],
    layers: Sequence[Sequence[Layer]],
    part: Part,
    map: str,
    ridges: np.ndarray,
    penalties: np.ndarray,
) -> Iterator[tuple[tuple[int, int], tuple[np.ndarray, np.ndarray]]]:
    """Each layer pair, with the similarities of its held-out samples in both directions; fills in the penalties."""
    places = np.ndindex(len(sides[0].layers), len(sides[1].layers))
    if map == "none":
        ahead, behind = ([layer[part.held] for layer in side.layers] for side in sides)
        for i, j in places:
            yield (i, j), plain_similarities(ahead[i], behind[j])
        return
    xs, ys = ([z.halved(part.train, part.held) for z in side] for side in layers)
    if map == "ridge":
        penalties[0] = best_penalties(xs, ys, ridges)
        penalties[1] = best_penalties(ys, xs, ridges).T
    for i, j in places:
        if map == "ridge":
            forth, back = penalties[:, i, j].tolist()
            yield (i, j), (ridge_similarity(xs[i], ys[j], forth), ridge_similarity(ys[j], xs[i], back))
        else:
            yield (i, j), orthogonal_similarities(xs[i], ys[j])
