"""The figures of the README, from its own code and from the demo: `python docs/figures.py`."""

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

from prh_jax.cli.main import main

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"


def make() -> None:
    """Run the README's Python and `prh demo --quick` in an empty folder, and keep the two pictures."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        code = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        exec("\n".join(code), {})
        main(["demo", "--quick"])
        for picture in ("models.png", "demo/accuracy.png"):
            shutil.copy(picture, DOCS / "_static")


if __name__ == "__main__":
    make()
