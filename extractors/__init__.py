"""From (data set, model) to feature stores, in PyTorch; of prh_jax it uses the feature store alone.

`extract_module` reads the layers of a torch module of one's own, `import_features` files of features made elsewhere;
`prh_jax.write_features` writes arrays. Importing this imports no torch.
"""

from prh_jax.stores.writer import write_features

from .custom import extract_module
from .importing import import_features

__all__ = ["extract_module", "import_features", "write_features"]
