"""Statistics over the samples of a layer: one arithmetic for layers held whole and for layers spread over devices."""

from typing import Any

import jax.numpy as jnp


class SampleAxis:
    """All samples are here. Another kind, whose samples sit on several devices, is in `ring`."""

    def least(self, x: Any) -> Any:
        """The lowest value of each column, (1, d)."""
        return jnp.min(x, axis=0, keepdims=True)

    def most(self, x: Any) -> Any:
        """The highest value of each column, (1, d)."""
        return jnp.max(x, axis=0, keepdims=True)

    def count(self, x: Any) -> int:
        """How many samples there are."""
        return x.shape[0]

    def first(self, x: Any) -> Any:
        """The first sample, (1, d)."""
        return x[:1]

    def mean(self, x: Any) -> Any:
        """The mean of each column, (1, d)."""
        return jnp.mean(x, axis=0, keepdims=True)

    def total(self, part: Any) -> Any:
        """A sum over samples, from the sum over those that are here."""
        return part

    def gather(self, x: Any) -> Any:
        """An array of all samples, from that of the samples here; the first axis is that of samples."""
        return x

    def held(self, x: Any) -> Any:
        """The rows here, with zeros where a row stands for no sample."""
        return x


LOCAL = SampleAxis()
