"""Features made elsewhere become stores; nothing in a file is ever run."""

import pickle
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import prh_jax
from extractors import extract_module, import_features
from extractors.errors import ExtractionError
from extractors.importing.axes import AXES
from extractors.modelsets import expand, models_in, models_of, name_of
from prh_jax.cli.main import main
from prh_jax.errors import StoreError

N, IDS = 300, [f"s{i}" for i in range(300)]
WHO = {"model": "m", "pool": "mean", "modality": "language"}


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(N, d)).astype(np.float32) for d in (6, 6, 6)]


def assert_holds(store, layers):
    assert store.complete and len(store.layers) == len(layers)
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(store.read_layer(i), layer)


def test_the_references_dictionaries(tmp_path, layers):
    """feats (n, layers, d), or a list; with the parameter count and losses that it saves beside them."""
    stacked = torch.tensor(np.stack(layers, axis=1))
    saved = {
        "feats": stacked,
        "num_params": 12,
        "mask": torch.ones(N, 4),
        "loss": torch.tensor(2.5),
        "bpb": torch.tensor(1.5),
    }
    torch.save(saved, tmp_path / "a.pt")
    store = import_features(tmp_path / "a.pt", tmp_path / "a.zarr", **WHO, ids="rows")
    assert_holds(store, layers)
    assert store.result == {"params_total": 12, "loss": 2.5, "bpb_reference": 1.5}
    assert store.ids[:2] == ["0", "1"] and store.spec["imported"]["file"] == "a.pt"
    ragged = [torch.tensor(layers[0]), torch.tensor(layers[1][:, :4])]
    for name, content in (("b.pt", {"feats": ragged}), ("c.pth", ragged)):
        torch.save(content, tmp_path / name)
        store = import_features(tmp_path / name, tmp_path / f"{name}.zarr", **WHO, ids=IDS)
        assert_holds(store, [layers[0], layers[1][:, :4]])
    torch.save({"feats": stacked.bfloat16()}, tmp_path / "d.pt")
    store = import_features(tmp_path / "d.pt", tmp_path / "d.zarr", **WHO, ids=IDS)
    assert store.dtype == ml_dtypes.bfloat16
    assert_holds(store, [layer.astype(ml_dtypes.bfloat16) for layer in layers])


def test_arrays_and_tables(tmp_path, layers):
    np.save(tmp_path / "a.npy", np.stack(layers, axis=1))
    np.savez(tmp_path / "b.npz", first=layers[0], second=layers[1].astype(np.float64), ids=np.array(IDS))
    columns = {"key": IDS, "one": list(layers[0]), "note": ["x"] * N, "two": list(layers[1][:, :2])}
    pq.write_table(
        pa.table({k: v if k in ("key", "note") else [row.tolist() for row in v] for k, v in columns.items()}),
        tmp_path / "c.parquet",
    )
    assert_holds(import_features(tmp_path / "a.npy", tmp_path / "a.zarr", **WHO, ids=IDS), layers)
    store = import_features(tmp_path / "b.npz", tmp_path / "b.zarr", **WHO)
    assert store.ids == IDS and [layer.name for layer in store.layers] == ["first", "second"]
    assert_holds(store, layers[:2])
    store = import_features(tmp_path / "c.parquet", tmp_path / "c.zarr", **WHO, id_column="key")
    assert store.ids == IDS and [(layer.name, layer.dim) for layer in store.layers] == [("one", 6), ("two", 2)]
    assert_holds(store, [layers[0], layers[1][:, :2]])
    for ids in (IDS[::-1], "rows"):  # given ones count, whatever columns there are
        store = import_features(tmp_path / "c.parquet", tmp_path / "d.zarr", **WHO, ids=ids, overwrite=True)
        assert store.ids == (IDS[::-1] if ids != "rows" else [str(row) for row in range(N)])


def test_the_number_of_ids_tells_which_axis_has_the_samples(tmp_path):
    whole = np.random.default_rng(0).normal(size=(3, 8, 5)).astype(np.float32)
    layers, samples = list(whole), [f"s{i}" for i in range(8)]
    np.save(tmp_path / "l.npy", whole)
    np.save(tmp_path / "s.npy", whole.swapaxes(0, 1))
    np.savez(tmp_path / "l.npz", all=whole, ids=np.array(samples))
    torch.save(torch.tensor(whole), tmp_path / "l.pt")
    torch.save({"feats": torch.tensor(whole).swapaxes(0, 1)}, tmp_path / "s.pt")
    first, last = AXES
    for name, settings in (
        ("l.npy", {"ids": samples}),
        ("s.npy", {"ids": samples}),
        ("l.npz", {}),
        ("l.pt", {"ids": samples}),
        ("s.pt", {"ids": samples}),
        ("s.pt", {"ids": "rows"}),
        ("l.npy", {"ids": "rows", "axes": last}),
        ("s.npy", {"ids": "rows", "axes": first}),
        ("s.pt", {"ids": samples, "axes": first}),
    ):
        store = import_features(tmp_path / name, tmp_path / "s.zarr", **WHO, **settings, overwrite=True)
        assert_holds(store, layers)
        assert store.ids == (samples if settings.get("ids") != "rows" else [str(i) for i in range(8)])
        assert store.spec["imported"].get("axes") == (last if name.startswith("l") else None)
    np.save(tmp_path / "square.npy", whole[:, :3])
    np.save(tmp_path / "flat.npy", whole[0])
    for name, settings, message in (
        ("l.npy", {"ids": "rows"}, r"\(3, 8, 5\), without ids.*3 samples of 8 layers or 3 layers of 8.*--axes"),
        ("l.npy", {}, "without ids.*--axes"),
        ("l.pt", {"ids": "rows"}, "without ids.*--axes"),
        ("square.npy", {"ids": samples[:3]}, r"\(3, 3, 5\), with 3 ids.*--axes"),
        ("l.npy", {"ids": samples[:4]}, "but 4 ids were given"),
        ("s.pt", {"ids": samples[:3]}, "8 rows, but 3 ids were given. If its layers come first, say --layout"),
        ("l.npy", {"ids": samples, "axes": first}, "3 rows, but 8 ids were given"),
        ("l.npy", {"ids": samples, "axes": "features,samples,layers"}, "are samples,layers,features or"),
        ("flat.npy", {"ids": samples, "axes": first}, "leave --layout"),
    ):
        with pytest.raises(ExtractionError, match=message):
            import_features(tmp_path / name, tmp_path / "t.zarr", **WHO, **settings)
    assert not (tmp_path / "t.zarr").exists()


def test_tensors_of_every_kind(tmp_path):
    """Parameters, transposed and bfloat16 ones are read; what numpy has no form for is named, with a way out."""
    plain, ids = torch.randn(8, 2, 4), [f"s{i}" for i in range(8)]
    half = plain.bfloat16().swapaxes(0, 1).contiguous().swapaxes(0, 1).requires_grad_()
    for tensor in (
        plain.clone().requires_grad_(),
        torch.nn.Parameter(plain.clone()),
        half,
        plain.conj(),
        plain.to(torch.float8_e4m3fn),
    ):
        torch.save({"feats": tensor}, tmp_path / "f.pt")
        store = import_features(tmp_path / "f.pt", tmp_path / "f.zarr", **WHO, ids=ids, overwrite=True)
        expected = tensor.detach().float().numpy()
        for i in range(2):
            np.testing.assert_array_equal(store.read_layer(i).astype(np.float32), expected[:, i])
    for tensor, message in (
        (torch.tensor(3.0), r"shape \(\) .*a single number"),
        (plain.to_sparse(), "sparse_coo.*to_dense"),
        (plain[:, 0].to_sparse_csr(), "sparse_csr.*to_dense"),
        (torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8), "qint8.*dequantize"),
        (plain.to("meta"), "on meta"),
        (torch.complex(plain, plain), "complex64 numbers: take .*Features are real numbers"),
        (torch.zeros(8, 0, 4), "no features"),
    ):
        torch.save({"feats": tensor}, tmp_path / "f.pt")
        with pytest.raises((ExtractionError, StoreError), match=message) as told:
            import_features(tmp_path / "f.pt", tmp_path / "g.zarr", **WHO, ids=ids)
        assert "\n" not in str(told.value)
    torch.save({"feats": plain, "loss": torch.ones(8)}, tmp_path / "f.pt")
    with pytest.raises(ExtractionError, match=r"shape \(8,\) as 'loss', which is one number"):
        import_features(tmp_path / "f.pt", tmp_path / "g.zarr", **WHO, ids=ids)
    assert not (tmp_path / "g.zarr").exists()


class Boom:
    def __reduce__(self):
        return (pytest.fail, ("code in a file was run",))


def test_files_that_cannot_be_used(tmp_path, layers):
    def fails(name, message, **more):
        with pytest.raises((ExtractionError, StoreError), match=message):
            import_features(tmp_path / name, tmp_path / "s.zarr", **WHO, **more)
        assert not (tmp_path / "s.zarr").exists()

    (tmp_path / "a.pt").write_bytes(pickle.dumps({"feats": Boom()}))
    torch.save({"feats": Boom()}, tmp_path / "b.pt")
    np.save(tmp_path / "c.npy", np.array([Boom()], dtype=object), allow_pickle=True)
    for name in ("a.pt", "b.pt", "c.npy"):
        fails(name, "cannot be read", ids=["x"])
    np.save(tmp_path / "d.npy", layers[0])
    fails("d.npy", "300 rows without ids.*--ids rows")
    fails("d.npy", "300 rows, but 2 ids", ids=["a", "b"])
    (tmp_path / "e.npy").write_bytes((tmp_path / "d.npy").read_bytes()[:500])
    fails("e.npy", "cannot be read", ids=IDS)
    torch.save({"features": "none"}, tmp_path / "f.pt")
    fails("f.pt", "holds in 'features' a str, no tensor.*--key", ids=["a", "b"])
    np.save(tmp_path / "g.npy", np.zeros((2, 2, 2, 2)))
    fails("g.npy", r"\(n, d\) a layer, or \(n, layers, d\)", ids=["a", "b"])
    np.save(tmp_path / "scalar.npy", np.float32(3))
    fails("scalar.npy", r"of shape \(\)", ids=["a", "b"])
    np.savez(tmp_path / "scalar.npz", x=np.zeros((2, 2)), ids=np.array("a"))
    fails("scalar.npz", r"ids of shape \(\)")
    np.savez(tmp_path / "step.npz", step=np.int64(7), x=np.zeros((2, 2)))
    fails("step.npz", r"holds 'step' of shape \(\) and 1 other arrays")
    header = (tmp_path / "d.npy").read_bytes()[:128]
    (tmp_path / "huge.npy").write_bytes(header.replace(b"(300, 6), }" + b" " * 10, b"(300, 10000000000), }"))
    fails("huge.npy", "cannot be read", ids=["a", "b"])
    fails("none.npy", "no file")
    (tmp_path / "h.csv").write_text("")
    fails("h.csv", "what can be read is .pt, .pth, .safetensors, .npy")
    pq.write_table(pa.table({"id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]}), tmp_path / "i.parquet")
    fails("i.parquet", "differ in length|have lengths")


def run(line):
    return main(line.split())


def test_the_command_imports_packs_and_aligns(tmp_path, layers, monkeypatch, capsys):
    """From a file of the reference to scores, by way of an archive."""
    monkeypatch.chdir(tmp_path)
    torch.save({"feats": torch.tensor(np.stack(layers, axis=1))}, "a.pt")
    (tmp_path / "ids.txt").write_text("\n".join(IDS[:-20]))
    np.save("b.npy", np.stack(layers, axis=1)[:-20])
    assert run("import a.pt -o a.zarr --model a --modality language --pool avg --ids rows") == 0
    assert run("import b.npy -o b.zarr --model b --modality vision --ids ids.txt") == 0
    assert prh_jax.open_store("a.zarr").spec["pool"] == "mean"
    assert run("import a.pt -o c.zarr --model c --modality language --ids rows --dataset emoji_1024") == 2
    assert main(["pack", "a.zarr"]) == 0 and main(["unpack", "a.zarr.zip", "-o", "again.zarr"]) == 0
    capsys.readouterr()
    assert main(["align", "--x", "a.zarr.zip", "--y", "again.zarr", "--metric", "mutual_knn", "-o", "r.zarr"]) == 0
    assert "self" in capsys.readouterr().out  # one model with another store of it
    assert main(["align", "--x", "a.zarr", "--y", "b.zarr", "--metric", "mutual_knn", "-o", "q.zarr"]) == 2


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(5, 4)
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.drop(self.conv(x).relu().mean((2, 3))))


def spatial(output):
    return output.mean((2, 3)) if output.ndim == 4 else output


@pytest.mark.parametrize("size", [7, 256, 300])
def test_a_module_of_ones_own(tmp_path, size):
    torch.manual_seed(1)
    pictures = torch.rand(N, 3, 6, 6)
    net, path = Net(), tmp_path / "net.zarr"
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pictures), batch_size=size)
    arguments = {"layers": ["conv", "head"], "pool": spatial, "ids": IDS, "spec": {"model": "net", "pool": "mean"}}
    store = extract_module(path, net, loader, **arguments)
    assert net.training and [(layer.name, layer.dim) for layer in store.layers] == [("conv", 5), ("head", 4)]
    with torch.inference_mode():
        expected = [net.eval().conv(pictures).mean((2, 3)), net(pictures)]
    for i, features in enumerate(expected):
        np.testing.assert_allclose(store.read_layer(i), features.numpy(), atol=1e-6)
    with pytest.raises(StoreError, match="holds features with model"):
        extract_module(path, net, loader, **arguments | {"spec": {"model": "other", "pool": "mean"}})


def test_a_module_goes_on_after_a_stop(tmp_path):
    pictures, net = torch.rand(N, 3, 6, 6), Net().eval()
    arguments = {"layers": ["conv", "head"], "pool": spatial, "ids": IDS, "spec": {"model": "net"}}
    batches = [{"x": pictures[i : i + 32]} for i in range(0, N, 32)]
    with pytest.raises(ExtractionError, match="gives 288 samples, but there are 300 ids"):
        extract_module(tmp_path / "a.zarr", net, batches[:9], **arguments)
    calls = []
    net.register_forward_pre_hook(lambda *_: calls.append(1))
    store = extract_module(tmp_path / "a.zarr", net, batches, **arguments)
    # nothing was read before: ten batches. The first also has its first sample run alone, twice, and its last one once
    assert len(calls) == 13
    with torch.inference_mode():
        np.testing.assert_allclose(store.read_layer(1), net(pictures).numpy(), atol=1e-6)


def test_modules_that_cannot_be_read(tmp_path):
    def fails(message, loader=None, **more):
        arguments = {"layers": ["conv"], "pool": spatial, "ids": IDS, "spec": {"model": "n"}} | more
        with pytest.raises(ExtractionError, match=message):
            extract_module(tmp_path / "s.zarr", Net(), loader or [torch.rand(N, 3, 6, 6)], **arguments)
        assert not (tmp_path / "s.zarr").exists()

    fails("no layer 'conw'; it has conv, drop, head", layers=["conw"])
    fails("'unused' is not reached", layers=["unused"])
    fails(r"shape \(300, 5, 4, 4\); pool must give \(300, d\)", pool=lambda x: x)
    fails("more samples than the 3 ids", ids=["a", "b", "c"])
    data = torch.utils.data.TensorDataset(torch.rand(N, 3, 6, 6))
    fails("takes samples in the order", loader=torch.utils.data.DataLoader(data, shuffle=True))
    # inputs and labels, and layers that are called twice
    fails("have 2 parts.*loader of inputs alone", [(torch.rand(N, 3, 6, 6), torch.zeros(N))])
    twice = torch.nn.Sequential(relu := torch.nn.ReLU(), torch.nn.Flatten(), relu)
    with pytest.raises(ExtractionError, match="'0' is called 2 times"):
        extract_module(
            tmp_path / "t.zarr", twice, [torch.rand(4, 3)], layers=["0"], pool=spatial, ids=list("abcd"), spec={}
        )


def test_an_output_is_what_the_layer_gave_whatever_comes_after_it(tmp_path):
    x = torch.linspace(-1, 1, 8).reshape(4, 2)
    net = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU(inplace=True))
    arguments = {"layers": ["0"], "pool": lambda output: output, "ids": list("abcd"), "spec": {"model": "n"}}
    store = extract_module(tmp_path / "n.zarr", net, [x.clone()], **arguments)
    np.testing.assert_array_equal(store.read_layer(0), x.numpy())


class Unsteady:
    """Batches in another order each time."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __iter__(self):
        yield torch.from_numpy(self.rng.permutation(4).astype(np.float32))[:, None]


def test_loaders_that_shuffle_are_refused(tmp_path):
    x, data = torch.arange(4.0)[:, None], torch.utils.data
    torch.manual_seed(1)  # one order in 24 is that of the rows
    arguments = {"layers": [""], "pool": lambda output: output, "ids": list("abcd"), "spec": {"model": "n"}}
    for options in (
        {"shuffle": True},
        {"sampler": data.SubsetRandomSampler(range(4))},
        {"sampler": [3, 2, 1, 0]},
        {"batch_sampler": [[2, 3], [0, 1]]},
    ):
        state = torch.random.get_rng_state()
        with pytest.raises(ExtractionError, match="takes samples in the order.*shuffle=False"):
            extract_module(tmp_path / "s.zarr", torch.nn.Identity(), data.DataLoader(x, **options), **arguments)
        assert torch.equal(state, torch.random.get_rng_state())
    with pytest.raises(ExtractionError, match="Two passes over the loader begin with other samples"):
        extract_module(tmp_path / "s.zarr", torch.nn.Identity(), Unsteady(), **arguments)
    assert not (tmp_path / "s.zarr").exists()
    for loader in (data.DataLoader(x, batch_size=3), [x], iter([x[:2], x[2:]])):
        store = extract_module(tmp_path / "s.zarr", torch.nn.Identity(), loader, **arguments, overwrite=True)
        np.testing.assert_array_equal(store.read_layer(0), x.numpy())


def test_names_with_braces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run{3").mkdir()
    for name, expected in (
        ("a/b", ["a/b"]),
        ("a@step{1000,2000}", ["a@step1000", "a@step2000"]),
        ("a@step{1000..4000..1000}", ["a@step1000", "a@step2000", "a@step3000", "a@step4000"]),
        ("a@step{0..5..2}", ["a@step0", "a@step2", "a@step4"]),
        ("{b,c}@{3..2}", ["b@3", "b@2", "c@3", "c@2"]),
        ("run{3", ["run{3"]),
    ):
        assert expand([name]) == expected
    for name in ("a@{1", "a@1}", "a@{1}", "a@{}", "a@{1,}", "a@{1..2..0}", "a@{{1,2},3}", "a@{0..999999}"):
        with pytest.raises(ValueError, match=re.escape(repr(name))):
            expand([name])


def test_model_sets_of_ones_own(tmp_path):
    one = tmp_path / "one.toml"
    one.write_text('language = ["a/b"]\nvision = ["c", "d@v{1,2}"]\ntouch = ["e"]\n')
    assert models_in(str(one)) == [
        ("language", "a/b"),
        ("vision", "c"),
        ("vision", "d@v1"),
        ("vision", "d@v2"),
        ("touch", "e"),
    ]
    assert models_of(str(one), "vision") == ("c", "d@v1", "d@v2") and name_of(str(one)) == "one"
    many = tmp_path / "many.toml"
    many.write_text('[small]\nlanguage = ["a"]\n[large]\nvision = ["b"]\n')
    assert models_of(f"{many}:small", "language") == ("a",) and models_of(f"{many}:small", "vision") == ()
    assert name_of(f"{many}:small") == "many-small"
    for given, message in (
        (str(many), "several sets; say which: .*many.toml:small"),
        (f"{many}:none", r"no table \[none\]; it has small, large"),
        (str(tmp_path / "absent.toml"), "cannot be read as TOML"),
        ("nothing", "Unknown model set 'nothing'; the sets are val, test, custom, or a file"),
    ):
        with pytest.raises(ValueError, match=message):
            models_of(given, "vision")
    for text, message in (
        ('vision = "c"', "must be a list"),
        ("x = 1", "x must be a list"),
        ("", "must list models"),
        ("= 3", "cannot be read"),
    ):
        one.write_text(text)
        with pytest.raises(ValueError, match=message):
            models_of(str(one), "vision")
