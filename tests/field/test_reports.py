"""What public reports are about, tried here: `reports.md` has their sources."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("datasets")

import torch
from PIL import Image

import prh_jax
from extractors import extract_module
from extractors.datasets.loading import load
from extractors.datasets.pictures import as_rgb, decode
from extractors.errors import ExtractionError

HERE = Path(__file__).parent
SPEC = {"model": "m", "modality": "vision", "pool": "none"}


def paint(path, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (level, level, level)).save(path)


def test_the_table_names_tests_that_exist():
    rows = re.findall(r"\| `([^`]+)::(\w+)` \|$", (HERE / "reports.md").read_text("utf-8"), flags=re.MULTILINE)
    assert len(rows) >= 20
    for file, name in rows:
        assert f"def {name}(" in (HERE.parent / file).read_text("utf-8"), (file, name)


def test_links_to_folders_of_pictures_are_followed(tmp_path):
    paint(tmp_path / "data" / "0.png")
    paint(tmp_path / "store" / "1.png")
    (tmp_path / "data" / "bus").symlink_to(tmp_path / "store")
    (tmp_path / "data" / "bus" / "circle").symlink_to(tmp_path / "data")
    assert load(str(tmp_path / "data")).ids == ["0.png", "bus/1.png"]


def test_what_is_no_picture_is_no_sample(tmp_path):
    paint(tmp_path / "A.PNG")
    for name in ("features.h5", "clip.mpg", "paper.pdf", "notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    assert load(str(tmp_path)).ids == ["A.PNG"]


def test_deep_grey_that_is_transparent_is_white(tmp_path):
    Image.fromarray(np.array([[2560, 30000]], np.uint16)).save(tmp_path / "a.png", transparency=30000)
    image = decode(str(tmp_path / "a.png"))
    assert image.mode == "I;16" and np.asarray(as_rgb(image)).tolist() == [[[10] * 3, [255] * 3]]


def test_exif_that_is_broken_does_not_break_a_picture():
    import io
    import struct

    file = io.BytesIO()
    Image.new("RGB", (8, 4), (200, 0, 0)).save(file, "JPEG")
    for kind, value in ((2, b"6\x00\x00\x00"), (3, b"\xff\xff\x00\x00"), (99, b"\x06\x00\x00\x00")):
        field = struct.pack("<HHI4s", 0x0112, kind, 1, value)
        exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + field + b"\x00\x00"  # cut off
        broken = file.getvalue()[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + file.getvalue()[2:]
        assert as_rgb(decode(broken)).size == (8, 4)


def test_file_urls_with_spaces_are_paths(tmp_path):
    folder = tmp_path / "my data é"
    paint(folder / "a picture.png", 9)
    (folder / "t.jsonl").write_text(json.dumps({"image": (folder / "a picture.png").as_uri()}))
    assert load(str(folder / "t.jsonl")).image(0).getpixel((0, 0)) == (9, 9, 9)
    written = prh_jax.write_features(folder / "m.zarr", [np.eye(4)], ids=list("abcd"), spec=SPEC)
    assert prh_jax.open_store((folder / "m.zarr").as_uri()).checksum() == written.checksum()
    odd = prh_jax.write_features(tmp_path / "a%20b.zarr", [np.eye(4)], ids=list("abcd"), spec=SPEC)
    assert prh_jax.open_store(f"file://{odd.path}").path == odd.path


def test_files_of_other_columns_are_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"caption": ["b"]}), tmp_path / "1.parquet")
    with pytest.raises(ExtractionError, match=r"1.parquet has no column 'text', which 0.parquet has; it has caption"):
        load(str(tmp_path))


def test_texts_that_look_like_missing_values_are_texts(tmp_path):
    texts = ["null", "NA", "nan", "None", "007", "1e5", "True"]
    (tmp_path / "t.csv").write_text("id,text\n" + "".join(f"0{i},{text}\n" for i, text in enumerate(texts)))
    data = load(str(tmp_path / "t.csv"))
    assert data.texts == [[text] for text in texts] and data.ids == [f"0{i}" for i in range(7)]


def test_ids_of_other_libraries():
    pandas = pytest.importorskip("pandas")
    from prh_jax.stores.checks import check_ids

    assert check_ids(torch.arange(2)) == check_ids(pandas.Series([0, 1])) == check_ids(np.arange(2)) == ["0", "1"]
    for ids in (pandas.Series([1, pandas.NA]), np.ma.masked_array([1, 2], mask=[False, True])):
        with pytest.raises(ValueError, match="1 of 2 samples have no id, such as row 1"):
            check_ids(ids)


def extracted(tmp_path, net, inputs, pool):
    loader = torch.utils.data.DataLoader(inputs, batch_size=8)
    ids = [str(i) for i in range(len(inputs))]
    return extract_module(tmp_path / "n.zarr", net, loader, layers=[""], pool=pool, ids=ids, spec=SPEC)


def test_outputs_whose_first_axis_is_not_the_sample(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.TransformerEncoderLayer(8, 2, 16)  # (sequence, batch, feature)
    with pytest.raises(ExtractionError, match="other features when it is alone.*samples are not the first axis"):
        extracted(tmp_path, net, torch.randn(8, 8, 8), lambda output: output.mean(1))
    recurrent = torch.nn.GRU(6, 5)  # the first sample alone would not show that state is carried on
    with pytest.raises(ExtractionError, match="other features when it is alone"):
        extracted(tmp_path, recurrent, torch.randn(8, 4, 6), lambda output: output[0].mean(1))
    with pytest.raises(ExtractionError, match=r"pool must give \(1, d\)"):
        extracted(tmp_path, torch.nn.Linear(6, 8), torch.randn(8, 6), lambda output: output.T)
    with pytest.raises(ExtractionError, match="in a batch of 4 than in a batch of 8"):  # which takes no batch of one
        whole = torch.nn.BatchNorm1d(6, track_running_stats=False)
        extracted(tmp_path, whole, torch.randn(8, 6), lambda output: output)
    noisy = torch.nn.Sequential(torch.nn.Linear(4, 4), NoisyDropout())
    with pytest.raises(ExtractionError, match="draws random numbers"):
        extracted(tmp_path, noisy, torch.randn(8, 4), lambda output: output)
    assert not (tmp_path / "n.zarr").exists()


class NoisyDropout(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.5, training=True)


def test_parts_in_evaluation_mode_stay_there(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).train()
    net[1].eval()
    extracted(tmp_path, net, torch.randn(8, 4), lambda output: output)
    assert (net.training, net[0].training, net[1].training) == (True, True, False)


def test_streams_by_several_processes_are_refused(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.eye(4))

    loader = torch.utils.data.DataLoader(Stream(), num_workers=2)
    with pytest.raises(ExtractionError, match="by 2 processes, which take turns"):
        extract_module(
            tmp_path / "n.zarr", torch.nn.Identity(), loader, layers=[""], pool=torch.clone, ids=list("abcd"), spec=SPEC
        )


def test_layers_that_give_a_tuple(tmp_path):
    with pytest.raises(ExtractionError, match="pool fails at layer '', whose output is a tuple"):
        extracted(tmp_path, torch.nn.LSTM(6, 4, batch_first=True), torch.randn(8, 5, 6), lambda output: output.mean(1))


@pytest.fixture
def saved(tmp_path):
    """Write a small checkpoint, and change it before it is loaded."""
    pytest.importorskip("transformers")
    from extractors.models.tiny import tiny_language_model

    def save(kind, change=None):
        path = tiny_language_model(kind, tmp_path / kind, TEXTS, layers=2)
        if change is not None:
            change(path)
        return str(path)

    return save


TEXTS = ["the red dog runs in the park", "a dog", "green park at dawn"]


def weights(path, change):
    from safetensors.torch import load_file, save_file

    file = path / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def without(word):
    return lambda path: weights(path, lambda held: {key: w for key, w in held.items() if word not in key})


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("llama", without("layers.1.mlp.up_proj"), "lacks 1 weights.*'model.layers.1.mlp.up_proj.weight'"),
        (
            "bert",
            lambda path: weights(path, lambda held: {f"module.{key}": w for key, w in held.items()}),
            "has others, such as 'module.*wrapped model",
        ),
    ],
    ids=["one layer's", "all, by a prefix"],
)
def test_weights_that_a_checkpoint_lacks(saved, kind, change, message):
    from extractors.models import language

    path = saved(kind, change)
    with pytest.raises(ExtractionError, match=message):
        language.load(path)
    language.load(path, random_init=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 1}, "has no place, such as 'model.layers.1"),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, r"has no place, such as .*(k|q|v)_proj.bias"),
    ],
    ids=["a layer", "biases"],
)
def test_weights_that_the_model_has_no_place_for(saved, change, message):
    from extractors.models import language

    def reconfigured(path):
        config = json.loads((path / "config.json").read_text())
        for key in ("layer_types", "max_window_layers"):
            config.pop(key, None)
        (path / "config.json").write_text(json.dumps(config | change))

    language.load(saved("qwen2"))
    with pytest.raises(ExtractionError, match=message):
        language.load(saved("qwen2", reconfigured))


def test_adapters_and_broken_output_layers_are_refused(saved):
    from extractors.models import language

    with pytest.raises(ExtractionError, match="holds an adapter.*merge it"):
        language.load(saved("gpt2", lambda path: (path / "adapter_config.json").write_text("{}")))

    def broken(held):
        return {key: w * float("nan") if key == "lm_head.weight" else w for key, w in held.items()}

    extractor = language.load(saved("llama"))
    text = [extractor.encode(TEXTS[0])]
    extractor.model.lm_head.weight.data[:] = float("nan")
    with pytest.raises(ExtractionError, match="losses of .* are NaN"):
        extractor.forward(text)
    with pytest.raises(ExtractionError):
        language.load(saved("llama", lambda path: weights(path, broken))).forward(text)


def test_weights_that_no_state_passes_may_be_missing(saved):
    """The pooler of BERT is never read; without an output layer there are states, and no losses."""
    from extractors.models import language

    plain = language.load(saved("bert"))
    text = [plain.encode(TEXTS[0])]
    right = plain.forward(text)[0]
    for state, other in zip(right, language.load(saved("bert", without("pooler"))).forward(text)[0], strict=True):
        assert torch.equal(state, other)

    def embedding_model(path):
        from transformers import AutoModel

        AutoModel.from_pretrained(path).save_pretrained(path)

    whole = language.load(saved("llama"))
    states, numbers = whole.forward(text := [whole.encode(TEXTS[0])])
    headless = language.load(saved("llama", embedding_model))
    again, fewer = headless.forward(text)
    assert all(map(torch.equal, states, again)) and "nats" in numbers
    assert set(fewer) == {"n_tokens", "n_truncated"} == set(headless.sample_arrays)


def test_tokens_that_were_added_without_embeddings(saved):
    from transformers import AutoTokenizer

    from extractors.models import language

    def add(path):
        tokenizer = AutoTokenizer.from_pretrained(path)
        tokenizer.add_tokens(["zebra"])
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        tokenizer.save_pretrained(path)

    extractor = language.load(saved("llama", add))
    size = len(extractor.loaded.embeddings.weight)
    with pytest.raises(ExtractionError, match=rf"'s7' with the token 'zebra' \({size}\).*embeddings of {size} tokens"):
        extractor.encode("a zebra", "s7")
    texts = [extractor.encode(text) for text in TEXTS]
    assert extractor.tokenizer.pad_token_id > size
    together = extractor.forward(texts)[0][-1]
    for row, text in enumerate(texts):
        alone = extractor.forward([text])[0][-1][0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5 * float(alone.abs().max()))


def test_code_of_a_checkpoint_is_not_run_and_not_asked_about(saved, monkeypatch):
    from extractors.models import language

    def own_code(path):
        config = json.loads((path / "config.json").read_text())
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
        (path / "config.json").write_text(json.dumps(config))
        (path / "code.py").write_text("raise SystemExit('it ran')")

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    with pytest.raises(ExtractionError, match="comes with code of its own, which is not run"):
        language.load(saved("llama", own_code))


@pytest.mark.slow
def test_kendall_counts_more_pairs_than_32_bits_hold():
    """364 samples have 66,066 dissimilarities, and these 2.18e9 pairs."""
    from scipy.spatial.distance import pdist
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    shared = rng.normal(size=(364, 3))
    x, y = (shared + 0.3 * rng.normal(size=shared.shape) for _ in range(2))
    right = kendalltau(pdist(x, "correlation"), pdist(y, "correlation")).statistic
    assert float(prh_jax.rsa(x, y, compare_by="kendall")) == pytest.approx(right, abs=1e-5)
