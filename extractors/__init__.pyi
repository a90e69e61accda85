from prh_jax.stores.writer import write_features as write_features

from .importing import import_features as import_features
from .module import extract_module as extract_module
