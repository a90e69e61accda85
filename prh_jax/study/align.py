"""The whole flow in one function: feature stores in, labelled scores of all layer pairs out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.preprocess import Preprocess
from ..metrics.registry import check_permutable
from ..null.settings import Null
from ..results.alignment import Alignment, load_alignment
from ..results.storage import is_running
from ..runtime.workers import Worker
from ..stores.location import Place, place
from ..stores.pairing import Pair
from ..stores.reader import Stores
from ..stores.samples import Samples
from ..stores.url import Url
from .exchange import check_orders, settle_exchange
from .extend import grow
from .run import Execution, run_study
from .settings import Metrics, Precision, StudySettings
from .study import check_shared, open_study


def align(
    stores_x: Stores,
    stores_y: Stores | None = None,
    metrics: Metrics | None = None,
    *,
    preprocess: Preprocess | None = None,
    output: str | Path | Url | None = None,
    overwrite: bool = False,
    extend: bool | Alignment = False,
    pair: Pair = "exact",
    normalize_ids: bool = False,
    ids: Iterable[Any] | None = None,
    samples: Samples | None = None,
    exclude: Samples | None = None,
    null: int | Null | None = None,
    overwrite_null: bool = False,
    groups: Iterable[Any] | None = None,
    exclude_own_group: bool = False,
    memory: int | str | None = None,
    sketch_cache: str | Path | Url | None = None,
    devices: Sequence[Any] | None = None,
    precision: Precision = "float32",
    progress: bool | None = None,
) -> Alignment:
    """Score every layer of every model of x with every layer of every model of y (or of x itself).

    stores_x, stores_y  feature stores or their paths, one or a list, complete and of the same samples in order; or
                        features in memory by the names of models, {"vit": layers}, alone or in such a list. Layers
                        are a list of arrays (n, d), a mapping of names to such, one array (n, d), or one
                        (layers, n, d); arrays of numpy, JAX, torch, pandas, polars and others
    metrics             names ("cka", "cka:kernel=rbf,sigma=2") or Metric objects; the eight of the reference if None
    preprocess          what is done to features first; the reference's clipping and unit rows if None
    output              path or URL where the result is written, tile by tile; an interrupted run goes on there, and a
                        finished one is read, when asked for the same again. In memory alone if None
    overwrite           replace a result of other features or settings at `output`: at once on a disk; at a URL the old
                        one is removed first
    extend              add the models and metrics that the result at `output` lacks, and score only pairs with them; or
                        those that the given result lacks. Models of the result need not be named again, if they are
                        still where they were. Its models come first; bits and null are those of a study made at once
    pair                "exact": all stores hold the same samples in the same order, or StoreError; "inner": they are
                        cut down to the samples that all of them hold. {"x": ids}: many rows of x (captions) have one of
                        y (an image), an id of y for each row of x; {"y": ids} the other way round. Each row is then a
                        sample, and the features of its partner are repeated
    ids                 of the samples of features in memory, or {"x": ids, "y": ids} where the sides have other rows;
                        if None, their rows are numbered, and paired by position
    samples, exclude    score these samples alone, or all but these: ids, a mask (n,) of booleans, a slice of rows, or a
                        text file with an id on each line. The order is that of the stores, which stay as they are
    normalize_ids       compare ids in Unicode's composed form (NFC): ids that look alike are one
    overwrite_null      replace a calibration of other settings that the result at `output` has
    null                also what chance gives: a number of orders, or a `Null` with its settings
    groups              a label for each sample (its slide, image, language ...): the orders of the null stay within,
                        or exchange whole groups, as `Null(exchange=)` says. Rows of a group that are all equal cannot
                        be told from one another: a null within such groups is refused
    exclude_own_group   no sample is a neighbour of one of its own group (metrics of nearest neighbours; needs groups)
    memory              bytes for features, sketches and temporaries ("8GiB"), beyond what the process held before;
                        half of the machine's memory, or three quarters of the accelerator's, if None
    sketch_cache        folder or URL that keeps sketches, for further studies of the same features
    devices             local devices to use; all if None. The scores do not depend on their number
    precision           "float32", or "bfloat16": features are rounded to 8 bits for Gram matrices, whose sums stay
                        float32; meant for accelerators
    progress            progress bars on standard error; None shows them on a terminal

    The result keeps the whole layer-by-layer matrix of each metric. StoreError where stores are unfinished, damaged,
    or of other samples; ValueError for an unknown metric or setting, one that does not fit n, or a null whose orders
    cannot change a score.
    """
    settings = StudySettings(
        preprocess=preprocess,
        pair=pair,
        normalize_ids=normalize_ids,
        ids=ids,
        samples=samples,
        exclude=exclude,
        groups=groups,
        exclude_own_group=exclude_own_group,
        memory=memory,
        sketch_cache=sketch_cache,
        devices=devices,
        precision=precision,
    )
    path = place(output) if output is not None else None
    quiet = None if progress is None else not progress
    null = Null(int(null)) if isinstance(null, int | np.integer) else null
    old = _to_extend(extend, path, overwrite=overwrite)
    if old is not None:
        overwrite = overwrite or extend is True
        options: dict[str, Any] = {"null": null, "overwrite_null": overwrite_null, "quiet": quiet}
        return grow(old, stores_x, stores_y, metrics, settings, path=path, overwrite=overwrite, **options)
    study = open_study(stores_x, stores_y, metrics, path, settings)
    if null is not None:
        check_permutable(study.metrics)
        null = settle_exchange(study, null)
        check_orders(study, null, quiet)
    alignment = run_study(
        study,
        path,
        overwrite=overwrite,
        null=null,
        overwrite_null=overwrite_null,
        quiet=quiet,
    )
    assert alignment is not None, "a study of one process leaves no tiles to others"
    return alignment


def _to_extend(extend: bool | Alignment, path: Place | None, *, overwrite: bool) -> Alignment | None:
    """The result that is extended; None where there is none, or none is to be."""
    if isinstance(extend, Alignment):
        return extend
    if not extend:
        return None
    if path is None or overwrite:
        raise ValueError("extend=True extends the result at output=, so it needs one and does not overwrite it.")
    if not path.exists() or is_running(path):  # one that is running is gone on with, if it is the same
        return None
    return load_alignment(path)


def align_share(
    index: int,
    count: int,
    stores_x: Stores,
    stores_y: Stores | None = None,
    metrics: Metrics | None = None,
    *,
    output: str | Path | Url,
    progress: bool | None = None,
    sketch_cache: str | Path | Url | None = None,
    **settings: Any,
) -> bool:
    """Score one of `count` workers' share of a study into the result at `output`; True once the result is complete.

    Workers, started in any order on machines that share a folder, or an object store that `output` is a URL of, need no
    word of each other: each computes every count-th block of tiles, writes it whole, and marks it. Sketches are shared
    through `sketch_cache` (beside the result if None): each is made by one worker, and by another only where that one
    has not come to it yet. What a killed worker left is done by the same share again, or by `finish_alignment`.
    `settings` are those of `align` that say what is scored and how.
    """
    path = place(output)
    study = open_study(stores_x, stores_y, metrics, path, StudySettings(sketch_cache=sketch_cache, **settings))
    check_shared(study)
    execution = Execution(Worker(index, count))
    quiet = None if progress is None else not progress
    return run_study(study, path, execution=execution, quiet=quiet) is not None
