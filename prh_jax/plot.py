"""Figures from results alone (matplotlib, the extra "plot"); each function returns Axes and never shows them."""

from typing import Any

import numpy as np
import xarray as xr


def _pyplot() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib: pip install "prh-jax[plot]"') from error
    return Figure


def short_name(model: str, limit: int = 28) -> str:
    """The last part of a model's name, cut in the middle where it is long."""
    name = model.rstrip("/").rsplit("/", 1)[-1]
    return name if len(name) <= limit else name[: limit // 2 - 1] + "…" + name[-(limit // 2) :]


def heat_map(
    scores: xr.DataArray, *, ax: Any = None, title: str = "", low: float | None = None, high: float | None = None
) -> Any:
    """Model-by-model scores as coloured cells with the numbers in them; rows are models of x, columns models of y.

    `low` and `high` set the ends of the colour scale (the scores' own range if None); chance is a good `low`.
    """
    values = scores.values.astype(float)
    rows, columns = values.shape
    if ax is None:
        figure = _pyplot()(figsize=(2.6 + 0.62 * columns, 1.9 + 0.42 * rows), layout="constrained", dpi=150)
        ax = figure.subplots()
    low = float(np.nanmin(values)) if low is None else low
    high = float(np.nanmax(values)) if high is None else high
    image = ax.imshow(values, cmap="cividis", vmin=low, vmax=high if high > low else low + 1e-9, aspect="auto")
    ax.set_xticks(range(columns), [short_name(str(m)) for m in scores["model_y"].values], rotation=40, ha="right")
    ax.set_yticks(range(rows), [short_name(str(m)) for m in scores["model_x"].values])
    ax.tick_params(length=0, labelsize=8)
    for (i, j), value in np.ndenumerate(values):
        dark = value < (low + high) / 2
        ax.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.figure.colorbar(image, ax=ax, label=str(scores.name or "score"), shrink=0.9)
    ax.set_title(title, fontsize=9)
    return ax


def layer_map(scores: xr.DataArray, *, ax: Any = None, title: str = "") -> Any:
    """Layer-by-layer scores of one model pair, the best pair marked with a ring; depth grows to the right and down."""
    if ax is None:
        ax = _pyplot()(figsize=(4.6, 3.6), layout="constrained", dpi=150).subplots()
    values = scores.values.astype(float)
    image = ax.imshow(values, cmap="cividis", aspect="auto")
    if not np.isnan(values).all():
        row, column = np.unravel_index(np.nanargmax(values), values.shape)
        ax.plot(column, row, "o", markersize=9, markerfacecolor="none", markeredgecolor="crimson", markeredgewidth=1.6)
    ax.set_xlabel(f"depth in {short_name(str(scores['model_y'].values[0]))}")
    ax.set_ylabel(f"depth in {short_name(str(scores['model_x'].values[0]))}")
    ax.figure.colorbar(image, ax=ax, label=str(scores.name or "score"))
    ax.set_title(title, fontsize=9)
    return ax
