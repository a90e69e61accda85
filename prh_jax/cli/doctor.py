"""`prh doctor`: what an installation is made of, and whether the reference's metrics give the values they should."""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .._version import __version__
from ..data import SELF_TEST

EPILOG = """\
examples:
  prh doctor                      exit status 1 where a metric does not give the value it should
  JAX_PLATFORMS=cpu prh doctor    the same without the accelerator
"""

CORE = ("jax", "jaxlib", "numpy", "scipy", "zarr", "xarray", "ml_dtypes", "jaxtyping")
EXTRAS = {
    "extract": ("torch", "torchvision", "timm", "transformers", "datasets", "pyarrow"),
    "plot": ("matplotlib",),
    "remote": ("fsspec", "aiohttp", "s3fs", "gcsfs"),
    "quantize": ("bitsandbytes",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Examine the installation; exit status 1 where a metric fails its self-test."""
    from ..runtime.compilation_cache import keep_compiled

    keep_compiled()
    report = examine()
    print(json.dumps(report) if args.json else as_text(report))
    return 0 if report["sound"] else 1


def examine() -> dict[str, Any]:
    """Versions, devices, memory, numerics, and the self-test, as what JSON can hold; `sound` is the verdict."""
    import jax
    import numpy as np

    from ..runtime.memory import default_memory

    tests = self_test()
    return {
        "prh_jax": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in CORE},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()},
        "backend": jax.default_backend(),
        "devices": [
            {"kind": d.device_kind, "platform": d.platform, "memory": (d.memory_stats() or {}).get("bytes_limit")}
            for d in jax.local_devices()
        ],
        "memory": {
            "machine": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "study": default_memory(),
        },
        "cpus": os.cpu_count(),
        "x64": jax.dtypes.canonicalize_dtype("float64") == np.float64,
        "matmul_precision": jax.config.values["jax_default_matmul_precision"],
        "self_test": tests,
        "sound": all(test["passed"] for test in tests),
    }


def self_test() -> list[dict[str, Any]]:
    """The reference's metrics on features that ship with the package, compared with values of independent programs."""
    import numpy as np

    from ..runtime.progress import progress

    known = json.loads((SELF_TEST / "values.json").read_text())
    with np.load(SELF_TEST / "features.npz", allow_pickle=False) as file:
        features = [file[name] for name in ("x", "y")]
    return [_test(entry, features) for entry in progress(known["values"], "self-test", "metrics")]


def _test(entry: dict[str, Any], features: list[Any]) -> dict[str, Any]:
    import jax
    import numpy as np

    from ..metrics.registry import make_metric

    outcome = {key: entry[key] for key in ("metric", "settings", "source")} | {"expected": entry["value"]}
    sides = [side.astype(np.float64) for side in features]
    if entry["rows"] == "unit":
        sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    try:
        metric = make_metric(entry["metric"], **entry["settings"])
        score = float(jax.jit(metric)(*(side.astype(np.float32) for side in sides)))
    except Exception as error:  # a broken installation fails in ways of its own; each is a finding
        return outcome | {"score": None, "passed": False, "error": f"{type(error).__name__}: {error}"}
    passed = bool(abs(score - entry["value"]) <= entry["tolerance"])
    return outcome | {"score": score if np.isfinite(score) else None, "passed": passed, "error": None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def as_text(report: dict[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [
        f"prh-jax {report['prh_jax']}, Python {report['python']}, {report['platform']}",
        "packages    " + ", ".join(f"{name} {text or 'MISSING'}" for name, text in report["packages"].items()),
    ]
    for extra, packages in report["extras"].items():
        there = [f"{name} {text}" for name, text in packages.items() if text]
        lacking = [name for name, text in packages.items() if not text]
        words = "; ".join([", ".join(there)] * bool(there) + ["no " + ", ".join(lacking)] * bool(lacking))
        lines.append(f"{extra:11s} {words}")
    for device in report["devices"]:
        size = f", {device['memory'] / 2**30:.1f} GiB" if device["memory"] else ""
        lines.append(f"device      {device['kind']} ({device['platform']}{size})")
    memory = {name: f"{size / 2**30:.1f} GiB" for name, size in report["memory"].items()}
    lines += [
        f"memory      {memory['machine']} in the machine, {report['cpus']} CPUs; a study takes up to {memory['study']} "
        "unless told (--memory)",
        f"numerics    64-bit types {'on' if report['x64'] else 'off'}; matrix products at "
        f"{report['matmul_precision'] or 'the default'} precision, those of features always at the highest",
        "",
        f"{'self-test':20s}{'score':>12s}{'expected':>12s}{'difference':>12s}",
    ]
    for test in report["self_test"]:
        score = test["score"]
        numbers = f"{'none':>12s}{test['expected']:12.6f}{'':12s}"
        if score is not None:
            numbers = f"{score:12.6f}{test['expected']:12.6f}{abs(score - test['expected']):12.1e}"
        lines.append(f"{test['metric']:20s}{numbers}  {'ok' if test['passed'] else 'FAILED ' + (test['error'] or '')}")
    failed = sum(not test["passed"] for test in report["self_test"])
    verdict = "Every metric of the reference gives the value of an independent program."
    if failed:
        verdict = (
            f"{failed} of {len(report['self_test'])} metrics do NOT give the value they should: scores of this "
            "installation cannot be trusted. Try it without accelerator (JAX_PLATFORMS=cpu) and with current jax."
        )
    return "\n".join([*lines, "", verdict])
