"""The reference's class that scores a model against others, whose features are stored."""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..engine.preprocess import Preprocess
from ..metrics.base import Metric
from ..stores.checks import check_same_samples
from ..stores.labels import label_stores
from ..stores.reader import Stores, open_stores
from ..stores.source import GivenLayers
from .places import data_of, find_features, is_saved, open_saved
from .scoring import Best, best_pair, check_finite, layers_of, make_reference_metric, sketch_layers


class Alignment:
    """Scores a model, say one in training, against stored features: the reference's class.

    `Alignment(dataset="minhuh/prh", subset="wit_1024", models=["dinov2_g"])` finds the features of a study below a
    folder, as `prh extract` or the reference's `extract_features.py` wrote them. `Alignment([...])` takes feature
    stores, their paths, or paths of the reference's .pt files. Nothing is downloaded.

    The sketches of the stored layers are made once, at the first score. `ids` are the samples, in the order that
    features must have; `models` are the keys of scores.

    Parameters
    ----------
    stores
        Feature stores, or paths of stores or of .pt files, all of the same samples in order; or the name of the data
        set, where `models` are given.
    subset
        Revision of the data set: wit_1024 of minhuh/prh, if None.
    models
        The reference's names ("dinov2_g"), or those of the hub and timm.
    device, dtype
        Taken as there, and without effect: JAX computes on its default device, in float32.
    dataset
        Name of the data set.
    input_dir
        The folder of the features.
    preprocess
        Of both sides; the reference's (clipped at the exact 0.95 quantile, rows of unit length) if None.

    Raises
    ------
    NotFoundError
        If a model has no features there; the message has the command that makes them.
    ValueError
        If neither stores nor a data set with models are given, or both.
    """

    def __init__(
        self,
        stores: Stores | None = None,
        subset: str | None = None,
        models: Sequence[str] = (),
        device: Any = None,
        dtype: Any = None,
        *,
        dataset: str | None = None,
        input_dir: str | Path = "./results/features",
        preprocess: Preprocess | None = None,
    ):
        if models and dataset is None and isinstance(stores, str):  # the reference's first argument
            stores, dataset = None, stores
        if (stores is None) == (dataset is None) or bool(models) != (dataset is not None):
            raise ValueError(
                "Give feature stores, Alignment([...]), or a data set with models of it: "
                'Alignment(dataset="minhuh/prh", subset="wit_1024", models=["dinov2_g"]).'
            )
        self._data: tuple[str, str | None] | None = None
        if dataset is not None:
            from extractors.places import subset_of

            subset = subset_of(dataset, subset)
            self._data = dataset, subset
            stores = [find_features(input_dir, dataset, subset, model) for model in models]
        one = isinstance(stores, str | Path) or not isinstance(stores, Sequence)
        given: Any = [stores] if one else stores
        self.stores = open_stores([open_saved(Path(item)) if is_saved(item) else item for item in given])
        for store in self.stores:
            check_same_samples(str(self.stores[0].path), self.stores[0].ids, str(store.path), store.ids)
        self.models = list(models) or label_stores(self.stores)
        self.ids = self.stores[0].ids
        self.preprocess = preprocess or Preprocess(exact=True)
        self._stored = lru_cache(maxsize=None)(self._sketch_stores)

    def get_data(self, modality: str) -> list[Any]:
        """The samples that features must be of, in order: first captions ("text") or pictures ("image").

        ValueError where the alignment was made from stores, which do not say where their data are.
        """
        if self._data is None:
            raise ValueError("Stores hold no data. Name the data set: Alignment(dataset=..., models=[...]).")
        return data_of(*self._data, self.ids, modality)

    def score(
        self,
        features: Any,
        metric: str = "mutual_knn",
        topk: int = 10,
        normalize: bool | None = None,
        **settings: Any,
    ) -> dict[str, Best]:
        """The best layer pair with each model: {model: (score, (layer of features, layer of the model))}.

        Parameters
        ----------
        features
            (n, layers, d), (n, d), or a list of (n, d): torch tensors, numpy or JAX arrays.
        metric
            A metric of `AlignmentMetrics`.
        topk
            Neighbours, of the metrics that have them.
        normalize
            Whether rows are divided by their length; as `preprocess` says if None.
        **settings
            The metric's others, over those of the reference.

        Returns
        -------
        As there, only scores above 0 count: without one, it is (0, None); (NaN, None) where no layer pair has a score.

        Raises
        ------
        ValueError
            If features are not of the stored samples, or are not finite.
        """
        made = make_reference_metric(metric, topk, **settings)
        chosen = self.preprocess if normalize is None else dataclasses.replace(self.preprocess, normalize=normalize)
        layers = layers_of(features)
        for layer in layers:
            if len(layer) != len(self.ids):
                raise ValueError(
                    f"The stores hold {len(self.ids)} samples, a row each; got features of shape {layer.shape}."
                )
            check_finite(layer)
        ours = sketch_layers(GivenLayers(layers), layers, made, chosen)
        return {
            model: best_pair(made, ours, stored)
            for model, stored in zip(self.models, self._stored(made, chosen), strict=True)
        }

    def _sketch_stores(self, metric: Metric, preprocess: Preprocess) -> list[Any]:
        return [
            sketch_layers(store, [store.read_layer(i) for i in range(len(store.layers))], metric, preprocess)
            for store in self.stores
        ]
