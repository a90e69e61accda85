"""`prh extract`: the command line of the reference's extract_features.py; importing this needs no torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..modelsets import KINDS, Words, control_seeds

USAGE = "%(prog)s [--dataset DATA] [--model NAME ...] [options]"
EPILOG = """\
examples:
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality language --pool avg
  prh extract --dataset minhuh/prh --subset wit_1024 --modelset val --modality vision --pool none
  prh extract --dataset emoji_1024 --model vit_tiny_patch16_224 --random-init 0
  prh extract --dataset emoji_1024 --model package:efficientnet-lite0
  prh extract --dataset emoji_1024 --model EleutherAI/pythia-70m@step{1000,64000}
  prh extract --dataset my_pictures/ --text-column caption --model ./checkpoints/llama --dry-run
  prh extract --dataset my_sounds/ --model facebook/wav2vec2-base openai/whisper-tiny
  prh extract --dataset my_clips/ --modality video --model vit_tiny_patch16_224 --frames 8
  prh extract --dataset emoji_1024 --model ./run3/checkpoint-500 --name llama-run3 --control random-init
  prh extract --dataset big/set --streaming --num-samples 100000 --modelset mine.toml --worker 3/8

A run that was interrupted goes on where it stopped when the same command is given again. Exit status: 0 when all
models are complete (or this worker's share of them), 1 when some failed, 2 when all did.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prh extract`; every dash may be written as an underscore."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset",
        default="minhuh/prh",
        help="built-in set (emoji_1024), table (parquet, csv, jsonl, txt), folder of pictures, sounds or clips "
        "(captions in metadata.jsonl or .csv), or hub name (%(default)s)",
    )
    data.add_argument("--subset", help="revision of a hub data set (wit_1024 for minhuh/prh)")
    data.add_argument("--config", metavar="NAME", help="configuration of a hub data set that has several")
    data.add_argument(
        "--split",
        help="of a hub data set (train); of local data, the files of a folder of that name, or whose name begins "
        "with it (default: all files)",
    )
    data.add_argument("--num-samples", type=int, help="only this number of first samples (all)")
    for kind in ("image", "text", "audio", "video", "id"):
        data.add_argument(f"--{kind}-column", metavar="NAME", help=f"column of that kind ({kind})")
    data.add_argument("--streaming", action="store_true", help="fetch no more of a hub set than --num-samples need")
    data.add_argument(
        "--caption-idx", type=_index, default=0, help="which caption language models read, or all (%(default)s)"
    )
    data.add_argument(
        "--on-error", default="fail", choices=("fail", "skip"), help="at broken samples; align then with --pair inner"
    )
    models = parser.add_argument_group("models")
    models.add_argument(
        "--modelset", default="val", metavar="SET", help="val, test or custom of the study, or sets.toml[:table] (val)"
    )
    models.add_argument(
        "--modality",
        default="all",
        choices=Words(("all", *KINDS)),
        metavar="KIND",
        help="vision, language, language-decoder, audio, video (image models: mean over frames), vision-language (or "
        "vision-language-image, -text: one of them alone), or all of a set (all)",
    )
    models.add_argument(
        "--model",
        nargs="+",
        metavar="NAME",
        help="these models, not a set: by name, name@revision (a checkpoint of training), name@step{1000,2000}, "
        "name@step{0..4000..1000}, local path, or package:efficientnet-lite0, -lite1, -lite2 (weights from the package "
        "index, the extra demo)",
    )
    models.add_argument(
        "--name",
        nargs="+",
        metavar="NAME",
        help="what the models of --model are called in stores and results, one each: short names of local checkpoints",
    )
    models.add_argument(
        "--control",
        type=control_seeds,
        default=(),
        metavar="random-init[:SEEDS]",
        help="also extract each model with random weights, such as random-init:0,1,2 (seed 0)",
    )
    models.add_argument(
        "--random-init", type=int, metavar="SEED", help="random weights from this seed; the store's name has it"
    )
    pooling = models.add_mutually_exclusive_group()
    pooling.add_argument(
        "--pool",
        default="auto",
        choices=("auto", "mean", "avg", "last", "cls", "none", "thirds", "own"),
        help="tokens to one vector: mean (avg), last token, cls (none: same for vision), thirds of a sound, own (of "
        "sentence-transformers); auto: cls where an image or sound model has it, else mean (%(default)s)",
    )
    pooling.add_argument(
        "--tokens",
        dest="pool",
        action="store_const",
        const="tokens",
        help="keep every token: a row for each patch of a picture, or each token of a text",
    )
    models.add_argument("--final-norm", action="store_true", help="vision: also the state after the final norm")
    models.add_argument(
        "--prompt",
        nargs="?",
        const=True,
        default=False,
        metavar="TEMPLATE",
        help="language: text around each caption, with {text} in it; without a template, the reference's mark alone",
    )
    models.add_argument("--max-length", type=int, metavar="TOKENS", help="cut longer texts; how many is recorded")
    models.add_argument("--max-seconds", type=float, metavar="S", help="cut longer sounds; how much is recorded")
    models.add_argument(
        "--frames", metavar="N[@SEED]", help="frames of a clip: the middle of N equal parts, or drawn by a seed"
    )
    models.add_argument("--no-special-tokens", action="store_true", help="language: no beginning and end marks")
    running = parser.add_argument_group("running")
    running.add_argument(
        "--batch-size", type=_batch_size, default=16, help="or auto; halved when memory runs out (%(default)s)"
    )
    running.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of computing (auto)")
    running.add_argument(
        "--store-dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"), help="(as computed)"
    )
    running.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ... (auto)")
    running.add_argument("--quantize", choices=("4bit", "8bit"), help="language models, by bitsandbytes; recorded")
    running.add_argument("--device-map", metavar="MAP", help="auto spreads a language model over all GPUs")
    running.add_argument("--compile", action="store_true", help="torch.compile every block; recorded")
    running.add_argument("--data-workers", type=int, default=0, metavar="N", help="processes that decode files (0)")
    running.add_argument(
        "--worker",
        default="auto",
        metavar="I/N",
        help="this process's share, counted from 0; env reads it from a Slurm array, srun or torchrun (auto: torchrun)",
    )
    running.add_argument(
        "--share",
        default="auto",
        choices=("auto", "models", "blocks"),
        help="what workers share: whole models, or blocks of 256 samples of each (auto: models where they suffice)",
    )
    running.add_argument(
        "--dry-run", action="store_true", help="show what is read of the data and where stores would be, and stop"
    )
    running.add_argument("--output-dir", default="./results/features", help="root of the stores (%(default)s)")
    running.add_argument("--force-remake", action="store_true", help="write existing stores again")
    running.add_argument("--force-download", action="store_true", help="fetch language models and data sets again")


_RANGES = (
    ("batch_size", 1, 2**31 - 1),
    ("max_length", 1, 2**31 - 1),
    ("data_workers", 0, 1024),
    ("random_init", -(2**63), 2**63 - 1),
)
"""Options that are whole numbers, the least and the most of each."""


def _index(text: str) -> int | str:
    return text if text == "all" else int(text)


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else int(text)


def run(args: argparse.Namespace) -> int:
    """Extract as asked; 0 when all models are complete, 1 when some failed, 2 when all did."""
    from prh_jax.runtime.workers import ALONE, parse_worker
    from prh_jax.stores.target import check_target

    from ..errors import ExtractionError, require_extra
    from ..modelsets import expand, models_in
    from ..pipeline.settings import Wanted, with_controls

    check_target(Path(args.output_dir) / "features")  # what is in it is checked for each model
    require_extra()
    for name, least, most in _RANGES:
        value = getattr(args, name)
        if isinstance(value, int) and not least <= value <= most:
            option = "--" + name.replace("_", "-")
            raise ExtractionError(f"{option} must be at least {least} and at most {most}, got {value}.")
    worker = parse_worker(args.worker)
    if args.force_remake and not worker.alone:
        raise ExtractionError(
            "--force-remake with several workers would have each replace what the others write. Remove the stores, or "
            "remake them with one process."
        )
    if args.frames is not None:
        from ..datasets.clips import FrameRule

        args.frames = str(FrameRule.parse(args.frames))
    if args.model:
        sources = expand(args.model)
        names = _names(args.name, sources)
        given = None if args.modality == "all" else args.modality
        wanted = [Wanted(source, given, name) for source, name in zip(sources, names, strict=True)]
    elif args.name:
        raise ExtractionError("--name names the models of --model; those of a model set have their names.")
    else:
        wanted = [Wanted(name, kind) for kind, name in models_in(args.modelset, args.modality)]
    if not wanted:
        raise ExtractionError(f"Model set {args.modelset!r} has no {args.modality} models.")
    if args.control and args.random_init is not None:
        raise ExtractionError("--control makes trained models and their controls, --random-init random weights alone.")
    wanted = with_controls(wanted, args.control)
    if args.share == "models" or (args.share == "auto" and not worker.alone and len(wanted) >= worker.count):
        wanted, worker = worker.share(wanted), ALONE

    from ..pipeline.run import extract, summary

    if args.dry_run:
        from ..pipeline.dry_run import dry_run

        text, fine = dry_run(wanted, _data(args, wanted), _settings(args, worker), color=sys.stdout.isatty())
        print(text)
        return 0 if fine else 2
    outcomes = extract(wanted, _data(args, wanted), _settings(args, worker))
    summary_text = summary(outcomes)
    if summary_text:
        print(summary_text)
    failed = sum(isinstance(outcome, Exception) for outcome in outcomes.values())
    return 0 if not failed else 2 if failed == len(outcomes) else 1


def _names(names: list[str] | None, sources: list[str]) -> list[str | None]:
    """Names of the models, if names are given; ExtractionError unless one for each, all different."""
    from ..errors import ExtractionError

    if names is None:
        return [None] * len(sources)
    if len(names) != len(sources):
        raise ExtractionError(
            f"--name needs one name for each model: there are {len(names)} for {len(sources)} models."
        )
    for name in names:
        if not name.strip() or name.startswith(("/", ".", "~")) or not name.isprintable() or names.count(name) > 1:
            raise ExtractionError(
                f"--name {name!r} cannot be the name of a model: names are short and differ, such as llama-run3."
            )
    return list(names)


def _medium(models: Sequence[Any]) -> str | None:
    """The one kind of files that all models read; None where they read several, or it is not known."""
    from ..datasets.media import MEDIA, READS
    from ..errors import ExtractionError
    from ..pipeline.run import check_folder, modality_of

    kinds = set()
    for model in models:
        try:
            check_folder(model.source)
            kinds.add(model.modality or modality_of(model.source))
        except (ExtractionError, OSError, ValueError):  # told when the model's turn comes
            continue
    read = {column for kind in kinds for column in READS.get(kind, ()) if column in MEDIA}
    return read.pop() if len(read) == 1 else None


def _data(args: argparse.Namespace, models: Sequence[Any]) -> Any:
    from ..datasets.loading import Columns, load
    from ..places import subset_of

    return load(
        args.dataset,
        subset_of(args.dataset, args.subset),
        config=args.config,
        split=args.split,
        num_samples=args.num_samples,
        columns=Columns(args.image_column, args.text_column, args.id_column, args.audio_column, args.video_column),
        streaming=args.streaming,
        force_download=args.force_download,
        medium=_medium(models) if Path(args.dataset).is_dir() else None,
    )


def _settings(args: argparse.Namespace, worker: Any) -> Any:
    from ..pipeline.settings import Settings
    from ..places import subset_of

    return Settings(
        output_dir=args.output_dir,
        subset=subset_of(args.dataset, args.subset),
        config=args.config,
        pool=args.pool,
        caption_index=args.caption_idx,
        prompt=args.prompt,
        max_length=args.max_length,
        special_tokens=not args.no_special_tokens,
        final_norm=args.final_norm,
        max_seconds=args.max_seconds,
        frames=args.frames,
        batch_size=args.batch_size,
        dtype=args.dtype,
        store_dtype=args.store_dtype,
        device=args.device,
        quantize=args.quantize,
        device_map=args.device_map,
        compiled=args.compile,
        random_init=args.random_init,
        worker=worker,
        data_workers=args.data_workers,
        on_error=args.on_error,
        force_remake=args.force_remake,
        force_download=args.force_download,
    )
