"""Imports go down only: the layout of the package, read from its files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {
        "_version",
        "bfloat16",
        "checks",
        "data",
        "reduce",
        "tables",
        "chunks",
        "orders",
        "compilation_cache",
        "read_ahead",
        "progress",
        "rows",
        "processes",
        "host",
    },
    {"metric", "quantile", "origin", "url"},
    {"location"},
    {"feature_store", "linalg", "publish"},
    {"losses", "null_forms"},
    {"streaming", "null_factors"},
    {"feature_writer", "pairing", "archive", "calibration", "null_store"},
    {"long_form"},
    {"result_store", "preprocess"},
    {"pieces", "assignment", "merge", "export"},
    {"subspace", "roots"},
    {"products"},
    {"factors"},
    {"graphs"},
    {"sketches", "packed"},
    {"kendall", "features", "moments"},
    {"metrics"},
    {"pairwise", "null_moments", "ring"},
    {"score_grid", "sketch_bank"},
    {"engine"},
    {"null_engine"},
    {"null_study", "study"},
    {"align"},
    {"calibrate", "subsets", "trend", "doctor", "compat", "distributed"},
    {"intervals", "curves", "gallery", "plan"},
    {"figures_base"},
    {"figures_maps", "figures_models", "figures_curves"},
    {"plot", "report"},
    {"cli_calibrate", "cli_report"},
    {"demo", "cli_align", "cli_results", "cli_completion"},
    {"cli_plan"},
    {"cli"},
    {"__main__", "__init__"},
]
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names}
TORCH_SIDE = {"torch", "torchvision", "timm", "transformers", "datasets", "PIL", "pyarrow", "skimage"}


def imports(path, *, deferred):
    """Absolute names a file imports, with or without those inside functions."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parent.parts
    nodes = ast.walk(tree) if deferred else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, node.module or "")).rstrip(".")
            yield from ([f"{stem}.{a.name}" for a in node.names] if not node.module else [stem])


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def unit(path):
    parts = path.relative_to(ROOT / "prh_jax").with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", modules("prh_jax"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    here = unit(path)
    assert here in FLOOR, f"{here} has no floor yet"
    for name in imports(path, deferred=True):
        parts = name.split(".")
        if parts[0] == "prh_jax" and len(parts) > 1 and parts[1] != here:
            assert FLOOR[parts[1]] < FLOOR[here], f"{here} imports {parts[1]}"
        if parts[0] in {"torch", "extractors"}:
            assert here in {"cli", "cli_align", "cli_report", "cli_results", "demo"}, f"{here} imports {name}"
    assert not TORCH_SIDE & {name.split(".")[0] for name in imports(path, deferred=False)}


def test_feature_store_needs_no_jax():
    stores = ("feature_store", "checks", "url", "location", "publish", "pairing", "bfloat16")
    for name in (*stores, "reduce", "tables", "long_form", "result_store"):
        roots = {i.split(".")[0] for i in imports(ROOT / "prh_jax" / f"{name}.py", deferred=True)}
        assert "jax" not in roots


@pytest.mark.parametrize("path", modules("extractors"), ids=lambda p: str(p.relative_to(ROOT)))
def test_extractors_use_the_feature_store_alone(path):
    allowed = {"prh_jax.checks", "prh_jax.feature_store", "prh_jax.feature_writer"}
    allowed |= {"prh_jax.data"} if path.name == "build_features.py" else set()
    used = {name for name in imports(path, deferred=True) if name.split(".")[0] == "prh_jax"}
    assert used <= allowed


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "extractors/cli.py",
        ROOT / "extractors/modelsets.py",
        ROOT / "extractors/cli_exchange.py",
        ROOT / "extractors/errors.py",
    ],
)
def test_the_command_line_imports_no_torch(path):
    assert not TORCH_SIDE & {name.split(".")[0] for name in imports(path, deferred=False)}


def test_modules_stay_short():
    for path in modules("prh_jax") + modules("extractors"):
        assert len(path.read_text().splitlines()) <= 420, path


def test_nothing_above_the_metrics_names_one():
    """Engine, alignment and command line read the table; only its own file and the drop-in name a metric."""
    from prh_jax.metrics import METRICS

    for name in ("pairwise", "align", "reduce", "result_store", "preprocess"):
        tree = ast.parse((ROOT / "prh_jax" / f"{name}.py").read_text())
        strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert not strings & set(METRICS) and not names & {cls.__name__ for cls in METRICS.values()}
