"""`prh demo`: trained networks agree with a language model more than untrained ones, and it says so truly."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from browser import column, saved
from oracles import lists

from prh_jax import load_alignment, open_store
from prh_jax.analysis import intervals
from prh_jax.cli import demo, demo_features
from prh_jax.cli.demo_features import LITE, Stores
from prh_jax.cli.main import main
from prh_jax.data import SHIPPED

SIZES = (0, 1, 2)
needs_extraction = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "timm", "transformers", "datasets", "skimage")),
    reason="the extra extract is not installed",
)
needs_plot = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("matplotlib", "plotly")), reason="needs the extra plot"
)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What `prh demo --quick` printed where PyTorch and its kin are not installed, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("demo")
    blocked = {"torch", "torchvision", "timm", "transformers", "datasets", "skimage"}
    code = f"""
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
from prh_jax.cli.main import main
sys.exit(main(["demo", "--quick", "--output-dir", {str(folder)!r}]))
"""
    # compiled as for users: it computes more than it compiles
    env = {
        name: value for name, value in os.environ.items() if name not in ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder, load_alignment(folder / "alignment.zarr")


def test_training_is_what_brings_them_nearer():
    """By plain numpy: neighbours of 256 emoji in the last layer of MiniLM and in each network's, as shipped."""

    def layer(name, index):
        return np.asarray(open_store(SHIPPED / f"{name}_pool-mean.zarr").read_layer(index), np.float64)[:256]

    names = layer("all-MiniLM-L6-v2", 6)
    for size in SIZES:
        trained = lists.mutual_knn(names, layer(f"efficientnet-lite{size}", 4))
        random = [lists.mutual_knn(names, layer(f"efficientnet-lite{size}_random-0", i)) for i in (3, 4)]
        assert trained - max(random) > 0.05 and min(random) > 2 * 10 / 255


def test_the_quick_demo_shows_it(quick):
    printed, _, result = quick
    assert result.provenance.n == 1024 and len(result.models_x) == 1
    scores = result.scores("mutual_knn").isel(model_x=0)
    kinds = {(m.spec["model"], m.spec.get("random_init")): m.label for m in result.provenance.models_y}
    trained, random = (np.array([float(scores.sel(model_y=kinds[name, seed])) for name in LITE]) for seed in (None, 0))
    assert (trained - random > 0.05).all()
    assert (result.calibration.pairs("mutual_knn")["p"] <= 0.05).all() and "All are beyond chance" in printed
    rows = re.findall(r"^(\S.*\S|  the same with random weights) +(0\.\d{4})$", printed, re.MULTILINE)
    told = {name: float(score) for name, score in rows}
    assert told["efficientnet-lite2 (ImageNet top-1 77.6 %)"] == pytest.approx(trained[2], abs=5e-5)
    assert told["  the same with random weights"] == pytest.approx(random[2], abs=5e-5)
    assert told["chance: mean of 100 random pairings"] == pytest.approx(10 / 1023, abs=0.004)
    sentence = next(line for line in printed.splitlines() if line.startswith("Found: 3 trained vision networks"))
    first, second, gap, low, high = map(float, re.findall(r"0\.\d{3}(?=\D)", sentence.partition("p <")[0]))
    assert (first, second) == pytest.approx((trained.mean(), random.mean()), abs=1e-3)
    assert gap == pytest.approx((trained - random).mean(), abs=1e-3) and 0.05 < low < gap < high < 0.12
    assert sentence.endswith("p < 0.001).")
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    chance = told["chance: mean of 100 random pairings"]
    assert [f"{share:.0%}".replace("%", " %") for share in (first, second, chance)] == re.findall(r"\b\d+ %", readme)[
        :3
    ]


@needs_plot
def test_its_pictures_and_its_report_are_there(quick):
    printed, folder, result = quick
    for name in ("heat_map.png", "accuracy.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG") and name in printed
    page = (folder / "report.html").read_text("utf-8")
    assert "top1_when_trained" in page and all(name in page for name in LITE)
    told = {m.label: m.assigned.get("top1_when_trained") for m in result.provenance.models_y}
    assert sorted(filter(None, told.values())) == [75.1, 75.1, 76.7, 76.7, 77.6, 77.6]


@needs_plot
def test_its_report_opens_in_a_browser_at_once_and_answers(quick, opened):
    _, folder, result = quick
    page = opened(folder / "report.html")
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
    said = page.inner_text("#finding")
    assert said.startswith("By mutual kNN (k = 10), all 8 pairs of two models are closer than chance")
    assert "package:efficientnet-lite1: 0.1891" in said
    for metric in result.metrics:
        page.select_option("#metric", metric)
        best = result.scores(metric).values.max()
        assert column(page, 3)[0] == f"{best:.4f}" and f": {best:.4f} (best over layer pairs)" in page.inner_text(
            "#finding"
        )
    page.click("#pairs th:nth-child(2) button")
    names = column(page, 2)
    assert names == sorted(names) and set(names) == set(result.models_y)
    rows = saved(page, "#pairs-export button >> nth=0").splitlines()
    assert len(rows) == 1 + 8 and names[0] in rows[1]
    assert saved(page, "#map-export button >> nth=1").count(" & ") == 2 * 8  # a line of names and one of scores
    page.focus("#pairs tbody button")
    page.keyboard.press("Enter")
    assert page.inner_text("#pair-title").endswith(f"with {names[0]}")
    assert page.locator("#samples img").count() > 100


def test_it_does_not_find_what_is_not_there(quick, monkeypatch):
    _, _, result = quick
    stores = Stores([Path("x")], [Path("y")] * len(result.models_y))
    nothing = intervals.Difference(0.1, 0.101, -0.001, -0.011, 0.009, 0.005, 0.841)
    monkeypatch.setattr(intervals, "difference", lambda *args, **options: nothing)
    told = demo.finding(result, stores)
    assert told.startswith("Not found: that 3 trained") and told.endswith("p = 0.841).")


@needs_extraction
@pytest.mark.parametrize("online", [False, True])
def test_networks_are_pretrained_or_there_is_no_demo(online, tmp_path, monkeypatch, capsys):
    """Each is beside itself with random weights; a demo of those alone is refused."""
    from extractors.models import packaged
    from extractors.pipeline import run

    asked = []

    def extract(name, data, settings, *, modality=None):
        asked.append((name, settings.random_init))
        return tmp_path / f"{len(asked)}"

    monkeypatch.setattr(run, "extract_model", extract)
    monkeypatch.setattr(demo_features, "_hub_answers", lambda: online)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(packaged.Packaged, "path", lambda self: None)
    if not online:
        assert main(["demo", "--output-dir", str(tmp_path)]) == 2
        told = capsys.readouterr().err
        assert 'pip install "prh-jax[demo]"' in told and "prh demo --quick" in told and not asked
        monkeypatch.setattr(packaged.Packaged, "path", lambda self: tmp_path)
    demo_features.extracted(tmp_path)
    networks = list(demo_features.HUB if online else LITE)
    others = [(name, None) for name in demo_features.LANGUAGE] if online else []
    expected = others + [(name, seed) for name in networks for seed in (None, 0)]
    assert asked == expected + [(name, None) for name in demo_features.CLASSICAL]
