"""What is compared with: the reference's own functions, and plain torch with everything of one layer cached."""

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def load_reference(folder: str | Path) -> Any:
    """`AlignmentMetrics` of a checkout of the PRH reference code; ValueError where there is none.

    torchaudio, of which it uses the edit distance alone, is replaced by the same plain programme where it is missing.
    """
    folder = Path(folder)
    if not (folder / "metrics.py").exists():
        raise ValueError(f"{folder} is no checkout of the reference: it has no metrics.py.")
    try:
        importlib.import_module("torchaudio.functional")
    except Exception:  # missing, or built for another torch: it raises many kinds
        functional = types.ModuleType("torchaudio.functional")
        functional.edit_distance = levenshtein  # type: ignore[attr-defined]
        package = types.ModuleType("torchaudio")
        package.functional = functional  # type: ignore[attr-defined]
        sys.modules |= {"torchaudio": package, "torchaudio.functional": functional}
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("metrics").AlignmentMetrics
    finally:
        sys.path.remove(str(folder))


def levenshtein(a: Any, b: Any) -> int:
    """Edit distance of two sequences, by the textbook's rows, as torchaudio has it."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j - 1] + (x != y), above[j] + 1, row[-1] + 1))
    return row[-1]


def common_subsequence(a: Any, b: Any) -> int:
    """Length of the longest common subsequence, by the textbook's rows."""
    row = [0] * (len(b) + 1)
    for x in a:
        above, row = row, [0]
        for j, y in enumerate(b, 1):
            row.append(above[j - 1] + 1 if x == y else max(above[j], row[-1]))
    return row[-1]


def cached_torch(k: int) -> dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]]:
    """For each metric: what a careful torch user keeps of one layer, and the score of two; for float32 unit rows."""
    import torch

    def lists(x):
        similarities = x @ x.T
        similarities.fill_diagonal_(-torch.inf)
        return similarities.topk(k).indices

    def centred(x):
        x = x - x.mean(0)
        gram = x @ x.T
        return (gram / gram.norm()).flatten()

    def u_centred(x):
        n, gram = len(x), x @ x.T
        gram.fill_diagonal_(0)
        rows = gram.sum(1) / (n - 2)
        gram = gram - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
        gram.fill_diagonal_(0)
        return (gram / gram.norm()).flatten()

    def masked(x):
        mask = torch.zeros(len(x), len(x))
        return (x @ x.T).fill_diagonal_(0), mask.scatter_(1, lists(x), 1.0)

    def hsic(a, b):
        n = len(a)
        cross = (a.sum(0) @ b.sum(1)) * 2 / (n - 2)
        return ((a * b.T).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - cross) / (n * (n - 3))

    def cknna(a, b):
        shared = a[1] * b[1]
        own = hsic(a[0] * a[1], a[0] * a[1]) * hsic(b[0] * b[1], b[0] * b[1])
        return hsic(a[0] * shared, b[0] * shared) / own.sqrt()

    def basis(x):
        x = (x - x.mean(0)) / x.std(0)
        return torch.linalg.svd(x, full_matrices=False)[0][:, :10]

    def pairwise(function):
        return lambda a, b: np.mean([function(p, q) for p, q in zip(a.tolist(), b.tolist(), strict=True)])

    def cycle(a, b):
        return (a[b] == torch.arange(len(a))[:, None, None]).any(2).any(1).float().mean()

    return {
        "mutual_knn": (lists, lambda a, b: (a[:, :, None] == b[:, None, :]).sum() / a.numel()),
        "cycle_knn": (lists, cycle),
        "lcs_knn": (lists, pairwise(common_subsequence)),
        "edit_distance_knn": (lists, pairwise(levenshtein)),
        "cka": (centred, torch.dot),
        "unbiased_cka": (u_centred, torch.dot),
        "cknna": (masked, cknna),
        "svcca": (basis, lambda a, b: torch.linalg.svdvals(a.T @ b).mean()),
    }
