"""Base of sketchers of neighbour lists: lists that are settled in float64 where float32 leaves them in doubt."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Int, Num

from ..numerics.exact_neighbors import ExactFeatures, Ranking, settle
from .base import Candidates, Sketcher
from .nearest import query_rows


class ListSketcher(Sketcher):
    """A sketcher of the k nearest of each sample, whose lists are those of float64 arithmetic on the features.

    Similarities are made in float32. Where two of them differ by less than rounding may have changed, the host puts the
    samples in order in float64; samples that float64 cannot tell apart count as equal, and are in the order of their
    numbers. Under `jax.jit` and `jax.vmap`, which leave the host out, lists are those of float32.
    """

    k: int
    groups: tuple[int, ...] | None

    @property
    def ranking(self) -> Ranking:
        """Measure that orders neighbours."""
        return "product"

    @property
    def unit_rows(self) -> bool:
        """Whether the sketcher divides rows by their lengths."""
        return False

    @property
    def with_self(self) -> bool:
        """Whether a sample may be its own neighbour."""
        return False

    @property
    def ordered(self) -> bool:
        """Whether the order within a list matters to what is made of it."""
        return True

    @property
    def asked(self) -> int:
        """How many samples have lists; 0 for all (see `query_rows`)."""
        return 0

    def draft(self, summary: Any) -> tuple[Any, Candidates]:
        candidates = self.candidates(summary)
        return self.from_candidates(summary, candidates), candidates

    def sketch(self, summary: Any) -> Any:
        return self.draft(summary)[0]

    def candidates(self, summary: Any) -> Candidates:
        """The samples nearest to each, a few more than k."""
        raise NotImplementedError

    def from_candidates(self, summary: Any, candidates: Candidates) -> Any:
        """The sketch, whose lists are the first k candidates."""
        raise NotImplementedError

    def relist(
        self, sketch: Any, lists: Int[np.ndarray, "rows k"], changed: Int[np.ndarray, " m"], exact: ExactFeatures
    ) -> Any:
        """The sketch with these lists, of which those of some rows have changed."""
        return sketch._replace(neighbors=lists)

    def settle(
        self, sketch: Any, candidates: Candidates, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool
    ) -> Any:
        lists, changed = self.settled(candidates, x, threshold, normalized=normalized)
        if not len(changed):
            return sketch
        return self.relist(jax.device_get(sketch), lists, changed, self.exact(x, threshold, normalized=normalized))

    def settled(
        self, candidates: Candidates, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool
    ) -> tuple[Int[np.ndarray, "rows k"], Int[np.ndarray, " m"]]:
        """The lists as float64 arithmetic on the features has them, and which of them were in doubt."""
        places, values, margin = (np.asarray(z) for z in jax.device_get(tuple(candidates)))
        samples, exact = query_rows(len(x), self.asked), self.exact(x, threshold, normalized=normalized)
        changed, settled = settle(places, values, margin, samples, self.k, exact, ordered=self.ordered)
        lists = places[:, : self.k].copy()
        lists[changed] = settled
        return lists, changed

    def exact(self, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool) -> ExactFeatures:
        """The features in float64, clipped at the threshold."""
        return ExactFeatures(x, self.ranking, self.unit_rows or normalized, threshold, self.groups, self.with_self)
