"""`prh plan`: what a study will take, before anyone waits."""

import argparse
import dataclasses
import json
from typing import Any

from .arguments import add_pairing

EPILOG = """\
examples:
  prh plan --n 1024 --models 12 --layers 38 --dim 4096 --models-y 17 --layers-y 21 --dim-y 1024 --metric all
  prh plan --x features/*.zarr --metric mutual_knn cka --null 200 --memory 8GiB

A few layers are rehearsed on this machine (some seconds for each metric); the rest is scaled by the size of the work.
"""
LARGEST, MOST_LAYERS = 10**9, 10**6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh plan`."""
    made = parser.add_argument_group("a study to come")
    made.add_argument("--n", type=int, help="number of samples")
    for side, of in (("", "of x"), ("-y", "of y (default: x with itself)")):
        made.add_argument(f"--models{side}", type=int, help=f"number of models {of}")
        made.add_argument(f"--layers{side}", type=int, help="layers of each")
        made.add_argument(f"--dim{side}", type=int, help="their width")
    made.add_argument("--dtype", default="bfloat16", choices=("float32", "float16", "bfloat16"), help="(%(default)s)")
    there = parser.add_argument_group("or of stores that are there")
    there.add_argument("--x", nargs="+", metavar="STORE", help="feature stores of one side")
    there.add_argument("--y", nargs="+", metavar="STORE", help="of the other side (default: x with itself)")
    add_pairing(there)
    parser.add_argument("--metric", nargs="+", action="extend", metavar="NAME", help="as for `prh align` (mutual_knn)")
    parser.add_argument("--topk", type=int, default=10, help="k of the metrics that have one (%(default)s)")
    parser.add_argument("--null", type=int, default=0, metavar="ORDERS", help="orders of a null (none)")
    parser.add_argument("--memory", metavar="SIZE", help="budget, such as 8GiB (as `prh align` takes by default)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Rehearse, and print the estimates."""
    from ..study.plan import plan
    from .arguments import metrics_of

    n, widths_x, widths_y, dtype = _study(args)
    found = plan(n, widths_x, widths_y, metrics_of(args), null=args.null, memory=args.memory, dtype=dtype)
    if args.json:
        print(json.dumps(dataclasses.asdict(found) | {"seconds": found.seconds}))
    else:
        print(as_text(found))
    return 0


def _study(args: argparse.Namespace) -> tuple[int, Any, Any, str]:
    """Samples, widths of both sides and dtype, as given or as stores have them."""
    from ..stores.paired import pair_stores
    from ..stores.reader import open_stores
    from .arguments import paths_of

    sizes = args.n, args.models, args.layers, args.dim
    others = args.models_y, args.layers_y, args.dim_y
    if args.x and any(size is not None for size in (*sizes, *others)):
        raise ValueError("Stores that are there (--x) have their own sizes: give them, or the sizes, not both.")
    if args.x:
        xs = open_stores(paths_of(args.x))
        sides = pair_stores(xs, open_stores(paths_of(args.y)) if args.y else xs, args.pair, args.normalize_ids)
        widths = [[[layer.dim for layer in store.layers] for store in side] for side in sides]
        first = sides[0][0]
        return first.n, widths[0], widths[1] if args.y else None, str(first.dtype)
    if None in sizes or (None in others and others != (None, None, None)):
        raise ValueError("Say how large the study is: --n, --models, --layers and --dim (and all three of -y), or --x.")
    if min(size for size in (*sizes, *others) if size is not None) < 1:
        raise ValueError("All sizes of a study are at least 1.")
    layers = args.models * args.layers, (args.models_y or 0) * (args.layers_y or 0)
    if max(args.n, args.dim, args.dim_y or 0) > LARGEST or max(layers) > MOST_LAYERS:
        raise ValueError(
            f"A plan is for at most {LARGEST:,} samples, as many features of a layer, and {MOST_LAYERS:,} layers of a "
            f"side (--models times --layers); got --n {args.n}, --dim {args.dim}, {max(layers)} layers. Plan a part."
        )
    widths_y = None if None in others else [[args.dim_y] * args.layers_y] * args.models_y
    return args.n, [[args.dim] * args.layers] * args.models, widths_y, args.dtype


def as_text(found: Any) -> str:
    """The plan for people."""
    from ..runtime.memory import size_text

    lines = [
        f"{found.samples:,} samples, {found.layers:,} layers, {found.pairs:,} layer pairs",
        f"  features    {size_text(found.features_bytes)} on disk",
        f"  sketches    {size_text(found.sketches_bytes)}, {'in memory' if found.in_memory else 'on disk'}",
        f"  result      {size_text(found.result_bytes)}",
        f"  operations  {found.gram_flops:.2g} for the Gram matrices of all layers",
        f"  memory      {size_text(found.memory_bytes)} at most",
        f"  blocks      {found.blocks}, which workers can share (--worker i/n)",
        f"  time        {time_text(found.seconds)}: compiling {time_text(found.compile_s)}, sketching "
        f"{time_text(found.sketch_s)}, pairs {time_text(found.pair_s)}"
        + (f", null {time_text(found.null_s)}" if found.null_s else ""),
    ]
    return "\n".join([*lines, *(f"  beware      {warning}" for warning in found.warnings)])


def time_text(seconds: float) -> str:
    """Seconds, minutes or hours."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
