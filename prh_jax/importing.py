"""Features in files that others wrote, as stores: what `extractors` has for it."""

from extractors.importing import import_features

__all__ = ["import_features"]
