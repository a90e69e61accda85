"""The two steps of a sketch: a summary without a width, then the sketch."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Int, Num

Order = Int[Array, " n"]


@runtime_checkable
class Sketch(Protocol):
    """What a metric keeps of one layer: a NamedTuple of arrays whose shapes do not depend on the layer's width."""

    def reorder(self, order: Order) -> Any:
        """The sketch of `features[order]`, from the sketch of `features`."""


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes arrays without a width from features; `bfloat16` lets it round features for its large products."""

    bfloat16: bool = dataclasses.field(default=False, kw_only=True)

    def __call__(self, x: Num[Array, "n d"]) -> Any:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Sketcher:
    """Makes sketches in two steps; frozen, so that metrics with equal sketchers share one sketch.

        sketch = reduce(products(x))

    `products` is all that touches the width: inner products between samples, say. Sketchers with equal `products`
    share them, and `reduce` compiles once for all widths.
    """

    @property
    def products(self) -> "Maker":
        """What makes arrays without a width from features."""
        raise NotImplementedError

    def reduce(self, products: Any) -> Any:
        """The sketch, from what `products` made."""
        raise NotImplementedError

    def on_unit_rows(self) -> "Sketcher":
        """An equivalent sketcher for features whose rows have length one."""
        return self

    def for_samples(self, n: int, width: int | None = None) -> "Sketcher":
        """An equivalent sketcher for n samples: one without a matrix of all pairs where that would be large.

        `width` is that of the widest layer, where it is known; sketches may be as large as features of that width.
        Sketches that hold features stack with others of the same `width` alone; without it they have their own.
        """
        return self

    def without_pairs(self, width: int | None) -> "Sketcher | None":
        """An equivalent sketcher that makes no matrix of all pairs of samples, whatever n; None if there is none."""
        return None

    def excluding(self, groups: tuple[int, ...]) -> "Sketcher":
        """One whose neighbours of a sample are never of the sample's own group; itself where it has no neighbours."""
        return self

    def __call__(self, x: Num[Array, "n d"]) -> Any:
        return self.reduce(self.products(x))
