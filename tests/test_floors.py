"""Imports go down only: the table of packages that ARCHITECTURE.md draws, held against the files."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = [
    {"arrays", "errors", "_version", "_names", "data"},
    {"numerics", "runtime"},
    {"sketches", "null", "training", "stores"},
    {"metrics", "results"},
    {"engine", "plot"},
    {"study", "analysis", "compat", "importing", "flax"},
    {"cli", "__init__"},
]
ROW = {name: i for i, names in enumerate(ROWS) for name in names}
KNOWS_NO_JAX = {"arrays", "errors", "data", "stores", "results"}
KNOWS_EXTRACTORS = {"cli", "compat", "importing"}
TORCH_SIDE = {"torch", "torchvision", "timm", "transformers", "datasets", "PIL", "pyarrow", "skimage"}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, *, deferred=True):
    """Modules that a file imports, by their absolute names; with those inside functions, unless told otherwise."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree) if deferred else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *filter(None, [node.module])))
            for alias in node.names:
                yield f"{stem}.{alias.name}" if f"{stem}.{alias.name}" in MODULES else stem


def files(*packages):
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


MODULES = {module_of(path): path for path in files("prh_jax", "extractors")}


def package_of(module):
    """`stores` of `prh_jax.stores.reader`, `__init__` of the package itself; `python -m prh_jax` is the command."""
    name = [*module.split("."), "__init__"][1]
    return "cli" if name == "__main__" else name


def names(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("prh_jax"), ids=names)
def test_imports_go_down(path):
    here = package_of(module_of(path))
    for name in imports(path):
        root = name.split(".")[0]
        if root == "prh_jax" and package_of(name) != here:
            assert ROW[package_of(name)] < ROW[here], f"{here} imports {name}"
        assert root != "torch" and (root != "extractors" or here in KNOWS_EXTRACTORS), f"{here} imports {name}"
        assert here not in KNOWS_NO_JAX or root not in {"jax", "jaxlib"}, f"{here} imports {name}"
    assert not TORCH_SIDE & {name.split(".")[0] for name in imports(path, deferred=False)}


def test_every_package_stands_in_a_row():
    assert {package_of(module) for module in MODULES if module.startswith("prh_jax")} == set(ROW)


def test_no_file_imports_itself_in_a_circle():
    """Followed over all files of both packages, imports inside functions counted."""
    graph = {module: {name for name in imports(path) if name in MODULES} for module, path in MODULES.items()}
    done = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, [*trail, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])


@pytest.mark.parametrize("path", files("extractors"), ids=names)
def test_extractors_use_feature_stores_alone(path):
    allowed = {"prh_jax.arrays", "prh_jax.errors", "prh_jax.runtime.progress", "prh_jax.runtime.workers"}
    allowed |= {"prh_jax.data"} if path.name == "build_features.py" else set()
    for name in imports(path):
        if name.split(".")[0] == "prh_jax":
            assert name in allowed or name.startswith("prh_jax.stores."), name


@pytest.mark.parametrize("path", [*files("extractors/cli"), ROOT / "extractors/modelsets.py"], ids=names)
def test_the_command_line_imports_no_torch(path):
    assert not TORCH_SIDE & {name.split(".")[0] for name in imports(path, deferred=False)}


def test_modules_stay_short():
    for path in files("prh_jax", "extractors", "benchmarks", "tests"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_nothing_above_the_metrics_names_one():
    """Engine, studies, results and command line read the table; only its own file and the drop-in name a metric."""
    from prh_jax.metrics import METRICS

    for path in files("prh_jax/engine", "prh_jax/study", "prh_jax/results", "prh_jax/plot", "prh_jax/null"):
        tree = ast.parse(path.read_text())
        strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        found = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert not strings & set(METRICS), path
        assert not found & {cls.__name__ for cls in METRICS.values()}, path
