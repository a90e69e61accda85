"""The pictures and the report of `prh demo`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .demo_features import FAMILIES
from .report import with_samples


def heat_map_picture(result: Any, metric: str, path: Path) -> Path:
    """Scores of all model pairs in colours that start at chance."""
    from ..metrics.registry import METRICS
    from ..plot import heat_map
    from ..plot.base import write_figure

    scores = result.scores(metric)
    chance = METRICS[metric]().chance(result.provenance.n)
    title = f"{metric} on emoji_1024, best layer pair; colours start at chance"
    return write_figure(heat_map(scores, title=title, low=chance), path)


def accuracy_picture(result: Any, metric: str, path: Path) -> Path:
    """Alignment with the first language model by accuracy: trained networks above themselves with random weights."""
    from ..plot import curve, short_name
    from ..plot.base import as_text, title, write_figure
    from ..plot.colors import GREY

    networks = [r.label for r in result.provenance.models_y if r.assigned["family"] in FAMILIES[:2]]
    chosen = result.sel(model_x=0, model_y=networks)
    words = "ImageNet top-1 accuracy of the trained network (%)"
    ax = curve(chosen, metric, "top1_when_trained", side="y", families="family", log=False, xlabel=words)
    chance = float(chosen.calibration.null(metric).mean())
    ax.axhline(chance, color=GREY, lw=1.0, linestyle=":")
    note = {"xy": (0.99, chance), "xytext": (0, 8), "xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
    ax.annotate("chance (dotted)", **note, ha="right", fontsize=7, color=GREY)
    scores = chosen.scores(metric)
    for i, record in enumerate(chosen.provenance.models_y):
        if record.assigned["family"] == FAMILIES[0]:
            name = short_name(record.spec["model"], 30).removeprefix("package:")
            at = (record.assigned["top1_when_trained"], float(scores.isel(model_x=0, model_y=i)))
            ax.annotate(as_text(name), at, (0, 7), textcoords="offset points", ha="center", fontsize=7)
    ax.set_ylim(0, 1.15 * float(scores.max()))
    ax.margins(x=0.15)
    title(ax, f"alignment with {short_name(chosen.models_x[0], 40)}, 1024 emoji")
    return write_figure(ax, path)


def report_page(result: Any, metric: str, path: Path, title: str = "prh demo: 1024 emoji, pictures and names") -> Path:
    """The result as one HTML file, with emoji next to their neighbours where the data set can be read."""
    from ..analysis.neighbor_gallery import neighbor_gallery
    from ..plot.html_report import report
    from ..results.gallery import best_pair

    gallery = neighbor_gallery(result, *best_pair(result, metric), metric=metric)
    if find_spec("pyarrow") and find_spec("PIL"):
        gallery = with_samples(gallery, result, None)
    return report(result, path, title=title, galleries=[gallery], overwrite=True)
