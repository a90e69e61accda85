"""`python -m prh_jax` is the command `prh`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
