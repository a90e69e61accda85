"""The drop-in gives the reference's numbers, for whatever array it is given."""

import jax.numpy as jnp
import numpy as np
import pytest
from inputs import golden_values
from oracles import ORACLES

import prh_jax
from prh_jax.compat import Alignment, AlignmentMetrics

torch = pytest.importorskip("torch")


def call(entry):
    """The reference's way to say the settings of a golden entry."""
    settings = dict(entry["settings"])
    kwargs = {"topk": settings["k"]} if "k" in settings else {}
    if "kernel" in settings:
        kwargs = {"kernel_metric": "ip" if settings["kernel"] == "linear" else "rbf"}
    if settings.get("unbiased") is False:
        kwargs["unbiased"] = False
    return kwargs


ENTRIES = [pytest.param(*e, id=f"{e[0]['metric']}-{i}") for i, e in enumerate(golden_values("prh.json"))]


@pytest.mark.parametrize("entry, x, y", ENTRIES)
def test_golden_values(entry, x, y):
    if entry["settings"].get("swapped"):
        x, y = y, x
    tolerance = 1e-7 if entry["metric"] in ("mutual_knn", "cycle_knn") else 1e-10
    for make in (np.asarray, torch.from_numpy):
        score = AlignmentMetrics.measure(entry["metric"], make(x), make(y), **call(entry))
        assert type(score) is float
        assert score == pytest.approx(entry["value"], abs=tolerance)


@pytest.mark.parametrize("name", AlignmentMetrics.SUPPORTED_METRICS)
def test_every_kind_of_array(name):
    (_, x, y), *_ = golden_values("prh.json")
    kwargs = {} if "cka" in name or name == "svcca" else {"topk": 10}
    measure = getattr(AlignmentMetrics, name)
    expected = measure(x.astype(np.float32), y.astype(np.float32), **kwargs)
    tensors = [torch.tensor(z, dtype=torch.float32, requires_grad=True) for z in (x, y)]
    assert measure(*tensors, **kwargs) == expected
    assert measure(jnp.asarray(x, jnp.float32), tensors[1], **kwargs) == expected
    half = [t.to(torch.bfloat16) for t in tensors]
    assert measure(*half, **kwargs) == measure(*(t.float() for t in half), **kwargs)
    assert measure(feats_A=tensors[0], feats_B=tensors[1], **kwargs) == expected


def test_svcca_is_exact():
    (_, x, y), *_ = golden_values("prh.json")
    assert AlignmentMetrics.svcca(x, y, cca_dim=7) == pytest.approx(ORACLES["svcca"](x, y, dim=7), abs=1e-10)


def test_signatures_and_errors():
    (_, x, y), *_ = golden_values("prh.json")
    assert AlignmentMetrics.cka(x, y, "ip", 1.0, True) == AlignmentMetrics.unbiased_cka(x, y)
    assert AlignmentMetrics.mutual_knn(x, y, 10) == AlignmentMetrics.measure("mutual_knn", x, y, topk=10)
    assert AlignmentMetrics.cknna(x, y) == AlignmentMetrics.cknna(x, y, topk=127)
    with pytest.raises(ValueError, match="Unrecognized metric: nope.*cycle_knn"):
        AlignmentMetrics.measure("nope", x, y)
    with pytest.raises(ValueError, match="topk >= 2"):
        AlignmentMetrics.cknna(x, y, topk=1)
    with pytest.raises(ValueError, match="kernel metric"):
        AlignmentMetrics.cka(x, y, kernel_metric="cosine")
    with pytest.raises(ValueError, match="distance_agnostic"):
        AlignmentMetrics.cknna(x, y, topk=5, distance_agnostic=True)


def clipped_unit_rows(layers):
    """The reference's preparation of one tensor of layers: its exact 0.95 quantile, then unit rows."""
    magnitudes = np.sort(np.abs(np.stack(layers)).ravel())
    limit = magnitudes[int(0.95 * len(magnitudes))]
    cut = [np.clip(layer.astype(float), -limit, limit) for layer in layers]
    return [layer / np.linalg.norm(layer, axis=1, keepdims=True) for layer in cut]


@pytest.fixture
def stored(tmp_path):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(40, 6))
    made = {
        name: [(latent @ rng.normal(size=(6, 9)) + rng.normal(size=(40, 9))).astype(np.float32) for _ in range(count)]
        for name, count in (("small", 2), ("large", 3), ("training", 2))
    }
    ids = [f"s{i}" for i in range(40)]
    paths = [
        prh_jax.write_features(tmp_path / f"{name}.zarr", made[name], ids=ids, spec={"model": name})
        for name in ("small", "large")
    ]
    return made, Alignment(paths)


@pytest.mark.parametrize("metric, settings", [("mutual_knn", {"topk": 5}), ("cka", {}), ("lcs_knn", {"topk": 5})])
def test_features_are_scored_against_stores(stored, metric, settings):
    made, alignment = stored
    given = {name: clipped_unit_rows(layers) for name, layers in made.items()}
    tensor = torch.tensor(np.stack(made["training"], axis=1), requires_grad=True)
    found = alignment.score(tensor, metric=metric, **settings)
    assert list(found) == ["small", "large"]
    for model, (score, place) in found.items():
        table = np.array(
            [[AlignmentMetrics.measure(metric, x, y, **settings) for y in given[model]] for x in given["training"]]
        )
        assert score == pytest.approx(table.max(), abs=2e-6)
        assert table[place] == pytest.approx(table.max(), abs=2e-6)
    assert alignment.score(list(made["training"]), metric=metric, **settings) == found
    one = alignment.score(made["training"][1], metric=metric, **settings)
    assert set(one) == set(found)


def test_other_samples_are_refused(stored):
    made, alignment = stored
    with pytest.raises(ValueError, match="40 samples"):
        alignment.score(made["training"][0][:39])
    with pytest.raises(ValueError, match="NaN"):
        alignment.score(np.full((40, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="Unrecognized metric"):
        alignment.score(made["training"], metric="cosine")
    with pytest.raises(ValueError, match="list of features is empty"):
        alignment.score([])


def test_no_score_is_not_a_score_of_zero(stored):
    _, alignment = stored
    found = alignment.score(np.ones((40, 9), np.float32), metric="cka")
    assert all(np.isnan(score) and place is None for score, place in found.values())
