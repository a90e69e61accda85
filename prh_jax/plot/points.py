"""Numbered points: each has a disc with its number, which moves aside if others are too near."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .base import as_text, labels
from .colors import COLORS, ink, ink_upon

DISC, POINT = 13.0, 9.0
"""Least distance, in typographic points, of a disc from another disc, and from the point of another disc."""


def numbered_points(
    ax: Any,
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[Any],
    families: list[str] | None,
    colors: Mapping[str, str],
    numbers: Sequence[int] | None = None,
) -> tuple[list[Any], list[str]]:
    """Draw points, and return the handles and texts of a legend; `put_numbers` then draws the numbers.

    `numbers` are the numbers of the points in the legend: 1, 2, ... if None.
    """
    from matplotlib.lines import Line2D

    handles, texts = [], []
    for i, (number, name) in enumerate(zip(numbers or range(1, len(names) + 1), labels(names), strict=True)):
        color = ink(colors[families[i]] if families else COLORS[0])
        ax.plot(x[i], y[i], "o", markersize=3, color=color, zorder=3)
        handles.append(Line2D([], [], marker="o", linestyle="", color=color, markersize=5))
        texts.append(f"{number}  {name}" + (f" · {as_text(families[i])}" if families else ""))
    return handles, texts


def put_numbers(
    ax: Any,
    x: np.ndarray,
    y: np.ndarray,
    families: list[str] | None,
    colors: Mapping[str, str],
    numbers: Sequence[int] | None = None,
) -> None:
    """Draw the number of each point in a disc, on the point or, if others are too near, next to it with a line."""
    ax.figure.draw_without_rendering()
    at = ax.transData.transform(np.column_stack([x, y])) * 72 / ax.figure.dpi
    box = ax.get_window_extent()
    corners = np.array([[box.x0, box.y0], [box.x1, box.y1]]) * 72 / ax.figure.dpi + np.array([[7], [-7]])
    moved = spread(at, DISC, corners, POINT)
    for i, (number, (dx, dy)) in enumerate(zip(numbers or range(1, len(at) + 1), moved - at, strict=True)):
        color = ink(colors[families[i]] if families else COLORS[0])
        ax.annotate(
            str(number),
            (x[i], y[i]),
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=6 if number < 10 else 5.4,  # a disc of two digits is as large as one of one
            color=ink_upon(color),
            bbox={
                "boxstyle": f"circle,pad={0.25 if number < 10 else 0.22}",
                "facecolor": color,
                "edgecolor": "white",
                "linewidth": 0.5,
            },
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
            zorder=4,
        )


def spread(at: np.ndarray, distance: float, corners: np.ndarray, clear: float = 0.0) -> np.ndarray:
    """Positions in which no two points are nearer than a distance, found in at most 500 small steps.

    No point comes nearer than `clear` to the original position of another. Points stay between the two `corners`.
    """
    angles = np.arange(len(at)) * 2.4
    moved = at + 1e-3 * np.column_stack([np.cos(angles), np.sin(angles)])  # equal points part in different directions
    itself = np.eye(len(at)) * 1e9
    for _ in range(500):
        pushes, crowds = np.zeros_like(moved), np.zeros(len(at))
        for others, near in ((moved, distance), (at, clear)):
            apart = moved[:, None] - others[None]
            length = np.linalg.norm(apart, axis=-1) + itself
            lacking = np.maximum(near - length, 0)
            pushes += (apart / length[..., None] * lacking[..., None]).sum(axis=1)
            crowds += (lacking > 0).sum(axis=1)
        if not crowds.any():
            break
        moved = np.clip(moved + 0.6 * pushes / np.maximum(crowds, 1)[:, None], corners[0], corners[1])
    return moved
