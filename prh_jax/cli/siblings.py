"""Packages next to prh_jax, found by their place and not by their name."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The folder that holds prh_jax: site-packages, or a checkout."""


def sibling(name: str) -> None:
    """Make `import name` mean the package next to prh_jax, whatever else is called so.

    `python -m` puts the working folder first on the path: a file `extractors.py` there would run in place of the
    package. ImportError where another module of that name has been imported already, or there is no such package.
    """
    file = ROOT / name / "__init__.py"
    known = sys.modules.get(name)
    if known is not None:
        if Path(getattr(known, "__file__", None) or "").resolve() == file.resolve():
            return
        raise ImportError(f"prh needs its own package {name!r}, but {known!r} was imported under that name.")
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    if spec is None or spec.loader is None or not file.exists():
        raise ImportError(f"The package {name!r} is not in the folder of prh_jax, {ROOT}. Install prh-jax again.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
