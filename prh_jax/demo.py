"""`prh demo`: from real pictures and texts to scores beside what chance gives, and a heat map."""

import os
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .analysis.neighbor_gallery import neighbor_gallery
from .cli_report import with_samples
from .data import SHIPPED
from .engine.preprocess import Preprocess
from .engine.programs import score_orders, sketch_layer
from .metrics.registry import METRICS, SUPPORTED_METRICS
from .plot.html_report import report
from .results.alignment import Alignment
from .results.gallery import best_pair
from .runtime.progress import progress
from .stores.reader import FeatureStore, open_stores
from .study.align import align

CAVEATS = """\
How to read this: the data are 1024 emoji, each a picture and its name. Emoji come in series (faces, clocks, flags of
one design), which makes neighbours easy: character trigrams of the names alone reach about 0.12 against HOG. Scores
here show that the machinery works and what chance looks like, not what networks know. Networks with random weights
still see shapes and words, so they score above chance. Biased CKA is high by chance alone where features are wide."""

LANGUAGE = {"HuggingFaceTB/SmolLM2-135M": "llama", "EleutherAI/pythia-70m": "gpt_neox"}
"""Small causal models, with the family that stands in with random weights where the hub cannot be reached."""
VISION = ("vit_tiny_patch16_224.augreg_in21k", "resnet18.a1_in1k")
CLASSICAL = ("hog", "color_histogram", "pixels_32")
SHUFFLES = 20


def run(output_dir: str | Path, *, quick: bool = False) -> int:
    """Make the features, align language with vision by the reference's metrics, print and save what comes of it."""
    folder = Path(output_dir)
    language = [_shipped("all-MiniLM-L6-v2_pool-mean", folder)]
    if quick:
        vision = [_shipped(f"{name}_pool-none", folder) for name in ("hog", "color_histogram")]
    else:
        made_language, vision = _extract(folder)
        language += made_language
    xs, ys = open_stores(language), open_stores(vision)
    count = len(SUPPORTED_METRICS)
    print(f"\nAligning {len(xs)} language with {len(ys)} vision models on {xs[0].n} emoji, {count} metrics")
    result = align(xs, ys)
    result.save(folder / "alignment.zarr", overwrite=True)
    _print_tables(result, xs, ys)
    print(f"\n{CAVEATS}\n")
    print(f"Every layer pair: {folder / 'alignment.zarr'} (prh_jax.load_alignment)")
    if find_spec("matplotlib"):
        print(f"Heat map:         {_picture(result, folder / 'heat_map.png')}")
        print(f"Report:           {_report(result, folder / 'report.html')} (open it in a browser)")
    else:
        print('No heat map and no report: matplotlib is not installed (pip install "prh-jax[plot]").')
    return 0


def _shipped(name: str, folder: Path) -> Path:
    """A copy of a shipped store beside the others of the demo."""
    target = folder / "features" / f"{name}.zarr"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.with_suffix(".partial")
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(SHIPPED / f"{name}.zarr", building)
        building.rename(target)
    return target


def _extract(folder: Path) -> tuple[list[Path], list[Path]]:
    from extractors.errors import require_extra

    require_extra()
    online = _hub_answers()
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's packages are imported
    from extractors import dataset
    from extractors.run import Settings, extract_model

    data = dataset.load("emoji_1024")
    settings = Settings(output_dir=folder / "features", batch_size=32)
    weights = "pretrained weights, from the hub" if online else "random weights, as the hub does not answer"
    print(f"Networks with {weights}:", file=sys.stderr)
    language, vision = [], []
    for name, family in LANGUAGE.items():
        source = name if online else str(_stand_in(folder, family, data.captions()))
        language.append(extract_model(source, data, settings, modality="language"))
    for name in VISION:
        chosen = settings if online else Settings(settings.output_dir, batch_size=32, random_init=0)
        vision.append(extract_model(name if online else name.split(".")[0], data, chosen, modality="vision"))
    return language, vision + [extract_model(name, data, settings) for name in CLASSICAL]


def _stand_in(folder: Path, family: str, captions: list[str]) -> Path:
    from extractors.tiny import tiny_language_model

    path = folder / "checkpoints" / f"random-{family}"
    if not (path / "config.json").exists():
        tiny_language_model(family, path, captions, width=256, layers=6, heads=8, vocabulary=2000)
    return path


def _hub_answers() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()
    except OSError:
        return False
    return True


def _controls(result: Alignment, key: str, xs: list[FeatureStore], ys: list[FeatureStore]):
    """Chance level and off-by-one score at the best layer pair of every model pair: two (x, y) arrays.

    Chance is the metric's own where it is the same for all data, else the mean over shuffles of the samples.
    """
    metric = METRICS[key]()
    n, best = xs[0].n, result.best(key)
    rng = np.random.default_rng(0)
    orders = np.stack([np.roll(np.arange(n), -1), *(rng.permutation(n) for _ in range(SHUFFLES))])
    chance, shifted = np.empty(best["score"].shape), np.empty(best["score"].shape)
    thresholds = {store.path: Preprocess().thresholds(store) for store in (*xs, *ys)}

    def sketch(store: FeatureStore, depth: int):
        features, threshold = store.read_layer(depth), thresholds[store.path][depth]
        return sketch_layer(features, threshold, sketcher=metric.sketch, preprocess=Preprocess())

    for i, x in enumerate(progress(xs, f"chance of {key}", "models")):
        for j, y in enumerate(ys):
            a, b = sketch(x, int(best["depth_x"][i, j])), sketch(y, int(best["depth_y"][i, j]))
            scores = np.asarray(score_orders(a, b, orders, metric=metric))
            known = metric.chance(n)
            shifted[i, j], chance[i, j] = scores[0], scores[1:].mean() if known is None else known
    return chance, shifted


def _print_tables(result: Alignment, xs: list[FeatureStore], ys: list[FeatureStore]) -> None:
    from .plot import short_name

    print("\nEach cell: score of the best layer pair | chance | the same layers with pictures off by one")
    for key in result.metrics:
        scores = result.scores(key)
        chance, shifted = _controls(result, key, xs, ys)
        names = [short_name(str(name), 24) for name in scores["model_x"].values]
        print(f"\n{key:26s}" + "".join(f"{name:>26s}" for name in names))
        for j, model in enumerate(scores["model_y"].values):
            cells = (
                f"{float(scores[i, j]):.4f} |{chance[i, j]:7.4f} |{shifted[i, j]:7.4f}".rjust(26)
                for i in range(len(xs))
            )
            print(f"  {short_name(str(model), 24):24s}" + "".join(cells))


def _picture(result: Alignment, path: Path) -> Path:
    from .plot import heat_map

    scores = result.scores("mutual_knn")
    chance = METRICS["mutual_knn"]().chance(result.protocol["n"])
    title = f"mutual_knn on emoji_1024, best layer pair; colours start at chance ({chance:.4f})"
    heat_map(scores, title=title, low=chance).figure.savefig(path)
    return path


def _report(result: Alignment, path: Path) -> Path:
    """The result as one HTML file, with emoji beside their neighbours where the data set can be read."""
    metric = "mutual_knn"
    gallery = neighbor_gallery(result, *best_pair(result, metric), metric=metric)
    if find_spec("pyarrow") and find_spec("PIL"):
        gallery = with_samples(gallery, result, None)
    return report(result, path, title="prh demo: 1024 emoji, pictures and names", galleries=[gallery], overwrite=True)
