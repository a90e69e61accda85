"""Stores whose rows are tokens: patches of pictures, tokens of texts. The ids say to which sample a row belongs."""

import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import MismatchError
from .reader import open_store
from .source import ModelSource
from .url import Url


def token_ids(samples: Iterable[Any], counts: int | Iterable[int]) -> list[str]:
    """Make the ids of the rows of a store of tokens: "sample/0", "sample/1" and so on.

    Parameters
    ----------
    samples
        Ids of the samples, in order.
    counts
        Number of tokens of each sample, or one number for all.

    Returns
    -------
    list of str
        An id for each token: all tokens of the first sample, then those of the second, and so on.

    Raises
    ------
    ValueError
        If there are not as many counts as samples, or a sample has no token.

    Examples
    --------
    >>> import prh_jax
    >>> prh_jax.token_ids(["cat", "dog"], [2, 1])
    ['cat/0', 'cat/1', 'dog/0']
    """
    names = [str(sample) for sample in samples]
    each = counts if isinstance(counts, Iterable) else [counts] * len(names)
    try:
        numbers = [operator.index(count) for count in each]
    except TypeError as error:
        raise ValueError(f"Counts of tokens are whole numbers, got {counts!r:.60}.") from error
    if len(numbers) != len(names) or min(numbers, default=1) < 1:
        raise ValueError(
            f"There are {len(names)} samples and {len(numbers)} counts of tokens, the least {min(numbers, default=0)}: "
            "give one count for each sample, at least 1."
        )
    return [f"{name}/{token}" for name, count in zip(names, numbers, strict=True) for token in range(count)]


def token_samples(store: str | Path | Url | ModelSource) -> list[str]:
    """Return the sample of each row of a store of tokens, as `groups=` takes it.

    Parameters
    ----------
    store
        A store that `prh extract --tokens` made, or its path. Or any store with the key "tokens" in its spec and ids
        from `token_ids`.

    Returns
    -------
    list of str
        The id of the sample of each row.

    Raises
    ------
    ValueError
        If the rows of the store are not tokens.
    """
    found = store if isinstance(store, ModelSource) else open_store(store)
    apart = [key.rpartition("/") for key in found.ids]
    if "tokens" not in found.spec or not all(sample and number.isdigit() for sample, _, number in apart):
        raise ValueError(
            f"The rows of {found.path} are not tokens: its spec has no key 'tokens', or its ids are not as `token_ids` "
            "makes them. Make it with `prh extract --tokens`, or give a label for each row."
        )
    return [sample for sample, _, _ in apart]


def samples_of(stores: Sequence[ModelSource]) -> list[str]:
    """The sample of each row of stores that have the same ids: of the first that says that its rows are tokens."""
    return token_samples(next((store for store in stores if "tokens" in store.spec), stores[0]))


def check_tokens(stores: Sequence[ModelSource]) -> None:
    """MismatchError where tokens of one number are not the same in all stores: of other grids, or other tokenizers."""
    known = [store for store in stores if "tokens" in store.spec]
    for store in known[1:]:
        first, other = known[0].spec["tokens"], store.spec["tokens"]
        if first != other:
            raise MismatchError(
                f"{known[0].path} holds tokens of {first}, and {store.path} of {other}: tokens of one number are not "
                "the same part of a sample. Resample one grid of patches to the other (`resample_grid`), or compare "
                "one vector for each sample."
            )
