from prh_jax.stores.writer import write_features as write_features

from .adapters import open_clip_model as open_clip_model
from .adapters import torchvision_model as torchvision_model
from .diffusion import Noised as Noised
from .importing import import_features as import_features
from .module import Target as Target
from .module import extract_module as extract_module
from .module import extract_modules as extract_modules
