"""Losses and running scores of training: against the metrics on plain rows, and against arithmetic."""

import itertools
import math
from functools import partial

import jax
import numpy as np
import pytest
from inputs import correlated, sketched
from jax.test_util import check_grads

import prh_jax
from prh_jax import MinibatchCka, StreamingCka
from prh_jax.sketches.gram_factor import GramFactorSketcher

# compiled: run operation by operation, each would be compiled for itself
batch_cka = jax.jit(prh_jax.batch_cka, static_argnames=("unbiased", "axis_name"))
soft_mutual_knn = jax.jit(prh_jax.soft_mutual_knn, static_argnames=("k", "temperature", "axis_name"))
mutual_knn = jax.jit(prh_jax.mutual_knn, static_argnames="k")
unbiased_cka = jax.jit(prh_jax.unbiased_cka)
PLAIN = {True: unbiased_cka, False: jax.jit(prh_jax.cka)}
BOTH = pytest.mark.parametrize("unbiased", [True, False])


def hsic_song(x, y):
    """Unbiased HSIC of Song et al. 2012, eq. 5, its three sums written out."""
    n = len(x)
    k, q = (z @ z.T * (1 - np.eye(n)) for z in (x, y))
    ones = np.ones(n)
    first, second, third = np.trace(k @ q), ones @ k @ ones * (ones @ q @ ones), ones @ k @ q @ ones
    return (first + second / ((n - 1) * (n - 2)) - 2 * third / (n - 2)) / (n * (n - 3))


@BOTH
def test_padding_does_not_count(unbiased, x64):
    x, y = correlated(n=20, dx=14, dy=11, dtype=np.float64)
    keep = np.arange(20) % 3 != 0
    filled = [np.where(keep[:, None], z, np.nan) for z in (x, y)]
    score = jax.jit(lambda a, b, w: batch_cka(a, b, unbiased=unbiased, where=w))(*filled, keep)
    assert float(score) == pytest.approx(float(PLAIN[unbiased](x[keep], y[keep])), abs=1e-10)
    assert float(batch_cka(x, y, unbiased=unbiased)) == pytest.approx(float(PLAIN[unbiased](x, y)), abs=1e-10)


@BOTH
def test_cka_by_any_kernel_is_that_of_hsic(unbiased, x64):
    """A polynomial kernel, against traces of K H L H and the three sums of Song et al., written out."""
    x, y = correlated(n=20, dx=14, dy=11, dtype=np.float64)
    grams = [(z @ z.T / 10 + 1) ** 3 for z in (x, y)]
    centre = np.eye(20) - 1 / 20

    def hsic(k, q):
        if not unbiased:
            return np.trace(k @ centre @ q @ centre)
        k, q = (z * (1 - np.eye(20)) for z in (k, q))
        return np.trace(k @ q) + k.sum() * q.sum() / (19 * 18) - 2 * k.sum(0) @ q.sum(1) / 18

    expected = hsic(*grams) / math.sqrt(hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))
    score = jax.jit(prh_jax.gram_cka, static_argnames="unbiased")
    assert float(score(*grams, unbiased=unbiased)) == pytest.approx(expected, abs=1e-12)
    assert float(score(1e12 * grams[0], grams[1], unbiased=unbiased)) == pytest.approx(expected, abs=1e-12)
    loss = jax.jit(lambda a, b: 1 - prh_jax.gram_cka(a @ a.T, b @ b.T, unbiased=unbiased))
    check_grads(loss, (x, y), order=1, modes=("fwd", "rev"), eps=1e-6, rtol=1e-5, atol=1e-7)
    value, gradient = jax.jit(jax.value_and_grad(loss))(np.ones_like(x), y)
    assert np.isnan(value) and np.isfinite(gradient).all()
    with pytest.raises(ValueError, match=r"got shapes \(20, 14\) and \(20, 20\)"):
        prh_jax.gram_cka(x, grams[1])


@BOTH
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_does_not_count(unbiased, scale):
    x, y = correlated(n=20, dx=14, dy=11)
    expected = float(batch_cka(x, y, unbiased=unbiased))
    assert float(batch_cka(scale * x, y, unbiased=unbiased)) == pytest.approx(expected, abs=1e-5)


@BOTH
def test_gradients_of_cka(unbiased, x64):
    x, y = correlated(n=12, dx=7, dy=5, dtype=np.float64)
    keep = np.arange(12) < 9
    loss = jax.jit(lambda a, b: 1 - batch_cka(a, b, unbiased=unbiased, where=keep))
    check_grads(loss, (x, y), order=1, modes=("fwd", "rev"), eps=1e-6, rtol=1e-5, atol=1e-7)
    gradient = jax.jit(jax.grad(loss))(x, y)
    assert (np.asarray(gradient)[~keep] == 0).all()
    value, flat = jax.jit(jax.value_and_grad(lambda a: batch_cka(a, y, unbiased=unbiased)))(np.ones_like(x))
    assert np.isnan(value) and np.isfinite(np.asarray(flat)).all()


def test_soft_neighbours_become_neighbours(x64):
    x, y = correlated(n=30, dx=14, dy=11, dtype=np.float64)
    hard = float(mutual_knn(x, y, k=5))
    assert float(soft_mutual_knn(x, y, k=5, temperature=1e-9)) == pytest.approx(hard, abs=1e-12)
    assert float(soft_mutual_knn(x, y, k=5, temperature=1e9)) == pytest.approx(1, abs=1e-9)
    assert float(soft_mutual_knn(x, x, k=5)) == pytest.approx(1, abs=1e-12)
    keep = np.arange(30) % 4 != 0
    filled = [np.where(keep[:, None], z, np.inf) for z in (x, y)]
    masked = float(soft_mutual_knn(*filled, k=5, temperature=1e-9, where=keep))
    assert masked == pytest.approx(float(mutual_knn(x[keep], y[keep], k=5)), abs=1e-12)


def test_soft_neighbours_by_hand(x64):
    """Four samples on a circle, k = 1: the sigmoids written out."""
    angles = {"x": [0.0, 0.4, 1.0, 2.0], "y": [0.0, 1.2, 0.3, 2.0]}

    def soft(angle, temperature=0.2):
        made = np.zeros((4, 4))
        for i in range(4):
            near = {j: math.cos(angle[i] - angle[j]) for j in range(4) if j != i}
            first, second = sorted(near.values(), reverse=True)[:2]
            for j, s in near.items():
                made[i, j] = 1 / (1 + math.exp(-(s - (first + second) / 2) / temperature))
        return made

    a, b = soft(angles["x"]), soft(angles["y"])
    expected = (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())
    x, y = (np.stack([np.cos(angle), np.sin(angle)], axis=1) for angle in angles.values())
    assert float(soft_mutual_knn(x, y, k=1, temperature=0.2)) == pytest.approx(expected, abs=1e-12)


def test_gradients_of_soft_neighbours(x64):
    x, y = correlated(n=16, dx=7, dy=5, dtype=np.float64)
    loss = jax.jit(lambda a, b: 1 - soft_mutual_knn(a, b, k=4, temperature=0.1))
    check_grads(loss, (x, y), order=1, modes=("fwd", "rev"), eps=1e-6, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="1 <= k <= 14"):
        soft_mutual_knn(x, y, k=15)
    with pytest.raises(ValueError, match="temperature"):
        soft_mutual_knn(x, y, k=3, temperature=0.0)
    with pytest.raises(ValueError, match="boolean"):
        soft_mutual_knn(x, y, k=3, where=np.ones(16))


@BOTH
def test_streams_are_exact(unbiased, x64):
    """Ragged batches, some padded, merged in two halves: CKA of all rows together."""
    x, y = correlated(n=50, dx=14, dy=60, dtype=np.float64)
    x = x + 3
    stream = StreamingCka(unbiased)
    states = []
    for rows in (slice(0, 7), slice(7, 20)), (slice(20, 21), slice(21, 50)):
        state = stream.empty(14, 60, np.float64)
        for part in rows:
            padded = [np.concatenate([z[part], np.full((3, z.shape[1]), np.nan)]) for z in (x, y)]
            state = jax.jit(stream.update)(state, *padded, where=np.arange(len(padded[0])) < len(x[part]))
        states.append(state)
    found = float(jax.jit(lambda a, b: stream.compute(stream.merge(a, b)))(*states))
    assert found == pytest.approx(float(PLAIN[unbiased](x, y)), abs=1e-11)


@BOTH
def test_streams_in_float32_under_scan(unbiased):
    x, y = correlated(n=64, dx=14, dy=11)
    stream = StreamingCka(unbiased)
    batches = [z.reshape(8, 8, -1) for z in (x, y)]
    state, _ = jax.lax.scan(lambda s, batch: (stream.update(s, *batch), None), stream.empty(14, 11), tuple(batches))
    assert float(stream.compute(state)) == pytest.approx(float(PLAIN[unbiased](x, y)), abs=2e-5)
    assert np.isnan(stream.compute(stream.empty(14, 11)))


def test_constant_features_have_no_score():
    """Their mean is rounded in float32, and what is left of them is no signal."""
    x, y = correlated(n=40, dx=14, dy=11)
    same = np.full_like(x, 0.1) * np.linspace(0.3, 1.7, 14, dtype=np.float32)
    keep = np.arange(40) % 3 != 0
    padded = np.where(keep[:, None], same, x)
    for score in (batch_cka, partial(soft_mutual_knn, k=3)):
        value, gradient = jax.jit(jax.value_and_grad(lambda a, score=score: score(a, y, where=keep)))(padded)
        assert np.isnan(value) and np.isfinite(np.asarray(gradient)).all()
    for stream, empty in ((StreamingCka(False), (14, 11)), (MinibatchCka(), ())):
        state = jax.jit(stream.update)(stream.empty(*empty), same, y)
        assert np.isnan(jax.jit(stream.compute)(state))


def test_too_few_samples_that_count_are_no_neighbourhood():
    x, y = correlated(n=12, dx=14, dy=11)
    scores = [float(soft_mutual_knn(x, y, k=4, where=np.arange(12) < count)) for count in (5, 6)]
    assert np.isnan(scores[0]) and 0 < scores[1] < 1


def test_what_floats_cannot_hold_is_not_a_number():
    """Never a number that looks like a score: sums of fourth powers overflow, or cancel against a common offset."""
    x, y = correlated(n=40, dx=14, dy=11)
    batches = MinibatchCka()
    assert np.isnan(jax.jit(lambda z: batches.compute(batches.update(batches.empty(), z, y)))(1e10 * x))
    for unbiased, held, lost in ((True, 10, 300), (False, 100, 1e4)):
        stream = StreamingCka(unbiased)
        whole = jax.jit(lambda z, stream=stream: stream.compute(stream.update(stream.empty(14, 11), z, y)))
        scores = [float(whole(z)) for z in (x + held, x + lost, 1e10 * x)]
        assert scores[0] == pytest.approx(float(PLAIN[unbiased](x, y)), abs=1e-3)
        assert np.isnan(scores[1]) and np.isnan(scores[2])
    with pytest.raises(ValueError, match=r"layers \(14, 11\) wide, got \(3, 11\)"):
        stream.update(stream.empty(14, 11), x[:, :3], y)


def test_minibatches_average_to_the_whole(x64):
    """Over all batches of 5 of 7 samples the mean of unbiased HSICs is that of all samples: it is a U-statistic."""
    x, y = correlated(n=7, dx=6, dy=4, dtype=np.float64)
    batches = MinibatchCka()
    state = batches.empty()
    update = jax.jit(batches.update)
    for rows in itertools.combinations(range(7), 5):
        state = update(state, 3 * x[list(rows)], y[list(rows)])
    many = math.comb(7, 5)
    assert float(state.xy) / many == pytest.approx(9 * hsic_song(x, y), rel=1e-10)
    assert float(state.xx) / many == pytest.approx(81 * hsic_song(x, x), rel=1e-10)
    assert float(batches.compute(state)) == pytest.approx(float(unbiased_cka(x, y)), abs=1e-10)


def cosine_of_u_centred(x, y):
    """Unbiased CKA in float64, by Song's three sums."""
    return hsic_song(x, y) / math.sqrt(hsic_song(x, x) * hsic_song(y, y))


@pytest.mark.parametrize("scale", [1e2, 3e4])
def test_one_huge_row_takes_no_digits_from_the_others(scale):
    """Its square stands on the diagonal alone, which unbiased forms leave out: the score of float64, or NaN of sums."""
    x, y = correlated(n=40, dx=14, dy=11)
    x, y = (z - z.mean(axis=0) for z in (x, y))
    x[7], y[7] = scale * x[7], scale * y[7]
    expected = cosine_of_u_centred(*(z.astype(np.float64) for z in (x, y)))
    assert float(batch_cka(x, y)) == pytest.approx(expected, abs=1e-5)
    shift = np.float32(30)
    assert float(batch_cka(x + shift, y)) == pytest.approx(
        cosine_of_u_centred(np.float64(x + shift) - 30, np.float64(y)), abs=1e-5
    )
    assert float(prh_jax.gram_cka(x @ x.T, y @ y.T, unbiased=True)) == pytest.approx(expected, abs=1e-5)
    batches = MinibatchCka()
    assert float(batches.compute(batches.update(batches.empty(), x, y))) == pytest.approx(expected, abs=1e-5)
    stream, factors = StreamingCka(), [sketched(GramFactorSketcher(14), z) for z in (x, y)]
    found = stream.compute(stream.update(stream.empty(14, 11), x, y))
    of_factors = prh_jax.UnbiasedCka().compare(*factors)
    for score, tolerance in ((found, 1e-2), (of_factors, 1e-3)):
        assert np.isnan(score) == (scale > 1e3) and (scale > 1e3 or abs(score - expected) < tolerance)
