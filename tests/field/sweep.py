"""Writes docs/families.md: `cd tests && PYTHONPATH=.. python -m field.sweep` (some minutes, of one core)."""

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from .verdict import VERDICTS, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
HEAD = """# Which families are read

The extractors read whatever families of models the installed libraries have. `python -m field.sweep` (in `tests/`)
builds a small model with random weights of every family, and compares what is read with the library's own states:

- **Text** (transformers). Eight texts of 2 to 30 tokens are extracted in one batch. Their features, and the losses of
  causal models, are compared with those of the library's plain call with each text alone.
- **Vision** (transformers, and one small model of each of timm's modules). Three pictures are extracted in one batch.
  Their features are compared with those of each picture alone, by `output_hidden_states` or `forward_intermediates`.

*Equal* means that the largest difference is below 1e-4 of a layer's largest value. The last column then says how texts
share a batch: padded on the left or right, only with texts of the same length, or not at all. `prh extract` finds that
out by trying, when it loads a model, and records it as `padding` in the store. *Refused* families end with the error
that stands in the last column. *Not built* are families of which the sweep could make no small model that runs; they
are tried like any other when one is loaded.
"""


def quiet() -> None:
    """No network, no progress bars, one thread."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()


def jobs() -> list[tuple[str, str, str]]:
    """Every family, by modality and name, and for timm the model that stands for it."""
    from .text_families import text_families
    from .vision_families import timm_models, transformers_families

    return [
        *(("text", family, "") for family in text_families()),
        *(("vision, transformers", family, "") for family in transformers_families()),
        *(("vision, timm", module, name) for module, name in sorted(timm_models().items())),
    ]


def judge(modality: str, family: str, name: str) -> Verdict:
    """The verdict on a family."""
    from . import text_families, vision_families

    with tempfile.TemporaryDirectory(prefix="prh-families-") as folder:
        if modality == "text":
            return text_families.judge(family, Path(folder))
        if modality == "vision, transformers":
            return vision_families.judge_tower(family, Path(folder))
        return vision_families.judge_timm(family, name)


def page(verdicts: list[Verdict]) -> Iterator[str]:
    """The page, line by line."""
    yield HEAD
    versions = [f"{name} {version(name)}" for name in ("transformers", "timm", "torch")]
    yield f"Measured with {', '.join(versions)}, in float32 on a CPU.\n"
    yield "| modality | " + " | ".join(VERDICTS) + " |"
    yield "|---|" + "---|" * len(VERDICTS)
    for modality in ("text", "vision, transformers", "vision, timm"):
        counts = Counter(v.verdict for v in verdicts if v.modality.startswith(modality))
        yield f"| {modality} | " + " | ".join(str(counts[verdict]) for verdict in VERDICTS) + " |"
    yield "\n| family | modality | verdict | way of padding, or reason |"
    yield "|---|---|---|---|"
    for v in verdicts:
        yield f"| {v.family} | {v.modality} | {v.verdict} | {v.how.replace('|', '/').replace('`', '')} |"


def main() -> None:
    quiet()
    verdicts = []
    for job in jobs():
        start = time.monotonic()
        verdicts.append(judge(*job))
        print(f"{time.monotonic() - start:5.1f} s  {job[1]}: {verdicts[-1].verdict}", file=sys.stderr)
    PAGE.write_text("\n".join(page(verdicts)) + "\n")
    print("\n".join(list(page(verdicts))[1:7]))


if __name__ == "__main__":
    main()
