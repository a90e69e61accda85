"""Base of the figures: a figure of the right size, names that fit, colours that all can tell apart."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..results.alignment import Alignment
from ..stores.publish import write_whole
from ..stores.shown import plain_name, shorten
from ..stores.target import file_target

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's, for all kinds of colour vision."""
STYLES = ("-", "--", ":", "-.")
GREY = "#666666"
_OWN = "prh-jax"


def new_axes(ax: Any, width: float, height: float) -> Any:
    """The axes given, or those of a new figure of this size in inches, which makes room for labels outside."""
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Figures need matplotlib: pip install "prh-jax[plot]"') from error
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    figure.set_gid(_OWN)
    return figure.subplots()


def write_figure(ax: Any, path: str | Path) -> Path:
    """Draw the figure of these axes into a file, whole or not at all; a file that is there is replaced."""
    path = Path(path)
    path = file_target(path if path.suffix else path.with_name(f"{path.name}.png"), overwrite=True)
    with write_whole(path, replace=True, suffix=path.suffix) as building:
        ax.figure.savefig(building)
    return path


def short_name(model: str, limit: int = 28) -> str:
    """The last part of a model's name, with its revision, cut in the middle where it is long."""
    whole = model.rstrip("/")
    checkpoint = re.search(r"[^/@]+@[^@]+$", whole)  # of org/name@refs/pr/1, too, all but the organisation
    return shorten(plain_name(checkpoint[0] if checkpoint else whole.rsplit("/", 1)[-1]), limit)


def as_text(text: Any) -> str:
    """Text that matplotlib draws as it is: a dollar does not start a formula."""
    return str(text).replace("$", r"\$")


def labels(names: Iterable[Any], limit: int = 44) -> list[str]:
    """Short names to draw; those that would be alike differ by more of the name, or by a number."""
    full = [str(name) for name in names]
    short = [short_name(name, limit) for name in full]
    often = Counter(short)
    short = [s if often[s] == 1 else shorten(plain_name(f), limit + 12) for s, f in zip(short, full, strict=True)]
    often, seen = Counter(short), Counter()
    for i, name in enumerate(short):
        seen[name] += 1
        short[i] = name if often[name] == 1 else f"{name} ({seen[name]})"
    return [as_text(name) for name in short]


def title(ax: Any, text: str) -> None:
    """A title in small type."""
    ax.set_title(as_text(text), fontsize=9)


def outside_legend(ax: Any, handles: Any, texts: Any, *, where: str = "right") -> Any:
    """A legend next to the data: to the right of all, or below; next to the axes in a figure that is not ours."""
    options: dict[str, Any] = {"fontsize": 7, "frameon": False, "handlelength": 2.6}
    figure = ax.figure
    if figure.get_gid() == _OWN:
        place = "outside right upper" if where == "right" else "outside lower center"
        return figure.legend(handles, texts, loc=place, ncols=1 if where == "right" else 3, **options)
    anchor = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)}
    if where != "right":
        anchor = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 3}
    return ax.legend(handles, texts, borderaxespad=0, **anchor, **options)


def family_colors(families: Iterable[str]) -> dict[str, str]:
    """A colour for each family, in the order in which they come."""
    names = dict.fromkeys(families)
    if len(names) > len(COLORS):
        raise ValueError(f"There are {len(COLORS)} colours that all can tell apart, but {len(names)} families.")
    return dict(zip(names, COLORS, strict=False))


Families = Mapping[str, str] | str | None
"""Of each model by name, or the name of what was assigned or recorded; None: the `family` assigned, if any."""


def families_of(result: Alignment, models: Mapping[str, Iterable[Any]], families: Families) -> list[list[str] | None]:
    """The family of each of some models of each side; None where those of a side have none.

    Without `families` they are what was assigned by that name, if all models of the side have one and there are colours
    for all.

    Raises
    ------
    ValueError
        If families are asked for, and a model has none.
    """
    names = {side: [str(model) for model in chosen] for side, chosen in models.items()}
    told: dict[str, Mapping[str, Any]] = {}
    for side in names:
        records = result.provenance.models(side)
        if isinstance(families, str):
            entries = {model.label: model.recorded.get(families) for model in records}
        elif families is None:
            entries = {model.label: model.assigned.get("family") for model in records}
        else:
            entries = families
        told[side] = {label: family for label, family in entries.items() if family is not None}
    if families is None:
        told = {side: told[side] if all(name in told[side] for name in names[side]) else {} for side in names}
        many = len({told[side][name] for side in names for name in names[side] if told[side]}) > len(COLORS)
        return [None if many or not told[side] else [str(told[side][name]) for name in names[side]] for side in names]
    if isinstance(families, str) and not any(told.values()):
        raise ValueError(f"No model has {families!r}: give families by model, or `assign` them to the result.")
    made: list[list[str] | None] = []
    for side, chosen in names.items():
        lacking = [name for name in chosen if name not in told[side]]
        if lacking and (told[side] or not isinstance(families, str)):
            raise ValueError(
                f"No family is given for model {lacking[0]!r} ({len(lacking)} of {len(chosen)} have none)."
            )
        made.append(None if lacking else [str(told[side][name]) for name in chosen])
    return made


def legend_width(names: Iterable[Any], families: Iterable[str] | None) -> float:
    """Inches that a legend of these names takes."""
    return 0.7 + 0.058 * (max(map(len, labels(names))) + max((len(f) + 3 for f in families or ()), default=0))


def numbered_points(
    ax: Any, x: np.ndarray, y: np.ndarray, names: Iterable[Any], families: list[str] | None
) -> tuple[list[Any], list[str]]:
    """Points, and handles and texts of a legend of their numbered names; `put_numbers` then draws the numbers."""
    from matplotlib.lines import Line2D

    colors = family_colors(families or ["all"])
    handles, texts = [], []
    for i, name in enumerate(labels(names)):
        family = families[i] if families else "all"
        ax.plot(x[i], y[i], "o", markersize=3, color=colors[family], zorder=3)
        handles.append(Line2D([], [], marker="o", linestyle="", color=colors[family], markersize=5))
        texts.append(f"{i + 1}  {name}" + (f" · {as_text(family)}" if families else ""))
    return handles, texts


def put_numbers(ax: Any, x: np.ndarray, y: np.ndarray, families: list[str] | None) -> None:
    """The number of each point in a disc on it, or next to it on a thread where others are too near."""
    ax.figure.draw_without_rendering()
    at = ax.transData.transform(np.column_stack([x, y])) * 72 / ax.figure.dpi
    box = ax.get_window_extent()
    corners = np.array([[box.x0, box.y0], [box.x1, box.y1]]) * 72 / ax.figure.dpi + np.array([[7], [-7]])
    moved = spread(at, 13.0, corners)
    colors = family_colors(families or ["all"])
    for i, (dx, dy) in enumerate(moved - at):
        color = colors[families[i] if families else "all"]
        ax.annotate(
            str(i + 1),
            (x[i], y[i]),
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=6,
            color="black" if color in ("#F0E442", "#E69F00", "#56B4E9") else "white",
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": color, "edgecolor": "white", "linewidth": 0.5},
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
            zorder=4,
        )


def spread(at: np.ndarray, distance: float, corners: np.ndarray) -> np.ndarray:
    """Points moved as little as a few hundred small steps find, so that no two are nearer than a distance."""
    angles = np.arange(len(at)) * 2.4
    moved = at + 1e-3 * np.column_stack([np.cos(angles), np.sin(angles)])  # equal points part in different directions
    for _ in range(500):
        apart = moved[:, None] - moved[None]
        length = np.linalg.norm(apart, axis=-1) + np.eye(len(at)) * 1e9
        lacking = np.maximum(distance - length, 0)
        if not lacking.any():
            break
        push = (apart / length[..., None] * lacking[..., None]).sum(axis=1)
        moved = moved + 0.6 * push / np.maximum((lacking > 0).sum(axis=1), 1)[:, None]
        moved = np.clip(moved, corners[0], corners[1])
    return moved
