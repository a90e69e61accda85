"""The reference's way from features to a score: outliers clipped, rows made unit, the best layer pair."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..engine.preprocess import Preprocess
from ..engine.programs import sketch_layer
from ..metrics.base import Metric
from ..metrics.registry import PRH_METRICS, make_metric
from ..stores.source import GivenLayers, LayerSource
from .metrics import to_numpy

Best = tuple[float, tuple[int, int] | None]
"""The score of the best layer pair and the numbers of its layers; (0, None) where no score is above 0."""

_tile = jax.jit(lambda metric, a, b: metric.tile_kernel.tile(a, b), static_argnums=0)


def remove_outliers(feats: Any, q: float, exact: bool = False, max_threshold: float | None = None) -> Any:
    """Features clipped to plus and minus a quantile of their magnitude.

    Parameters
    ----------
    feats
        (n, ...), of numpy, JAX or torch.
    q
        The quantile, in (0, 1]; 1 clips nothing.
    exact
        The value at place `int(q * size)` of all magnitudes in order; else the linear quantile of each sample,
        averaged over samples.
    max_threshold
        Without effect, as in the reference.

    Returns
    -------
    An array of the library, type and shape of `feats`.

    Raises
    ------
    ValueError
        If `feats` are not finite, or `q` is out of range.
    """
    values = to_numpy(feats)
    if values.ndim < 2 or 0 in values.shape:
        raise ValueError(f"Features are (n, d) or (n, layers, d), got the shape {values.shape}.")
    check_finite(values)
    flat = GivenLayers([values.reshape(len(values), -1)])
    limit = float(Preprocess(clip_quantile=q, exact=exact).thresholds(flat)[0])
    if not np.isfinite(limit):
        return feats
    return feats.clamp(-limit, limit) if hasattr(feats, "clamp") else feats.clip(-limit, limit)


def prepare_features(feats: Any, q: float = 0.95, exact: bool = False) -> Any:
    """Features in float32 with their outliers clipped; those of a list each by themselves.

    Rows keep their length: `compute_score` makes them unit. Parameters are those of `remove_outliers`. Tensors of torch
    stay such, all else becomes numpy's.
    """
    if isinstance(feats, list):
        return [prepare_features(layer, q=q, exact=exact) for layer in feats]
    if hasattr(feats, "float"):
        return remove_outliers(feats.float(), q=q, exact=exact)
    return remove_outliers(to_numpy(feats).astype(np.float32), q=q, exact=exact)


def compute_score(
    x_feats: Any, y_feats: Any, metric: str = "mutual_knn", topk: int = 10, normalize: bool = True
) -> Best:
    """The best layer pair of two models.

    Parameters
    ----------
    x_feats, y_feats
        (n, layers, d), or a list of (n, d), of numpy, JAX or torch; scored in float32.
    metric
        A metric of `AlignmentMetrics`, with the reference's settings.
    topk
        Neighbours, of the metrics that have them.
    normalize
        Whether rows are divided by their length first.

    Returns
    -------
    score, (i, j)
        The score and the layers of x and y; (0, None) where no score is above 0, as there.

    Raises
    ------
    ValueError
        If the metric is not known, or features are not finite or not of the same samples.
    """
    xs, ys = layers_of(x_feats), layers_of(y_feats)
    for layer in (*xs, *ys):
        if len(layer) != len(xs[0]):
            raise ValueError(f"All layers are of the same samples, got {len(xs[0])} and {len(layer)} rows.")
        check_finite(layer)
    made = make_reference_metric(metric, topk)
    plain = Preprocess(clip_quantile=1.0, normalize=normalize)
    best, place = best_pair(made, *(sketch_layers(GivenLayers(z), z, made, plain) for z in (xs, ys)))
    return (0.0, None) if place is None else (best, place)


def layers_of(features: Any) -> list[np.ndarray]:
    """Layers (n, d) of an array (n, layers, d) or (n, d), or of a list."""
    if isinstance(features, list | tuple):
        layers = [to_numpy(layer) for layer in features]
    else:
        whole = to_numpy(features)
        layers = list(whole.transpose(1, 0, 2)) if whole.ndim == 3 else [whole]
    if not layers:
        raise ValueError("There is no layer to score: the list of features is empty.")
    wrong = next((layer.shape for layer in layers if layer.ndim != 2), None)
    if wrong is not None:
        raise ValueError(f"Features are (n, layers, d), or a list of (n, d), got the shape {wrong}.")
    return layers


def check_finite(features: np.ndarray) -> None:
    """ValueError where a feature is not finite."""
    if not np.isfinite(features).all():
        raise ValueError("The features hold NaN or infinity, which would become everybody's neighbour.")


def make_reference_metric(name: str, topk: int, **settings: Any) -> Metric:
    """A metric with the settings of the reference's functions but for those given; `topk` is of metrics of neighbours.

    Its script calls them with y first, to which the table of its settings applies; these functions keep the order of
    the arguments.
    """
    base = PRH_METRICS.get(name)
    if base is None:
        raise ValueError(f"Unrecognized metric: {name}. The metrics are {', '.join(PRH_METRICS)}.")
    known = {"k": topk, "swapped": False}
    return make_metric(name, base=base, **({key: known[key] for key in known if key in base.settings} | settings))


def sketch_layers(source: LayerSource, layers: list[np.ndarray], metric: Metric, preprocess: Preprocess) -> Any:
    """The sketches of all layers, stacked."""
    thresholds = preprocess.thresholds(source, layers)
    sketches = [
        sketch_layer(jnp.asarray(x), threshold, sketcher=metric.sketcher, preprocess=preprocess)
        for x, threshold in zip(layers, thresholds, strict=True)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *sketches)


def best_pair(metric: Metric, a: Any, b: Any) -> Best:
    """The best layer pair of two stacks of sketches; (NaN, None) where no layer pair has a score."""
    scores = np.asarray(_tile(metric, a, b))
    at = np.unravel_index(np.argmax(np.where(np.isnan(scores), -np.inf, scores)), scores.shape)
    best = float(scores[at])
    none = np.nan if np.isnan(best) else 0.0
    return (best, (int(at[0]), int(at[1]))) if best > 0 else (none, None)
