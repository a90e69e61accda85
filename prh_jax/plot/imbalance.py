"""The plane of information imbalance: which of two layers contains the other."""

from typing import Any

import numpy as np

from .._names import DIRECTED_METRIC as METRIC
from ..results.alignment import Alignment
from .base import axis_labels, new_axes, short_name, title
from .colors import GREY


def imbalance_plane(result: Alignment, model_x: str, model_y: str, *, ax: Any = None) -> Any:
    """Draw the information imbalance of all layer pairs of two models, in one direction against the other.

    Pairs near the origin hold the same information, pairs near (1, 1) have nothing in common. Below the diagonal the
    layer of y contains more information than that of x, above it less. The colour is the relative depth of the layer
    of x.

    Parameters
    ----------
    result
        Scores by `information_imbalance`, in both directions: a study of models with each other, or one by
        `information_imbalance` and `information_imbalance:swapped=True`.
    model_x, model_y
        Labels of the two models.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If the result has no such models, or lacks a direction.

    References
    ----------
    Glielmo et al. 2022, doi:10.1093/pnasnexus/pgac039.
    """
    forth, back = _both_directions(result, model_x, model_y)
    ax = new_axes(ax, 4.8, 4.0)
    depth = np.broadcast_to(np.linspace(0, 1, len(forth))[:, None], forth.shape)
    points = ax.scatter(
        forth.ravel(), back.ravel(), c=depth.ravel(), cmap="cividis", vmin=0, vmax=1, s=16, edgecolors=GREY, lw=0.3
    )
    top = max(1.05, 1.05 * float(np.nanmax([forth, back])))
    ax.plot([0, top], [0, top], color=GREY, lw=1, linestyle="--", zorder=0)
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    names = [short_name(model, 30) for model in (model_x, model_y)]
    axis_labels(ax, *(f"information imbalance from {one} to {other}" for one, other in (names, names[::-1])))
    title(ax, "all layer pairs; 1 is chance, 0 is the same information")
    bar = ax.figure.colorbar(points, ax=ax)
    bar.set_label(f"relative depth in {names[0]}", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return ax


def _both_directions(result: Alignment, model_x: str, model_y: str) -> tuple[np.ndarray, np.ndarray]:
    """The scores (layers of x, layers of y) from x to y, and from y to x."""
    found = [
        (name, {"swapped": False, **record.settings})
        for name, record in result.provenance.metrics.items()
        if name.partition(":")[0] == METRIC
    ]
    # the first, and what has the same settings in the other direction
    known = {
        bool(settings["swapped"]): name
        for name, settings in reversed(found)
        if settings | {"swapped": None} == found[0][1] | {"swapped": None}
    }
    if False not in known and True not in known:
        raise ValueError(f"This result has no scores by {METRIC}; it has {', '.join(result.metrics)}.")
    scores = {
        swapped: result.layers(name, model_x, model_y).transpose("layer_x", "layer_y").values
        for swapped, name in known.items()
    }
    for missing in {False, True} - scores.keys():
        if model_y not in result.models_x or model_x not in result.models_y:
            asked = f"{METRIC}:swapped={missing}"
            raise ValueError(
                f"This result has {METRIC} in one direction alone. Score the models by {asked}, too, or put all models "
                "on both sides."
            )
        turned = result.layers(known[not missing], model_y, model_x).transpose("layer_y", "layer_x").values
        scores[missing] = turned
    return scores[False], scores[True]
