"""What came of a family."""

from dataclasses import dataclass
from pathlib import Path

VERDICTS = ("equal", "refused", "different", "not built")


@dataclass(frozen=True)
class Verdict:
    """`how` is the way of padding, the reason, or the size of the difference."""

    family: str
    modality: str
    verdict: str
    how: str


def words_of(error: Exception, folder: Path | None = None) -> str:
    """An error in one line, without the place of the checkpoint."""
    words = " ".join(str(error).split())
    words = words if folder is None else words.replace(f"{folder} is", "This is").replace(str(folder), "this")
    return words if type(error).__name__ == "ExtractionError" else f"{type(error).__name__}: {words[:160]}"
