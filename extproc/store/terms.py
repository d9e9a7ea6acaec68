"""Who led the controllers of a store of many machines, and from when: what stays on a machine is where its controller has led.

Each begins with an election and ends with the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import orjson

MOST_TERMS: Final = 200
"""Terms that are kept, the newest: a rolling update of three controllers each day makes as many in two months."""


@dataclass(frozen=True, slots=True)
class Term:
    """One leadership."""

    name: str
    """Of the controller."""
    since: float
    """Unix seconds, by its own clock."""
    api: str = ""
    """Where others reach its API, as a URL; empty: on its own machine alone."""


@dataclass(frozen=True, slots=True)
class Led:
    """When one controller led in a stretch of time; of several terms all that is between them, too."""

    name: str
    since: float
    until: float | None
    """None while it leads."""
    api: str


def write_terms(terms: Sequence[Term]) -> bytes:
    """As JSON."""
    return orjson.dumps([asdict(one) for one in terms])


def read_terms(document: bytes | None) -> tuple[Term, ...]:
    """What `write_terms` wrote, oldest first; none where nobody has led yet."""
    return tuple(Term(one["name"], one["since"], one["api"]) for one in orjson.loads(document or b"[]"))


def with_term(terms: Sequence[Term], term: Term) -> tuple[Term, ...]:
    """One more; where the same controller leads once more, in a row, it is one term."""
    if terms and (terms[-1].name, terms[-1].api) == (term.name, term.api):
        return tuple(terms)
    return (*terms, term)[-MOST_TERMS:]


def who_led(terms: Sequence[Term], since: float, until: float) -> tuple[Led, ...]:
    """Each controller that led in that time (Unix seconds), once, in the order in which they first did."""
    found: dict[str, Led] = {}
    for place, term in enumerate(terms):
        end = terms[place + 1].since if place + 1 < len(terms) else None
        if term.since < until and (end is None or end > since):
            first = found.get(term.name)
            found[term.name] = Led(term.name, first.since if first is not None else term.since, end, term.api)
    return tuple(found.values())
