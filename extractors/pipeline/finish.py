"""The end of a store: results over all its samples, and the mark that it is complete."""

import glob
from pathlib import Path
from typing import Any

from prh_jax.errors import StoreError
from prh_jax.stores.layout import path_parts
from prh_jax.stores.reader import FeatureStore, open_store
from prh_jax.stores.writer import FeatureWriter

from ..errors import ExtractionError
from ..models.language import summarize


def finish_writer(writer: FeatureWriter, env: dict[str, Any] | None = None) -> None:
    """Mark a store complete, with the results that the numbers of its samples give."""
    writer.finish(summarize(writer.sample_array, writer.sample_array_names), env)


def finish_store(path: str | Path) -> bool:
    """Finish a store whose blocks were all written by several workers; False where it was finished before.

    ExtractionError while blocks are missing: those of a worker that was killed, or is still at work.
    """
    store = open_store(path)
    if store.complete:
        return False
    writer = FeatureWriter(store)
    pending = writer.pending()
    if pending:
        raise ExtractionError(
            f"{path} lacks {len(pending)} of {len(writer.blocks)} blocks (the first is block {pending[0]}, from "
            f"row {writer.blocks[pending[0]].start}): a worker is still at work or was stopped. Run the same `prh "
            "extract` again, with no --worker or any; it does what is missing."
        )
    finish_writer(writer)
    return True


def revisions_beside(path: Path, name: str) -> list[FeatureStore]:
    """The store of a model, and those in its folder of other revisions of that model."""
    base = glob.escape("--".join(path_parts(name.partition("@")[0])))
    found = []
    for beside in sorted({path, *path.parent.glob(f"{base}@*.zarr"), *path.parent.glob(f"{base}_pool-*.zarr")}):
        try:
            found.append(open_store(beside))
        except StoreError:  # damaged, or not yet begun: of no concern to this model
            continue
    return found
