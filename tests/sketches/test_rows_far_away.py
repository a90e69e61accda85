"""One sample far from all others takes no digits from scores that do not depend on where the origin is."""

import numpy as np
import pytest

import prh_jax


def unbiased(x, y):
    """By the definition of Szekely and Rizzo, in long doubles: the sums of Song et al. cancel in float64 here."""

    def u_centred(z):
        z = z.astype(np.longdouble)
        matrix = (z - np.median(z, axis=0)) @ (z - np.median(z, axis=0)).T
        n = len(matrix)
        np.fill_diagonal(matrix, 0)
        rows = matrix.sum(axis=1) / (n - 2)
        matrix = matrix - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
        np.fill_diagonal(matrix, 0)
        return matrix

    u, v = u_centred(x), u_centred(y)
    return float((u * v).sum() / np.sqrt((u * u).sum() * (v * v).sum()))


@pytest.mark.parametrize("times", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("n", [5, 17])
def test_unbiased_cka_is_that_of_long_doubles(n, times):
    rng = np.random.default_rng(0)
    for sides in (["x"], ["x", "y"], ["x", "elsewhere in y"]):
        shared = rng.normal(size=(n, 3))
        x, y = (shared @ rng.normal(size=(3, d)) + rng.normal(size=(n, d)) for d in (7, 64))
        x[1] *= times
        if "y" in sides[-1]:
            y[1 if sides[-1] == "y" else 3] *= times
        x, y = x.astype(np.float32), y.astype(np.float32)
        assert float(prh_jax.unbiased_cka(x, y)) == pytest.approx(unbiased(x, y), abs=1e-5)
