"""The options of `prh bench`; importing them measures nothing and starts no JAX."""

import argparse

SIZES = {
    "toy": {"n": 64, "d": 32, "layers": 4, "rounds": 2, "scale": 0.02, "graph": 128, "ks": (5,), "peak": 256},
    "standard": {
        "n": 1024,
        "d": 768,
        "layers": 64,
        "rounds": 5,
        "scale": 0.25,
        "graph": 4096,
        "ks": (10,),
        "peak": 4096,
    },
    "full": {
        "n": 1024,
        "d": 768,
        "layers": 64,
        "rounds": 7,
        "scale": 1.0,
        "graph": 16384,
        "ks": (10, 32, 100),
        "peak": 4096,
    },
}

PARTS = ("kernels", "neighbors", "largest", "sweep", "family", "many", "null", "growth", "study", "budgets")
"""What can be measured, in the order in which it is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh bench`."""
    parser.add_argument(
        "--size", choices=SIZES, default="standard", help="toy: seconds; full: the paper's study (%(default)s)"
    )
    parser.add_argument("--reference", metavar="DIR", help="checkout of the PRH reference code, timed in the same run")
    parser.add_argument(
        "--features", metavar="DIR", help="where the study's stores are made and kept (a temporary folder)"
    )
    parser.add_argument(
        "--dtype", default="bfloat16", choices=("float32", "bfloat16"), help="of the stores (%(default)s)"
    )
    parser.add_argument("--k", nargs="+", type=int, help="neighbours (those of the size: 10, of full also 32 and 100)")
    parser.add_argument("--memory", help="budget of the study, such as 8GiB")
    parser.add_argument("--each", action="store_true", help="also run the study for each metric alone")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=["kernels", "neighbors", "study"],
        metavar="PART",
        help="what to measure, of " + ", ".join(PARTS) + "; parts that the file of results holds already are kept "
        "(kernels neighbors study)",
    )
    parser.add_argument("--output", metavar="JSON", help="where results go (benchmarks/results/<machine>.json)")
