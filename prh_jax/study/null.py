"""From a scored study to its calibration: orders, null, closed form, p-values and rates, in one flow."""

import dataclasses
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from ..engine.null_scores import fill_null
from ..engine.stacks import sketch_shapes
from ..errors import MismatchError
from ..metrics.base import Metric, highest_score, sign_of
from ..metrics.registry import check_permutable
from ..null.moments import MatrixSums, NullMoments, matrix_sums, null_moments, tail_probability
from ..null.orders import count_orders, make_orders, order_blocks
from ..null.pvalues import calibrate_scores, unmoved
from ..null.settings import SYMMETRIC, Null
from ..results.alignment import Alignment
from ..results.calibration import PAIR_TABLES, Calibration, save_calibration
from ..results.null_grid import NullGrid
from ..results.pairs import ModelPairs
from ..results.reduce import model_blocks
from ..results.storage import digest
from ..runtime.host import quiet_blas
from ..runtime.memory import size_text
from ..runtime.progress import progress, progress_bar, report_progress
from ..stores.location import Place
from .study import Study


@partial(jax.jit, static_argnums=0)
def _form(metric: Metric, sketch: Any) -> Any:
    return metric.inner_form(sketch)


def layer_sums(metric: Metric, sketch: Any, *, third: bool) -> MatrixSums:
    """`matrix_sums` of one layer from its sketch, in float64, on the host."""
    with jax.enable_x64(True):
        return matrix_sums(jax.device_get(_form(metric, sketch).parts(third=third)), third=third)


@dataclasses.dataclass(frozen=True)
class KnownNull:
    """The null of the first models of both sides by some metrics, from a calibration that a study is to extend."""

    calibration: Calibration
    metrics: Sequence[str]

    def models(self, metric: str) -> tuple[int, int]:
        """How many models of x and of y are known by a metric."""
        sizes = self.calibration.dataset.sizes
        return (sizes["model_x"], sizes["model_y"]) if metric in self.metrics else (0, 0)

    def fill(self, grid: NullGrid, number: int, metric: str, sign: int) -> None:
        """Put what is known of a metric into a grid, where it was left out."""
        if metric not in self.metrics:
            return
        known = self.calibration.dataset.sel(metric=metric)
        null, p = known["null"].values, known["p_cell"].values
        a, b = null.shape[1:]
        grid.null[number][:, :a, :b] = sign * null
        owners = (list(known[f"model_{side}"].values) for side in "xy")
        layers = (
            [models.index(label) for label in known[f"model_{side}_of_layer"].values]
            for side, models in zip("xy", owners, strict=True)
        )
        computed = np.isfinite(null).sum(axis=0)[np.ix_(*layers)]
        # p_cell = (1 + reached) / (1 + computed)
        reached = np.where(np.isnan(p), 0, np.rint(p * (1 + computed) - 1))
        grid.reached[number][: p.shape[0], : p.shape[1]] = reached
        if grid.cells is not None:
            grid.cells[number][:, : p.shape[0], : p.shape[1]] = sign * known["null_cell"].values


def calibrate_study(
    study: Study,
    alignment: Alignment,
    null: Null,
    *,
    path: Place | None,
    quiet: bool | None,
    known: KnownNull | None = None,
) -> Calibration:
    """The calibration of a study's alignment; kept in the result at `path`.

    An interrupted run with the same settings goes on at its last block of orders. Pairs that are `known` are not run.
    """
    metrics, bank, mesh, memory = study.metrics, study.bank, study.mesh, study.free
    check_permutable(metrics)
    n = study.context.n
    exchange = null.exchange or "within"
    orders = make_orders(n, null.orders, null.seed, study.codes, exchange)
    settings = {
        "null": null.settings | {"orders": len(orders)},
        "exact": count_orders(n, study.codes, exchange) - 1 <= null.orders,
        "groups": study.codes is not None,
        "metrics": list(metrics),
    }
    layers_x, layers_y = study.sides
    mirrors, layers_y = layers_y is None, layers_x if layers_y is None else layers_y
    data = alignment.dataset
    blocks_x, blocks_y = (model_blocks(data[f"model_{side}"].values) for side in "xy")
    labels_x, labels_y = list(blocks_x), list(blocks_y)
    models = list(blocks_x.values()), list(blocks_y.values())
    cells, pairs = (len(layers_x), len(layers_y)), (len(labels_x), len(labels_y))
    scores = digest(data)
    ranges = order_blocks(len(orders), null.stop_after is not None, memory // 4 // (8 * cells[0] * cells[1]))
    grid = NullGrid(
        (len(metrics), len(orders), *pairs), cells, ranges, settings, cells=null.cells, path=path, scores=scores
    )
    if grid.finished:
        done = f"{grid.finished} of {len(ranges) * len(metrics)} blocks are done"
        report_progress(f"{path}: going on with the null, {done}.", quiet)
    study.sketch(list(study.shapes), quiet=quiet)

    found: list[dict[str, np.ndarray]] = []
    shown = progress_bar("null", "orders", len(orders) * len(metrics), quiet=quiet, leave=False)
    with quiet_blas(), shown as bar:
        for number, (key, metric) in enumerate(metrics.items()):
            sign, sketcher = sign_of(metric), study.sketchers[key]
            mirror = mirrors and metric.symmetric and null.aggregate in SYMMETRIC
            observed = sign * data[key].values
            fill_null(
                grid,
                number,
                metric,
                sketcher,
                observed,
                models,
                ([layer.name for layer in layers_x], [layer.name for layer in layers_y]),
                orders,
                bank,
                null,
                shape=study.shapes[sketcher],
                mesh=mesh,
                memory=memory // 2,
                mirror=mirror,
                known=(0, 0) if known is None else known.models(key),
                progress=bar.update,
            )
            if known is not None:
                known.fill(grid, number, key, sign)
            tables = _tables(grid, number, metric, observed, models, null, alignment.model_pairs(key), mirror=mirror)
            fixed = int(unmoved(tables["score"], tables["null"]).sum())
            if fixed:
                why = "every order gives the score that was observed, to the bit"
                report_progress(
                    f"{key}: p = 1 tells nothing of {fixed} of {tables['p'].size} model pairs, as {why}.", quiet
                )
            form = None if study.codes is not None else jax.eval_shape(metric.inner_form, study.shapes[sketcher])
            if form is not None and form.needed > memory:
                needed = f"takes {size_text(form.needed)} of {n} samples, and the budget is {size_text(memory)}"
                report_progress(f"{key}: no closed form, as it {needed}.", quiet)
            elif form is not None:
                sums = {
                    ref.name: layer_sums(
                        metric, bank.get(sketcher, ref.name, sketch_shapes(study.shapes[sketcher])[0]), third=null.tail
                    )
                    for ref in progress((*layers_x, *layers_y), "closed form", "layers", quiet=quiet)
                }
                moments = null_moments([sums[ref.name] for ref in layers_x], [sums[ref.name] for ref in layers_y], n)
                tables |= closed_tables(data[key].values, moments, metric)
            found.append(tables)
    coords = {name: c for name, c in data.coords.items() if c.dims in (("layer_x",), ("layer_y",))}
    coords = {f"{name}_of_layer" if str(name).startswith("model_") else name: c for name, c in coords.items()}
    coords |= {"metric": np.array(list(metrics), dtype=object), "model_x": labels_x, "model_y": labels_y}
    names = list(dict.fromkeys(name for tables in found for name in tables))
    empty = {name: np.full_like(tables[name], np.nan) for tables in found for name in tables}
    variables = {
        name: (("metric", *DIMS[name]), np.stack([tables.get(name, empty[name]) for tables in found])) for name in names
    }
    calibration = Calibration(xr.Dataset(variables, coords=coords), settings)
    if path is not None:
        save_calibration(calibration, path, scores)
    return calibration


PAIR, CELL = ("model_x", "model_y"), ("layer_x", "layer_y")
DIMS = (
    dict.fromkeys(PAIR_TABLES, PAIR)
    | {"null": ("order", *PAIR), "null_cell": ("order", *CELL)}
    | dict.fromkeys(("p_cell", "mean_cell", "sd_cell", "z_cell", "tail_cell"), CELL)
)


def _tables(
    grid: NullGrid,
    number: int,
    metric: Metric,
    observed: np.ndarray,
    models: tuple[Sequence[slice], Sequence[slice]],
    null: Null,
    compared: ModelPairs,
    *,
    mirror: bool,
) -> dict[str, np.ndarray]:
    """Results of the null for model pairs and cells; `compared` says which pairs q-values are taken over."""
    aggregates, reached = grid.null[number].copy(), grid.reached[number].copy()
    cells = None if grid.cells is None else grid.cells[number].copy()
    if mirror:
        for i, j in itertools.combinations(range(len(models[0])), 2):
            aggregates[:, j, i] = aggregates[:, i, j]
            upper, lower = (models[0][i], models[1][j]), (models[0][j], models[1][i])
            reached[lower] = reached[upper].T
            if cells is not None:
                cells[:, lower[0], lower[1]] = cells[:, upper[0], upper[1]].transpose(0, 2, 1)
    sign = sign_of(metric)
    scores = np.array([[null.reduce(observed[r, c]) for c in models[1]] for r in models[0]])
    found = calibrate_scores(
        scores, aggregates, alpha=null.alpha, highest=highest_score(metric), stop_after=null.stop_after
    )
    tables = {
        "score": sign * scores,
        "tau": sign * found.tau,
        "p": found.p,
        "calibrated": found.calibrated,
        "orders_used": found.orders.astype(float),
        "null": sign * aggregates,
    }
    symmetric = bool(metric.symmetric) and null.aggregate in SYMMETRIC
    for method in ("bh", "by"):
        tables[f"q_{method}"] = compared.rates(found.p, method, symmetric=symmetric)
    computed = np.isfinite(aggregates).sum(axis=0)
    lengths = [[block.stop - block.start for block in side] for side in models]
    spread = np.repeat(np.repeat(computed, lengths[0], axis=0), lengths[1], axis=1)
    tables["p_cell"] = np.where(np.isnan(observed) | (spread == 0), np.nan, (1 + reached) / (1 + spread))
    if cells is not None:
        tables["null_cell"] = sign * cells
    return tables


def closed_tables(scores: np.ndarray, moments: NullMoments, metric: Metric) -> dict[str, np.ndarray]:
    """Exact mean, standard deviation and z of every cell, and its approximate tail probability."""
    sign = sign_of(metric)
    turned = NullMoments(sign * moments.mean, moments.sd, sign * moments.skewness)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(moments.sd > 0, (scores - moments.mean) / moments.sd, np.nan)
    return {
        "mean_cell": moments.mean,
        "sd_cell": moments.sd,
        "z_cell": z,
        "tail_cell": tail_probability(sign * scores, turned),
    }


def is_calibrated(alignment: Alignment, null: Null) -> bool:
    """Whether a result has this calibration; StoreError where it has another one."""
    if alignment.calibration is None:
        return False
    there, wanted = (settings | {"orders": 0} for settings in (alignment.calibration.settings["null"], null.settings))
    exact = alignment.calibration.settings["exact"]
    if there == wanted and (exact or alignment.calibration.settings["null"]["orders"] == null.orders):
        return True
    raise MismatchError(
        f"This result has a calibration with other settings ({alignment.calibration.settings['null']}). Ask for the "
        "same, or replace it with --force-null (overwrite_null=True)."
    )
