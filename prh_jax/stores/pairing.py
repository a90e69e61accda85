"""From the stores of a study to stores whose row i is the same sample: paired, expanded, and cut to what is scored."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from .many_to_one import pair_many
from .paired import normalize_sides, pair_stores
from .repeats import check_repeats
from .samples import Samples, choose_rows, keep_rows, row_runs
from .source import ModelSource
from .tokens import check_tokens, samples_of

Pair = Literal["exact", "inner"] | Mapping[str, Any]
"""As the samples of stores are: "exact", the same; "inner", in part; or many rows of a side have one of the other."""


@dataclasses.dataclass(frozen=True)
class Paired:
    """Stores whose row i is the same sample, and what of them is recorded.

    Attributes
    ----------
    xs, ys
        The stores of both sides; one list where they were one.
    partners
        Where many rows of a side are paired with one: its name, and the partner of each of its rows.
    rows
        Of the samples that the sides share, those that are scored; None where all are.
    of
        Number of the samples that the sides share.
    """

    xs: list[ModelSource]
    ys: list[ModelSource]
    partners: dict[str, list[str]] | None
    rows: np.ndarray | None
    of: int

    @property
    def samples(self) -> dict[str, Any] | None:
        """The samples that are scored, as a result records them; None where all are."""
        return None if self.rows is None else {"of": self.of, "rows": row_runs(self.rows)}

    def groups(self, given: Any) -> list[Any] | None:
        """The group of each sample that is scored: as given for these or for all samples, else by partners.

        "sample" are the samples of tokens.
        """
        if isinstance(given, str):
            if given != "sample":
                raise ValueError(
                    f"groups= is a label for each sample, or 'sample' for stores of tokens; got {given!r}."
                )
            return samples_of([*self.xs, *self.ys])
        groups = next(iter(self.partners.values())) if self.partners else None if given is None else list(given)
        if groups is not None and self.rows is not None and len(groups) == self.of:
            groups = [groups[row] for row in self.rows]
        return groups


def pair_samples(
    xs: list[ModelSource],
    ys: list[ModelSource],
    pair: Pair = "exact",
    *,
    normalize_ids: bool = False,
    samples: Samples | None = None,
    exclude: Samples | None = None,
) -> Paired:
    """Stores of both sides as they are scored; the keywords are those of `align`."""
    check_tokens([*xs, *(() if ys is xs else ys)])
    partners, everyone = None, {key for store in (*xs, *ys) for key in store.ids}
    if isinstance(pair, Mapping):
        if normalize_ids and ys is not xs:
            xs, ys = normalize_sides(xs, ys)
        xs, ys, partners = pair_many(xs, ys, pair, normalize_ids=normalize_ids)
        everyone = set(xs[0].ids)  # samples are the rows of the side that has many, not their partners
    else:
        check_repeats([*xs, *(() if ys is xs else ys)])
        xs, ys = pair_stores(xs, ys, pair, normalize_ids)
    count = xs[0].n
    if samples is None and exclude is None:
        return Paired(xs, ys, partners, None, count)
    rows = choose_rows(xs[0].ids, samples, exclude, everyone, normalize_ids=normalize_ids)
    if len(rows) == count:
        return Paired(xs, ys, partners, None, count)
    return Paired(*keep_rows(xs, ys, rows), partners, rows, count)
