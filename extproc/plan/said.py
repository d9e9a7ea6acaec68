"""Times as a plan says them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def lasting(seconds: float) -> str:
    """`30 min`, `19 h 30 min`, `2 d`, `8 s`: at most two units, rounded up to the second of them."""
    whole = math.ceil(seconds)
    for (size, unit), (smaller, below) in pairwise(_UNITS):
        if whole >= size:
            rounded = math.ceil(whole / smaller) * smaller
            if rounded > whole:
                return lasting(rounded)
            parts, rest = divmod(rounded // smaller, size // smaller)
            return f"{parts} {unit} {rest} {below}" if rest else f"{parts} {unit}"
    return f"{whole} s"


def waited(seconds: float | None) -> str:
    """A time, or that it never comes."""
    return "never" if seconds is None else lasting(seconds)
