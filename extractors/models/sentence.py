"""The pooling that a sentence-transformers checkpoint was trained with, from its own files."""

import json
from pathlib import Path
from typing import Any

from ..errors import ExtractionError
from .environment import with_revision

_NAMES = {"mean": "mean", "cls": "cls", "lasttoken": "last"}


def own_pooling(name: str) -> str:
    """The pooling (mean, cls, last) of a sentence-transformers model; ExtractionError where it has none that is read.

    It is in the folder that `modules.json` names as Pooling.
    """
    modules = _json_of(name, "modules.json")
    if modules is None:
        raise ExtractionError(
            f"--pool own takes the pooling of a sentence-transformers model, and {name} has no modules.json. Use mean."
        )
    place = next((module["path"] for module in modules if str(module.get("type", "")).endswith("Pooling")), None)
    settings = None if place is None else _json_of(name, f"{place}/config.json")
    if settings is None:
        raise ExtractionError(f"The modules of {name} have no Pooling with a config.json. Use --pool mean.")
    mode = settings.get("pooling_mode")
    found = [mode] if isinstance(mode, str) else list(mode or [])
    old = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "lasttoken"}
    others = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    found = found or [old.get(key, key) for key in others]
    if len(found) != 1 or found[0] not in _NAMES:
        raise ExtractionError(
            f"{name} pools by {' and '.join(found) or 'nothing'}, and of its poolings one is read: "
            f"{', '.join(_NAMES)}. Use --pool mean."
        )
    return _NAMES[found[0]]


def _json_of(name: str, file: str) -> Any:
    from transformers.utils.hub import cached_file

    if Path(name).is_dir():
        path = Path(name) / file
        return json.loads(path.read_text()) if path.is_file() else None
    source, revision = with_revision(name)
    found = cached_file(
        source,
        file,
        revision=revision or "main",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else json.loads(Path(found).read_text())
