"""What the figures share: a figure of the right size, names, titles and axes that fit it."""

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
    """The axes given, or those of a new figure of this size in inches, which makes room for what stands outside."""
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
    """Short names to draw, each another: `names_apart`, as matplotlib takes them."""
    return [as_text(name) for name in names_apart(names, limit)]


def names_apart(names: Iterable[Any], limit: int = 44) -> list[str]:
    """Short names; those that would be alike are told apart by more of the name, or by a number."""
    full = [str(name) for name in names]
    short = [short_name(name, limit) for name in full]
    often = Counter(short)
    short = [s if often[s] == 1 else shorten(plain_name(f), limit + 12) for s, f in zip(short, full, strict=True)]
    often, seen = Counter(short), Counter()
    for i, name in enumerate(short):
        seen[name] += 1
        short[i] = name if often[name] == 1 else f"{name} ({seen[name]})"
    return short


def title(ax: Any, text: str) -> None:
    """A title in small type, on as many lines as the width of the axes asks for."""
    ax.set_title(wrapped(text, ax.get_window_extent().width / ax.figure.dpi, 9), fontsize=9)


def axis_labels(ax: Any, x: str | None = None, y: str | None = None) -> None:
    """The names of the axes and small numbers beside them; a name that is too long goes on in a second line."""
    box = ax.get_window_extent()
    if x is not None:
        ax.set_xlabel(wrapped(x, min(box.width / ax.figure.dpi, 4.4), 8), fontsize=8)
    if y is not None:
        ax.set_ylabel(wrapped(y, box.height / ax.figure.dpi, 8), fontsize=8)
    ax.tick_params(which="both", labelsize=8)


def wrapped(text: str, inches: float, size: float) -> str:
    """Text on lines of at most so many inches and about equal length, at 0.56 of the size of the type for a sign."""
    signs = max(16, int(inches * 72 / (0.56 * size)))
    whole = text.replace(" = ", "\u00a0=\u00a0")  # no line ends within
    lines = textwrap.wrap(whole, signs, break_on_hyphens=False)
    even = textwrap.wrap(whole, max(16, len(whole) // max(len(lines), 1) + 8), break_on_hyphens=False)
    lines = even if len(even) == len(lines) else lines
    return as_text("\n".join(lines or [text]).replace("\u00a0=\u00a0", " = "))


def spans_decades(numbers: np.ndarray) -> bool:
    """Whether numbers are positive and the greatest is at least 30 times the smallest, as parameters and tokens are."""
    return bool(numbers.size) and float(numbers.min()) > 0 and float(numbers.max() / numbers.min()) >= 30


def number_axis(axis: Any, numbers: np.ndarray, *, log: bool) -> None:
    """An axis of numbers of models: logarithmic if asked for, linear from 0 on where there is a 0; 70M for 70000000."""
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
    """A number as papers give parameters and tokens: 70M, 1.4B."""
    power = min(int(math.log10(abs(value)) + 1e-9) // 3, 4) if abs(value) >= 1e3 else 0
    return f"{value / 10 ** (3 * power):g}{('', 'k', 'M', 'B', 'T')[power]}"


def outside_legend(ax: Any, handles: Any, texts: Any, *, where: str = "right") -> Any:
    """A legend beside the data: to the right of all, or below; beside the axes in a figure that is not ours."""
    options: dict[str, Any] = {"fontsize": 7, "frameon": False, "handlelength": 2.6}
    figure = ax.figure
    if figure.get_gid() == _OWN:
        place = "outside right upper" if where == "right" else "outside lower center"
        return figure.legend(handles, texts, loc=place, ncols=1 if where == "right" else 3, **options)
    anchor = {"loc": "upper left", "bbox_to_anchor": (1.02, 1)}
    if where != "right":
        anchor = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 3}
    return ax.legend(handles, texts, borderaxespad=0, **anchor, **options)


def legend_width(names: Iterable[Any], families: Iterable[str] | None) -> float:
    """Inches that a legend of these names takes."""
    return 0.7 + 0.058 * (max(map(len, labels(names))) + max((len(f) + 3 for f in families or ()), default=0))
