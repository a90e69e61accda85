"""Layers streamed from stores into sketches."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ..errors import StoreError
from ..numerics.backends import choices
from ..runtime.host import compiling_threads, kept_memory, quiet_blas, reading_threads
from ..runtime.progress import progress_bar
from ..sketches.base import Sketcher, Summarizer
from ..sketches.reasons import NO_DIGITS, has_nan, same_features, why_no_score
from ..stores.source import ModelSource
from . import device_quantile
from .preprocess import Preprocess
from .programs import sketch_summary, summarizer_of, summary_program
from .read_ahead import read_ahead
from .sketch_bank import SketchBank

IN_FLIGHT = 2
"""Layers read ahead of the one that is computed, and computed ahead of the one that is stored."""


@dataclass(frozen=True)
class StoredLayer:
    """A layer of a store, and a name of its features after preprocessing, by their contents."""

    store: ModelSource
    layer: int
    name: str


def store_key(store: ModelSource) -> str:
    """Identity of a store in a study: its place, and which of its samples are taken in which order."""
    return f"{store.path} {store.checksum()}"


def name_layers(stores: Iterable[ModelSource], preprocess: Preprocess, precision: str) -> dict[str, list[StoredLayer]]:
    """All layers of each store, by its key."""
    refs = {}
    for store in stores:
        contents = f"{store.checksum()} {asdict(preprocess)} {precision}"
        refs[store_key(store)] = [StoredLayer(store, i, f"{contents} {i}") for i in range(len(store.layers))]
    return refs


def shape_of(sketcher: Sketcher | Summarizer, n: int, width: int) -> Any:
    """The shapes of a sketch, or of what it is made of; they do not depend on the width."""
    return jax.eval_shape(sketcher, jax.ShapeDtypeStruct((n, width), np.float32))


def make_sketches(
    refs: dict[str, list[StoredLayer]],
    sketchers: Sequence[Sketcher],
    preprocess: Preprocess,
    bank: SketchBank,
    *,
    precision: str,
    mesh: Mesh,
    memory: int,
    quiet: bool | None,
) -> None:
    """Fill the bank with each layer's sketches; a layer that has them all is not read."""
    summarizers = {sketcher: summarizer_of(sketcher, preprocess, precision) for sketcher in sketchers}
    missing = {
        ref: [sketcher for sketcher in sketchers if not bank.has(sketcher, ref.name)]
        for layers in refs.values()
        for ref in layers
    }
    missing = {ref: wanted for ref, wanted in missing.items() if wanted}
    if not missing:
        return
    devices = list(mesh.devices.flat)
    waiting: list[tuple[StoredLayer, dict[Sketcher, Any], Any, tuple[np.ndarray, np.float32]]] = []

    def store_oldest() -> None:
        ref, drafts, degenerate, (x, threshold) = waiting.pop(0)
        if bool(degenerate):
            refuse_constant(ref, x, float(threshold))
        for sketcher, (sketch, doubt) in drafts.items():
            if doubt is not None:
                sketch = sketcher.settle(sketch, doubt, x, float(threshold), normalized=preprocess.normalize)
            sketch = jax.device_get(sketch)
            if has_nan(sketch):
                warn_of_layer(ref, x, float(threshold))
            bank.put(sketcher, ref.name, sketch)

    shown = progress_bar("sketching", "layers", len(missing), quiet=quiet, leave=False)
    with quiet_blas(), kept_memory(memory), shown as bar:
        layers = read_ahead(_prepared(refs, set(missing), preprocess, memory, devices), IN_FLIGHT)
        wanted = {ref: tuple(dict.fromkeys(summarizers[sketcher] for sketcher in missing[ref])) for ref in missing}
        programs = _compile_ahead(wanted, preprocess, devices)
        for turn, (ref, x, placed, threshold) in enumerate(layers):
            device = devices[turn % len(devices)]
            program = programs[x.shape, x.dtype, wanted[ref], device].result()
            made = program(*jax.device_put((placed, threshold), device))
            summaries = dict(zip(wanted[ref], made, strict=True))
            drafts = {s: sketch_summary(summaries[summarizers[s]], sketcher=s) for s in missing[ref]}
            waiting.append((ref, drafts, made[0].degenerate, (x, threshold)))
            if len(waiting) >= IN_FLIGHT * len(devices):
                store_oldest()
            bar.update()
        while waiting:
            store_oldest()


def _compile_ahead(
    wanted: dict[StoredLayer, tuple[Any, ...]], preprocess: Preprocess, devices: Sequence[Any]
) -> dict[Any, Future[Any]]:
    """Programs for all widths, compiled by threads while layers are read and the first ones are computed."""
    pool = ThreadPoolExecutor(compiling_threads())
    programs: dict[Any, Future[Any]] = {}
    for ref, summarizers in wanted.items():
        shape = (ref.store.n, ref.store.layers[ref.layer].dim)
        for device in devices:
            key = (shape, ref.store.dtype, summarizers)
            if (*key, device) not in programs:
                programs[*key, device] = pool.submit(summary_program, *key, preprocess, device)
    pool.shutdown(wait=False)
    return programs


def _prepared(
    refs: dict[str, list[StoredLayer]],
    wanted: set[StoredLayer],
    preprocess: Preprocess,
    memory: int,
    devices: Sequence[Any],
) -> Iterator[tuple[StoredLayer, np.ndarray, Any, np.float32]]:
    """Each wanted layer: its features, the same on a device if they are there already, and its clipping threshold.

    Models that fit into a part of the budget are read once. A model is read, and its thresholds found, while the layers
    of the one before are computed. A model that a device serves better crosses to it once, as stored.
    """

    def models() -> Iterator[tuple[list[StoredLayer], list[np.ndarray] | None, list[Any] | None, np.ndarray]]:
        for turn, layers in enumerate(layers for layers in refs.values() if not wanted.isdisjoint(layers)):
            store, read, placed = layers[0].store, None, None
            if store.nbytes <= memory // 8 and preprocess.clip_quantile < 1:
                with ThreadPoolExecutor(reading_threads()) as pool:
                    read = list(pool.map(store.read_layer, range(len(store.layers))))
                if choices().device_thresholds and sum(x.size for x in read) <= device_quantile.MOST:
                    placed = jax.device_put(read, devices[turn % len(devices)])
            yield layers, read, placed, preprocess.thresholds(store, placed or read, memory=memory // 4)

    for layers, read, placed, thresholds in read_ahead(models(), 1):
        for ref in layers:
            if ref in wanted:
                x = ref.store.read_layer(ref.layer) if read is None else read[ref.layer]
                yield ref, x, x if placed is None else placed[ref.layer], thresholds[ref.layer]


def refuse_constant(ref: StoredLayer, x: np.ndarray | None = None, threshold: float = np.inf) -> None:
    """StoreError: a layer with the same features for all samples has no score; `x` shows whether that is why."""
    constant = same_features(ref.store.n)
    why = None if x is None else why_no_score(x, threshold)
    if why not in (None, constant):
        raise StoreError(f"{named(ref)} {why}. It cannot be aligned with anything: extract it again, or leave it out.")
    raise StoreError(
        f"{named(ref)} {constant} once clipped, so it cannot be aligned with anything. Where features are mostly "
        "zeros, clip less (--clip-quantile 1); else extract the model again, or leave it out."
    )


def warn_of_layer(ref: StoredLayer, x: np.ndarray, threshold: float) -> None:
    """Warn of a layer that has no score by some metric."""
    warnings.warn(
        f"{named(ref)} {why_no_score(x, threshold) or NO_DIGITS}. Its scores by some of the metrics may be NaN.",
        RuntimeWarning,
        stacklevel=2,
    )


def named(ref: StoredLayer) -> str:
    """A layer, for messages."""
    return f"{ref.store.path}, layer {ref.store.layers[ref.layer].name!r}"
