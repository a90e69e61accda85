"""Many rows of one side paired with one of the other: captions with their image, patches with their slide."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from ..errors import MismatchError
from .checks import as_text, check_same_samples
from .paired import PairedStore
from .source import ModelSource


def pair_many(
    xs: list[ModelSource], ys: list[ModelSource], pair: Mapping[str, Any], *, normalize_ids: bool = False
) -> tuple[list[ModelSource], list[ModelSource], dict[str, list[str]]]:
    """Stores with a row for each row of the side that has many; the partner's row is repeated.

    Parameters
    ----------
    xs, ys
        The stores of both sides. Those of a side hold the same samples.
    pair
        {"x": partners}, an id of y for each row of x, in order, or a mapping from ids of x to ids of y. {"y": partners}
        where y is the side that has many. A Series of pandas that is labelled by the ids of x is such a mapping.
    normalize_ids
        Take partners in Unicode's composed form, as the ids of the stores are.

    Returns
    -------
    xs, ys, partners
        Stores of both sides under the ids of the side that has many, and the partners as a list of ids.

    Raises
    ------
    MismatchError
        If a partner is in no store, or their number is not that of the rows.
    ValueError
        If `pair` does not have one side, or there is one side only.
    """
    if len(pair) != 1 or not {"x", "y"} >= set(pair):
        raise ValueError(
            f'Many rows are paired with one by pair={{"x": ids}}, an id of y for each row of x, or {{"y": ids}}; got '
            f"the keys {', '.join(map(repr, pair)) or 'of nothing'}."
        )
    if ys is xs:
        raise ValueError("Many rows are paired with one of another side: give stores of both sides (stores_y).")
    (side, given), *_ = pair.items()
    many, ones = (xs, ys) if side == "x" else (ys, xs)
    other = "y" if side == "x" else "x"
    for stores in (many, ones):
        for store in stores[1:]:
            check_same_samples(str(stores[0].path), stores[0].ids, str(store.path), store.ids)
    partners = _partners(many[0], given, side, other)
    if normalize_ids:
        partners = [unicodedata.normalize("NFC", key) for key in partners]
    place = {key: row for row, key in enumerate(ones[0].ids)}
    unknown = [row for row, key in enumerate(partners) if key not in place]
    if unknown:
        row = unknown[0]
        raise MismatchError(
            f"{len(unknown)} of {len(partners)} rows of {many[0].path} have a partner that {ones[0].path} does not "
            f"hold, such as sample {many[0].ids[row]!r}, whose partner is {partners[row]!r}; its samples are such as "
            f"{ones[0].ids[0]!r}. Leave out rows without a partner, or name it as side {other} does."
        )
    rows = [place[key] for key in partners]
    repeated: list[ModelSource] = [PairedStore(store, many[0].ids, rows, own_ids=False) for store in ones]
    return (many, repeated, {side: partners}) if side == "x" else (repeated, many, {side: partners})


def _partners(store: ModelSource, given: Any, side: str, other: str) -> list[str]:
    """The partner of each row of a store, as a list of ids."""
    if hasattr(given, "index") and hasattr(given, "to_dict"):  # a Series: by its labels, unless they number the rows
        labels = [as_text(row, label) for row, label in enumerate(given.index)]
        in_order = len(labels) == store.n and labels == [str(row) for row in range(store.n)]
        given = list(given) if in_order else dict(zip(labels, given, strict=True))
    if isinstance(given, Mapping):
        named = {as_text(row, key): as_text(row, value) for row, (key, value) in enumerate(given.items())}
        lacking = [key for key in store.ids if key not in named]
        if lacking:
            raise MismatchError(
                f'pair={{"{side}": ...}} names no partner for {len(lacking)} of {store.n} samples of {store.path}, '
                f"such as {lacking[0]!r}."
            )
        return [named[key] for key in store.ids]
    if isinstance(given, str | bytes | set | frozenset) or not hasattr(given, "__len__"):
        raise ValueError(
            f'pair={{"{side}": ...}} is an id of {other} for each row of {side}, in order, got {given!r:.60}.'
        )
    partners = [as_text(row, key) for row, key in enumerate(given)]
    if len(partners) != store.n:
        raise MismatchError(
            f'pair={{"{side}": ...}} has {len(partners)} ids of {other}, and {store.path} has {store.n} rows: give one '
            "for each row, in order."
        )
    return partners
