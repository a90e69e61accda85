"""How texts share a forward pass without changing one another's states: found by trying, when a model is loaded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

LONG, SHORT = 40, 5
"""Tokens of the texts that are tried: one spans the blocks of 16 and 32 tokens that some models work in."""


@dataclass(frozen=True)
class Way:
    """How a batch is made of texts.

    `texts` says which may share one: "padded" any, "equal" those of one length, "alone" none. `positions` gives the
    model the positions of padded texts, counted over their tokens; it counts them itself otherwise.
    """

    texts: str
    side: str = "right"
    positions: bool = False
    usual: bool = False

    def __str__(self) -> str:
        """As a store's spec has it; models that are read in the usual way have one text whatever their arguments."""
        if self.texts == "padded":
            own = "" if self.usual else ", positions by the model"
            return f"{self.side}, per batch, length-sorted within blocks{own}"
        return {"equal": "none, texts of one length share a batch", "alone": "none, one text at a time"}[self.texts]

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Places of the texts that share a forward pass, from their lengths."""
        if self.texts == "padded":
            return [list(range(len(lengths)))]
        if self.texts == "alone":
            return [[place] for place in range(len(lengths))]
        return [[i for i, other in enumerate(lengths) if other == length] for length in sorted(set(lengths))]


def ways(causal: bool, takes_positions: bool) -> Iterator[Way]:
    """Ways to try, the fastest and longest established first."""
    side = "left" if causal else "right"
    yield Way("padded", side, positions=takes_positions, usual=True)
    if takes_positions:
        yield Way("padded", side)
    if causal:  # a token sees none that comes later
        yield Way("padded", "right")
    yield Way("equal")
    yield Way("alone")


States = list["torch.Tensor"]
"""Of each layer (texts, tokens, d)."""


def find_way(
    candidates: Iterator[Way],
    read: Callable[[Way, list[list[int]]], list[States]],
    texts: tuple[list[int], list[int], list[int]],
    alone: list[States],
    tolerance: Callable[[int], float],
    *,
    strict: bool,
) -> Way | None:
    """The first way whose batch has the states that each text has alone; None where no way has them.

    `read` gives the states of each text of a batch, without those of padding. `texts` are a long, a short, and
    another long one, `alone` the states of the first two as the library has them. Where arithmetic is not `strict`, as
    in half precision, a few tokens may differ: in a mixture of experts, those that rounding sends to another expert.
    """
    long, short, other = texts
    for way in candidates:
        try:
            if way.texts == "padded":
                found = read(way, [long, short])
            elif way.texts == "equal":
                found = [read(way, [long, other])[0], read(way, [short])[0]]
            else:
                found = [read(way, [text])[0] for text in (long, short)]
        except memory_errors():
            raise
        except Exception:  # a model that this way of calling it does not suit raises anything
            continue
        if all(agree(a, b, tolerance, strict) for a, b in zip(found, alone, strict=True)):
            return way
    return None


def memory_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that mean that memory is full, on the host or on a GPU."""
    import torch

    return MemoryError, torch.OutOfMemoryError


def agree(found: States, expected: States, tolerance: Callable[[int], float], strict: bool) -> bool:
    """Return whether the states of every layer are those expected, within a tolerance by layer."""
    if [state.shape for state in found] != [state.shape for state in expected]:
        return False
    return all(
        deviation(a, b, strict) <= tolerance(layer) for layer, (a, b) in enumerate(zip(found, expected, strict=True))
    )


def deviation(found: "torch.Tensor", expected: "torch.Tensor", strict: bool) -> float:
    """How far states (1, tokens, d) are from those expected: the mean over d of relative differences.

    A difference is relative to its own value, or to what is usual in its dimension where that is more, so that neither
    dimensions nor tokens that are thousands of times as large as others hide these. It is that of the worst token, or
    else of the median one.
    """
    found, expected = found.double(), expected.double()
    usual = expected.abs().median(dim=1, keepdim=True).values
    scale = expected.abs().maximum(usual).clamp(min=1e-3 * float(usual.median()) or 1e-30)
    by_token = ((found - expected).abs() / scale).clamp(max=1).nan_to_num(nan=1.0).mean(dim=2)
    return float(by_token.max() if strict else by_token.median())


def tolerance_of(dtype: Any, quantized: bool) -> tuple[Callable[[int], float], bool]:
    """Tolerance for rounding in the states of a layer, and whether it holds for every token (see `find_way`)."""
    import torch

    if dtype == torch.float32 and not quantized:
        return lambda layer: 1e-4, True
    unit = torch.finfo(torch.bfloat16).eps * (2 if quantized else 1)
    return lambda layer: min(4 * unit * (1 + layer) ** 0.5, 0.1), False


def ordinary_texts(size: int, special: set[int]) -> tuple[list[int], list[int], list[int]]:
    """A long, a short and another long text of ids spread over a vocabulary, of which none is special."""
    ids = np.array([i for i in range(size) if i not in special] or range(size))
    count = 2 * LONG + SHORT
    chosen = ids[np.linspace(0, len(ids) - 1, count).astype(int)]
    chosen = np.random.default_rng(0).permutation(chosen).tolist()
    return chosen[:LONG], chosen[LONG : LONG + SHORT], chosen[LONG + SHORT :]


def padding_id(tokenizer: Any, size: int | None = None) -> int:
    """The id to pad with: the tokenizer's own, else its end of text, else 0; padded positions are masked anyway.

    `size` is that of the table of embeddings, which some tokenizers' padding is beyond.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None and (size is None or token < size):
            return int(token)
    return 0


def pad(sequences: list[list[int]], token: int, *, side: str = "left") -> tuple[np.ndarray, np.ndarray]:
    """Token ids (batch, longest) padded on one side, and the mask of valid ones."""
    width = max(map(len, sequences))
    ids = np.full((len(sequences), width), token, np.int64)
    mask = np.zeros((len(sequences), width), np.int64)
    for row, tokens in enumerate(sequences):
        where = slice(width - len(tokens), width) if side == "left" else slice(0, len(tokens))
        ids[row, where], mask[row, where] = tokens, 1
    return ids, mask
