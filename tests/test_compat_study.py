"""The reference's functions and class from features to scores: its signatures, and numbers by its definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES

import prh_jax
from prh_jax.cli.main import main
from prh_jax.compat import Alignment, compute_score, prepare_features, remove_outliers
from prh_jax.compat.places import SHORT_NAMES

torch = pytest.importorskip("torch")
N = 40


def made(layers, width, seed):
    rng = np.random.default_rng(seed)
    latent = np.random.default_rng(99).normal(size=(N, 6))
    noisy = [latent @ rng.normal(size=(6, width)) + rng.normal(size=(N, width)) for _ in range(layers)]
    return np.stack(noisy, axis=1).astype(np.float32)


def limit_of(feats, q, exact):
    """The threshold by its definition, one value after another."""
    magnitudes = [[abs(float(v)) for v in np.ravel(sample)] for sample in feats]
    if exact:
        return sorted(v for sample in magnitudes for v in sample)[int(q * sum(map(len, magnitudes)))]
    limits = []
    for sample in map(sorted, magnitudes):
        place = q * (len(sample) - 1)
        low = int(place)
        high = min(low + 1, len(sample) - 1)
        limits.append(sample[low] + (place - low) * (sample[high] - sample[low]))
    return sum(limits) / len(limits)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("q", [0.3, 0.95])
def test_outliers_are_clipped_at_the_references_quantiles(q, exact):
    feats = made(3, 7, seed=0)
    limit = limit_of(feats, q, exact)
    expected = np.clip(feats, -limit, limit)
    for given, kind in ((feats, np.ndarray), (torch.tensor(feats, requires_grad=True), torch.Tensor)):
        for found in (prepare_features(given, q, exact), remove_outliers(given, q, exact, max_threshold=1e9)):
            assert isinstance(found, kind) and tuple(found.shape) == feats.shape
            values = found.detach().numpy() if kind is torch.Tensor else found
            np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(remove_outliers(jnp.asarray(feats), q, exact)), expected, rtol=1e-6)
    ragged = [feats[:, 0], 100 * feats[:, 1, :4]]  # a list has a threshold for each layer
    for found, layer in zip(prepare_features(ragged, q=q, exact=exact), ragged, strict=True):
        limit = limit_of(layer, q, exact)
        np.testing.assert_allclose(found, np.clip(layer, -limit, limit), rtol=1e-6)
    half = prepare_features(torch.tensor(feats).bfloat16(), q, exact)
    assert half.dtype == torch.float32
    assert remove_outliers(feats, 1) is feats


def test_what_cannot_be_clipped_is_refused():
    feats = made(2, 5, seed=0)
    for wrong, q, message in (
        (feats[0, 0], 0.95, r"\(n, d\) or \(n, layers, d\), got"),
        (np.full((4, 2), np.nan), 0.95, "NaN"),
        (feats, 0, "clip_quantile"),
        (feats, 1.5, "clip_quantile"),
    ):
        with pytest.raises(ValueError, match=message):
            remove_outliers(wrong, q)


@pytest.mark.parametrize(
    "metric, settings",
    [
        ("mutual_knn", {"k": 4, "normalize": False}),
        ("cycle_knn", {"k": 4, "normalize": False}),
        ("lcs_knn", {"k": 4, "normalize": False, "per_k": False}),
        ("cka", {"eps": 1e-6}),
        ("cknna", {"k": 4, "eps": 1e-6}),
    ],
)
@pytest.mark.parametrize("normalize", [True, False])
def test_the_best_layer_pair_by_the_definition(metric, settings, normalize):
    x, y = made(2, 7, seed=1), made(3, 9, seed=2)
    best, place = 0, None
    for i in range(2):
        for j in range(3):
            a, b = x[:, i].astype(float), y[:, j].astype(float)
            if normalize:
                a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
            score = ORACLES[metric](a, b, **settings)
            if score > best:
                best, place = score, (i, j)
    for given in ((x, y), ([torch.tensor(x[:, i]) for i in range(2)], torch.tensor(y))):
        score, found = compute_score(*given, metric=metric, topk=4, normalize=normalize)
        assert score == pytest.approx(best, abs=2e-5) and found == place


def test_scores_that_are_none():
    x = made(1, 5, seed=0)
    assert compute_score(x, np.ones((N, 1, 3), np.float32), "cka") == (0.0, None)
    with pytest.raises(ValueError, match="same samples, got 40 and 39"):
        compute_score(x, x[1:])
    with pytest.raises(ValueError, match="Unrecognized metric: cosine"):
        compute_score(x, x, "cosine")


def save(path, feats, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"feats": torch.tensor(feats), "num_params": 3, **more}, path)


def test_features_that_the_reference_saved(tmp_path):
    """Its class as it is called there, on its .pt files and on stores; by keyword and by position."""
    folder = tmp_path / "minhuh" / "prh" / "wit_1024"
    dino, llama, mine = made(2, 8, seed=3), made(3, 6, seed=4), made(2, 7, seed=5)
    save(folder / "vit_giant_patch14_dinov2.lvd142m_pool-cls.pt", dino, mask=torch.ones(N, 2))
    prh_jax.write_features(
        folder / "openlm-research--open_llama_7b_pool-mean.zarr",
        list(llama.swapaxes(0, 1)),
        ids=[str(i) for i in range(N)],
        spec={"model": "openlm-research/open_llama_7b", "pool": "mean"},
    )
    names, where = ["dinov2_g", "openllama_7b"], {"input_dir": tmp_path}
    alignment = Alignment(dataset="minhuh/prh", subset="wit_1024", models=names, device="cuda", **where)
    found = alignment.score(torch.tensor(mine), metric="mutual_knn", topk=5, normalize=True)
    assert list(found) == names
    ours = prepare_features(mine, exact=True)
    for name, feats in zip(names, (dino, llama), strict=True):
        assert found[name] == compute_score(ours, prepare_features(feats, exact=True), "mutual_knn", 5)
    assert Alignment("minhuh/prh", "wit_1024", names, **where).score(mine, "mutual_knn", 5, True) == found
    full = Alignment(dataset="minhuh/prh", models=["openlm-research/open_llama_7b"], **where)
    assert list(full.score(mine, topk=5).values()) == [found["openllama_7b"]]
    cycle = alignment.score(mine, "cycle_knn", topk=5)["dinov2_g"]
    assert cycle == compute_score(ours, prepare_features(dino, exact=True), "cycle_knn", 5)
    plain = alignment.score(mine, "cka", normalize=False)
    assert plain["dinov2_g"][0] == pytest.approx(
        compute_score(ours, prepare_features(dino, exact=True), "cka", normalize=False)[0], abs=1e-6
    )
    assert plain["dinov2_g"] != alignment.score(mine, "cka")["dinov2_g"]
    by_path = Alignment(str(folder / "vit_giant_patch14_dinov2.lvd142m_pool-cls.pt"))
    assert list(by_path.score(mine, topk=5).values()) == [found["dinov2_g"]]


def test_features_that_are_not_there_are_named_with_the_way_to_them(tmp_path):
    folder = tmp_path / "minhuh" / "prh" / "wit_1024"
    with pytest.raises(prh_jax.NotFoundError) as told:
        Alignment(dataset="minhuh/prh", subset="wit_1024", models=["llama_65b"], input_dir=tmp_path)
    message = str(told.value)
    assert "prh extract --dataset minhuh/prh --subset wit_1024 --model huggyllama/llama-65b`" in message
    assert "huggyllama_llama-65b_pool-avg.pt" in message and "input_dir" in message and "\n" not in message
    for pool in ("avg", "last"):
        save(folder / f"huggyllama_llama-65b_pool-{pool}.pt", made(1, 4, seed=0))
    with pytest.raises(prh_jax.NotFoundError, match="several features of llama_65b.*pool-avg.pt.*pool-last.pt"):
        Alignment(dataset="minhuh/prh", subset="wit_1024", models=["llama_65b"], input_dir=tmp_path)
    for wrong in ({}, {"dataset": "minhuh/prh"}, {"stores": [], "dataset": "minhuh/prh", "models": ["llama_7b"]}):
        with pytest.raises(ValueError, match="Give feature stores"):
            Alignment(**wrong)
    assert len(SHORT_NAMES) == 26


def test_the_data_that_features_must_be_of(tmp_path):
    pytest.importorskip("skimage")
    line = [
        "extract",
        "--dataset",
        "emoji_1024",
        "--model",
        "hog",
        "--num-samples",
        "12",
        "--output-dir",
        str(tmp_path),
    ]
    assert main(line) == 0
    alignment = Alignment(dataset="emoji_1024", models=["hog"], input_dir=tmp_path)
    texts, pictures = alignment.get_data("text"), alignment.get_data(modality="image")
    assert len(texts) == len(pictures) == 12 and isinstance(texts[0], str) and pictures[0].size == (72, 72)
    hog = alignment.stores[0].read_layer(0)
    assert alignment.score(hog, topk=3)["hog"] == (1.0, (0, 0))
    with pytest.raises(ValueError, match="'text' or 'image'"):
        alignment.get_data("audio")
    with pytest.raises(ValueError, match="Stores hold no data"):
        Alignment(alignment.stores).get_data("text")
