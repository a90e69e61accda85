"""Which layers of two networks belong together."""

import numpy as np
import xarray as xr

from ..null.layer_matching import WEIGHTS, layer_weights
from ..results.alignment import Alignment


def match_layers(
    result: Alignment, metric: str, model_x: str | int = 0, model_y: str | int = 0, *, how: str = "assignment"
) -> xr.Dataset:
    """Match the layers of two networks by their scores, and return the pairs.

    The score of the networks is the weighted mean over matched pairs. `result.reduce(metric, how)` has it for all
    pairs of networks, and `Null(aggregate=how)` calibrates it against chance.

    Parameters
    ----------
    result
        Scores of the networks.
    metric
        One of the result's metrics.
    model_x, model_y
        A network of either side, by label or place.
    how
        "assignment" matches layers one to one, such that the mean score is best; layers of the longer network may be
        left over. "dtw" keeps the order of layers, and matches all of them, some several times (dynamic time warping).
        "transport" gives each layer of a network the same share, and couples the shares such that the mean score is
        best (optimal transport). It needs the package POT, or takes about fifty times as long.

    Returns
    -------
    Dataset
        Along `pair`, in the order of layers: `layer_x`, `layer_y` (names), `depth_x`, `depth_y`, `score` and `weight`,
        which sums to 1. The attribute `score` is the weighted mean.

    Raises
    ------
    ValueError
        If the result has no such metric or model, if `how` is unknown, or if the pair has no score.

    References
    ----------
    Sakoe and Chiba 1978, doi:10.1109/TASSP.1978.1163055; Peyre and Cuturi 2019, arXiv:1803.00567.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> layers = [rng.normal(size=(30, 5)) for _ in range(3)]
    >>> result = prh_jax.align({"a": layers}, {"b": layers[::-1]}, "cka", progress=False)
    >>> matched = prh_jax.match_layers(result, "cka", "a", "b")
    >>> list(zip(matched["depth_x"].values.tolist(), matched["depth_y"].values.tolist()))
    [(0, 2), (1, 1), (2, 0)]
    """
    if how not in WEIGHTS:
        raise ValueError(f"Unknown way to match layers {how!r}; there are {', '.join(WEIGHTS)}.")
    scores = result.layers(metric, model_x, model_y).transpose("layer_x", "layer_y")
    if np.isnan(scores.values).all():
        raise ValueError(f"These networks have no score by {metric}, so their layers cannot be matched.")
    weights = layer_weights(result.provenance.sign(metric) * scores.values, how)
    rows, columns = np.nonzero(weights > 1e-12)
    pairs = {"x": rows, "y": columns}
    found = {f"layer_{side}": ("pair", scores[f"layer_name_{side}"].values[at]) for side, at in pairs.items()}
    found |= {f"depth_{side}": ("pair", scores[f"depth_{side}"].values[at]) for side, at in pairs.items()}
    found |= {"score": ("pair", scores.values[rows, columns]), "weight": ("pair", weights[rows, columns])}
    total = float(np.sum(weights[rows, columns] * scores.values[rows, columns]))
    return xr.Dataset(found, attrs={"metric": metric, "how": how, "score": total})
