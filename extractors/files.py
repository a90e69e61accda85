"""Files that are not what their names say, known by how they begin."""

from pathlib import Path

from .errors import ExtractionError

_WEIGHTS = (".safetensors", ".bin")


def what_it_is(path: Path) -> str | None:
    """A sentence on a file that holds neither weights nor features that could be read, and the remedy; else None."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of git-lfs, not the file itself: fetch it with `git lfs pull` in its repository."
    if start.startswith(b"GGUF"):
        return (
            "a model's weights in GGUF, which llama.cpp reads: give the folder of the checkpoint that it was made from "
            "(safetensors) to `prh extract --model`."
        )
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, not a file of features: follow its link to the file itself, and fetch that."
    return None


def check_checkpoint(path: Path) -> None:
    """ExtractionError for weights in a form that is not read, and for a checkpoint whose files were never fetched."""
    files = [path] if path.is_file() else []
    if path.is_dir():
        there = sorted(file for file in path.iterdir() if file.is_file())
        weights = [file for file in there if file.suffix in _WEIGHTS]
        files = [file for file in there if file.suffix in (*_WEIGHTS, ".json")]
        files += [] if weights else [file for file in there if file.suffix == ".gguf"]
    for file in files:
        found = what_it_is(file)
        if found is not None:
            raise ExtractionError(f"{file} is {found}")
