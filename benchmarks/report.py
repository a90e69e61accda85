"""The tables and plots of docs/benchmarks.md, from committed results of full size: `python -m benchmarks.report`."""

import json
from pathlib import Path
from typing import Any

from . import growth
from .run import RESULTS, kernel_table, study_table

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
PLOT, GROWTH = RESULTS / "study.png", RESULTS / "growth.png"


def committed() -> list[dict[str, Any]]:
    """Results of full size, by name of their file."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-full.json"))]


def title(results: dict[str, Any]) -> str:
    """The machine, its measured peaks, and the date."""
    machine, peaks = results["machine"], results["peaks"]
    name = (
        machine["device"] if machine["device"].lower() != "cpu" else f"{machine['processor']}, {machine['cores']} cores"
    )
    rates = f"{peaks['gemm_flops'] / 1e9:,.0f} GFLOP/s float32, {peaks['read_bytes'] / 1e9:,.0f} GB/s"
    return f"**{name}** ({rates} measured; {machine['date']}, JAX {machine['versions']['jax']})"


def section() -> str:
    """The tables between the markers of the page."""
    parts = []
    for results in committed():
        few = results | {"kernels": [row for row in results["kernels"] if row["k"] in (None, 10)]}
        parts += [title(results), study_table(results), kernel_table(few)]
        graph = results["neighbors"]
        if "faiss_s" in graph:
            parts.append(
                f"kNN graph of {graph['n']:,} x {graph['d']}, k = {graph['k']}: {graph['ours_s']:.2f} s; faiss "
                f"IndexFlatIP {graph['faiss_s']:.2f} s, {graph['same_as_faiss']:.2%} of the neighbours equal."
            )
    return "\n\n".join(parts)


def plot() -> None:
    """Seconds of the whole study, metric by metric, ours and the reference's."""
    from matplotlib.figure import Figure

    found = committed()
    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=150)
    ax = figure.subplots()
    with_estimate = next(r for r in found if "study_reference_seconds" in r)
    estimate = with_estimate["study_reference_seconds"]
    names = list(estimate)
    width = 0.8 / (len(found) + 1)
    bars = [("reference, estimated", [estimate[name] for name in names])]
    for results in found:
        alone = {row["metrics"][0]: row["seconds"] for row in results["study"] if row["metrics"] != "all"}
        bars.append((title(results).split("**")[1], [alone.get(name, float("nan")) for name in names]))
    for i, (label, seconds) in enumerate(bars):
        places = [place + (i - len(bars) / 2 + 0.5) * width for place in range(len(names))]
        ax.bar(places, seconds, width, label=label, color=("#9a9a9a", "#1f5f99", "#e0a030")[i % 3])
    ax.set_yscale("log")
    ax.set_xticks(range(len(names)), names, rotation=25, ha="right")
    ax.set_ylabel("seconds, from disk to table")
    ax.set_title("The study of the paper: 454 x 352 layers, 1024 samples", fontsize=10)
    ax.set_ylim(bottom=1)
    ax.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLOT, metadata={"Software": None})


def main() -> None:
    """Write the plots and the tables of the page."""
    plot()
    grown = next(results for results in committed() if "sweep" in results)
    growth.plot(grown, title(grown).replace("**", ""), GROWTH)
    page = PAGE.read_text()
    for name, text in (("benchmarks", section()), ("growth", growth.table(grown))):
        before, rest = page.split(f"<!-- {name} -->")
        after = rest.split(f"<!-- /{name} -->")[1]
        page = f"{before}<!-- {name} -->\n{text}\n<!-- /{name} -->{after}"
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
