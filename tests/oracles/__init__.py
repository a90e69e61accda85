"""Float64 numpy oracles, written from the papers' definitions: plain, slow, and independent of the library."""

from .kernels import cka, cknna, unbiased_cka
from .lists import cycle_knn, edit_distance_knn, lcs_knn, mutual_knn
from .subspaces import svcca

ORACLES = {
    "mutual_knn": mutual_knn,
    "cycle_knn": cycle_knn,
    "lcs_knn": lcs_knn,
    "edit_distance_knn": edit_distance_knn,
    "cka": cka,
    "unbiased_cka": unbiased_cka,
    "cknna": cknna,
    "svcca": svcca,
}
