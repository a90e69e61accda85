"""`prh align`: the command line of the reference's measure_alignment.py, on feature stores."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from .arguments import add_null_options, add_pairing, index_or_all, labels_of, metrics_of, null_of, pair_of, paths_of
from .printing import print_calibration, print_json, table

EPILOG = """\
examples:
  prh align --dataset minhuh/prh --subset wit_1024 --modelset val \\
            --modality-x language --pool-x avg --modality-y vision --pool-y none
  prh align --dataset emoji_1024 --model-x EleutherAI/pythia-70m@step{1000,64000} --model-y hog -o steps.zarr
  prh align --x stores/bert.zarr stores/gpt2.zarr --y stores/dinov2.zarr --metric mutual_knn cka -o result.zarr
  prh align --x stores/*.zarr -o result.zarr --worker 0/4       one of four processes that share the work
  prh align --x gpt2.zarr bert.zarr -o s3://bucket/r.zarr --worker 0/4      one of four machines without a shared folder
  srun prh align --x stores/*.zarr -o result.zarr --distributed   many hosts, each with some samples of every layer
  prh align --x stores/*.zarr --null 500 -o result.zarr         with what chance gives: p, q, calibrated scores
  prh align --x ninth.zarr -o result.zarr --extend              a model more: only its pairs are scored
  prh align --x captions.zarr --y images.zarr --pair-x image_of_caption.txt --null 500 -o result.zarr
  prh align --x stores/*.zarr --metric all --prh --npy -o result.zarr   all with all, the reference's numbers, files
"""

DAY = 24 * 3600
_POOLS = ("auto", "mean", "avg", "last", "cls", "none", "thirds", "own", "tokens")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh align`; every dash may be written as an underscore."""
    from extractors.modelsets import KINDS, Words

    data = parser.add_argument_group("which features: by study, as `prh extract` laid them out")
    data.add_argument("--dataset", default="minhuh/prh", help="data set the features were made from (%(default)s)")
    data.add_argument("--subset", help="its revision (wit_1024 for minhuh/prh)")
    data.add_argument("--config", metavar="NAME", help="its configuration, where it has several")
    data.add_argument(
        "--modelset", default="val", metavar="SET", help="val, test or custom of the study, or sets.toml[:table] (val)"
    )
    for side in "xy":
        data.add_argument(
            f"--model-{side}",
            nargs="+",
            metavar="NAME",
            help="these models, not a set, as `prh extract` takes them: name@step{1000,2000} ...",
        )
        data.add_argument(
            f"--modality-{side}",
            default="all",
            choices=Words(("all", *KINDS)),
            metavar="KIND",
            help="as `prh extract` takes it (%(default)s)",
        )
        data.add_argument(
            f"--pool-{side}", default="auto", choices=_POOLS, help="pooling of the features (%(default)s)"
        )
        data.add_argument(
            f"--prompt-{side}", nargs="?", const=True, default=False, metavar="TEMPLATE", help="made with this --prompt"
        )
        data.add_argument(f"--caption-idx-{side}", type=index_or_all, default=0, help="made with this --caption-idx")
        data.add_argument(f"--random-init-{side}", type=int, metavar="SEED", help="made with this --random-init")
    data.add_argument(
        "--control",
        type=_control_seeds,
        default=(),
        metavar="random-init[:SEEDS]",
        help="also the controls that the same option of `prh extract` made",
    )
    data.add_argument("--input-dir", default="./results/features", help="root of the feature stores (%(default)s)")
    paths = parser.add_argument_group("which features: by path")
    paths.add_argument(
        "--x", nargs="+", metavar="STORE", help="feature stores of one side, folders of them, archives or URLs"
    )
    paths.add_argument("--y", nargs="+", metavar="STORE", help="of the other side (default: x with itself)")
    add_pairing(paths)
    for side, other in ("xy", "yx"):
        paths.add_argument(
            f"--pair-{side}",
            metavar="FILE",
            help=f"many rows of {side} have one of {other}, as captions have an image: an id of {other} on each line",
        )
    paths.add_argument("--samples", metavar="FILE", help="score these samples alone: an id on each line")
    paths.add_argument("--exclude", metavar="FILE", help="leave out these samples: an id on each line")
    scoring = parser.add_argument_group("how to score")
    scoring.add_argument(
        "--metric",
        nargs="+",
        action="extend",
        metavar="NAME[:setting=value,...]",
        help='metrics, "prh" (the eight of the reference), "all", or MODULE:NAME of your own (mutual_knn)',
    )
    scoring.add_argument("--topk", type=int, default=10, help="k of the metrics that have one (%(default)s)")
    scoring.add_argument("--prh", action="store_true", help="the reference's settings (eps, unnormalised lcs, ...)")
    scoring.add_argument("--precise", action="store_true", help="clip at the exact quantile of all features")
    scoring.add_argument("--clip-quantile", type=float, default=0.95, help="1 clips nothing (%(default)s)")
    scoring.add_argument("--clip-scope", default="auto", choices=("auto", "tensor", "layer"), help="(%(default)s)")
    scoring.add_argument("--no-normalize", action="store_true", help="leave rows at their length")
    scoring.add_argument("--memory", metavar="SIZE", help="for features, sketches and temporaries, such as 8GiB")
    scoring.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "bfloat16"),
        help="of features in Gram matrices; bfloat16 is meant for GPUs and changes scores (%(default)s)",
    )
    scoring.add_argument(
        "--sketch-cache", metavar="FOLDER", help="folder or URL that keeps sketches, for further studies"
    )
    scoring.add_argument(
        "--groups",
        metavar="FILE",
        help="a label per sample, a line each (see --exchange); sample groups the tokens of a sample",
    )
    scoring.add_argument(
        "--exclude-own-group", action="store_true", help="no sample is a neighbour of one of its group"
    )
    scoring.add_argument(
        "--worker",
        default="auto",
        metavar="i/n",
        help="score share i of n, counted from 0, into the shared result; env reads Slurm's or torchrun's (all of it)",
    )
    add_null_options(parser, default=None)
    many = parser.add_argument_group(
        "samples too many for one device",
        "Processes of jax.distributed, each with some of the samples of every layer, score one study: neighbour lists, "
        "cknna, and both CKAs with linear kernels. One that is missing or dies ends all of them; the same command, "
        "started again, goes on at the last tile (and, with --sketch-cache or -o, at the last layer).",
    )
    many.add_argument(
        "--distributed", action="store_true", help="be one of them; Slurm, MPI and others that JAX knows say which"
    )
    many.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 is reached, if nothing says so")
    many.add_argument("--process-id", type=int, metavar="I", help="which process this is, counted from 0")
    many.add_argument("--process-count", type=int, metavar="N", help="of how many")
    many.add_argument(
        "--timeout", type=int, default=300, metavar="SECONDS", help="to wait for all of them at the start (%(default)s)"
    )
    out = parser.add_argument_group("where the result goes")
    out.add_argument("--output-dir", default="./results/alignment", help="root of the results (%(default)s)")
    out.add_argument(
        "-o",
        "--output",
        help="path of the result instead of one below --output-dir, or its URL (s3://, gs:// ...; the account is "
        "the one that fsspec finds in the environment or ~/.config/fsspec)",
    )
    out.add_argument("--npy", action="store_true", help="also write the reference's .npy, at its path")
    out.add_argument("--plot", metavar="PNG", help="also draw a heat map of the first metric")
    out.add_argument("--json", action="store_true", help="print JSON in place of tables, as `prh show --json`")
    out.add_argument(
        "--extend",
        action="store_true",
        help="add models and metrics to the result that is there: only pairs that it lacks are scored",
    )
    out.add_argument("--force-remake", action="store_true", help="overwrite a result that is there")


def run(args: argparse.Namespace) -> int:
    """Align as asked, print the tables, save the result."""
    if not args.distributed:
        if args.coordinator or args.process_id is not None or args.process_count is not None:
            raise ValueError("--coordinator, --process-id and --process-count go with --distributed.")
        return _run(args)
    from ..runtime.processes import fail, start_processes

    if not 1 <= args.timeout <= DAY:
        raise ValueError(f"--timeout is from 1 second to a day ({DAY}), got {args.timeout}.")
    if args.null or args.worker != "auto":
        raise ValueError(
            "--distributed takes no --worker, and no --null: find the null of the result with `prh calibrate`."
        )
    start_processes(args.coordinator, args.process_id, args.process_count, timeout=args.timeout)
    try:
        return _run(args)
    except (Exception, KeyboardInterrupt) as error:
        fail(error, 130 if isinstance(error, KeyboardInterrupt) else 2)
        raise


def _run(args: argparse.Namespace) -> int:
    from ..engine.preprocess import Preprocess
    from ..metrics.registry import make_metrics
    from ..runtime.compilation_cache import keep_compiled
    from ..runtime.workers import parse_worker
    from ..stores.location import place
    from ..stores.reader import open_stores
    from ..stores.target import file_target
    from ..stores.url import Url
    from ..study.align import align, align_share

    keep_compiled()
    metrics = make_metrics(metrics_of(args))
    preprocess = Preprocess(args.clip_quantile, args.precise, args.clip_scope, not args.no_normalize)
    if (args.x or args.y) and (args.model_x or args.model_y):
        raise ValueError(
            "--x and --y name stores, --model-x and --model-y models of a study: give the one or the other."
        )
    if args.x:
        xs, ys = open_stores(paths_of(args.x)), open_stores(paths_of(args.y or args.x))
        same = not args.y
    elif args.y:
        raise ValueError("--y needs --x: give the stores of both sides, or --x alone to align it with itself.")
    else:
        from .study_stores import require_stores, study_stores

        paths_x, paths_y = study_stores(args, "x"), study_stores(args, "y")
        require_stores(args, paths_x, paths_y)
        xs, ys, same = open_stores(paths_x), open_stores(paths_y), paths_x == paths_y
    output = place(args.output) if args.output else _result_path(args, metrics)
    if args.npy and isinstance(output, Url):
        raise ValueError(
            f"--npy goes next to the result, on disk, and {output} is a URL: leave it out, and write the files with "
            "`prh export`."
        )
    for path in (*([args.plot] if args.plot else ()), *(_npy_path(args, key) for key in metrics if args.npy)):
        file_target(path, overwrite=True)
    chosen = None if args.extend and not args.metric else metrics  # those of the result
    study: tuple[Any, Any, Any] = xs, None if same else ys, chosen
    settings: dict[str, Any] = {
        "preprocess": preprocess,
        "output": output,
        "pair": pair_of(args),
        "samples": args.samples,
        "exclude": args.exclude,
        "normalize_ids": args.normalize_ids,
        "memory": args.memory,
        "sketch_cache": args.sketch_cache,
        "precision": args.precision,
        "groups": "sample" if args.groups == "sample" else labels_of(args.groups, "--groups"),
        "exclude_own_group": args.exclude_own_group,
    }
    if args.extend and (args.distributed or args.worker != "auto"):
        raise ValueError("A result is extended by one process: leave out --worker and --distributed.")
    if args.distributed:
        return _run_distributed(args, output, study, settings)
    worker, null = parse_worker(args.worker), null_of(args)
    if not worker.alone:
        if null is not None or args.force_remake:
            raise ValueError(
                "Workers share one result: remove an old one first, and find its null with `prh calibrate`."
            )
        if args.npy or args.plot or args.json:
            raise ValueError(
                "A worker prints no tables and draws nothing (--npy, --plot, --json): once the result is complete, ask "
                "`prh show`, `prh export` or the same `prh align` without --worker."
            )
        complete = align_share(worker.index, worker.count, *study, **settings)
        print(f"{output}: {'complete' if complete else 'not complete yet; `prh finish` completes it'}")
        return 0
    settings |= {"overwrite": args.force_remake, "overwrite_null": args.force_null, "extend": args.extend}
    alignment = align(*study, null=null, **settings)
    return _print_outcome(args, output, alignment)


def _run_distributed(args: argparse.Namespace, output: Any, study: Any, settings: dict[str, Any]) -> int:
    import jax

    from ..study.distributed import align_distributed

    alignment = align_distributed(*study, overwrite=args.force_remake, **settings)
    return _print_outcome(args, output, alignment) if jax.process_index() == 0 else 0


def _print_outcome(args: argparse.Namespace, output: Any, alignment: Any) -> int:
    """Tables or JSON, and the files that were asked for."""
    if args.json:
        print_json(output, alignment)
    else:
        _print_tables(args, alignment, output)
    stream = sys.stderr if args.json else sys.stdout
    if args.npy:
        for key in alignment.metrics:
            print(f"The reference's form: {alignment.save_npy(_npy_path(args, key), key)}", file=stream)
    if args.plot:
        from ..plot import heat_map
        from ..plot.base import write_figure

        first = alignment.metrics[0]
        axes = heat_map(alignment.scores(first), title=f"{first}, best layer pair")
        print(f"Heat map: {write_figure(axes, args.plot)}", file=stream)
    return 0


def _print_tables(args: argparse.Namespace, alignment: Any, output: Any) -> None:
    if args.pair == "inner":
        print(f"Paired by id: {alignment.provenance.n} samples that all stores hold.")
    for key in alignment.metrics:
        print(f"\n{key}: best score over layer pairs, {args.modality_x if not args.x else 'x'} by row")
        print(table(alignment.scores(key)))
        _print_controls(alignment, key)
        undefined = int(alignment.dataset[key].isnull().sum())
        if undefined:
            print(f"{undefined} of {alignment.dataset[key].size} layer pairs have no score (NaN): see `prh metrics`.")
        if alignment.calibration is not None:
            print_calibration(alignment, key)
    print(f"\nAll {alignment.dataset.sizes['layer_x']} x {alignment.dataset.sizes['layer_y']} layer pairs: {output}")


def _control_seeds(text: str) -> tuple[int, ...]:
    from extractors.modelsets import control_seeds

    return control_seeds(text)


def _print_controls(alignment: Any, key: str) -> None:
    """Effect of training, if models have their controls in the result."""
    for side in "xy" if alignment.provenance.stores_y else "x":  # of one side with itself both tables would be the same
        if alignment.controls(side):
            print(f"\n{key}: trained minus random weights of the same network (side {side})")
            print(table(alignment.above_control(key, side=side)["difference"]))


def _npy_path(args: argparse.Namespace, key: str) -> Path:
    """The reference's path scheme, or next to the result when that was named."""
    plain = re.sub(r"[^A-Za-z0-9_.=-]", "_", key)
    name = f"{plain}_k{args.topk}.npy" if "knn" in key and key == plain else f"{plain}.npy"
    if args.output:
        output = Path(args.output)
        return output.with_name(output.stem + ("" if output.suffix else "_npy")) / name
    from .study_stores import study_folder

    return study_folder(args) / name


def _result_path(args: argparse.Namespace, metrics: dict[str, Any]) -> Path:
    if args.x or args.model_x or args.model_y:
        option = "--x" if args.x else f"--model-{'x' if args.model_x else 'y'}"
        raise ValueError(f"With {option}, name the result too: -o result.zarr")
    from ..metrics.registry import GROUPS
    from .study_stores import study_folder

    name = next((group for group, names in GROUPS.items() if list(metrics) == names), "+".join(metrics))
    name += f"_k{args.topk}" * any("k" in m.settings for m in metrics.values()) + "_prh" * args.prh
    return study_folder(args) / f"{name}.zarr"
