"""A drop-in for users of the PRH reference: its two classes with their signatures and numbers, on any array.

from prh_jax.compat import Alignment, AlignmentMetrics
AlignmentMetrics.measure("cknna", feats_A, feats_B, topk=10)
Alignment(["vit.zarr", "dino.zarr"]).score(features, metric="mutual_knn", topk=10)
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import NotRealError, real_numbers
from .engine.preprocess import Preprocess
from .engine.programs import sketch_layer
from .metrics.base import Metric
from .metrics.registry import PRH_METRICS, SUPPORTED_METRICS, make_metric
from .stores.checks import check_same_samples
from .stores.labels import label_stores
from .stores.reader import Stores, open_stores
from .stores.source import GivenLayers, ModelSource

_scored = jax.jit(lambda metric, x, y: metric(x, y), static_argnums=0)


def to_numpy(features: Any) -> np.ndarray:
    """Any array of real numbers on the host, as float32; float64 stays so.

    TypeError where it holds other than real numbers.
    """
    try:
        features = np.asarray(real_numbers(features))
    except NotRealError as error:
        raise TypeError(f"Features are real numbers, and these are {error}.") from error
    return features if features.dtype == np.float64 else features.astype(np.float32)


class AlignmentMetrics:
    """The reference's eight metrics with its settings; each takes features (n, dx) and (n, dy) and returns a float.

    Rows are used as given: the reference's own scripts L2-normalise them first. float64 features are scored in float64.
    Two differences: ties between neighbours go to the lowest index, and svcca is the exact value, where the reference's
    is random and about 0.1 lower.
    """

    SUPPORTED_METRICS = SUPPORTED_METRICS

    @staticmethod
    def measure(metric: str, *args: Any, **kwargs: Any) -> float:
        """The metric of that name on the arguments; ValueError where there is none."""
        if metric not in SUPPORTED_METRICS:
            raise ValueError(f"Unrecognized metric: {metric}. The metrics are {', '.join(SUPPORTED_METRICS)}.")
        return getattr(AlignmentMetrics, metric)(*args, **kwargs)

    @staticmethod
    def _score(name: str, feats_A: Any, feats_B: Any, **settings: Any) -> float:
        metric: Metric = make_metric(name, base=PRH_METRICS[name], **settings)
        x, y = to_numpy(feats_A), to_numpy(feats_B)
        with jax.enable_x64(np.float64 in (x.dtype, y.dtype)):
            return float(_scored(metric, x, y))

    @staticmethod
    def cycle_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """Share of samples that are a neighbour in A of one of their neighbours in B."""
        return AlignmentMetrics._score("cycle_knn", feats_A, feats_B, k=topk, swapped=False)

    @staticmethod
    def mutual_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """Mean share of the topk neighbours that A and B agree on."""
        return AlignmentMetrics._score("mutual_knn", feats_A, feats_B, k=topk)

    @staticmethod
    def lcs_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """Mean length, 0 to topk, of the longest common subsequence of the ordered neighbour lists."""
        return AlignmentMetrics._score("lcs_knn", feats_A, feats_B, k=topk)

    @staticmethod
    def cka(
        feats_A: Any, feats_B: Any, kernel_metric: str = "ip", rbf_sigma: float = 1.0, unbiased: bool = False
    ) -> float:
        """Centred kernel alignment; `kernel_metric` is "ip" or "rbf"."""
        kernels = {"ip": "linear", "rbf": "rbf"}
        if kernel_metric not in kernels:
            raise ValueError(f"Invalid kernel metric {kernel_metric}; it is 'ip' or 'rbf'.")
        name = "unbiased_cka" if unbiased else "cka"
        return AlignmentMetrics._score(name, feats_A, feats_B, kernel=kernels[kernel_metric], sigma=rbf_sigma)

    @staticmethod
    def unbiased_cka(*args: Any, **kwargs: Any) -> float:
        """Centred kernel alignment from the unbiased HSIC."""
        kwargs["unbiased"] = True
        return AlignmentMetrics.cka(*args, **kwargs)

    @staticmethod
    def svcca(feats_A: Any, feats_B: Any, cca_dim: int = 10) -> float:
        """Mean canonical correlation of the first cca_dim singular directions (exact)."""
        return AlignmentMetrics._score("svcca", feats_A, feats_B, dim=cca_dim)

    @staticmethod
    def edit_distance_knn(feats_A: Any, feats_B: Any, topk: int) -> float:
        """One minus the mean edit distance of the ordered neighbour lists over topk."""
        return AlignmentMetrics._score("edit_distance_knn", feats_A, feats_B, k=topk)

    @staticmethod
    def cknna(
        feats_A: Any,
        feats_B: Any,
        topk: int | None = None,
        distance_agnostic: bool = False,
        unbiased: bool = True,
    ) -> float:
        """CKA over shared nearest neighbours; `topk=None` takes all n - 1, where the reference crashes."""
        if distance_agnostic:
            raise ValueError("distance_agnostic=True is not defined: the reference's own code crashes on it.")
        if topk is None:
            topk = len(to_numpy(feats_A)) - 1
        if topk < 2:
            raise ValueError("CKNNA requires topk >= 2")
        return AlignmentMetrics._score("cknna", feats_A, feats_B, k=topk, unbiased=unbiased)


class Alignment:
    """Scores a model, say one in training, against stored features: the reference's class, on feature stores.

    stores      feature stores or their paths, all of the same samples in order
    preprocess  of both sides; the reference's (clipped at the exact 0.95 quantile, rows of unit length) if None

    What a metric keeps of the stored layers is made once, at the first score: a further one costs what the features
    given cost. `ids` are the samples, in the order that features must have.
    """

    def __init__(self, stores: Stores, *, preprocess: Preprocess | None = None):
        self.stores = open_stores(stores)
        for store in self.stores:
            check_same_samples(str(self.stores[0].path), self.stores[0].ids, str(store.path), store.ids)
        self.models = label_stores(self.stores)
        self.ids = self.stores[0].ids
        self.preprocess = preprocess or Preprocess(exact=True)
        self._stored = lru_cache(maxsize=None)(self._sketch_stores)

    def score(
        self, features: Any, metric: str = "mutual_knn", topk: int = 10, **settings: Any
    ) -> dict[str, tuple[float, tuple[int, int] | None]]:
        """The best layer pair with each model: {model: (score, (layer of features, layer of the model))}.

        features  (n, layers, d), (n, d), or a list of (n, d): torch tensors, numpy or JAX arrays
        topk      of the metrics of neighbours; `settings` are the metric's others, over those of the reference

        As there, only scores above 0 count: without one, it is (0, None); (NaN, None) where no layer pair has a score.
        ValueError for features that are not of the stored samples, or are not finite.
        """
        base = PRH_METRICS.get(metric)
        if base is None:
            raise ValueError(f"Unrecognized metric: {metric}. The metrics are {', '.join(PRH_METRICS)}.")
        settings = ({"k": topk} if "k" in base.settings else {}) | settings
        made = make_metric(metric, base=base, **settings)
        ours = self._sketch(self._layers(features), made)
        found = {}
        for model, stored in zip(self.models, self._stored(made), strict=True):
            scores = np.asarray(_tile(made, ours, stored))
            at = np.unravel_index(np.argmax(np.where(np.isnan(scores), -np.inf, scores)), scores.shape)
            best = float(scores[at])
            none = np.nan if np.isnan(best) else 0.0
            found[model] = (best, (int(at[0]), int(at[1]))) if best > 0 else (none, None)
        return found

    def _layers(self, features: Any) -> list[np.ndarray]:
        if isinstance(features, list | tuple):
            layers = [to_numpy(layer) for layer in features]
        else:
            whole = to_numpy(features)
            layers = [whole] if whole.ndim == 2 else list(whole.transpose(1, 0, 2)) if whole.ndim == 3 else [whole]
        n = len(self.ids)
        if not layers:
            raise ValueError("There is no layer to score: the list of features is empty.")
        for layer in layers:
            if layer.ndim != 2 or len(layer) != n:
                raise ValueError(f"The stores hold {n} samples, a row each; got features of shape {layer.shape}.")
            if not np.isfinite(layer).all():
                raise ValueError("The features hold NaN or infinity, which would become everybody's neighbour.")
        return layers

    def _sketch_stores(self, metric: Metric) -> list[Any]:
        return [self._sketch(store, metric) for store in self.stores]

    def _sketch(self, source: ModelSource | list[np.ndarray], metric: Metric) -> Any:
        """The sketches of all layers of a store or of a list, stacked."""
        layers = source if isinstance(source, list) else [source.read_layer(i) for i in range(len(source.layers))]
        store = GivenLayers(layers) if isinstance(source, list) else source
        thresholds = self.preprocess.thresholds(store, layers)
        sketches = [
            sketch_layer(jnp.asarray(x), threshold, sketcher=metric.sketcher, preprocess=self.preprocess)
            for x, threshold in zip(layers, thresholds, strict=True)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *sketches)


_tile = jax.jit(lambda metric, a, b: metric.tile_kernel.tile(a, b), static_argnums=0)
