"""`prh extract`: the command line of the reference's extract_features.py; importing this needs no torch."""

import argparse

EPILOG = """\
examples:
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality language --pool avg
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality vision --pool none
  prh extract --dataset emoji_1024 --model vit_tiny_patch16_224 --random-init 0
  prh extract --dataset my_pictures/ --model ./checkpoints/llama --pool last

A run that was interrupted goes on where it stopped when the same command is given again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh extract`; every dash may be written as an underscore."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset",
        default="minhuh/prh",
        help="built-in set (emoji_1024), local parquet file or folder of images, or hub name (%(default)s)",
    )
    data.add_argument("--subset", help="revision of a hub data set (wit_1024 for minhuh/prh)")
    data.add_argument("--split", default="train", help="(%(default)s)")
    data.add_argument("--num-samples", type=int, help="only the first so many (all)")
    data.add_argument("--caption-idx", type=int, default=0, help="which caption language models read (%(default)s)")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--modelset", default="val", choices=("val", "test", "custom"), help="of the study (%(default)s)"
    )
    models.add_argument("--modality", default="all", choices=("vision", "language", "all"), help="(%(default)s)")
    models.add_argument("--model", nargs="+", metavar="NAME", help="these models, by name or local path, not a set")
    models.add_argument("--random-init", type=int, metavar="SEED", help="random weights from this seed")
    models.add_argument(
        "--pool",
        default="auto",
        choices=("auto", "mean", "avg", "last", "cls", "none"),
        help="tokens to one vector: mean (avg), last token, cls (none: the same for vision); auto: the class token "
        "where a vision model has one, else mean (%(default)s)",
    )
    models.add_argument("--prompt", action="store_true", help="recorded with the features, as in the reference")
    running = parser.add_argument_group("running")
    running.add_argument("--batch-size", type=int, default=16, help="(%(default)s)")
    running.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of computing (auto)")
    running.add_argument(
        "--store-dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="(as computed)"
    )
    running.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (auto)")
    running.add_argument("--output-dir", default="./results/features", help="root of the stores (%(default)s)")
    running.add_argument("--force-remake", action="store_true", help="write stores anew that are there")
    running.add_argument("--force-download", action="store_true", help="fetch language models and data sets anew")


def run(args: argparse.Namespace) -> int:
    """Extract as asked; 0 when all models are complete, 1 when some failed, 2 when all did."""
    from .errors import ExtractionError, require_extra
    from .modelsets import models_of

    require_extra()
    if args.batch_size < 1:
        raise ExtractionError(f"--batch-size must be at least 1, got {args.batch_size}.")
    modalities = ("language", "vision") if args.modality == "all" else (args.modality,)
    if args.model:
        wanted = [(None if args.modality == "all" else args.modality, name) for name in args.model]
    else:
        wanted = [(modality, name) for modality in modalities for name in models_of(args.modelset, modality)]
    if not wanted:
        raise ExtractionError(f"Model set {args.modelset!r} has no {args.modality} models.")

    from . import dataset
    from .run import Settings, extract

    subset = args.subset
    if subset is None and args.dataset == "minhuh/prh":
        subset = "wit_1024"
    data = dataset.load(
        args.dataset, subset, split=args.split, num_samples=args.num_samples, force_download=args.force_download
    )
    settings = Settings(
        output_dir=args.output_dir,
        subset=subset,
        pool=args.pool,
        caption_index=args.caption_idx,
        prompt=args.prompt,
        batch_size=args.batch_size,
        dtype=args.dtype,
        store_dtype=args.store_dtype,
        device=args.device,
        random_init=args.random_init,
        force_remake=args.force_remake,
        force_download=args.force_download,
    )
    outcomes = {}
    for modality, name in wanted:
        outcomes |= extract([name], data, settings, modality=modality)
    failed = [name for name, outcome in outcomes.items() if isinstance(outcome, Exception)]
    if failed:
        print(f"{len(failed)} of {len(outcomes)} models failed: {', '.join(failed)}")
    return 0 if not failed else 2 if len(failed) == len(outcomes) else 1
