"""What a result was made of, as words and texts: for the terminal and the report."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..stores.location import Place, place
from .tables import plain_name


def origin_lines(protocol: dict[str, Any], null: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Samples, features, settings, models and versions of a protocol, and the settings of its null, as (word, text)."""
    preprocess = protocol["preprocess"]
    clip = preprocess["clip_quantile"]
    clipped = f"clipped at quantile {clip:g} ({preprocess['scope']})" if clip < 1 else "not clipped"
    rows = "rows of unit length" if preprocess["normalize"] else "rows as they are"
    versions = ", ".join(f"{name} {text}" for name, text in protocol["versions"].items())
    lines = [
        ("samples", f"{protocol['n']}, ids {protocol['ids_sha256'][:12]}, paired {protocol.get('pair', 'exact')}"),
        ("features", f"{clipped}, {rows}"),
        ("precision", f"{protocol['precision']}, on {protocol['device']}"),
        ("versions", versions),
    ]
    if protocol.get("groups") is not None:
        own = ", a sample's own left out of its neighbours" * bool(protocol.get("exclude_own_group"))
        lines.append(("groups", f"{len(set(protocol['groups']))}{own}"))
    for key, entry in protocol["metrics"].items():
        settings = ", ".join(f"{name}={value}" for name, value in entry["settings"].items())
        lines.append(("metric", f"{key}: {settings or 'no settings'}"))
    for side in "xy":
        for model in protocol[f"models_{side}"]:
            widths = [width for _, width in model["layers"]]
            width = f"{min(widths)}" if min(widths) == max(widths) else f"{min(widths)}-{max(widths)}"
            what = f"{len(widths)} layers x {width}, {model['dtype']}, contents {model['contents'][:12]}"
            lines.append((f"model {side}", f"{plain_name(model['label'])}: {what}"))
    if null is not None:
        settings = null["null"]
        orders = "all orders" if null["exact"] else f"{settings['orders']} orders, seed {settings['seed']}"
        lines.append(("null", f"{orders}, level {settings['alpha']:g}, {settings['aggregate']} over layer pairs"))
    return lines


NOT_THE_STUDY = {"pair", "device", "versions", "stores_x", "stores_y"}
"""Parts of a protocol that tell where and with what a study was run, not what it is."""


def same_study(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two protocols score the same features in the same way, on whatever machine and versions."""
    left, right = (json.loads(json.dumps(p)) for p in (a, b))
    return all(left.get(key) == right.get(key) for key in (left.keys() | right.keys()) - NOT_THE_STUDY)


def find_stores(result: str, recorded: Sequence[str | None] | None, side: str) -> list[Place]:
    """The stores that a result was made from (None: a merged one does not say); StoreError where one is not there.

    Those at URLs are looked for when they are opened.
    """
    paths = [place(path) for path in recorded or () if path is not None]
    missing = [path for path in paths if isinstance(path, Path) and not path.exists()]
    if missing or not paths or len(paths) < len(recorded or ()):
        what = f"{missing[0]} is not there" if missing else "it does not say where they are"
        raise StoreError(
            f"The features that {result} was made from are needed, but {what}. Say where the stores of side {side} "
            f"are: stores_{side}=, or --{side} of `prh align` (which goes on with a result) and `prh calibrate`."
        )
    return paths
