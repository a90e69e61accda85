"""The public names and where they are defined: what `import prh_jax` offers without loading any of it."""

PUBLIC: dict[str, tuple[str, ...]] = {
    "study.align": (
        "align",
        "align_share",
    ),
    "study.extend": ("extend",),
    "study.distributed": ("align_distributed",),
    "study.resume": (
        "calibrate",
        "finish_alignment",
    ),
    "study.plan": (
        "Plan",
        "plan",
    ),
    "null.settings": ("Null",),
    "engine.preprocess": ("Preprocess",),
    "stores.reader": (
        "FeatureStore",
        "open_store",
    ),
    "stores.writer": ("write_features",),
    "stores.streaming": ("write_features_from",),
    "stores.tokens": (
        "token_ids",
        "token_samples",
    ),
    "stores.repeats": (
        "mean_repeats",
        "read_repeats",
        "write_repeats",
    ),
    "importing": ("import_features",),
    "stores.inspect": ("inspect_store",),
    "results.alignment": (
        "Alignment",
        "load_alignment",
    ),
    "results.calibration": ("Calibration",),
    "results.description": ("Description",),
    "results.gallery": ("Gallery",),
    "results.retrieval": ("RetrievalResult",),
    "results.merge": ("merge",),
    "results.export": ("export",),
    "results.groups": (
        "GroupComparison",
        "compare_groups",
        "group_means",
    ),
    "analysis.intervals": (
        "Interval",
        "interval",
    ),
    "analysis.curves": (
        "curve_over_k",
        "curve_over_n",
    ),
    "analysis.describe": ("describe",),
    "analysis.gallery_curve": ("curve_over_gallery",),
    "analysis.matching": ("match_layers",),
    "analysis.grids": ("resample_grid",),
    "analysis.within": ("within_samples",),
    "analysis.prediction": ("ridge_prediction",),
    "analysis.retrieval": ("retrieval",),
    "analysis.repeats": (
        "NoiseCeiling",
        "noise_ceiling",
    ),
    "analysis.reliability": (
        "Reliability",
        "disattenuate",
        "split_half_reliability",
    ),
    "analysis.crossnobis": (
        "crossnobis",
        "noise_precision",
    ),
    "analysis.rdms": (
        "compare_rdms",
        "rdm_noise_ceiling",
    ),
    "metrics.sampled_units": (
        "FeatureUnbiasedCka",
        "feature_unbiased_cka",
    ),
    "metrics.out_of_sample.prediction": ("RidgePrediction",),
    "metrics.out_of_sample.retrieval": ("Retrieval",),
    "analysis.trend": ("trend",),
    "analysis.mantel": (
        "Mantel",
        "mantel",
    ),
    "analysis.neighbor_gallery": ("neighbor_gallery",),
    "plot.html_report": ("report",),
    "training.losses": (
        "batch_cka",
        "gram_cka",
        "soft_mutual_knn",
    ),
    "training.streaming": (
        "MinibatchCka",
        "StreamingCka",
    ),
    "runtime.compilation_cache": ("keep_compiled",),
    "errors": (
        "StoreError",
        "NotFoundError",
        "IncompleteError",
        "CorruptError",
        "MismatchError",
        "ExistsError",
    ),
    "metrics.base": ("Metric",),
    "metrics.function": ("FunctionMetric",),
    "metrics.layers": ("layer_matrix",),
    "metrics.registry": (
        "HOST_METRICS",
        "METRICS",
        "PRH_METRICS",
        "SUPPORTED_METRICS",
        "make_metric",
        "register_metric",
    ),
    "metrics.aligned_cosine": (
        "AlignedCosine",
        "aligned_cosine",
    ),
    "metrics.cka": (
        "Cka",
        "UnbiasedCka",
        "cka",
        "unbiased_cka",
    ),
    "metrics.distance_correlation": (
        "DistanceCorrelation",
        "distance_correlation",
    ),
    "metrics.linear_regression": (
        "LinearRegression",
        "linear_regression",
    ),
    "metrics.matching": (
        "HardCorrelationMatch",
        "PermutationProcrustes",
        "SoftCorrelationMatch",
        "hard_correlation_match",
        "permutation_procrustes",
        "soft_correlation_match",
    ),
    "metrics.neighbors.cknna": (
        "Cknna",
        "cknna",
    ),
    "metrics.neighbors.cycle_knn": (
        "CycleKnn",
        "cycle_knn",
    ),
    "metrics.neighbors.edit_distance_knn": (
        "EditDistanceKnn",
        "edit_distance_knn",
    ),
    "metrics.neighbors.information_imbalance": (
        "InformationImbalance",
        "information_imbalance",
    ),
    "metrics.neighbors.lcs_knn": (
        "LcsKnn",
        "lcs_knn",
    ),
    "metrics.neighbors.mutual_knn": (
        "MutualKnn",
        "mutual_knn",
    ),
    "metrics.neighbors.rank_similarity": (
        "JointRankJaccard",
        "KnnJaccard",
        "RankSimilarity",
        "joint_rank_jaccard",
        "knn_jaccard",
        "rank_similarity",
    ),
    "metrics.neighbors.second_order_cosine": (
        "SecondOrderCosine",
        "second_order_cosine",
    ),
    "metrics.pwcca": (
        "Pwcca",
        "pwcca",
    ),
    "metrics.rsa": (
        "Rsa",
        "rsa",
    ),
    "metrics.rsm_norm_difference": (
        "RsmNormDifference",
        "rsm_norm_difference",
    ),
    "metrics.shapes": (
        "AngularShapeDistance",
        "NormalizedBures",
        "ProcrustesDistance",
        "angular_shape_distance",
        "normalized_bures",
        "procrustes_distance",
    ),
    "metrics.statistics": (
        "ConcentricityDifference",
        "Imd",
        "MagnitudeDifference",
        "UniformityDifference",
        "concentricity_difference",
        "imd",
        "magnitude_difference",
        "uniformity_difference",
    ),
    "metrics.subspaces": (
        "Cca",
        "EigenspaceOverlap",
        "Gulp",
        "MeanCca",
        "cca",
        "eigenspace_overlap",
        "gulp",
        "mean_cca",
    ),
    "metrics.svcca": (
        "Svcca",
        "svcca",
    ),
}
"""Names by the module below prh_jax that defines them."""

HOME: dict[str, str] = {name: module for module, names in PUBLIC.items() for name in names}
"""The module of each public name."""

ON_HOST = ["ridge_prediction", "retrieval", "feature_unbiased_cka"]
"""The metrics that numpy computes."""

METRIC_NAMES: list[str] = [
    name
    for module, names in PUBLIC.items()
    if module.startswith("metrics.") and module not in ("metrics.base", "metrics.layers", "metrics.registry")
    for name in names
    if name.islower() and name not in ON_HOST
] + ON_HOST
"""The metrics by name, for help and completion, which must not wait for JAX."""

LEAD_METRIC = "mutual_knn"
"""The paper's: what reports and notebooks show first where a result has it."""

DIRECTED_METRIC = "information_imbalance"
"""The metric whose two directions a figure compares."""
