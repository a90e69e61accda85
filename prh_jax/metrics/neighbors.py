"""What the metrics of neighbour lists share: their settings, their sketch, and counts that stay integers."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Int

from ..linalg import exact_ratio
from ..metric import Metric, Score, check_positive
from ..sketches import KnnGraph, Neighbors


@dataclasses.dataclass(frozen=True)
class NeighborMetric(Metric):
    """A metric of two kNN graphs that sums an integer over samples and divides once."""

    k: int = 10
    normalize: bool = True

    def __post_init__(self):
        check_positive(self.name, k=self.k)

    @property
    def invariances(self) -> frozenset[str]:
        return frozenset({"orthogonal", "isotropic_scaling"} | ({"row_scaling"} if self.normalize else set()))

    @property
    def sketch(self) -> Neighbors:
        return Neighbors(self.k, self.normalize)

    def counts(self, a: Int[Array, "n k"], b: Int[Array, "n k"]) -> Int[Array, " n"]:
        """One count per sample."""
        raise NotImplementedError

    def largest(self, n: int) -> int:
        """The sum of counts at which the score is 1."""
        return n * self.k

    def compare(self, a: KnnGraph, b: KnnGraph) -> Score:
        total = jnp.sum(self.counts(a.neighbors, b.neighbors))
        score = exact_ratio(total, self.largest(a.neighbors.shape[0]))
        degenerate = (a.neighbors[0, 0] < 0) | (b.neighbors[0, 0] < 0)
        return jnp.where(degenerate, jnp.nan, score)
