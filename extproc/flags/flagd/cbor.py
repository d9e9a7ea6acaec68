"""Values as canonical CBOR (RFC 7049 section 3.9): the bytes that flagd hashes for a bucket.

Shortest integers and floats, keys of objects sorted by length and then by bytes. As flagd demands, a float without a fraction is
written as the integer it equals, as far as 64 bits go, so that 5 and 5.0 are in one bucket. A text that is no UTF-8 raises
UnicodeEncodeError, a value that is none of JSON's TypeError.
"""

from __future__ import annotations

from math import isnan
from struct import pack, unpack
from typing import Any, Final

UNSIGNED: Final = 0x00
NEGATIVE: Final = 0x20
BYTES: Final = 0x40
TEXT: Final = 0x60
ARRAY: Final = 0x80
MAP: Final = 0xA0
"""Major types, in the upper three bits of the first byte."""
SIMPLE: Final[dict[bool | None, bytes]] = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}
POSITIVE_BIGNUM: Final = b"\xc2"
NEGATIVE_BIGNUM: Final = b"\xc3"
"""Tags of integers beyond 64 bits; big-endian bytes follow."""
HALF_NAN: Final = b"\xf9\x7e\x00"
"""The one NaN of canonical CBOR."""


def text(value: str) -> bytes:
    """A text."""
    return raw_text(value.encode())


def raw_text(encoded: bytes) -> bytes:
    """A text whose UTF-8 bytes are given; they are not checked."""
    return head(TEXT, len(encoded)) + encoded


def head(major: int, argument: int) -> bytes:
    """First bytes of an item: its type and its length or value, below 2**64."""
    if argument < 24:
        return bytes((major | argument,))
    if argument < 1 << 8:
        return pack(">BB", major | 24, argument)
    if argument < 1 << 16:
        return pack(">BH", major | 25, argument)
    if argument < 1 << 32:
        return pack(">BL", major | 26, argument)
    return pack(">BQ", major | 27, argument)


def encode(value: Any) -> bytes:
    """Any value of JSON."""
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return SIMPLE[value]
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        if value.is_integer() and -(2**63) <= value <= 2**64 - 1:
            return _integer(int(value))
        return _float(value)
    if isinstance(value, list | tuple):
        return head(ARRAY, len(value)) + b"".join([encode(item) for item in value])
    if isinstance(value, dict):
        pairs = sorted(((encode(key), encode(item)) for key, item in value.items()), key=lambda pair: (len(pair[0]), pair[0]))
        return head(MAP, len(pairs)) + b"".join([key + item for key, item in pairs])
    raise TypeError(type(value).__name__)


def _integer(value: int) -> bytes:
    major, tag, size = (UNSIGNED, POSITIVE_BIGNUM, value) if value >= 0 else (NEGATIVE, NEGATIVE_BIGNUM, -1 - value)
    if size < 1 << 64:
        return head(major, size)
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return tag + head(BYTES, len(digits)) + digits


def _float(value: float) -> bytes:
    if isnan(value):
        return HALF_NAN
    for first, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = pack(form, value)
        except OverflowError:
            continue
        if unpack(form, packed)[0] == value:
            return first + packed
    return b"\xfb" + pack(">d", value)
