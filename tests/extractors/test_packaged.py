"""Weights from the package index: never read unless they are those known, and those of the network that they fill."""

import hashlib
import pickle
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from extractors.datasets.loading import load as load_data
from extractors.errors import ExtractionError
from extractors.models import packaged
from extractors.models.packaged import PACKAGED, Packaged, load_packaged, match_weights
from extractors.models.vision import load
from extractors.pipeline.run import Settings, extract_model, modality_of
from prh_jax.data import SHIPPED
from prh_jax.stores.reader import open_store

INSTALLED = all(source.path() for source in PACKAGED.values())
needs_weights = pytest.mark.skipif(not INSTALLED, reason="the extra demo is not installed")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """fake(content, sha256): a package of weights, known as `package:fake`, whose own code must not run."""

    def make(content, sha256=None):
        folder = tmp_path / "fake_weights"
        folder.mkdir()
        (folder / "__init__.py").write_text("raise SystemExit('imported')")
        (folder / "w.pth").write_bytes(content)
        digest = sha256 or hashlib.sha256(content).hexdigest()
        source = Packaged("fake_weights", "w.pth", digest, "resnet10t")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(PACKAGED, "package:fake", source)
        return folder / "w.pth"

    yield make
    assert "fake_weights" not in sys.modules


def saved(weights, path):
    torch.save(weights, path)
    return path.read_bytes()


class Payload:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return (sys.exit, ("unpickled",))


def test_other_weights_are_refused_before_anything_reads_them(fake, monkeypatch):
    content = pickle.dumps(Payload())
    path = fake(content, "0" * 64)
    monkeypatch.setattr(packaged, "io", None)  # what hands the bytes on
    with pytest.raises(ExtractionError) as caught:
        load_packaged("package:fake", None)
    told = str(caught.value)
    assert all(part in told for part in (str(path), hashlib.sha256(content).hexdigest(), "0" * 64, "--force-reinstall"))


def test_a_file_of_the_right_hash_is_read_as_tensors_alone(fake):
    fake(pickle.dumps(Payload()))
    with pytest.raises(ExtractionError, match="cannot be read as tensors"):
        load_packaged("package:fake", None)


def test_tensors_fill_the_network_in_its_own_order(fake, tmp_path):
    """Under other names, as another implementation gives them."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    weights = {
        f"their{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(network.state_dict().items())
    }
    fake(saved(weights, tmp_path / "x.pth"))
    other = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    load_packaged("package:fake", other)
    assert torch.equal(other[0].weight, network[0].weight) and torch.equal(other[0].bias, network[0].bias)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"a.weight": (2, 3)}, "has 1 tensors, and the network of the installed timm has 2"),
        ({"a.weight": (2, 3), "a.bias": (3,)}, r"'a.bias' .* has shape \(3,\).*'b.bias'.*\(2,\)"),
        ({"a.weight": (2, 3), "a.running_mean": (2,)}, "'a.running_mean'"),
    ],
)
def test_weights_of_another_network_are_refused(weights, told):
    wanted = {"b.weight": torch.zeros(2, 3), "b.bias": torch.zeros(2)}
    with pytest.raises(ExtractionError, match=told):
        match_weights("package:fake", {key: torch.zeros(shape) for key, shape in weights.items()}, wanted)


def test_a_package_that_is_lacking_is_named(monkeypatch, few):
    lacking = Packaged("no_such_weights", "w.pth", "0" * 64, "test_efficientnet")
    monkeypatch.setitem(PACKAGED, "package:lacking", lacking)
    with pytest.raises(ExtractionError, match=r"no-such-weights, which is not installed.*prh-jax\[demo\]"):
        load("package:lacking")
    assert load("package:lacking", random_init=0).spec()["revision"] is None  # which needs no weights
    with pytest.raises(ExtractionError, match="package:efficientnet-lite0"):
        extract_model("package:efficientnet", few, Settings())


@needs_weights
@pytest.mark.skipif(find_spec("efficientnet_lite_pytorch") is None, reason="the original code is not installed")
@pytest.mark.parametrize("size", [0, 1, 2])
def test_logits_are_those_of_the_original_code(size, few):
    import timm
    from efficientnet_lite_pytorch import EfficientNet
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    name = f"package:efficientnet-lite{size}"
    ours, original = timm.create_model(PACKAGED[name].architecture).eval(), EfficientNet.from_name(name[8:]).eval()
    load_packaged(name, ours)
    original.load_state_dict(torch.load(PACKAGED[name].path(), weights_only=True))
    transform = create_transform(**resolve_data_config({}, model=ours), is_training=False)
    pictures = torch.stack([transform(few.image(row)) for row in range(16)])
    with torch.inference_mode():
        expected, found = original(pictures), ours(pictures)
    assert expected.shape == (16, 1000) and expected.std() > 0.1
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


@needs_weights
def test_shipped_features_are_those_of_the_weights(tmp_path):
    """To the rounding of bfloat16, which is 0.4 %; and a store tells which weights it is of."""
    name = "package:efficientnet-lite0"
    assert modality_of(name) == "vision"
    settings = Settings(output_dir=tmp_path, dtype="float32")
    store = open_store(extract_model(name, load_data("emoji_1024", num_samples=8), settings))
    shipped = open_store(SHIPPED / "efficientnet-lite0_pool-mean.zarr")
    for spec in (store.spec, shipped.spec):
        assert spec["revision"] == f"sha256:{PACKAGED[name].sha256}" and spec["random_init"] is None
    assert [layer.dim for layer in store.layers] == [16, 24, 40, 112, 320]
    for i in range(5):
        ours, kept = store.read_layer(i), np.asarray(shipped.read_layer(i), np.float32)[:8]
        np.testing.assert_allclose(kept, ours, rtol=0.004, atol=1e-3)
