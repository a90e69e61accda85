"""Estimates of a study before it runs: bytes, operations, time by this machine's speed, and what will not fit.

Speed is measured in a rehearsal. A few layers of made-up features go through the engine itself, read from a store,
clipped, sketched and scored, at as many samples as a few seconds allow. The rest is scaled by the size of the work.
"""

import dataclasses
import gc
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..engine.preprocess import Preprocess
from ..engine.programs import summarizer_of, summary_program, tile_scorer
from ..engine.sketch_bank import SketchBank
from ..engine.sketching import make_sketches, name_layers, shape_of
from ..engine.stacks import layer_mesh, put_tile, sketch_bytes, sketch_shapes, stack_tile
from ..engine.tiling import fit_tile, held_bytes, share_kernels, study_blocks
from ..metrics.base import Metric
from ..metrics.kernels import program_of
from ..metrics.registry import check_permutable, make_metrics
from ..numerics.whole import is_whole
from ..runtime.host import compiling_threads
from ..runtime.memory import default_memory, parse_bytes, size_text
from ..runtime.workers import ALONE
from ..sketches.base import MANY, SketchContext, Sketcher
from ..sketches.neighbors import share_lists
from ..stores.layout import DTYPES
from ..stores.reader import open_store
from ..stores.writer import write_features

SAMPLES, LAYERS, PAIRED, ORDERS = 2048, (2, 6), 32, 2
"""Most samples rehearsed with; layers of the shorter and the longer rehearsal; layers a side of the pairs; orders."""
LEAST = 0.5
"""Seconds below which a rehearsal is repeated, and the least of a few times taken."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Expected time, memory and disk space of a study, as `plan` returns them.

    Parameters
    ----------
    samples, layers, pairs
        Numbers of samples, of layers to sketch, and of layer pairs to score by each metric.
    features_bytes, sketches_bytes, result_bytes
        Sizes of all stores, all sketches, and the matrices of the result.
    gram_flops
        Operations of one Gram matrix for every layer, by which sketching is measured.
    compile_s, sketch_s, pair_s, null_s
        Seconds of each part; `seconds` is their sum.
    memory_bytes
        Most memory that the process holds.
    in_memory
        Whether sketches stay in memory. If not, they go to disk.
    blocks
        Blocks of tiles, which workers can share.
    warnings
        Sentences on parts that do not fit.
    """

    samples: int
    layers: int
    pairs: int
    features_bytes: int
    sketches_bytes: int
    result_bytes: int
    gram_flops: float
    compile_s: float
    sketch_s: float
    pair_s: float
    null_s: float
    memory_bytes: int
    in_memory: bool
    blocks: int
    warnings: list[str]

    @property
    def seconds(self) -> float:
        """Of the whole study."""
        return self.compile_s + self.sketch_s + self.pair_s + self.null_s


def plan(
    n: int,
    widths_x: Sequence[Sequence[int]],
    widths_y: Sequence[Sequence[int]] | None = None,
    metrics: Any = None,
    *,
    null: int = 0,
    memory: int | str | None = None,
    dtype: str = "bfloat16",
    preprocess: Preprocess | None = None,
) -> Plan:
    """Estimate what a study takes on this machine, in some seconds for each metric.

    Parameters
    ----------
    n
        Number of samples.
    widths_x, widths_y
        For each model, the widths of its layers. The models of x are scored against each other if `widths_y` is None.
    metrics
        As in `align`.
    null
        Number of permutations.
    memory
        As in `align`.
    dtype
        Type in which features are stored.
    preprocess
        As in `align`.

    Returns
    -------
    Plan
        Seconds, bytes and warnings.

    Raises
    ------
    ValueError
        If the study has no layers or fewer than 4 samples, or a metric does not fit them.
    """
    chosen, preprocess = make_metrics(metrics), preprocess or Preprocess()
    budget = parse_bytes(memory) if memory is not None else default_memory()
    mesh = layer_mesh()
    models = [list(map(int, widths)) for widths in (*widths_x, *(widths_y or ()))]
    widths = [width for model in models for width in model]
    if not widths_x or not all(models) or min(widths) < 1 or widths_y == []:
        raise ValueError("A plan needs at least a model on each side, and of each model the widths of its layers.")
    if n < 4:
        raise ValueError(f"At least 4 samples are needed to score an alignment, got n = {n}.")
    if not is_whole(null) or null < 0:
        raise ValueError(f"A null has a whole number of orders, 0 for none, got {null!r}.")
    if null:
        check_permutable(chosen)
    rows = sum(map(len, widths_x))
    columns = rows if widths_y is None else sum(map(len, widths_y))
    context = SketchContext(n, tuple(sorted(set(widths))), unit_rows=preprocess.normalize)
    sketchers = share_lists({key: metric.sketcher.specialise(context) for key, metric in chosen.items()})
    shapes = {sketcher: shape_of(sketcher, n, max(widths)) for sketcher in dict.fromkeys(sketchers.values())}
    item = 4 if dtype == "float32" else 2
    sketches = sum(map(sketch_bytes, shapes.values())) * len(widths)
    in_memory = sketches <= budget // 3
    free = budget - (sketches if in_memory else 0)
    samples = min(n, SAMPLES if n <= MANY else MANY)  # blocks of few rows would go another way
    fewer = {key: _of_fewer(metric, samples / n) for key, metric in chosen.items()}
    small = {sketchers[key]: m.sketcher.specialise(context) for key, m in fewer.items()}
    rehearsed = _rehearse(list(small.values()), widths, samples, preprocess, dtype, mesh)
    growth = (n / samples) ** 2
    rounds = -(-len(set(widths)) * mesh.size // compiling_threads())
    compile_s, pair_s, null_s = rounds * rehearsed.compile_s, 0.0, 0.0
    blocks, tiles_bytes = 0, 0
    for sketcher, shape in shapes.items():
        group = {key: metric for key, metric in chosen.items() if sketchers[key] == sketcher}
        size = fit_tile(group, shape, mesh, free, n=n, layers=max(rows, columns))
        held = held_bytes(share_kernels(group), shape, size, mesh) - size * sketch_bytes(shape)
        tiles_bytes = max(tiles_bytes, held)
        todo = study_blocks(group, rows, None if widths_y is None else columns, size, mesh, ALONE)
        blocks += len(todo)
        scale = sketch_bytes(shape) / sketch_bytes(shape_of(small[sketcher], samples, max(widths)))
        for metrics_of in share_kernels({key: fewer[key] for key in group}):
            compiling, each = _pair_seconds(metrics_of, small[sketcher], samples, mesh)
            compile_s += compiling
            pair_s += each * scale * len(todo) * size**2  # tiles are filled up
        for key, metric in group.items() if null else ():
            mirrored = 0.5 if widths_y is None and metric.symmetric else 1
            null_s += _order_seconds(fewer[key], small[sketcher], samples) * scale * rows * columns * null * mirrored
    largest = max(sum(model) * n * item for model in models)
    read_whole = largest <= free // 8
    flight = 2 * largest if read_whole else 3 * max(widths) * n * item
    summarizers = tuple(dict.fromkeys(summarizer_of(sketcher, preprocess) for sketcher in shapes))
    program = summary_program((n, max(widths)), DTYPES[dtype], summarizers, preprocess, mesh.devices.flat[0])
    temporary = getattr(program.memory_analysis(), "temp_size_in_bytes", 0) + 3 * 4 * n * max(widths)
    now = _resident()
    needed = max(flight + temporary, tiles_bytes) + (sketches if in_memory else 0)
    warnings = []
    if flight + temporary > free:
        warnings.append(
            f"Sketching the widest layer takes {size_text(flight + temporary)}; {size_text(free)} are left. "
            "Give more memory, or take metrics that need no n x n matrix."
        )
    if not in_memory:
        warnings.append(f"Sketches go to disk: {size_text(sketches)} next to the result.")
    return Plan(
        samples=n,
        layers=len(widths),
        pairs=rows * columns,
        features_bytes=sum(widths) * n * item,
        sketches_bytes=sketches,
        result_bytes=4 * rows * columns * len(chosen),
        gram_flops=2.0 * n * n * sum(widths),
        compile_s=compile_s,
        sketch_s=sum(max(rehearsed.base_s + rehearsed.width_s * width, 0) for width in widths) * growth,
        pair_s=pair_s,
        null_s=null_s,
        memory_bytes=now + needed,
        in_memory=in_memory,
        blocks=blocks,
        warnings=warnings,
    )


def _of_fewer(metric: Metric, share: float) -> Metric:
    """The metric for a share of the samples: of its queries, where it has some, as large a share."""
    asked = metric.settings.get("queries")
    return dataclasses.replace(metric, queries=max(1, int(asked * share))) if asked else metric  # type: ignore[call-arg]


@dataclasses.dataclass(frozen=True)
class _Speed:
    """Seconds to compile for a width, and to sketch a layer: `base_s + width_s * width`."""

    compile_s: float
    base_s: float
    width_s: float


def _rehearse(
    sketchers: list[Sketcher], widths: list[int], samples: int, preprocess: Preprocess, dtype: str, mesh: Any
) -> _Speed:
    """Reading, clipping and sketching layers of the least and the greatest width, by the engine."""
    ends = sorted({min(widths), max(widths)})
    found = {}
    with tempfile.TemporaryDirectory(prefix="prh-plan-") as folder:
        for width in ends:
            first, short, long = (
                _sketching(sketchers, width, samples, count, preprocess, dtype, mesh, folder) for count in (1, *LAYERS)
            )
            # of what is too little to be timed, all of it is a bound
            each = (long - short) / (LAYERS[1] - LAYERS[0]) if long > short else long / LAYERS[1]
            found[width] = each, max(first - each, 0.0)
    low, high = found[ends[0]], found[ends[-1]]
    slope = (high[0] - low[0]) / (ends[-1] - ends[0]) if len(ends) > 1 else 0.0
    compiling = float(np.mean([seconds for _, seconds in found.values()]))
    return _Speed(compiling, low[0] - slope * ends[0], slope)


def _sketching(
    sketchers: list[Sketcher],
    width: int,
    samples: int,
    layers: int,
    preprocess: Preprocess,
    dtype: str,
    mesh: Any,
    folder: str,
) -> float:
    """Seconds to read and sketch some layers; those of one layer are with the compilation."""
    path = Path(folder, f"{width}-{layers}.zarr")
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((samples, 32)).astype(np.float32)
    made = [latent @ rng.standard_normal((32, width)).astype(np.float32) for _ in range(layers)]
    write_features(path, made, ids=[str(i) for i in range(samples)], spec={"model": "rehearsal"}, dtype=dtype)
    refs = name_layers([open_store(path)], preprocess, "float32")

    def sketch() -> float:
        start = time.perf_counter()
        make_sketches(
            refs,
            sketchers,
            preprocess,
            SketchBank(),
            precision="float32",
            mesh=mesh,
            memory=default_memory(),
            quiet=True,
        )
        return time.perf_counter() - start

    times = [sketch()]
    while layers > 1 and sum(times) < LEAST and len(times) < 5:
        times.append(sketch())
    return min(times)


def _pair_seconds(metrics: dict[str, Metric], sketcher: Sketcher, samples: int, mesh: Any) -> tuple[float, float]:
    """Seconds to compile, and to score a layer pair by all of these metrics; one on each device."""
    a, shapes = _stack(sketcher, samples, PAIRED * mesh.size)
    b, _ = _stack(sketcher, samples)
    start = time.perf_counter()
    scorer = tile_scorer(tuple(metrics.values()), shapes, PAIRED, mesh)
    compiling = time.perf_counter() - start
    left, right = put_tile(a, mesh, spread=True), put_tile(b, mesh, spread=False)
    return compiling, _best(lambda: scorer(left, right)) / PAIRED**2


def _order_seconds(metric: Metric, sketcher: Sketcher, samples: int) -> float:
    """Seconds to score a layer pair under one order."""
    a, _ = _stack(sketcher, samples)
    rng = np.random.default_rng(0)
    orders = np.stack([rng.permutation(samples) for _ in range(ORDERS)]).astype(np.int32)
    scorer = program_of(metric.tile_kernel.orders, metric.tile_kernel)
    return _best(lambda: scorer(a, a, orders)) / (PAIRED**2 * ORDERS)


def _stack(sketcher: Sketcher, samples: int, count: int = PAIRED) -> tuple[Any, Any]:
    """Made-up sketches of real layers, stacked, and their shapes."""
    rng = np.random.default_rng(0)
    make = jax.jit(sketcher)
    made = [jax.device_get(make(rng.standard_normal((samples, 64)).astype(np.float32))) for _ in range(4)]
    return stack_tile([made[i % 4] for i in range(count)], count), sketch_shapes(made[0])


def _resident() -> int:
    """Bytes that the process holds now: of what the rehearsal took, most is given back."""
    gc.collect()
    held = Path("/proc/self/statm")
    if held.exists():
        return int(held.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _best(call: Any) -> float:
    jax.block_until_ready(call())
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)
