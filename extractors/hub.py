"""The model hub: what a failure to fetch from it means and what helps, and what its cache holds."""

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from .errors import first_line

KINDS = {"model": "", "dataset": "datasets/"}
"""Kinds of repositories, and where on the hub their pages are."""
WEIGHTS = ("*.safetensors", "*.bin", "*.pth", "*.pt")
"""Files of weights; of the first kind that is there, all are loaded, and the others are copies."""
_COMMIT = re.compile("[0-9a-f]{40}")
_SHA256 = re.compile("[0-9a-f]{64}")


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit itself, not a branch or tag that may move."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def cached_commit(repository: str, revision: str | None, kind: str = "model") -> str | None:
    """The commit that the hub's cache has for a revision (main if None); None where it knows none."""
    if is_commit(revision):
        return revision
    reference = cache_of(repository, kind) / "refs" / (revision or "main")
    return reference.read_text().strip() if reference.is_file() else None


def cache_of(repository: str, kind: str = "model") -> Path:
    """The folder of a repository in the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"{kind}s--{repository.replace('/', '--')}")


def cached_weights(repository: str, revision: str | None) -> dict[str, str]:
    """SHA-256 of each file of weights of a revision in the hub's cache; empty where there is none."""
    commit = cached_commit(repository, revision)
    return weights_in(cache_of(repository) / "snapshots" / commit) if commit else {}


def weights_in(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of weights in a folder, of the kind that is loaded; empty where there is none."""
    for pattern in WEIGHTS:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return {path.name: _weights_sha256(path) for path in found}
    return {}


def _weights_sha256(path: Path) -> str:
    """The hash of a file, which is the name of a large one in the hub's cache."""
    name = path.resolve().name
    return name if _SHA256.fullmatch(name) else sha256_of(path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; one that did not change is read once."""
    known = path.stat()
    return _sha256(path.resolve(), known.st_size, known.st_mtime_ns)


@lru_cache(4096)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def explain(error: BaseException, repository: str, revision: str | None = None, kind: str = "model") -> str | None:
    """Meaning and remedy of a failure to fetch a repository, as sentences; None if the hub is not the reason."""
    from huggingface_hub import constants, utils

    page = f"{constants.ENDPOINT}/{KINDS[kind]}{repository}"
    for cause in _causes(error):
        if isinstance(cause, utils.GatedRepoError):
            known = cause.response.status_code == 403
            lack = "the account of your token has no access" if known else "you are not logged in"
            return (
                f"{repository} is gated, and {lack}. Accept the terms of its owners at {page}, log in by `hf auth "
                "login` or set HF_TOKEN to a token of that account, and run again."
            )
        if isinstance(cause, utils.RepositoryNotFoundError):
            return (
                f"{constants.ENDPOINT} has no {kind} {repository}, or it is private. Check the name; for a private "
                "one, log in by `hf auth login`, or set HF_TOKEN."
            )
        if isinstance(cause, utils.RevisionNotFoundError):
            there = _revisions(repository, kind)
            return f"{repository} has no revision {revision!r}; it has {there or f'those listed at {page}'}."
        if isinstance(cause, utils.OfflineModeIsEnabled | utils.LocalEntryNotFoundError):
            return _unreachable(repository, cause)
        if isinstance(cause, utils.HfHubHTTPError) and not isinstance(cause, utils.EntryNotFoundError):
            return _unreachable(repository, cause)
        if "Consistency check failed" in str(cause) or type(cause).__name__ in _BROKEN_OFF:
            return (
                f"The download of {repository} broke off: {first_line(cause)} Run the same command again: files that "
                "have arrived whole are not fetched again."
            )
        if type(cause).__name__ in _DAMAGED:
            return _damaged(repository, revision, cause)
    return None


_BROKEN_OFF = ("RemoteProtocolError", "ReadError", "ReadTimeout", "ChunkedEncodingError", "IncompleteRead")
"""Errors of transport, of the libraries that versions of the hub's client use."""
_DAMAGED = ("SafetensorError", "UnpicklingError")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from, each once."""
    seen: set[int] = set()
    left = [error]
    while left:
        cause = left.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            left += [other for other in (cause.__cause__, cause.__context__) if other is not None]


def _unreachable(repository: str, error: BaseException) -> str:
    from huggingface_hub import constants, utils

    lacking = f"the cache ({constants.HF_HUB_CACHE}) lacks files of {repository}"
    if constants.HF_HUB_OFFLINE:
        return (
            f"HF_HUB_OFFLINE is set, and {lacking}. Check the name, or run the command once with the network and "
            "without HF_HUB_OFFLINE."
        )
    status = next(
        (cause.response.status_code for cause in _causes(error) if isinstance(cause, utils.HfHubHTTPError)), 0
    )
    if status:
        return (
            f"{constants.ENDPOINT} answers with status {status}, and {lacking}. Of 429 and those from 500 on, wait and "
            "run again; of 403, check what your token permits, and whether a proxy is in between."
        )
    why = next((first_line(cause) for cause in _causes(error) if type(cause).__name__.startswith("Connect")), "")
    reason = f" ({why.rstrip('.')})" if why else ""
    return (
        f"{constants.ENDPOINT} does not answer{reason}, and {lacking}. Check the network and run again: files that "
        "have arrived whole are not fetched again."
    )


def _revisions(repository: str, kind: str) -> str:
    """The branches and tags of a repository, the first few by name."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(repository, repo_type=kind)
    except Exception:  # it only makes a message better
        return ""
    names = [ref.name for ref in (*refs.branches, *refs.tags)]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _damaged(repository: str, revision: str | None, error: BaseException) -> str:
    """Where a file of weights is damaged: in the cache, if it is not what its name says; else on the hub."""
    commit = cached_commit(repository, revision)
    folder = cache_of(repository) / "snapshots" / (commit or "")
    told = f"The weights of {repository} are damaged ({first_line(error).rstrip('.')})"
    for name, said in weights_in(folder).items() if commit else ():
        if sha256_of(folder / name) != said:
            blob = os.path.realpath(folder / name)
            return f"{told}: {name} changed in the cache. Remove {blob} and {folder / name}, and run again."
    return (
        f"{told}, and the cache holds what the hub serves. Tell its owners, or take another revision: "
        f"{repository}@revision."
    )
