"""Each kind of file becomes a store of the very numbers that its own library wrote; what cannot be read is told."""

import sys

import h5py
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import scipy.sparse
import torch
from datasets import Array2D, Dataset, Features, Value
from safetensors.torch import save_file

from extractors import import_features
from extractors.errors import ExtractionError, MissingExtraError
from extractors.importing import features as importing
from prh_jax import open_store
from prh_jax.cli.main import main

N, IDS = 12, [f"s{i}" for i in range(12)]
NAMES = ["layer_1", "layer_2", "layer_10"]
WHO = {"model": "m", "pool": "mean", "modality": "brain"}


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(N, 4 + i)).astype(np.float32) for i, name in enumerate(NAMES)}


def assert_holds(store, layers, ids=IDS):
    assert [layer.name for layer in store.layers] == list(layers) and store.ids == list(ids)
    for i, layer in enumerate(layers.values()):
        np.testing.assert_array_equal(store.read_layer(i), layer)


def write_newer_mat(path, variables, ids):
    """A file as MATLAB writes version 7.3: its header before HDF5, arrays transposed, texts as cells of references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            file.create_dataset(name, data=value.T).attrs["MATLAB_class"] = np.bytes_(
                {"f": "single", "d": "double"}[value.dtype.char]
            )
        cells = []
        for number, text in enumerate(ids):
            part = file.create_dataset(f"#refs#/{number}", data=np.array([[ord(c)] for c in text], np.uint16))
            part.attrs["MATLAB_class"], part.attrs["MATLAB_int_decode"] = np.bytes_("char"), 2
            cells.append(part.ref)
        stored = file.create_dataset("ids", (1, len(cells)), h5py.ref_dtype)
        stored[0] = cells
        stored.attrs["MATLAB_class"] = np.bytes_("cell")
        text = file.create_dataset("note", data=np.array([[104], [105]], np.uint16))
        text.attrs["MATLAB_class"] = np.bytes_("char")
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Nov 30 08:00:00 2026 HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(head.ljust(116) + bytes(8) + b"\x00\x02IM")


def write_annotated(path, embeddings, ids):
    """A file as AnnData writes it."""
    with h5py.File(path, "w") as file:
        file["X"] = np.zeros((len(ids), 2))
        file.create_group("obs").attrs["_index"] = "cell"
        file["obs/cell"] = ids
        file["obs"].create_group("kind")["codes"] = np.zeros(len(ids), np.int8)
        for name, value in embeddings.items():
            file[f"obsm/{name}"] = value
            file[f"obsm/{name}"].attrs["encoding-type"] = "array"


def test_safetensors(tmp_path, layers):
    half = {name: torch.tensor(layer).bfloat16() for name, layer in layers.items()}
    save_file(half | {"ids": torch.arange(N)}, tmp_path / "a.safetensors")
    store = import_features(tmp_path / "a.safetensors", tmp_path / "a.zarr", **WHO)
    assert store.dtype == ml_dtypes.bfloat16 and store.spec["modality"] == "brain"
    expected = {name: layer.astype(ml_dtypes.bfloat16) for name, layer in layers.items()}
    assert_holds(store, expected, map(str, range(N)))


def test_hdf5(tmp_path, layers):
    with h5py.File(tmp_path / "a.HDF5", "w") as file:
        for name, layer in layers.items():
            file[f"enc/{name}"] = layer
        file["ids"], file["epoch"], file["enc/again"] = IDS, 3, file["enc"]
    store = import_features(tmp_path / "a.HDF5", tmp_path / "a.zarr", **WHO, keys="enc/layer*")
    assert_holds(store, {f"enc/{name}": layer for name, layer in layers.items()})
    store = import_features(tmp_path / "a.HDF5", tmp_path / "b.zarr", **WHO, keys=["enc/layer_10", "enc/layer_1"])
    assert [layer.name for layer in store.layers] == ["enc/layer_10", "enc/layer_1"]
    assert store.spec["imported"]["keys"] == ["enc/layer_10", "enc/layer_1"]
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["all"] = np.stack([layer[:, :4] for layer in layers.values()])
    store = import_features(tmp_path / "whole.h5", tmp_path / "w.zarr", **WHO, ids=IDS)
    assert_holds(store, {f"layer_{i}": layer[:, :4] for i, layer in enumerate(layers.values())})


@pytest.mark.parametrize("newer", [False, True])
def test_matlab(tmp_path, layers, newer):
    path = tmp_path / "a.mat"
    if newer:
        write_newer_mat(path, layers, IDS)
    else:
        cells = np.array(IDS, dtype=object)[:, None]
        scipy.io.savemat(path, {**layers, "ids": cells, "note": "hi"}, do_compression=True)
    assert_holds(import_features(path, tmp_path / "a.zarr", **WHO, keys=NAMES), layers)
    with pytest.raises(ExtractionError, match="'note'.*Features are real numbers.*--key"):
        import_features(path, tmp_path / "b.zarr", **WHO)
    if newer:
        with pytest.raises(ExtractionError, match=r"arrays lie transposed in HDF5: name it \.mat"):
            import_features(path.rename(tmp_path / "a.h5"), tmp_path / "d.zarr", **WHO)
        (tmp_path / "a.h5").rename(path)
    trials = import_features(path, tmp_path / "c.zarr", **WHO, keys="layer_1", ids="rows")
    assert trials.ids == [str(row) for row in range(N)]


def test_numbers_of_matlab_are_ids(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"x": np.eye(3), "ids": np.array([7.0, 8.0, 12.0])})
    assert import_features(tmp_path / "a.mat", tmp_path / "a.zarr", **WHO).ids == ["7", "8", "12"]


def test_annotated_data(tmp_path, layers):
    write_annotated(tmp_path / "a.h5ad", {"X_pca": layers["layer_1"], "X_umap": layers["layer_2"]}, IDS)
    assert_holds(
        import_features(tmp_path / "a.h5ad", tmp_path / "a.zarr", **WHO, keys="X_pca"), {"X_pca": layers["layer_1"]}
    )
    with pytest.raises(ExtractionError, match="2 embeddings in `obsm`: X_pca, X_umap. Say which"):
        import_features(tmp_path / "a.h5ad", tmp_path / "b.zarr", **WHO)


def test_dictionaries_of_torch(tmp_path, layers):
    tensors = {name: torch.tensor(layer, requires_grad=True) for name, layer in layers.items()}
    for content in (tensors | {"ids": IDS}, {"feats": tensors, "loss": 2.0, "ids": IDS}):
        torch.save(content, tmp_path / "a.PT")
        store = import_features(tmp_path / "a.PT", tmp_path / "a.zarr", **WHO, overwrite=True)
        assert_holds(store, layers)
    assert store.result == {"loss": 2.0}
    torch.save({"model": tensors, "step": torch.tensor(3)}, tmp_path / "b.pt")
    with pytest.raises(ExtractionError, match=r"holds in 'step' a tensor of shape \(\).*a single number"):
        import_features(tmp_path / "b.pt", tmp_path / "b.zarr", **WHO, ids=IDS)
    store = import_features(tmp_path / "b.pt", tmp_path / "b.zarr", **WHO, ids=IDS, keys="model/*")
    assert_holds(store, {f"model/{name}": layer for name, layer in layers.items()})


def test_shards_of_a_table(tmp_path, layers):
    """Rows come in natural order of the files; texts in lists are no features."""
    first, second = layers["layer_1"], np.stack([layers["layer_2"][:, :4], layers["layer_10"][:, :4]], axis=1)
    (tmp_path / "shards").mkdir()
    for shard in range(N):
        rows = slice(shard, shard + 1)
        table = {"id": IDS[rows], "caption": [["a", "b"]], "one": first[rows].tolist(), "two": second[rows].tolist()}
        pq.write_table(pa.table(table), tmp_path / "shards" / f"part-{shard}.parquet")
    store = import_features(tmp_path / "shards", tmp_path / "a.zarr", **WHO, keys="one")
    assert store.ids == IDS
    np.testing.assert_array_equal(store.read_layer(0), first)
    store = import_features(tmp_path / "shards", tmp_path / "b.zarr", **WHO, keys="two", axes="samples,layers,features")
    np.testing.assert_array_equal(store.read_layer(1), second[:, 1])
    pq.write_table(pa.table({"id": ["x"], "one": [[1.0]]}), tmp_path / "shards" / "part-12.parquet")
    with pytest.raises(ExtractionError, match="part-12.parquet has no column 'two', which part-0.parquet has"):
        import_features(tmp_path / "shards", tmp_path / "c.zarr", **WHO)


def test_a_saved_data_set(tmp_path, layers, monkeypatch):
    matrices = np.stack([layers["layer_1"], layers["layer_2"][:, :4]], axis=1)
    columns = {"key": IDS, "embedding": list(layers["layer_1"]), "all": list(matrices)}
    kinds = {"key": Value("string"), "all": Array2D((2, 4), "float32")}
    data = Dataset.from_dict(columns).cast(
        Features(kinds | {"embedding": Dataset.from_dict(columns).features["embedding"]})
    )
    data.select(range(N - 1, -1, -1)).save_to_disk(tmp_path / "set")  # in an order of its own
    store = import_features(tmp_path / "set", tmp_path / "a.zarr", **WHO, keys="embedding", id_column="key")
    assert_holds(store, {"embedding": layers["layer_1"][::-1]}, IDS[::-1])
    store = import_features(tmp_path / "set", tmp_path / "b.zarr", **WHO, keys="all", id_column="key")
    np.testing.assert_array_equal(store.read_layer(1), matrices[::-1, 1])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExtractionError, match="There is no file at set/such to import"):
        import_features("set/such", tmp_path / "c.zarr", **WHO)
    with pytest.raises(ExtractionError, match="no/such is neither a file here nor a data set of the hub"):
        import_features("no/such", tmp_path / "c.zarr", **WHO)


def test_a_file_at_a_url(tmp_path, layers):
    import fsspec

    np.save(tmp_path / "a.npy", layers["layer_1"])
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/lab/my file.NPY", (tmp_path / "a.npy").read_bytes())
    store = import_features("memory://lab/my file.NPY", tmp_path / "a.zarr", **WHO, ids=IDS)
    np.testing.assert_array_equal(store.read_layer(0), layers["layer_1"])
    assert store.spec["imported"]["file"] == "my file.NPY"
    with pytest.raises(ExtractionError, match="There is no file at memory://lab/b.npy"):
        import_features("memory://lab/b.npy", tmp_path / "b.zarr", **WHO, ids=IDS)
    memory.pipe_file("/lab/cut.npy", b"\x93NUMPY")
    with pytest.raises(ExtractionError, match="^memory://lab/cut.npy cannot be read as an array"):
        import_features("memory://lab/cut.npy", tmp_path / "b.zarr", **WHO, ids=IDS)


def made(path, kind, layers):
    """A file that cannot be used."""
    good = layers["layer_1"]
    if kind == "cut":
        writers = {
            ".safetensors": lambda: save_file({"x": torch.tensor(good)}, path),
            ".h5": lambda: write_annotated(path, {"x": good}, IDS),
            ".h5ad": lambda: write_annotated(path, {"x": good}, IDS),
            ".mat": lambda: scipy.io.savemat(path, {"x": good}),
            ".pt": lambda: torch.save(torch.tensor(good), path),
            ".npz": lambda: np.savez(path, x=good),
            ".parquet": lambda: pq.write_table(pa.table({"x": good.tolist()}), path),
        }
        writers[path.suffix]()
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    elif kind == "lfs":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n")
    elif kind == "gguf":
        path.write_bytes(b"GGUF\x03" + bytes(99))
    elif kind == "sparse":
        scipy.io.savemat(path, {"x": scipy.sparse.eye(3)})
    elif kind == "struct":
        scipy.io.savemat(path, {"x": {"y": good}})
    elif kind == "f8":
        save_file({"x": torch.tensor(good).to(torch.float8_e4m3fn)}, path)
    else:
        with h5py.File(path.with_name("other.h5"), "w") as other:
            other["x"] = good
        with h5py.File(path, "w") as file:
            if kind == "text":
                file["x"] = IDS
            elif kind == "external link":
                file["x"] = h5py.ExternalLink("other.h5", "x")
            elif kind == "soft link":
                file["z"], file["x"] = h5py.ExternalLink("other.h5", "x"), h5py.SoftLink("/z")
            elif kind == "raw":
                file.create_dataset("x", (2, 2), "f4", external=[(str(path.with_name("other.h5")), 0, 16)])
            elif kind == "virtual":
                layout = h5py.VirtualLayout(good.shape, "f4")
                layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "x", good.shape)
                file.create_virtual_dataset("x", layout)
            elif kind == "ragged":
                file["x"], file["y"] = good, good[1:]
            elif kind == "complex":
                file["x"] = good.astype(np.complex64)


@pytest.mark.parametrize(
    "name, kind, message",
    [
        *((f"a{ending}", "cut", "cannot be read") for ending in (".safetensors", ".h5", ".h5ad", ".mat")),
        *((f"a{ending}", "cut", "cannot be read") for ending in (".pt", ".npz", ".parquet")),
        ("a.pt", "lfs", "a pointer of git-lfs.*git lfs pull"),
        ("a.npy", "gguf", "weights in GGUF"),
        ("a.mat", "sparse", "'x' a sparse matrix: make it full"),
        ("a.mat", "struct", "'x' a struct"),
        ("a.safetensors", "f8", "'x' of type F8_E4M3.*float32"),
        ("a.h5", "text", "'x' values of type text. Features are real numbers"),
        ("a.h5", "complex", "'x' values of type complex64"),
        ("a.h5", "external link", "'x' as a link"),
        ("a.h5", "soft link", "'x' as a link"),
        ("a.h5", "raw", "'x' in other files"),
        ("a.h5", "virtual", "'x' in other files"),
        ("a.h5", "ragged", "'x' of 12 rows and 'y' of 11"),
    ],
)
def test_what_cannot_be_read_is_one_paragraph(tmp_path, layers, capsys, name, kind, message):
    made(tmp_path / name, kind, layers)
    line = ["import", str(tmp_path / name), "-o", str(tmp_path / "s.zarr"), "--modality", "brain", "--ids", "rows"]
    assert main(line) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1 and not (tmp_path / "s.zarr").exists()
    with pytest.raises(ExtractionError, match=message):
        import_features(tmp_path / name, tmp_path / "s.zarr", **WHO, ids="rows")


def test_keys_that_are_not_there_and_layouts_that_are_none(tmp_path, layers, capsys):
    np.savez(tmp_path / "a.npz", **layers)
    np.save(tmp_path / "b.npy", np.zeros((3, N, 2), np.float32))
    line = ["import", str(tmp_path / "a.npz"), "-o", str(tmp_path / "s.zarr"), "--modality", "x", "--ids", "rows"]
    assert main([*line, "--key", "layer_1", "block*"]) == 2
    assert "has no 'block*' (--key); it has layer_1, layer_2, layer_10" in capsys.readouterr().err
    line[1] = str(tmp_path / "b.npy")
    for layout in ("features,samples,layers", "nld"):
        assert main([*line, "--layout", layout]) == 2
        err = capsys.readouterr().err
        assert "are samples,layers,features or layers,samples,features, got" in err and len(err.splitlines()) == 1
    assert main(line) == 2 and "Say --layout" in capsys.readouterr().err
    assert main([*line, "--key", "x"]) == 2 and "without a name" in capsys.readouterr().err
    assert main([*line, "--layout", "layers,samples,features"]) == 0
    assert open_store(tmp_path / "s.zarr").n == N
    capsys.readouterr()
    assert main([*line[:5], " ", *line[6:]]) == 2 and "modality is a word" in capsys.readouterr().err


def test_a_reader_that_is_missing_is_named_with_its_extra(tmp_path, layers, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = layers["layer_1"]
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r'h5py, which is not installed.*pip install "prh-jax\[import\]"'):
        import_features(tmp_path / "a.h5", tmp_path / "a.zarr", **WHO, ids=IDS)
    assert set(importing.READERS) < set(importing.FILES)


def test_many_files_at_once(tmp_path, layers, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for step in (1, 2):
        torch.save(torch.tensor(layers["layer_1"]) * step, f"step{step}.pt")
    line = ["--modality", "vision", "--ids", "rows"]
    assert main(["import", "step*.pt", "-o", "stores", *line]) == 0
    stores = [open_store(tmp_path / "stores" / f"step{step}.zarr") for step in (1, 2)]
    assert [store.model for store in stores] == ["step1", "step2"]
    np.testing.assert_array_equal(stores[1].read_layer(0), layers["layer_1"] * 2)
    (tmp_path / "step3.pt").write_bytes(b"none")
    capsys.readouterr()
    assert main(["import", "step3.pt", "step1.pt", "-o", "stores", *line]) == 1
    assert "step3.pt cannot be read" in capsys.readouterr().err
    np.save("step1.npy", layers["layer_1"])
    for given, message in (
        (["step1.pt", "step1.npy"], "would both become stores/step1.zarr"),
        (["none*.pt"], "No file fits none*.pt"),
        (["step1.pt", "step2.pt", "--model", "m"], "--model m names one model, and 2 files"),
    ):
        assert main(["import", *given, "-o", "stores", *line]) == 2
        assert message in capsys.readouterr().err
