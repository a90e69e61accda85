"""`prh demo --modalities`: one study of pictures, captions, speech and clips, from data to a report."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SAMPLES, ORDERS, METRIC = 256, 100, "mutual_knn"

TITLE = "prh demo: pictures, captions, speech and clips of emoji"

READ = """\
How to read this: rows are models that read one modality of the same emoji. The spoken names are by one voice, and
`mel_spectrogram` knows their sounds and no words; clips are made of the pictures. What a picture, a caption and a sound
share is the emoji."""


def run_modalities(folder: Path) -> int:
    """Build the data, extract, align all models with each other, and print and save the scores."""
    from ..null.settings import Null
    from ..results.storage import SCHEMA
    from ..stores.reader import open_stores
    from ..stores.target import check_replaceable, file_target
    from ..study.align import align

    check_replaceable(folder / "alignment.zarr", SCHEMA)
    file_target(folder / "report.html", overwrite=True)
    stores = extracted(folder)
    result = align(open_stores(stores), metrics=(METRIC, "cka"), pair="inner", null=Null(ORDERS, tail=False))
    result = result.assign(family=lambda record: str(record.spec["modality"]))
    result.save(folder / "alignment.zarr", overwrite=True)
    print(f"\n{table(result)}\n\n{READ}\n\nEvery layer pair: {folder / 'alignment.zarr'} (prh show)")
    if find_spec("plotly"):
        from .demo_pictures import report_page

        print(f"Report:           {report_page(result, METRIC, folder / 'report.html', TITLE)} (open it in a browser)")
    return 0


def extracted(folder: Path) -> list[Path]:
    """The stores of all models: networks of the package index where they are installed, and classical features."""
    from extractors.data.build_modalities import build
    from extractors.datasets.loading import load
    from extractors.errors import require_extra
    from extractors.models.packaged import PACKAGED
    from extractors.pipeline.run import extract_model
    from extractors.pipeline.settings import Settings

    from .demo_features import LITE, MINILM, _copy

    require_extra()
    data = load(str(build(folder / "modalities.parquet", SAMPLES)))
    common = Settings(output_dir=folder / "features", batch_size=32, frames="4")
    networks = [name for name in list(LITE)[:1] if PACKAGED[name].path()]
    print("all-MiniLM-L6-v2: its features of the captions are in the package")
    stores = [_copy(MINILM, folder)]
    for modality in ("vision", "video"):
        for name in (*networks, "hog", "color_histogram"):
            settings = common if modality == "video" else replace(common, frames=None)
            called = f"{name.removeprefix('package:')}-clips" if modality == "video" else None
            stores.append(extract_model(name, data, settings, modality=modality, called=called))
    return [*stores, extract_model("mel_spectrogram", data, replace(common, frames=None), modality="audio")]


def table(result: Any) -> str:
    """The best layer pair of each two models, in the order of their modalities, with chance."""
    import numpy as np

    from ..plot import short_name

    scores = result.scores(METRIC).values
    names = [
        f"{record.assigned['family']:>8s} {short_name(record.spec['model'].removeprefix('package:'), 22)}"
        for record in result.provenance.models_x
    ]
    heads = " ".join(f"{j:>6d}" for j in range(1, len(names) + 1))
    lines = [f"{METRIC} of the best layer pair, model by model; x is a model with itself", "", f"{'':35s}{heads}"]
    for i, name in enumerate(names):
        cells = [f"{'x' if i == j else f'{scores[i, j]:.3f}':>6s}" for j in range(len(names))]
        lines.append(f"{i + 1:>2d} {name:32s}" + " ".join(cells))
    critical = result.calibration.pairs(METRIC)["tau"].values[~np.eye(len(names), dtype=bool)]
    low, high = (float(level) for level in (critical.min(), critical.max()))
    level = f"Two models are above chance (p < 0.05) above {low:.3f} to {high:.3f}, which depends on the pair."
    return "\n".join([*lines, "", level])
