"""The whole flow in one function: feature stores in, labelled scores of all layer pairs out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..engine.preprocess import Preprocess
from ..metrics.registry import check_permutable
from ..null.settings import Null
from ..numerics.whole import is_whole
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
    groups: Iterable[Any] | str | None = None,
    exclude_own_group: bool = False,
    memory: int | str | None = None,
    sketch_cache: str | Path | Url | None = None,
    devices: Sequence[Any] | None = None,
    precision: Precision = "float32",
    progress: bool | None = None,
) -> Alignment:
    """Score every layer of every model of x against every layer of every model of y, or of x itself.

    Parameters
    ----------
    stores_x, stores_y
        Feature stores or their paths, one or a list, which hold the same samples in the same order. Or features in
        memory by the names of models, {"vit": layers}, alone or in such a list. Layers are a list of arrays (n, d), a
        mapping of names to such arrays, one array (n, d), or one array (layers, n, d), of numpy, JAX, torch, pandas,
        polars and others. The models of x are scored against each other if `stores_y` is None.
    metrics
        Names ("cka", "cka:kernel=rbf,sigma=2") or `Metric` objects. The eight metrics of the reference if None.
    preprocess
        Preprocessing of the features. The clipping and unit rows of the reference if None.
    output
        Path or URL to which the result is written, tile by tile. The same call resumes an interrupted study, and reads
        a finished one. The result stays in memory alone if None.
    overwrite
        Replace a result of other features or settings at `output`. At a URL the old result is removed first.
    extend
        True adds the models and metrics that the result at `output` lacks, and scores only pairs with them. An
        `Alignment` is extended in the same way. You need not name the models of the result again if their stores have
        not moved. They come first, and scores and null are those of a study made in one go.
    pair
        "exact" requires the same samples in the same order in all stores. "inner" takes the samples that all of them
        hold. {"x": ids} pairs many rows of x (captions) with one row of y (an image): it gives an id of y for each row
        of x. {"y": ids} does the reverse. Each row is then a sample, and the features of its partner are repeated.
    normalize_ids
        Compare ids in Unicode's composed form (NFC), so that ids that look alike are equal.
    ids
        Ids of the samples of features in memory, or {"x": ids, "y": ids} if the sides have different rows. Rows are
        paired by position if None.
    samples, exclude
        Score these samples alone, or all but these: ids, a mask (n,) of booleans, a slice of rows, or a text file with
        an id on each line. The stores keep their order and do not change.
    null
        Also score this number of permutations of the samples, or those of a `Null` with its settings. The result then
        has p-values and calibrated scores.
    overwrite_null
        Replace a calibration of other settings in the result at `output`.
    groups
        A label for each sample (its slide, image, language ...). Permutations stay within groups, or exchange whole
        groups, as `Null(exchange=)` says. A group whose rows are all equal cannot be permuted within, and is an error.
        "sample" groups the tokens of a sample, for stores of tokens. Metrics that judge a map on held-out samples
        (`ridge_prediction`, `retrieval`) keep the samples of a group together.
    exclude_own_group
        Leave samples of its own group out of a sample's neighbours (metrics of nearest neighbours; needs `groups`).
    memory
        Bytes ("8GiB") for features, sketches and temporaries, in addition to what the process holds already. Half of
        the machine's memory if None, or three quarters of the accelerator's.
    sketch_cache
        Folder or URL that keeps sketches for further studies of the same features.
    devices
        Local devices to use; all of them if None. The scores do not depend on their number.
    precision
        "float32", or "bfloat16" for accelerators, which rounds features to 8 bits for Gram matrices. Sums are float32.
    progress
        Show progress bars on standard error. None shows them on a terminal.

    Returns
    -------
    Alignment
        The layer-by-layer matrix of each metric, with labels, the settings of the study, and the calibration if there
        is one.

    Raises
    ------
    StoreError
        If stores are incomplete or damaged, or hold other samples.
    ValueError
        If a metric or setting is unknown or does not fit n, or no permutation can change a score.

    Examples
    --------
    >>> import numpy as np
    >>> import prh_jax
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 4))
    >>> result = prh_jax.align({"a": [x], "b": [2 * x, rng.normal(size=(20, 4))]}, metrics="cka", progress=False)
    >>> print(f"{result.scores('cka').sel(model_x='a', model_y='b').item():.2f}")
    1.00
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
    if null is not None and not isinstance(null, Null):
        null = Null(int(null) if is_whole(null) else null)
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
    """The result that is extended; None where there is none, or none must be extended."""
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
    """Score one worker's share of a study into the result at `output`.

    Workers run on machines that share a folder, or an object store if `output` is a URL. You can start them in any
    order, and they do not communicate. Each scores every `count`-th block of tiles. One worker makes each sketch and
    shares it through `sketch_cache`. If a worker is killed, start the same share again, or call `finish_alignment`.

    Parameters
    ----------
    index
        This worker's share, 0 <= index < count.
    count
        Number of workers.
    stores_x, stores_y, metrics
        As in `align`.
    output
        Path or URL of the result, the same for all workers.
    progress
        As in `align`.
    sketch_cache
        Folder or URL that all workers share. It is next to the result if None.
    **settings
        The settings of `align` that say what is scored and how.

    Returns
    -------
    bool
        True if the result is complete, so that you can load it.

    Raises
    ------
    StoreError
        If stores are incomplete or damaged, or the result at `output` is of another study.
    ValueError
        If `index` is out of range.
    """
    path = place(output)
    study = open_study(stores_x, stores_y, metrics, path, StudySettings(sketch_cache=sketch_cache, **settings))
    check_shared(study)
    execution = Execution(Worker(index, count))
    quiet = None if progress is None else not progress
    return run_study(study, path, execution=execution, quiet=quiet) is not None
