"""Sketches stacked along one axis of layers, on the host and on devices."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def layer_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """All local devices (or those given) in a row, over which tiles of layers are laid out."""
    return Mesh(np.array(devices or jax.local_devices()), ("layer",))


def sketch_shapes(sketch: Any) -> Any:
    """Structure, shapes and dtypes of a sketch, hashable."""
    leaves, treedef = jax.tree.flatten(sketch)
    return treedef, tuple((tuple(leaf.shape), np.dtype(leaf.dtype)) for leaf in leaves)


def stacked_shapes(shapes: Any, count: int, mesh: Mesh, spec: PartitionSpec) -> Any:
    """Shapes of a stack of a number of sketches on the devices, from those of one (see `sketch_shapes`)."""
    treedef, leaves = shapes
    place = NamedSharding(mesh, spec)
    return treedef.unflatten([jax.ShapeDtypeStruct((count, *s), dtype, sharding=place) for s, dtype in leaves])


def sketch_bytes(sketch: Any) -> int:
    """Bytes of the arrays of a sketch, or of their shapes."""
    return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(sketch))


def stack_tile(sketches: Iterable[Any], size: int) -> Any:
    """Sketches of layers as one, on the host; filled up to `size` with the last, so that shapes never change.

    Each is copied as it comes, so that those of an iterator need not be held next to the stack.
    """
    stacks: list[np.ndarray] = []
    treedef, i = None, -1
    for i, sketch in enumerate(sketches):
        leaves, treedef = jax.tree.flatten(sketch)
        if not stacks:
            stacks = [np.empty((size, *np.shape(leaf)), leaf.dtype) for leaf in leaves]
        for stack, leaf in zip(stacks, leaves, strict=True):
            stack[i] = leaf
    if treedef is None:
        raise ValueError("A stack needs at least one sketch.")
    for stack in stacks:
        stack[i + 1 :] = stack[i]
    return treedef.unflatten(stacks)


def put_tile(tile: Any, mesh: Mesh, *, spread: bool) -> Any:
    """A stack on the devices: spread over them along the layer axis, or whole on each."""
    return jax.device_put(tile, NamedSharding(mesh, PartitionSpec("layer") if spread else PartitionSpec()))
