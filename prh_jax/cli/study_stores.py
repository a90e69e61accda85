"""The stores of a study as `prh extract` lays them out: found by data set, model set and settings."""

import argparse
from pathlib import Path

from ..errors import NotFoundError
from ..stores.layout import path_parts


def study_stores(args: argparse.Namespace, side: str) -> list[Path]:
    """Where the features of one side of a study should be; the first candidate where none is there."""
    from extractors.modelsets import KINDS, expand, models_in
    from extractors.pipeline.settings import Wanted, with_controls
    from extractors.places import choose_store, place_of, pools_of, subset_of

    chosen, named, pool, seed = (
        getattr(args, f"{name}_{side}") for name in ("modality", "model", "pool", "random_init")
    )
    if args.control and seed is not None:
        raise ValueError(f"--control adds controls to trained models; --random-init-{side} names random weights alone.")
    modalities = KINDS if chosen == "all" else (chosen,)
    if pool == "none" and "language" in modalities:
        if not named or chosen == "language":
            raise ValueError(
                "--pool none stands for the class token of vision models; language models have mean or last."
            )
        modalities = tuple(modality for modality in modalities if modality != "language")

    def candidates(model: Wanted, modality: str) -> list[Path]:
        return [
            place_of(
                args.input_dir,
                args.dataset,
                subset_of(args.dataset, args.subset),
                model.source,
                modality,
                known,
                prompt=getattr(args, f"prompt_{side}"),
                caption_index=getattr(args, f"caption_idx_{side}"),
                random_init=seed if model.random_init is None else model.random_init,
                config=args.config,
            )
            for known in pools_of(pool, model.source, modality)
        ]

    if named:  # which modality a model is of, its store tells
        wanted = [Wanted(model) for model in expand(named)]
    else:
        wanted = [
            Wanted(model, kind)
            for kind, model in models_in(args.modelset, chosen)
            if kind != "language" or pool != "none"
        ]
    return [
        choose_store(
            [path for kind in ((model.modality,) if model.modality else modalities) for path in candidates(model, kind)]
        )
        for model in with_controls(wanted, args.control)
    ]


def require_stores(args: argparse.Namespace, paths_x: list[Path], paths_y: list[Path]) -> None:
    """Raise an error with the command that makes them if stores of a study are missing."""
    if not paths_x or not paths_y:
        side = "y" if paths_x else "x"
        raise ValueError(
            f"Model set {args.modelset!r} has no {getattr(args, f'modality_{side}')} models (side {side})."
        )
    missing = [path for path in dict.fromkeys((*paths_x, *paths_y)) if not path.exists()]
    if missing:
        commands = "\n".join(dict.fromkeys(_extraction(args, side) for side in ("x", "y")))
        raise NotFoundError(
            f"{len(missing)} of {len({*paths_x, *paths_y})} feature stores are missing, the first is {missing[0]}. "
            f"Make them with\n{commands}\nor point --input-dir at them."
        )


def _extraction(args: argparse.Namespace, side: str) -> str:
    """The command that makes the stores of one side."""
    from extractors.places import subset_of

    subset, seed = subset_of(args.dataset, args.subset), getattr(args, f"random_init_{side}")
    named = getattr(args, f"model_{side}")
    models = f"--model {' '.join(named)}" if named else f"--modelset {args.modelset}"
    return (
        f"  prh extract --dataset {args.dataset}{f' --subset {subset}' if subset else ''}"
        f"{f' --config {args.config}' if args.config else ''} {models} "
        f"--modality {getattr(args, f'modality_{side}')} --pool {getattr(args, f'pool_{side}')}"
        f"{'' if seed is None else f' --random-init {seed}'}"
        f"{f' --control random-init:{_seeds(args)}' if args.control else ''}"
    )


def _seeds(args: argparse.Namespace) -> str:
    return ",".join(map(str, args.control))


def study_folder(args: argparse.Namespace) -> Path:
    """Return the folder of results of a study of two model sets."""
    from extractors.modelsets import name_of
    from extractors.places import folder_of

    sides = [
        f"{getattr(args, f'modality_{s}')}_pool-{getattr(args, f'pool_{s}')}_prompt-{getattr(args, f'prompt_{s}')}"
        + ("" if getattr(args, f"random_init_{s}") is None else f"_random-{getattr(args, f'random_init_{s}')}")
        for s in ("x", "y")
    ]
    sides += [f"control-{_seeds(args)}"] if args.control else []
    config = (folder_of(args.config),) if args.config else ()
    return Path(args.output_dir, *path_parts(args.dataset), *config, name_of(args.modelset), "_".join(sides))
