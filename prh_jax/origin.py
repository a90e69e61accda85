"""What a result was made of, as words and texts: for the terminal and the report."""

from typing import Any

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
