"""The two steps of a sketch: a summary without a width, then the sketch."""

import dataclasses
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Num

from ..runtime.host import quick_jit

Order = Int[Array, " n"]

MANY = 8192
"""Samples above which a matrix of all pairs is avoided where there is another way."""


@dataclasses.dataclass(frozen=True)
class SketchContext:
    """Facts of a study that a sketcher may know; they are the same for all of its layers.

    Attributes
    ----------
    n
        Number of samples.
    widths
        Widths of the layers, each once, in ascending order; empty where they are not known. Sketches that hold features
        stack only with those of the same widths.
    unit_rows
        Whether preprocessing has given all rows length one.
    groups
        A number for each sample: no sample may be a neighbour of one of its own group. None where all may be.
    together
        A number for each sample: no map that was fitted on one of a group may be judged on another of it. None where
        samples have no groups.
    pairwise_matrix
        Whether a matrix of all pairs of samples may be made, however large it is.
    derived
        Whether derivatives of what is made of sketches may be asked for.
    """

    n: int
    widths: tuple[int, ...] = ()
    unit_rows: bool = False
    groups: tuple[int, ...] | None = None
    together: tuple[int, ...] | None = None
    pairwise_matrix: bool = True
    derived: bool = False

    @property
    def width(self) -> int | None:
        """Width of the widest layer; None where it is not known."""
        return self.widths[-1] if self.widths else None

    @property
    def narrow(self) -> int | None:
        """Width of sketches that are features and not a matrix of all pairs, where these are less work; else None.

        The work of a decomposition grows with the third power of the width: at three quarters of n it is less than
        half, and a sketch is at most half as large again. The width is that of the widest layer, rounded up to a
        multiple of 128: studies of other widths then share most of their programs.
        """
        if self.width is None:
            return None
        width = -(-self.width // 128) * 128
        return width if 4 * width <= 3 * self.n else None

    @property
    def avoid_matrix(self) -> bool:
        """Whether another way than a matrix of all pairs must be taken, where there is one."""
        return self.n > MANY or not self.pairwise_matrix


@dataclasses.dataclass(frozen=True)
class Summarizer:
    """Reads the features of a layer and makes arrays whose shapes do not depend on the width.

    `bfloat16` lets it round features for its large products. `normalized` says that rows come with length one (or zero)
    already.
    """

    bfloat16: bool = dataclasses.field(default=False, kw_only=True)
    normalized: bool = dataclasses.field(default=False, kw_only=True)

    def __call__(self, x: Num[Array, "n d"]) -> Any:
        raise NotImplementedError


class Candidates(NamedTuple):
    """The samples nearest to each, nearest first: a few more than a list needs.

    Attributes
    ----------
    places, values
        The samples, and what ranks them, in descending order.
    margin
        How much two values of a row that differ may have come nearer by rounding; negative where nothing is in doubt.
    """

    places: Int[Array, "rows m"]
    values: Float[Array, "rows m"]
    margin: Float[Array, " rows"]


Doubt = Candidates | Bool[Array, ""]
"""Where rounding may have changed a sketch: the candidates for its lists of neighbours, or whether it has at all."""


@dataclasses.dataclass(frozen=True)
class Sketcher:
    """Makes the sketch of a layer in two steps; metrics with equal sketchers share one sketch.

        sketch = sketcher.sketch(sketcher.summarizer(x))

    Only the summarizer touches the features. Sketchers with equal summarizers share the summary, and `sketch` compiles
    once for all widths. A sketch is a NamedTuple of arrays with a method `reorder(order)`, which returns the sketch of
    `features[order]`.
    """

    pairwise_matrix: ClassVar[bool] = True
    """Whether making the sketch takes all samples in one place, as a matrix of all their pairs does."""

    @property
    def summarizer(self) -> Summarizer:
        """Makes arrays without a width from features."""
        raise NotImplementedError

    def sketch(self, summary: Any) -> Any:
        """The sketch, from what the summarizer made."""
        raise NotImplementedError

    def draft(self, summary: Any) -> tuple[Any, Doubt | None]:
        """The sketch, and marks where rounding may have changed it; None where nothing is settled."""
        return self.sketch(summary), None

    def settle(self, sketch: Any, doubt: Any, x: Num[np.ndarray, "n d"], threshold: float, *, normalized: bool) -> Any:
        """The sketch, on the host, with what was in doubt as float64 arithmetic on the features has it.

        Features `x` are clipped at the threshold; `normalized` says that their rows are divided by their lengths,
        whatever the sketcher says.
        """
        raise NotImplementedError

    def specialise(self, context: SketchContext) -> "Sketcher":
        """The sketcher to use in a study: equal scores, without the work that the context makes needless."""
        return self

    def __call__(self, x: Num[Array, "n d"]) -> Any:
        if staged(x):
            return self.draft(self.summarizer(x))[0]
        sketch, doubt = _draft(_summary(x, summarizer=self.summarizer), sketcher=self)
        return self._settled(sketch, doubt, x)

    def of_layers(self, *layers: Num[Array, "n _"]) -> list[Any]:
        """Return the sketches of layers that have values.

        One program drafts all of them: the lists of one layer, which one thread finds, are made along with the products
        of the next. Where matrices of all pairs are large, each layer is drafted after the one before.
        """
        if layers[0].shape[0] <= DRAFTED_AT_ONCE:
            drafts = _drafts(layers, sketcher=self)
        else:
            drafts = [_draft(_summary(x, summarizer=self.summarizer), sketcher=self) for x in layers]
        return [self._settled(sketch, doubt, x) for (sketch, doubt), x in zip(drafts, layers, strict=True)]

    def _settled(self, sketch: Any, doubt: Doubt | None, x: Num[Array, "n d"]) -> Any:
        if doubt is None:
            return sketch
        settled = self.settle(sketch, doubt, np.asarray(x), float("inf"), normalized=False)
        return sketch if settled is sketch else jax.tree.map(jnp.asarray, settled)


@jax.jit
def _constant() -> Any:
    """A tracer in `jit`, found faster than by the functions of `jax.numpy`, which take longer than a short metric."""
    return np.zeros((), np.float32)


def staged(*arrays: Any) -> bool:
    """Whether arrays have no values yet, or what is computed of them will have none: in `jit`, `vmap`, `grad`."""
    return any(isinstance(z, Tracer) for z in (*jax.tree.leaves(arrays), _constant()))


DRAFTED_AT_ONCE = 8192
"""Samples up to which one program drafts the sketches of several layers."""


@partial(quick_jit, static_argnames=("sketcher",))
def _drafts(layers: Any, *, sketcher: Sketcher) -> list[tuple[Any, Doubt | None]]:
    """The drafts of several sketches, compiled once for all their widths."""
    return [sketcher.draft(sketcher.summarizer(x)) for x in layers]


@partial(quick_jit, static_argnames=("summarizer",))
def _summary(x: Any, *, summarizer: Summarizer) -> Any:
    """The summary of a layer, compiled once for each width."""
    return summarizer(x)


@partial(quick_jit, static_argnames=("sketcher",))
def _draft(summary: Any, *, sketcher: Sketcher) -> tuple[Any, Doubt | None]:
    """The draft of a sketch, compiled once for all widths."""
    return sketcher.draft(summary)
