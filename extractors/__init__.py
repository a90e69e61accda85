"""From (data set, model) to feature stores, in PyTorch; of prh_jax it uses the feature store alone.

`extract_module` reads the layers of a torch module of your own, `import_features` files of features made elsewhere;
`prh_jax.write_features` writes arrays. Importing this imports no torch, and nothing else before it is used.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Noised": "extractors.diffusion",
    "Target": "extractors.module",
    "extract_module": "extractors.module",
    "extract_modules": "extractors.module",
    "import_features": "extractors.importing",
    "open_clip_model": "extractors.adapters",
    "torchvision_model": "extractors.adapters",
    "write_features": "prh_jax.stores.writer",
}

__all__ = [
    "Noised",
    "Target",
    "extract_module",
    "extract_modules",
    "import_features",
    "open_clip_model",
    "torchvision_model",
    "write_features",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value  # the next time, Python finds it here
    return value


def __dir__() -> list[str]:
    return __all__
