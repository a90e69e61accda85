"""Errors that a user can act on."""


class ExtractionError(ValueError):
    """Features cannot be extracted as asked; the message says what is wrong and the remedy."""


class MissingExtraError(ImportError):
    """The packages that extraction needs are not installed."""


def first_line(error: BaseException) -> str:
    """First line of another library's error, as a sentence, or its kind if it has no message."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def require_extra() -> None:
    """MissingExtraError unless torch, timm, transformers and datasets can be imported."""
    from importlib.util import find_spec

    needed = ("torch", "torchvision", "timm", "transformers", "datasets", "PIL", "pyarrow", "skimage")
    missing = [name for name in needed if not _found(find_spec, name)]
    if missing:
        raise MissingExtraError(
            f"Extraction needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed. "
            'Install the extra: pip install "prh-jax[extract]"'
        )


def require(package: str, extra: str) -> None:
    """MissingExtraError unless a package of an extra can be imported."""
    from importlib.util import find_spec

    if not _found(find_spec, package):
        raise MissingExtraError(
            f'This needs the package {package}, which is not installed: pip install "prh-jax[{extra}]"'
        )


def _found(find_spec, name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # a module set to None in sys.modules
        return False
