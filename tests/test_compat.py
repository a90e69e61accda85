"""The drop-in gives the reference's numbers, for whatever array it is given."""

import jax.numpy as jnp
import numpy as np
import pytest
from inputs import golden_values
from oracles import ORACLES

from prh_jax.compat import AlignmentMetrics

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
