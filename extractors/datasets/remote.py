"""Data sets of the hub: which commit is asked for, and whether it is the one that was loaded."""

import sys
from itertools import islice
from pathlib import Path
from typing import Any

from prh_jax.runtime.progress import waiting

from ..errors import ExtractionError, first_line
from ..hub import cached_commit, explain, is_commit


def fetch(
    name: str,
    revision: str | None,
    config: str | None,
    split: str,
    *,
    first: int | None = None,
    force_download: bool = False,
) -> tuple[Any, str]:
    """A table of `datasets`, pictures left as they are stored, and the commit that it is of.

    `first` streams no more samples than that. ExtractionError where the hub does not give it; or where `datasets`
    took another commit than asked for from its cache, as it does when the hub does not answer.
    """
    from datasets import DownloadMode, load_dataset

    _hide_bars_where_nobody_watches()
    mode = DownloadMode.FORCE_REDOWNLOAD if force_download else None
    options: dict[str, Any] = {"revision": revision, "split": split, "download_mode": mode}
    try:
        with waiting(f"loading {name}"):
            loaded = load_dataset(name, config, streaming=first is not None, **options)
            held = _commit_in_cache(loaded)
            if first is not None:
                loaded = _taken(undecoded(loaded), first)
    except Exception as error:  # the hub client raises many kinds: not found, no network, no access
        raise ExtractionError(_refusal(name, revision, config, split, error)) from error
    asked = _commit(name, revision)
    if held is None and asked is None:  # a stream
        raise ExtractionError(f"{name} is read from the hub, which does not answer. Check the network and run again.")
    if asked is not None and held in (None, asked):
        return loaded, asked
    raise ExtractionError(
        f"The hub does not answer for revision {revision or 'main'} of {name}, "
        + (f"which is commit {asked}" if asked else "whose commit is not known here")
        + f", and `datasets` gave what its cache has: commit {held}. Run the command once with the network, or take "
        f"that one: --subset {held}."
    )


def _commit(name: str, revision: str | None) -> str | None:
    """The commit behind a revision as the hub says it, else as its cache knows it."""
    from huggingface_hub import HfApi

    if is_commit(revision):
        return revision
    try:
        return HfApi().dataset_info(name, revision=revision, timeout=10).sha
    except Exception:  # offline, or a hub that does not answer
        return cached_commit(name, revision, "dataset")


def _commit_in_cache(loaded: Any) -> str | None:
    """The commit that a table was made from, which is a part of its place in the cache; None for a stream."""
    files = getattr(loaded, "cache_files", None)
    found = Path(files[0]["filename"]).parent.name if files else None
    return found if is_commit(found) else None


def _refusal(name: str, revision: str | None, config: str | None, split: str, error: Exception) -> str:
    named = f"Data set {name!r} ({f'configuration {config}, ' if config else ''}revision {revision}, split {split})"
    configs = _configs(name, revision) if isinstance(error, ValueError) else []
    if len(configs) > 1 and config not in configs:
        asked = "needs a configuration" if config is None else f"has no configuration {config!r}"
        return f"{named} {asked}: name one by --config, of {', '.join(configs)}."
    told = explain(error, name, revision, "dataset") or _asked_again(name, revision)
    if told is None:
        told = f"{first_line(error)} It is neither built in nor a local file or folder; check the name and the network."
    return f"{named} could not be loaded: {told}"


def _configs(name: str, revision: str | None) -> list[str]:
    from datasets import get_dataset_config_names

    try:
        return get_dataset_config_names(name, revision=revision)
    except Exception:  # it only makes a message better
        return []


def _asked_again(name: str, revision: str | None) -> str | None:
    """Errors of the hub about a data set: `datasets` keeps that from its own errors."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(name, "README.md", repo_type="dataset", revision=revision)
    except Exception as error:
        return explain(error, name, revision, "dataset")
    return None


def _hide_bars_where_nobody_watches() -> None:
    from datasets import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()


def _taken(stream: Any, first: int) -> Any:
    """The first samples of a stream, kept on disk as `datasets` keeps all it loads."""
    from datasets import Dataset as Table

    # islice, as `take` opens the file after the last one that it needs
    return Table.from_generator(lambda: islice(stream, first), features=stream.features)


def undecoded(loaded: Any) -> Any:
    """A table or stream with pictures, sounds and clips left encoded: whatever columns hold some."""
    from datasets import Audio, Image, Video

    for name, kind in (loaded.features or {}).items():
        for encoded in (Image, Audio, Video):
            if isinstance(kind, encoded):
                loaded = loaded.cast_column(name, encoded(decode=False))
    return loaded
