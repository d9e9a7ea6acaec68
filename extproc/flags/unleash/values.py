"""Numbers, versions and addresses in the texts of attributes, read as the engine reads them. Each answers None for what it cannot read."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

NUMBER: Final = re.compile(r"[+-]?(?:inf|infinity|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.ASCII | re.IGNORECASE)
"""No spaces, no underscores and no other digits than these, which Python's own float would take."""
VERSION: Final = re.compile(
    r"(0|[1-9][0-9]{0,19})\.(0|[1-9][0-9]{0,19})\.(0|[1-9][0-9]{0,19})"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
LARGEST_PART: Final = (1 << 64) - 1
"""Parts of a version are unsigned 64 bits in the engine; a larger one is no version."""
IPV4: Final = re.compile(r"(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})")
LONGEST_IPV6: Final = 45
"""Characters of the longest address in text, one that ends in an IPv4 address."""

VersionKey = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]
"""Ordered as precedence orders versions: a release after its pre-releases, numbers before words. Build metadata does not count."""
Network = tuple[int, int, int]
"""(bits of the family: 32 or 128, mask, address under the mask)."""


def number(text: str) -> float | None:
    """A number in decimal; `inf` and `nan` are numbers too."""
    return float(text) if NUMBER.fullmatch(text) else None


def version(text: str) -> VersionKey | None:
    """A semantic version by its precedence; no leading `v`."""
    found = VERSION.fullmatch(text)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    core = int(major), int(minor), int(patch)
    if max(core) > LARGEST_PART:
        return None
    return (*core, True, ()) if pre is None else (*core, False, tuple(map(_identifier, pre.split("."))))


def _identifier(part: str) -> tuple[bool, int, str]:
    # Numbers compare by length, then digit by digit: they may be longer than any integer type.
    return (False, len(part), part) if part.isdigit() else (True, 0, part)


def address(text: str) -> tuple[int, int] | None:
    """(32 or 128, the address as an integer)."""
    found = IPV4.fullmatch(text)
    if found is not None:
        first, second, third, last = map(int, found.groups())
        return None if max(first, second, third, last) > 255 else (32, first << 24 | second << 16 | third << 8 | last)
    if ":" not in text or "%" in text or len(text) > LONGEST_IPV6:
        return None
    try:
        return 128, int(IPv6Address(text))
    except ValueError:
        return None


def network(text: str) -> Network | None:
    """An address, or an address and a prefix length; bits behind the prefix do not count."""
    start, slash, length = text.partition("/")
    found = address(start)
    if found is None:
        return None
    bits, base = found
    if not slash:
        return bits, (1 << bits) - 1, base
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
        return None
    mask = ((1 << int(length)) - 1) << (bits - int(length))
    return bits, mask, base & mask
