"""How many bytes of a text each of its tokens stands for: what bits per byte divide by."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(tokenizer: Any, text: str, **settings: Any) -> list[int | None]:
    """The UTF-8 bytes of a text that each of its tokens stands for; None for the special tokens around it.

    A token may be a part of a character, so its bytes are those of its own spelling wherever the spellings together
    are the text. Where the tokenizer changed the text (lower case, composed accents), they are those of the characters
    that it covers; the tokens of one character share its bytes.

    Parameters
    ----------
    tokenizer
        A tokenizer of transformers.
    text
        The whole text, not cut off.
    settings
        Further settings of the tokenizer's call.
    """
    fast = tokenizer.is_fast
    found = tokenizer(text, **settings, verbose=False, return_special_tokens_mask=True, return_offsets_mapping=fast)
    ids, special = list(found["input_ids"]), list(map(bool, found["special_tokens_mask"]))
    if not fast:  # their masks may leave tokens out
        special = [s or token in tokenizer.all_special_ids for s, token in zip(special, ids, strict=True)]
    words = [i for i, s in enumerate(special) if not s]
    if not words:
        return [None] * len(ids)
    spelled = [_spelling(token) for token in tokenizer.convert_ids_to_tokens([ids[i] for i in words])]
    sizes = _by_spelling(spelled, text.encode())
    if sizes is None and fast:
        own = list(map(len, spelled))
        if spelled[0].startswith(b" ") and not text.startswith(" "):
            own[0] -= 1  # a space that the tokenizer puts in front
        sizes = _by_offsets([found["offset_mapping"][i] for i in words], own, text)
    result: list[int | None] = [None] * len(ids)
    for i, size in zip(words, map(len, spelled) if sizes is None else sizes, strict=True):
        result[i] = size
    return result


def _spelling(token: str | bytes) -> bytes:
    """The bytes that a token of a vocabulary spells: byte-level, with bytes as <0xE2>, or plain words."""
    if isinstance(token, bytes):
        return token
    single = _BYTE.fullmatch(token)
    if single:
        return bytes([int(single[1], 16)])
    alphabet = _byte_level()
    if all(letter in alphabet for letter in token):
        return bytes(alphabet[letter] for letter in token)
    return token.replace("▁", " ").encode()


@cache
def _byte_level() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary (GPT-2's) stands for."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _by_spelling(spelled: Sequence[bytes], text: bytes) -> list[int] | None:
    """Lengths of the spellings, if they are the text one after another; a space in front is the tokenizer's own."""
    whole, sizes = b"".join(spelled), list(map(len, spelled))
    if whole == text:
        return sizes
    if whole == b" " + text:
        return [sizes[0] - 1, *sizes[1:]]
    return None


def _by_offsets(offsets: Sequence[tuple[int, int]], sizes: Sequence[int], text: str) -> list[int]:
    """The bytes of the characters that each token covers, the space before it included; shared ones by the spellings.

    Characters between tokens that are no space belong to the token before: an accent composed with its letter.
    """
    starts = [i for i, (a, b) in enumerate(pairwise([(0, 0), *offsets])) if i == 0 or b[0] >= a[1]]
    result: list[int] = []
    done = 0
    for first, after in pairwise([*starts, len(offsets)]):
        covered = max(offset[1] for offset in offsets[first:after])
        following = offsets[after][0] if after < len(offsets) else len(text)
        end = max(covered, len(text[:following].rstrip()))
        left = len(text[done:end].encode())
        for i in range(first, after - 1):
            result.append(min(sizes[i], left))
            left -= result[-1]
        result.append(left)
        done = end
    return result
