"""`prh demo`: from real pictures and texts to scores beside what chance gives, and a heat map."""

import argparse
import os
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..data import SHIPPED
from .report import with_samples

CAVEATS = """\
How to read this: the data are 1024 emoji, each a picture and its name. Emoji come in series (faces, clocks, flags of
one design), which makes neighbours easy: character trigrams of the names alone reach about 0.12 against HOG. Scores
here show that the machinery works and what chance looks like, not what networks know. Networks with random weights
still see shapes and words, so they score above chance. Biased CKA is high by chance alone where features are wide."""

LANGUAGE = {"HuggingFaceTB/SmolLM2-135M": "llama", "EleutherAI/pythia-70m": "gpt_neox"}
"""Small causal models, with the family that stands in with random weights where the hub cannot be reached."""
VISION = ("vit_tiny_patch16_224.augreg_in21k", "resnet18.a1_in1k")
CLASSICAL = ("hog", "color_histogram", "pixels_32")
ORDERS = 100
"""Random pairings of pictures with texts, for what chance gives."""


EPILOG = """\
examples:
  prh demo --quick
  prh demo --output-dir demo
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh demo`."""
    parser.add_argument("--quick", action="store_true", help="use the shipped features: no torch, half a minute")
    parser.add_argument("--output-dir", default="demo", help="where stores, result and picture go (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the features, align language with vision by the reference's metrics, print and save what comes of it."""
    from ..metrics.registry import SUPPORTED_METRICS
    from ..null.settings import Null
    from ..results.storage import SCHEMA
    from ..runtime.compilation_cache import keep_compiled
    from ..stores.reader import open_stores
    from ..stores.target import check_replaceable, file_target
    from ..study.align import align

    keep_compiled()
    folder = Path(args.output_dir)
    check_replaceable(folder / "alignment.zarr", SCHEMA)
    for name in ("heat_map.png", "report.html"):
        file_target(folder / name, overwrite=True)
    language = [_shipped("all-MiniLM-L6-v2_pool-mean", folder)]
    if args.quick:
        vision = [_shipped(f"{name}_pool-none", folder) for name in ("hog", "color_histogram")]
    else:
        made_language, vision = _extract(folder)
        language += made_language
    xs, ys = open_stores(language), open_stores(vision)
    count = len(SUPPORTED_METRICS)
    print(f"\nAligning {len(xs)} language with {len(ys)} vision models on {xs[0].n} emoji, {count} metrics")
    result = align(xs, ys, null=Null(ORDERS, tail=False))
    result.save(folder / "alignment.zarr", overwrite=True)
    _print_tables(result)
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
        from ..stores.publish import write_whole

        with write_whole(target, replace=False) as building:
            shutil.copytree(SHIPPED / f"{name}.zarr", building)
    return target


def _extract(folder: Path) -> tuple[list[Path], list[Path]]:
    from extractors.errors import require_extra

    require_extra()
    online = _hub_answers()
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's packages are imported
    from extractors.datasets.loading import load
    from extractors.pipeline.run import Settings, extract_model

    data = load("emoji_1024")
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
    from extractors.models.tiny import tiny_language_model

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


def _print_tables(result: Any) -> None:
    from ..plot import short_name

    print(f"\nEach cell: score of the best layer pair | the mean of it over {ORDERS} random pairings | p")
    for key in result.metrics:
        scores, pairs = result.scores(key), result.calibration.pairs(key)
        chance, p = result.calibration.null(key).mean("order").values, pairs["p"].values
        names = [short_name(str(name), 24) for name in scores["model_x"].values]
        print(f"\n{key:26s}" + "".join(f"{name:>26s}" for name in names))
        for j, model in enumerate(scores["model_y"].values):
            numbers = zip(scores.values[:, j], chance[:, j], p[:, j], strict=True)
            cells = (f"{score:.4f} |{mean:7.4f} |{of:6.3f}".rjust(26) for score, mean, of in numbers)
            print(f"  {short_name(str(model), 24):24s}" + "".join(cells))


def _picture(result: Any, path: Path) -> Path:
    from ..metrics.registry import METRICS
    from ..plot import heat_map
    from ..plot.base import write_figure

    scores = result.scores("mutual_knn")
    chance = METRICS["mutual_knn"]().chance(result.provenance.n)
    title = f"mutual_knn on emoji_1024, best layer pair; colours start at chance ({chance:.4f})"
    return write_figure(heat_map(scores, title=title, low=chance), path)


def _report(result: Any, path: Path) -> Path:
    """The result as one HTML file, with emoji beside their neighbours where the data set can be read."""
    from ..analysis.neighbor_gallery import neighbor_gallery
    from ..plot.html_report import report
    from ..results.gallery import best_pair

    metric = "mutual_knn"
    gallery = neighbor_gallery(result, *best_pair(result, metric), metric=metric)
    if find_spec("pyarrow") and find_spec("PIL"):
        gallery = with_samples(gallery, result, None)
    return report(result, path, title="prh demo: 1024 emoji, pictures and names", galleries=[gallery], overwrite=True)
