"""Selectors: which requests a cohort is about, as data. `assign` compiles them to functions; reports print them.

A *fact* is something that a request says about itself: a header, a cookie, a verified JWT claim, the path, the requested model. A
selector is a test of facts, of the unit, or a combination of selectors. An empty fact meets no test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class FactKind(StrEnum):
    HEADER = "header"
    COOKIE = "cookie"
    CLAIM = "claim"
    """Of a token that Envoy's jwt_authn filter has verified; a dotted path."""
    MODEL = "model"
    """The model named in the request's body."""
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Fact:
    kind: FactKind
    name: str = ""
    """Of the header (lower case), cookie or claim; empty for model and path."""


@dataclass(frozen=True, slots=True)
class Among:
    """The fact is one of these values, exactly; of a claim that is a list, one entry is enough."""

    fact: Fact
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathStarts:
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Regions:
    """Country and subdivision together, such as GB-ENG."""

    country_header: str
    region_header: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ids:
    """The unit's id is in a list. Compiled to a set: 100,000 ids cost as much as one."""

    ids: tuple[str, ...]
    """Sorted, each once."""
    file: str
    """Where they were written; empty for a list in the Spec itself."""


@dataclass(frozen=True, slots=True)
class RandomShare:
    """A random share of units, by a hash of its own: independent of the ring that picks the arm."""

    share: float


@dataclass(frozen=True, slots=True)
class FlagIs:
    """A feature flag of another system is on for this request, or gives one of these variants."""

    source: str
    key: str
    variants: tuple[str, ...]
    """Empty: on is enough."""


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Selector


Selector = Among | PathStarts | Regions | Ids | RandomShare | FlagIs | AllOf | AnyOf | Not


def leaves(selector: Selector | None) -> Iterator[Selector]:
    """Every test in a selector that is no combination."""
    match selector:
        case None:
            return
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case leaf:
            yield leaf


def facts(selector: Selector | None) -> Iterator[Fact]:
    """Everything about a request that a selector looks at, flags apart (their source says what they look at)."""
    for leaf in leaves(selector):
        match leaf:
            case Among(fact, _):
                yield fact
            case PathStarts():
                yield Fact(FactKind.PATH)
            case Regions(country_header, region_header, _):
                yield Fact(FactKind.HEADER, country_header)
                yield Fact(FactKind.HEADER, region_header)
            case _:
                pass


def shown(selector: Selector | None) -> str:
    """A selector as people say it."""
    match selector:
        case None:
            return "everybody"
        case Among(fact, values):
            return f"{' '.join(filter(None, (fact.kind.value, fact.name)))} is {_either(values)}"
        case PathStarts(prefixes):
            return f"path starts with {_either(prefixes)}"
        case Regions(_, _, codes):
            return f"region is {_either(codes)}"
        case Ids(ids, file):
            return f"id is in {file or 'a list'} ({len(ids):,} ids)"
        case RandomShare(share):
            return f"a random {share:.6g} of units"
        case FlagIs(source, key, variants):
            return f"flag {source}/{key} " + (f"gives {_either(variants)}" if variants else "is on")
        case AllOf(parts):
            return " and ".join(_bracketed(part) for part in parts)
        case AnyOf(parts):
            return " or ".join(_bracketed(part) for part in parts)
        case Not(part):
            return f"not {_bracketed(part)}"


def _bracketed(selector: Selector) -> str:
    said = shown(selector)
    return f"({said})" if isinstance(selector, AllOf | AnyOf) else said


def _either(values: tuple[str, ...]) -> str:
    few = ", ".join(values[:5])
    return few if len(values) <= 5 else f"{few} or one of {len(values) - 5} more"
