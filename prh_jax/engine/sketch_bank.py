"""Where the sketches of a study are kept: in memory, in a folder or at a URL, or both.

Sketches that are not in memory outlive an interrupted run.
"""

import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..errors import CorruptError, NotFoundError, StoreError
from ..sketches.base import Sketcher
from ..stores.location import Place, place
from ..stores.publish import write_whole
from ..stores.url import Url

FORMAT = "prh-jax/sketch/5"


class SketchBank:
    """Sketches by (sketcher, name of the layer's contents), read back to the bit.

    folder     keep each sketch as an .npz file, or object, there, checked by its CRC on reading; None for memory alone
    in_memory  keep each sketch in memory too; without it and without a folder, a temporary one is used
    """

    def __init__(self, folder: str | Path | Url | None = None, *, in_memory: bool = True):
        self._temporary = None
        if folder is None and not in_memory:
            self._temporary = tempfile.TemporaryDirectory(prefix="prh-sketches-")
            folder = self._temporary.name
        self.folder = place(folder) if folder is not None else None
        self._held: dict[tuple[Sketcher, str], Any] | None = {} if in_memory else None

    def has(self, sketcher: Sketcher, layer: str) -> bool:
        """Whether this sketch is there; a damaged file counts as missing."""
        if self._held is not None and (sketcher, layer) in self._held:
            return True
        return self.folder is not None and self._sound(self._file(sketcher, layer))

    def put(self, sketcher: Sketcher, layer: str, sketch: Any, *, on_disk: bool = True) -> None:
        """Keep a sketch; its file appears whole or not at all. Not `on_disk`: in memory alone, if that is used."""
        if self._held is not None:
            self._held[sketcher, layer] = sketch
        if self.folder is None or (self._held is not None and not on_disk):
            return
        path, leaves = self._file(sketcher, layer), [np.asarray(leaf) for leaf in jax.tree.leaves(sketch)]
        if isinstance(path, Url):
            whole = io.BytesIO()
            np.savez(whole, *leaves, name=self._name(sketcher, layer))
            path.write_bytes(whole.getvalue())
            return
        with write_whole(path, replace=True) as building, open(building, "wb") as file:
            np.savez(file, *leaves, name=self._name(sketcher, layer))

    def get(self, sketcher: Sketcher, layer: str, treedef: Any) -> Any:
        """The sketch, on the host; `treedef` is its structure."""
        if self._held is not None and (sketcher, layer) in self._held:
            return self._held[sketcher, layer]
        path = self._file(sketcher, layer)
        try:
            source = io.BytesIO(path.read_bytes()) if isinstance(path, Url) else path
            with np.load(source, allow_pickle=False) as file:
                if str(file["name"]) != self._name(sketcher, layer):
                    raise ValueError("it is that of another layer or metric")
                sketch = treedef.unflatten([file[f"arr_{i}"] for i in range(treedef.num_leaves)])
        except FileNotFoundError as error:
            raise NotFoundError(
                f"The sketch {path} is gone: another process has finished the study, or removed it. Run the same again."
            ) from error
        except StoreError:  # it could not be reached, whatever it holds
            raise
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            path.remove() if isinstance(path, Url) else path.unlink(missing_ok=True)
            raise CorruptError(
                f"The sketch {path} is damaged and was removed ({error}). Run the same again."
            ) from error
        if self._held is not None:
            self._held[sketcher, layer] = sketch
        return sketch

    def _file(self, sketcher: Sketcher, layer: str) -> Place:
        assert self.folder is not None
        return self.folder / f"{self._name(sketcher, layer)[:40]}.npz"

    @staticmethod
    def _name(sketcher: Sketcher, layer: str) -> str:
        """Hash of a sketch's origin; its file holds it too, as files may change names."""
        name = json.dumps([FORMAT, repr(sketcher), layer, jax.default_backend(), jax.__version__])
        return hashlib.sha256(name.encode()).hexdigest()

    @staticmethod
    def _sound(path: Place) -> bool:
        """Whether the archive's table of contents, written last, is there; its contents are checked when read.

        At a URL whether the object is there, as objects are put whole.
        """
        return path.exists() if isinstance(path, Url) else path.is_file() and zipfile.is_zipfile(path)
