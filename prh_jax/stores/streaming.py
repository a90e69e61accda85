"""Features of one batch after another into a store: resumable, in one order, and of each sample alone."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MismatchError, StoreError
from ..runtime.progress import progress_bar
from .checks import check_ids, check_real
from .layout import Layer
from .reader import FeatureStore, open_store
from .target import check_target
from .writer import FeatureWriter, open_writer

_ROUNDING = {"float32": 0.0, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Of a feature in the store, by the store's type."""
_ALONE, _REPEATED = 0.05, 1e-3
"""Largest differences, of the largest feature: of another batch, where bfloat16 in deep networks stays below, and other
axes and dropout above; and of the same batch again."""

Run = Callable[[Any, range], Mapping[str, np.ndarray]]
"""From a batch, and the rows that it is of, to the features (batch, d) of each layer by name."""


def write_features_from(
    path: str | Path,
    function: Callable[[Any], Mapping[str, Any]],
    loader: Iterable[Any],
    *,
    ids: Sequence[str],
    spec: Mapping[str, Any],
    layer_names: Sequence[str] | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    quiet: bool | None = None,
) -> FeatureStore:
    """Write the features that a function gives of each batch to a store. The same call resumes a stopped run.

    The function is of any library: a jitted function of JAX, a Keras model, numpy.

    Parameters
    ----------
    path
        Path of the store.
    function
        From a batch to the features of each layer, a mapping of names to arrays (batch, d) of real numbers. `jax.jit`
        sorts the names of a mapping: layers whose names are sorted are put in the order of the numbers in them, so that
        "block 2" comes before "block 10". `layer_names` gives any other order.
    loader
        Batches in the order of the ids, each as long as its first array, or lists of texts. It is read from the start
        each time.
    ids
        An id for each sample.
    spec
        Origin of the features: {"model": ..., "modality": ..., "pool": ...} and any other settings.
    layer_names
        Names of the layers in their order; None as above.
    dtype
        Type in which features are stored.
    overwrite
        Replace a store of other features.
    quiet
        Show no progress; None shows it where somebody watches.

    Returns
    -------
    FeatureStore
        The store, opened.

    Raises
    ------
    StoreError
        If the loader shuffles, or its number of samples is not that of the ids, or the features of the first sample
        change when it is alone in its batch. Also if the store at `path` holds something else, or other features of the
        first samples.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, tempfile
    >>> from prh_jax import write_features_from
    >>> layers = jax.jit(lambda x: {"square": x**2, "sum": x.sum(axis=1, keepdims=True)})
    >>> images = np.arange(12.0).reshape(4, 3)
    >>> store = write_features_from(
    ...     tempfile.mkdtemp() + "/toy.zarr", layers, [images[:2], images[2:]], ids=["a", "b", "c", "d"],
    ...     spec={"model": "toy", "modality": "vision", "pool": "none"}, quiet=True,
    ... )
    >>> store.read_layer(1)[:, 0]
    array([ 3., 12., 21., 30.], dtype=float32)
    """
    ids = check_ids(ids)
    check_order(loader, StoreError)
    check_count(loader, len(ids), StoreError)

    def run(batch: Any, rows: range) -> Mapping[str, np.ndarray]:
        found = function(batch)
        if not isinstance(found, Mapping) or not found:
            raise StoreError(
                f"The function returns {type(found).__name__}, where a mapping of layers' names to arrays is due: "
                '{"block 1": features, ...}.'
            )
        named = {str(name): values for name, values in found.items()}
        if len(named) < len(found):
            raise StoreError(f"Two layers have one name, as text: {', '.join(map(repr, found))}. Give each its own.")
        order = _in_order(list(named)) if layer_names is None else list(layer_names)
        if sorted(order) != sorted(named):
            raise StoreError(f"layer_names has {', '.join(order)}, and the function returns {', '.join(named)}.")
        return {name: _features(name, named[name], len(rows)) for name in order}

    stream = Stream(path, run, ids=ids, spec=spec, dtype=dtype, overwrite=overwrite)
    return stream_all([stream], loader, quiet=quiet)[0]


def _in_order(names: list[str]) -> list[str]:
    """Sorted names by the numbers in them; others as they are."""
    if names != sorted(names):
        return names
    return sorted(
        names,
        key=lambda name: [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name)],
    )


def _features(name: str, values: Any, size: int) -> np.ndarray:
    array = check_real(name, values)
    if array.ndim != 2 or len(array) != size:
        raise StoreError(f"Layer {name!r} has shape {array.shape}; the features of {size} samples are ({size}, d).")
    return array.astype(np.float32)


class Stream:
    """One store that is written from batches.

    Parameters
    ----------
    path, ids, spec, dtype, overwrite
        As of `write_features_from`.
    run
        From a batch and the rows that it is of to the features of each layer.
    error
        Class of errors that are raised.
    """

    def __init__(
        self,
        path: str | Path,
        run: Run,
        *,
        ids: Sequence[str],
        spec: Mapping[str, Any],
        dtype: str,
        overwrite: bool,
        error: type[ValueError] = StoreError,
    ):
        check_target(Path(path))
        self.path, self.run, self.ids, self.spec = path, run, check_ids(ids), spec
        self.dtype, self.overwrite, self.error = dtype, overwrite, error
        self.writer: FeatureWriter | None = None
        self.held: list[np.ndarray] = []
        self.start = 0

    def feed(self, batch: Any) -> None:
        """Take the next batch: its features are made where they belong to a block that is not done."""
        size = _length(batch, self.error)
        if not size:
            return
        rows = range(self.start, self.start + size)
        if rows.stop > len(self.ids):
            raise self.error(f"The loader gives more samples than the {len(self.ids)} ids.")
        if self.writer is None:
            found = self.run(copy_of(batch), rows)
            spread = self._check_alone(batch, found, rows)
            layers = [Layer(name, int(state.shape[1])) for name, state in found.items()]
            self.writer = open_writer(
                self.path, spec=self.spec, ids=self.ids, layers=layers, dtype=self.dtype, overwrite=self.overwrite
            )
            self._check_stored(found, rows, spread)
            states = list(found.values())
        elif self._wanted(rows):
            found = self.run(copy_of(batch), rows)
            shapes = [(name, state.shape[1]) for name, state in found.items()]
            if shapes != [(layer.name, layer.dim) for layer in self.writer.layers]:
                raise self.error(
                    f"The batch of rows {rows.start} to {rows.stop - 1} has other layers, or layers of other widths, "
                    "than the first one."
                )
            states = list(found.values())
        else:
            states = [np.full((size, layer.dim), np.nan, np.float32) for layer in self.writer.layers]
        self.held = states if not self.held else [np.concatenate(pair) for pair in zip(self.held, states, strict=True)]
        self.start = rows.stop
        self._write_whole()

    def finish(self) -> FeatureStore:
        """The store, complete; an error where the loader gave fewer samples than there are ids."""
        if self.writer is None or self.start < len(self.ids):
            raise self.error(
                f"The loader gives {self.start} samples, but there are {len(self.ids)} ids. Blocks done are kept."
            )
        if not self.writer.complete:
            self.writer.finish()
        return open_store(self.path)

    def _wanted(self, rows: range) -> bool:
        """Whether rows belong to a block that is not done."""
        assert self.writer is not None
        blocks = (self.writer.blocks[block] for block in self.writer.pending())
        return any(block.start < rows.stop and rows.start < block.stop for block in blocks)

    def _write_whole(self) -> None:
        """Write the blocks that the rows held make whole; keep the rows left over."""
        assert self.writer is not None
        first = self.start - len(self.held[0])
        for block, rows in enumerate(self.writer.blocks):
            if rows.start == first and rows.stop <= self.start:
                if block in self.writer.pending():
                    self.writer.write_block(block, [array[: rows.stop - first] for array in self.held])
                self.held, first = [array[rows.stop - first :] for array in self.held], rows.stop

    def _check_stored(self, found: Mapping[str, np.ndarray], rows: range, spread: float) -> None:
        """MismatchError where the blocks that are done hold other features of these samples: of another model.

        A spec names the model, and does not show that its weights or its preprocessing changed.
        """
        assert self.writer is not None
        pending = self.writer.pending()
        done = [part for block, part in enumerate(self.writer.blocks) if block not in pending]
        allowed = max(_REPEATED, 4 * spread)  # batches may be of another size
        for part in (slice(max(part.start, rows.start), min(part.stop, rows.stop)) for part in done):
            if part.start >= part.stop:
                continue
            here = slice(part.start - rows.start, part.stop - rows.start)
            for (name, now), before in zip(found.items(), open_store(self.path).read_rows(part), strict=True):
                old = np.asarray(before, np.float32)
                rounding = abs(now[here]) * _ROUNDING[self.dtype]
                off = (abs(now[here] - old) - rounding).max() / max(abs(old).max(), np.finfo(np.float32).tiny)
                if off > allowed:
                    raise MismatchError(
                        f"{self.path} holds other features of sample {self.ids[part.start]!r} and those that follow: "
                        f"layer {name!r} differs by {off:.1%} of the largest. The model, its weights, the data or "
                        "their preprocessing are no longer those of the first run. Give those again (random weights "
                        "need a seed), choose another path, or replace the store (overwrite=True)."
                    )

    def _check_alone(self, batch: Any, whole: Mapping[str, np.ndarray], rows: range) -> float:
        """Raise an error where samples have other features in another batch, or at another call.

        Returns the largest difference between batches, in parts of the largest feature.
        """
        size = len(rows)

        def part(where: slice) -> Mapping[str, np.ndarray]:
            return self.run(_part_of(batch, where), rows[where])

        last, half = slice(size - 1, size), slice(size // 2, size)
        try:
            first = part(slice(0, 1))
            self._compare(first, part(slice(0, 1)), whole, "at another call", _REPEATED)
            found = [(slice(0, 1), first), (last, part(last))] if size > 1 else []
        except self.error:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError):  # a model that takes no batch of one
            found = [(half, part(half))] if size >= 4 else []
        spread = 0.0
        for where, alone in found:
            count = len(rows[where])
            expected = {name: state[where] for name, state in whole.items()}
            told = "when it is alone" if count == 1 else f"in a batch of {count}"
            spread = max(spread, self._compare(expected, alone, whole, told, _ALONE))
        return spread

    def _compare(self, expected, found, whole, where, tolerance) -> float:
        """The largest difference, in parts of the largest feature; an error where it is above the tolerance."""
        spread = 0.0
        for name, one in expected.items():
            if not one.size:  # a layer without features, which the writer refuses
                continue
            off, largest = abs(one - found[name]).max(), abs(whole[name]).max()
            if off > tolerance * largest:
                raise self.error(
                    f"Layer {name!r} gives a sample other features {where} than in a batch of {len(whole[name])}: they "
                    f"differ by {off / largest:.1%} of the largest. Either samples are not the first axis of its "
                    "output, or the model mixes samples or draws random numbers. Such features belong to a batch, not "
                    "to a sample."
                )
            spread = max(spread, float(off / largest) if off > 0 else 0.0)
        return spread


def stream_all(streams: Sequence[Stream], loader: Iterable[Any], *, quiet: bool | None = None) -> list[FeatureStore]:
    """Feed each batch of a loader to several stores, which are then complete."""
    name, total = str(streams[0].spec.get("model", Path(streams[0].path).stem)), len(streams[0].ids)
    with progress_bar(name, "samples", total, quiet=quiet) as bar:
        for batch in loader:
            for stream in streams:
                stream.feed(batch)
            bar.update(_length(batch, streams[0].error))
    return [stream.finish() for stream in streams]


def check_order(loader: Any, error: type[ValueError]) -> None:
    """Raise an error unless two passes over the loader begin with the same samples."""
    if isinstance(loader, Iterator):
        return
    if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
        raise error(f"Batches come from a list, a DataLoader or a generator, and {type(loader).__name__} is none.")
    first, again = (next(iter(loader), None) for _ in range(2))
    if not same(first, again):
        raise error(
            "Two passes over the loader begin with other samples, and features would belong to other ids: pass "
            "shuffle=False, or a sampler that keeps the order."
        )


def check_count(loader: Iterable[Any], n: int, error: type[ValueError]) -> None:
    """Raise an error where a list of batches has not as many samples as there are ids; others are read to know."""
    if isinstance(loader, list | tuple):
        count = sum(_length(batch, error) for batch in loader)
        if count > n:
            raise error(f"The loader gives more samples than the {n} ids: {count}.")
        if count < n:
            raise error(f"The loader gives {count} samples, but there are {n} ids.")


def same(one: Any, other: Any) -> bool:
    """Whether two batches, or samples, hold the same. Objects that do not say what equals them count as the same."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "shape") and hasattr(other, "shape"):
        a: Any = one
        if tuple(a.shape) != tuple(other.shape):
            return False
        return bool(((a == other) | ((a != a) & (other != other))).all())
    if type(one) is type(other) and type(one).__eq__ is object.__eq__:
        return True
    return bool(np.all(np.asarray(one == other)))


def _length(batch: Any, error: type[ValueError]) -> int:
    """Samples of a batch: the length of its first array, or of its first part where it has none."""
    arrays = [leaf for leaf in leaves_of(batch) if getattr(leaf, "shape", ()) != ()]
    if arrays:
        return len(arrays[0])
    if is_texts(batch):
        return len(batch)
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()))
    try:
        return len(batch[0]) if isinstance(batch, tuple | list) else len(batch)
    except (TypeError, IndexError) as cause:
        raise error(
            f"The loader gives {type(batch).__name__} {batch!r:.60}, where a batch is a tensor or array, or a tuple, "
            "list or dict of such."
        ) from cause


def is_texts(batch: Any) -> bool:
    """Whether a batch, or a part of it, is a list of texts, each of which is a sample."""
    return isinstance(batch, tuple | list) and bool(batch) and isinstance(batch[0], str)


def leaves_of(batch: Any) -> Iterator[Any]:
    """Return the arrays, texts and numbers that a batch is made of."""
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, tuple | list):
        yield batch
        return
    for part in batch:
        yield from leaves_of(part)


def copy_of(batch: Any) -> Any:
    """A batch of its own for a model, which may change its input in place."""
    return _part_of(batch, slice(None))


def _part_of(batch: Any, rows: slice) -> Any:
    """Some samples of a batch as a batch of their own, a copy."""
    if getattr(batch, "shape", ()) != ():
        part = batch[rows]
        copied = getattr(part, "clone", None) or getattr(part, "copy", None)
        return part if copied is None else copied()
    if isinstance(batch, Mapping):
        return {key: _part_of(value, rows) for key, value in batch.items()}
    if is_texts(batch):
        return batch[rows]
    if hasattr(batch, "_fields"):  # a named tuple
        return type(batch)(*(_part_of(part, rows) for part in batch))
    return type(batch)(_part_of(part, rows) for part in batch) if type(batch) in (tuple, list) else batch
