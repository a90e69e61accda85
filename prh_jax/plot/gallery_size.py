"""Alignment against the size of the gallery."""

from collections.abc import Mapping
from typing import Any

import xarray as xr

from .base import axis_labels, new_axes, outside_legend
from .colors import GREY, line_look


def gallery_curve(curves: Any, *, ax: Any = None) -> Any:
    """Draw alignment against the number of samples in the gallery, with the intervals of each point and with chance.

    Parameters
    ----------
    curves
        A dataset that `curve_over_gallery` returned, or a mapping from names to several. A curve for each number of
        captions has its own colour, and those of one name are dashed alike.
    ax
        Axes to draw into; a new figure if None.

    Returns
    -------
    Axes
        The axes, which are not shown.

    Raises
    ------
    ValueError
        If there is no curve, one is of another kind, or their k differ.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    named = curves if isinstance(curves, Mapping) and not isinstance(curves, xr.Dataset) else {"": curves}
    wrong = [c for c in named.values() if not (isinstance(c, xr.Dataset) and {"captions", "n"} <= set(c.dims))]
    if wrong or not named:
        got = f"got {type(wrong[0]).__name__}" if wrong else "there is none"
        raise ValueError(f"gallery_curve draws a curve of curve_over_gallery, or several by name; {got}.")
    ks = {int(curve.attrs["k"]) for curve in named.values()}
    if len(ks) > 1:
        raise ValueError(f"Curves of k = {sorted(ks)} cannot be compared: compute them with one k.")
    ax = new_axes(ax, 6.2, 3.6)
    handles, texts, drawn = [], [], 0
    for row, (name, curve) in enumerate(named.items()):
        for captions in curve["captions"].values:
            found = curve.sel(captions=captions)
            look = line_look(drawn % 7, row)
            at, score = found["n"].values, found["score"].values
            band = ax.fill_between(at, found["low"], found["high"], color=look["color"], alpha=0.2, linewidth=0)
            (line,) = ax.plot(at, score, markersize=4, lw=1.5, **look)
            (chance,) = ax.plot(at, found["chance"], color=GREY, lw=1.2, linestyle=":")
            many = f"{captions} caption{'s' if captions > 1 else ''}" if curve.sizes["captions"] > 1 else ""
            handles.append((band, line))
            texts.append(" · ".join(part for part in (name, many) if part) or "score")
            drawn += 1
    outside_legend(ax, [*handles, chance], [*texts, "chance"])
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_ylim(bottom=0)
    axis_labels(ax, "number of samples in the gallery", f"mutual kNN (k = {ks.pop()})")
    return ax
