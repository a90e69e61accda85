"""Features as they are, for a metric that has no sketch of its own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from .base import Order, SketchContext, Sketcher, Summarizer
from .feature_columns import fill_up
from .scaling import scale_columns


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GivenFeatures:
    """Features of a layer, filled up with zeros to the widest of a study; NaN throughout for a degenerate layer.

    Attributes
    ----------
    columns
        The features, (n, widest).
    place
        Which of `widths` is the layer's own.
    widths
        Widths of the layers of the study, in ascending order; the same for all layers.
    groups
        A number for each sample, where the metric asks for groups and the study has them. `reorder` leaves them: an
        order exchanges whole groups of equal size, if any.
    """

    columns: Any  # JAX also puts shapes and masks here, which are no arrays
    place: Any
    widths: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    groups: tuple[int, ...] | None = dataclasses.field(default=None, metadata={"static": True})

    def reorder(self, order: Order) -> "GivenFeatures":
        """The features with their samples in another order."""
        return dataclasses.replace(self, columns=self.columns[order])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FeatureSummary:
    """GivenFeatures, and whether all samples are alike or a value is not finite."""

    features: GivenFeatures
    degenerate: Any


@dataclasses.dataclass(frozen=True)
class SummarizeGiven(Summarizer):
    """Fills features up to the widest of `widths`; `bfloat16` changes nothing."""

    widths: tuple[int, ...]
    groups: tuple[int, ...] | None = None

    def __call__(self, x: Num[Array, "n d"]) -> FeatureSummary:
        z, columns = scale_columns(x, centered=False)
        n, d = x.shape
        widths = self.widths or (d,)
        # the scale is a power of two: dividing by it gives the features to the bit
        kept = fill_up(z / columns.factor, n, widths[-1])
        place = jnp.asarray(widths.index(d), jnp.int32)
        return FeatureSummary(GivenFeatures(kept, place, widths, self.groups), columns.degenerate)


@dataclasses.dataclass(frozen=True)
class GivenSketcher(Sketcher):
    """Keeps the features of a layer. `widths` are those of all layers of the study, where they are known.

    `metric.check` is called with the number of samples and the groups of a study, before work starts. `grouped` keeps
    the groups next to the features.
    """

    widths: tuple[int, ...] = ()
    metric: Any = None
    grouped: bool = False
    groups: tuple[int, ...] | None = None

    @property
    def summarizer(self) -> SummarizeGiven:
        return SummarizeGiven(self.widths, self.groups)

    def specialise(self, context: SketchContext) -> "GivenSketcher":
        groups = context.together if self.grouped else None
        if self.metric is not None:
            self.metric.check(context.n, groups)
        return dataclasses.replace(self, widths=context.widths or self.widths, groups=groups)

    def sketch(self, summary: FeatureSummary) -> GivenFeatures:
        kept = summary.features
        return dataclasses.replace(kept, columns=jnp.where(summary.degenerate, jnp.nan, kept.columns))
