"""Colours that everyone can distinguish: one for each family, the same in every figure and report of a result."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..results.alignment import Alignment
from ..results.families import Families, families_known

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""The colours of Okabe and Ito, for all kinds of colour vision."""
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#808080"
"""Colour of chance, critical scores and fitted lines, which are no families. It is legible on white and on black."""


def ink(color: str) -> str:
    """The colour to draw with; black becomes the style's colour of text, which is legible on a dark background."""
    from matplotlib import colors, rcParams

    return colors.to_hex(rcParams["text.color"]) if color == "#000000" else color


def ink_upon(color: Any) -> str:
    """Black or white, the one with more contrast to a colour: at least 4.5 to 1 (WCAG 2, relative luminance)."""
    from matplotlib.colors import to_rgb

    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 else "black"


def line_look(hue: int, turn: int = 0) -> dict[str, Any]:
    """Colour, dashes and marker of a line: 7 hues, and 28 looks of each."""
    return {"color": ink(COLORS[hue % 7]), "linestyle": STYLES[turn % 4], "marker": MARKERS[turn // 4 % len(MARKERS)]}


def family_colors(families: Iterable[str]) -> dict[str, str]:
    """A colour for each family, in the order of the families."""
    names = dict.fromkeys(families)
    if len(names) > len(COLORS):
        raise ValueError(f"There are {len(COLORS)} colours that all can tell apart, but {len(names)} families.")
    return dict(zip(names, COLORS, strict=False))


def colors_of(result: Alignment, families: Families, drawn: Iterable[str]) -> dict[str, str]:
    """The colours of the families that a figure draws, in the order of the result.

    The families of all models, x before y, share the colours, so that a family has one colour in every figure of the
    result. If these are too many, only the families that the figure draws share them.
    """
    wanted = dict.fromkeys(drawn)
    everyone = dict.fromkeys(
        str(told[label])
        for side, told in families_known(result, families).items()
        for label in (result.models_x if side == "x" else result.models_y)
        if label in told
    )
    colors = family_colors(everyone if len(everyone) <= len(COLORS) else wanted)
    return {name: color for name, color in colors.items() if name in wanted}


def families_of(result: Alignment, models: Mapping[str, Iterable[Any]], families: Families) -> list[list[str] | None]:
    """The families of the models in a figure, by side; None for a side without families.

    If `families` is None, a side has the assigned `family` of its models, provided that each has one and that there are
    colours for all.

    Raises
    ------
    ValueError
        If `families` is given and a model has none.
    """
    names = {side: [str(model) for model in chosen] for side, chosen in models.items()}
    told = {side: found for side, found in families_known(result, families).items() if side in names}
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
