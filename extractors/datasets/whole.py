"""Sounds and clips that were cut short on their way, by the lengths that their formats write: decoders read them on."""

import struct
from collections.abc import Iterator

_UNKNOWN = 0x7FFFFFFF
"""Lengths of 32 bits from here on are those of writers that cannot go back, such as pipes."""


def check_whole(stored: bytes) -> None:
    """ValueError where a file ends before its samples do: of WAV, AIFF, AVI, MP4 and its kin, Matroska and WebM."""
    for start, length in _declared(stored):
        there = len(stored) - start
        if there < length:
            raise ValueError(f"it is cut short: {there} of {length} bytes of its contents are there")


def _declared(stored: bytes) -> Iterator[tuple[int, int]]:
    """Where the parts with samples begin, and how long they say that they are."""
    if stored[:4] in (b"RIFF", b"FORM"):
        yield from _chunks(stored, "<" if stored.startswith(b"RIFF") else ">")
    elif stored[4:8] == b"ftyp":
        yield from _boxes(stored)
    elif stored.startswith(b"\x1aE\xdf\xa3"):
        yield from _segment(stored)


def _chunks(stored: bytes, order: str) -> Iterator[tuple[int, int]]:
    """The samples of RIFF (little-endian) and of AIFF."""
    at = 12
    while at + 8 <= len(stored):
        (length,) = struct.unpack_from(f"{order}I", stored, at + 4)
        samples = stored[at : at + 4] in (b"data", b"SSND") or (stored[at : at + 4], stored[at + 8 : at + 12]) == (
            b"LIST",
            b"movi",
        )
        if samples and length < _UNKNOWN:
            yield at + 8, length
        at += 8 + length + length % 2


def _boxes(stored: bytes) -> Iterator[tuple[int, int]]:
    """The films and tables of MP4, each behind its length and name."""
    at = 0
    while at + 16 <= len(stored):
        length, header = int.from_bytes(stored[at : at + 4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(stored[at + 8 : at + 16], "big"), 16
        if length < header:  # 0 reaches to the end, and others are no box
            return
        if stored[at + 4 : at + 8] in (b"mdat", b"moov", b"moof"):
            yield at + header, length - header
        at += length


def _segment(stored: bytes) -> Iterator[tuple[int, int]]:
    """The segment of Matroska, which is the second element of the file."""
    at, length = _number(stored, 4)
    at += length
    if stored[at : at + 4] == b"\x18S\x80g":
        start, length = _number(stored, at + 4)
        if start < len(stored) and length + 1 != 1 << (7 * (start - at - 4)):  # all ones are a length not known
            yield start, length


def _number(stored: bytes, at: int) -> tuple[int, int]:
    """Where a number of EBML ends, and the number: the zeros before its first one tell how long it is."""
    size = 9 - stored[at : at + 1].ljust(1, b"\xff")[0].bit_length()
    bits = int.from_bytes(stored[at : at + size], "big")
    return at + size, bits & ((1 << 7 * size) - 1)
