"""Base of all figures: a figure of the right size, and names, titles and axes that fit it."""

import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..stores.publish import write_whole
from ..stores.shown import plain_name, shorten
from ..stores.target import file_target

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
    """Write the figure of these axes to a file, whole or not at all, and replace an existing file."""
    path = Path(path)
    path = file_target(path if path.suffix else path.with_name(f"{path.name}.png"), overwrite=True)
    with write_whole(path, replace=True, suffix=path.suffix) as building:
        ax.figure.savefig(building)
    return path


def over_models(count: int, *, itself: bool) -> str:
    """Words for a mean over the models of the other side; `itself` if a model of this side is one of them."""
    return f"mean over {count} models" + ", itself aside" * itself


def short_name(model: str, limit: int = 28) -> str:
    """Return the last part of a model's name, with its revision, shortened in the middle if it is long.

    Parameters
    ----------
    model
        Label of the model ("org/name@revision").
    limit
        Largest number of characters.

    Returns
    -------
    str
        The short name.
    """
    whole = model.rstrip("/")
    checkpoint = re.search(r"[^/@]+@[^@]+$", whole)  # of org/name@refs/pr/1, too, all but the organisation
    return _cut(plain_name(checkpoint[0] if checkpoint else whole.rsplit("/", 1)[-1]), limit)


def _cut(name: str, limit: int) -> str:
    """A name cut in the middle, but before the mark of random weights at its end if there is room for both."""
    mark = re.search(r" \[random init [^\]]*\]$", name)
    room = limit - len(mark[0]) if mark else 0
    return shorten(name[: mark.start()], room) + mark[0] if mark and room >= 12 else shorten(name, limit)


def as_text(text: Any) -> str:
    """Text that matplotlib draws as it is: a dollar does not start a formula."""
    return str(text).replace("$", r"\$")


def labels(names: Iterable[Any], limit: int = 44) -> list[str]:
    """Short names that differ, with dollars escaped for matplotlib."""
    return [as_text(name) for name in names_apart(names, limit)]


def names_apart(names: Iterable[Any], limit: int = 44) -> list[str]:
    """Short names; two that would be equal differ by more of the name, or by a number."""
    full = [str(name) for name in names]
    short = [short_name(name, limit) for name in full]
    often = Counter(short)
    short = [s if often[s] == 1 else _cut(plain_name(f), limit + 12) for s, f in zip(short, full, strict=True)]
    often, seen = Counter(short), Counter()
    for i, name in enumerate(short):
        seen[name] += 1
        short[i] = name if often[name] == 1 else f"{name} ({seen[name]})"
    return short


def title(ax: Any, text: str) -> None:
    """A title in small type, on as many lines as the width of the axes needs."""
    ax.set_title(wrapped(text, ax.get_window_extent().width / ax.figure.dpi, 9), fontsize=9)


def axis_labels(ax: Any, x: str | None = None, y: str | None = None) -> None:
    """The names of the axes, and their tick labels in small type; a long name takes two lines."""
    box = ax.get_window_extent()
    if x is not None:
        ax.set_xlabel(wrapped(x, min(box.width / ax.figure.dpi, 4.4), 8), fontsize=8)
    if y is not None:
        ax.set_ylabel(wrapped(y, box.height / ax.figure.dpi, 8), fontsize=8)
    ax.tick_params(which="both", labelsize=8)


def wrapped(text: str, inches: float, size: float) -> str:
    """Text in lines of about equal length, at most `inches` wide if a character is 0.56 of the type size wide."""
    signs = max(16, int(inches * 72 / (0.56 * size)))
    whole = text.replace(" = ", "\u00a0=\u00a0")  # no line ends within
    lines = textwrap.wrap(whole, signs, break_on_hyphens=False)
    longest = max(map(len, whole.split()), default=0)
    even = textwrap.wrap(whole, max(16, longest, len(whole) // max(len(lines), 1) + 8), break_on_hyphens=False)
    lines = even if len(even) == len(lines) else lines
    return as_text("\n".join(lines or [text]).replace("\u00a0=\u00a0", " = "))


def spans_decades(numbers: np.ndarray) -> bool:
    """Whether numbers are positive and the greatest is at least 30 times the smallest, as parameters and tokens are."""
    return bool(numbers.size) and float(numbers.min()) > 0 and float(numbers.max() / numbers.min()) >= 30


def number_axis(axis: Any, numbers: np.ndarray, *, log: bool) -> None:
    """Set the scale of an axis of numbers: logarithmic if `log`, but linear near a 0; the labels are short (70M)."""
    from matplotlib import ticker

    set_scale = getattr(axis.axes, f"set_{axis.axis_name}scale")
    if log and numbers.min() > 0:
        set_scale("log")
        wide = numbers.max() / numbers.min() >= 100
        axis.set_major_locator(ticker.LogLocator(subs=(1,) if wide else (1, 2, 3, 5)))
        axis.set_minor_formatter(ticker.NullFormatter())
    elif log:
        set_scale("symlog", linthresh=numbers[numbers > 0].min())
    if log or np.abs(numbers).max() >= 1e4:
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """A number as papers write parameters and tokens: 70M, 1.4B."""
    power = min(int(math.log10(abs(value)) + 1e-9) // 3, 4) if abs(value) >= 1e3 else 0
    return f"{value / 10 ** (3 * power):g}{('', 'k', 'M', 'B', 'T')[power]}"


def outside_legend(ax: Any, handles: Any, texts: Any, *, where: str = "right", **more: Any) -> Any:
    """A legend to the right of the figure or below it; next to the axes if the figure is the user's."""
    options: dict[str, Any] = {"fontsize": 7, "frameon": False, "handlelength": 2.6, **more}
    figure = ax.figure
    if figure.get_gid() == _OWN:
        place = "outside right upper" if where == "right" else "outside lower center"
        columns = 1 if where == "right" else _columns(texts, figure.get_figwidth())
        return figure.legend(handles, texts, loc=place, ncols=columns, **options)
    anchor = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)}
    if where != "right":
        columns = _columns(texts, ax.get_window_extent().width / figure.dpi)
        anchor = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": columns}
    return ax.legend(handles, texts, borderaxespad=0, **anchor, **options)


def _columns(texts: Iterable[str], inches: float) -> int:
    """How many columns of a legend fit into a width, at most three."""
    return max(1, min(3, int(inches / (0.55 + 0.056 * max(map(len, texts), default=0)))))


def legend_width(names: Iterable[Any], families: Iterable[str] | None) -> float:
    """Inches that a legend of these names takes."""
    return 0.7 + 0.058 * (max(map(len, labels(names))) + max((len(f) + 3 for f in families or ()), default=0))
