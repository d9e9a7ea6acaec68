"""Times and units as a plan says them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from extproc.domain import Rollout, Spec
from extproc.plan.markdown import prose

_KINDS: Final = ("user", "tenant", "conversation", "request")
REQUESTS: Final = "requests"
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


def many(rollout: Rollout) -> str:
    """The unit's kind in the plural, as in `50 users`; a word of the operator's own is not bent."""
    kind = rollout.unit.kind
    return f"{kind}s" if kind in _KINDS else f"units ({prose(kind)})"


def all_of(spec: Spec) -> str:
    """The units of all rollouts together."""
    kinds = {many(rollout) for rollout in spec.rollouts.values()}
    return kinds.pop() if len(kinds) == 1 else "units"
