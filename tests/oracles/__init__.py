"""Float64 numpy oracles, written from the papers' definitions: plain, slow, and independent of the library."""

from . import dissimilarities, kernels, lists, matching, shapes, statistics, subspaces

ORACLES = {
    name: getattr(module, name)
    for module, names in (
        (lists, ("mutual_knn", "cycle_knn", "edit_distance_knn", "lcs_knn")),
        (lists, ("knn_jaccard", "rank_similarity", "joint_rank_jaccard", "second_order_cosine")),
        (lists, ("information_imbalance",)),
        (kernels, ("cka", "unbiased_cka", "cknna")),
        (dissimilarities, ("distance_correlation", "rsa", "rsm_norm_difference")),
        (subspaces, ("svcca", "cca", "mean_cca", "eigenspace_overlap", "gulp", "linear_regression")),
        (subspaces, ("pwcca",)),
        (matching, ("soft_correlation_match", "hard_correlation_match", "permutation_procrustes")),
        (shapes, ("procrustes_distance", "angular_shape_distance", "normalized_bures", "aligned_cosine")),
        (statistics, ("magnitude_difference", "concentricity_difference", "uniformity_difference", "imd")),
    )
    for name in names
}
