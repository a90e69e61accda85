"""Features made elsewhere into stores: one reader a kind of file, none of which runs what a file may hold."""

from .features import import_features

__all__ = ["import_features"]
