"""A rollout at a phase as an ordered list of simple rules, which every flag vendor can express in its own words.

Cohorts are tried in order and the first that matches decides; so are these rules. A cohort's selector becomes a list of alternatives, each
a list of tests that all hold (its disjunctive normal form). Who is excluded, and the lists of the Spec, are rules of share 0 or 1 before.
What a flag cannot say (a random share inside a selector, another system's flag) is refused with its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from extproc.domain import (
    AllOf,
    Among,
    AnyOf,
    Fact,
    FactKind,
    FlagIs,
    Ids,
    Not,
    PathStarts,
    RandomShare,
    Regions,
    Rollout,
    Selector,
    Spec,
)
from extproc.errors import Problem
from extproc.render.settings import RenderError

UNIT: Final = ""
"""Attribute of the unit's id; each vendor has its own name for it."""
MOST: Final = 200
"""Alternatives of one cohort; more would be a flag that nobody can read."""


@dataclass(frozen=True, slots=True)
class Test:
    """One test of an attribute."""

    attribute: str
    values: tuple[str, ...]
    prefix: bool = False
    """True: the attribute begins with one of the values; else it is one of them."""
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Whoever meets all tests gets the canary with this share; the first rule that is met decides."""

    cohort: str
    tests: tuple[Test, ...]
    share: float


def rules(spec: Spec, rollout: Rollout, phase: int) -> list[Rule]:
    """The rollout at a phase; raises RenderError with everything that a flag cannot say."""
    writer = _Writer(spec, f"rollouts.{rollout.name}")
    found: list[Rule] = []
    for name, ids, share in (("forced to stable", rollout.overrides.stable, 0.0), ("forced to canary", rollout.overrides.canary, 1.0)):
        if ids is not None:
            found.append(Rule(name, (Test(UNIT, ids.ids),), share))
    for index, cohort in enumerate(rollout.cohorts):
        path = f"cohorts[{index}]"
        inside = writer.alternatives(cohort.selector, path) if cohort.selector is not None else [()]
        if cohort.exclude is not None:
            outside = writer.alternatives(cohort.exclude, f"{path}.exclude")
            found += [Rule(f"{cohort.name}, excluded", (*one, *other), 0.0) for one, other in product(inside, outside)]
        share = min(cohort.shares[phase], 1.0 - rollout.holdback)
        found += [Rule(cohort.name, one, share) for one in inside]
    if writer.problems:
        raise RenderError(writer.problems)
    return found


def attribute(spec: Spec, fact: Fact) -> str:
    """What a fact is called in a flag: tier, country, region and asn by these words, else the name of the header, cookie or claim."""
    identity = spec.identity
    words = {
        identity.tier_header: "tier",
        identity.country_header: "country",
        identity.region_header: "region",
        identity.asn_header: "asn",
    }
    match fact.kind:
        case FactKind.HEADER:
            return words.get(fact.name) or _plain(fact.name)
        case FactKind.COOKIE:
            return f"cookie_{_plain(fact.name)}"
        case FactKind.CLAIM:
            return f"claim_{_plain(fact.name)}"
        case FactKind.MODEL:
            return "model"
        case FactKind.PATH:
            return "path"


def attributes(found: list[Rule]) -> list[str]:
    """Attributes that the rules look at, apart from the unit's id, sorted."""
    return sorted({test.attribute for rule in found for test in rule.tests} - {UNIT})


def _plain(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)


Alternatives = list[tuple[Test, ...]]


class _Writer:
    def __init__(self, spec: Spec, path: str) -> None:
        self._spec, self._path = spec, path
        self.problems: list[Problem] = []

    def alternatives(self, selector: Selector, path: str) -> Alternatives:
        """The selector's disjunctive normal form; tells a problem where it has none of a readable size."""
        found = list(self._of(selector, path, negated=False))
        if len(found) > MOST:
            hint = "simplify the selector, or render the flag by hand"
            self.problems.append(Problem("render.flag-size", f"{self._path}.{path}", f"has {len(found)} alternatives", hint))
            return []
        return found

    def _of(self, selector: Selector, path: str, negated: bool) -> Iterator[tuple[Test, ...]]:
        match selector:
            case Among(fact, values):
                yield (Test(attribute(self._spec, fact), values, negated=negated),)
            case PathStarts(prefixes):
                yield (Test("path", prefixes, prefix=True, negated=negated),)
            case Ids(ids, _):
                yield (Test(UNIT, ids, negated=negated),)
            case Regions(country_header, region_header, codes):
                yield from self._of(_as_pairs(country_header, region_header, codes), path, negated)
            case Not(part):
                yield from self._of(part, path, not negated)
            case AllOf(parts) | AnyOf(parts):
                if isinstance(selector, AnyOf) is not negated:
                    for part in parts:
                        yield from self._of(part, path, negated)
                else:
                    for combination in product(*(list(self._of(part, path, negated)) for part in parts)):
                        yield tuple(test for tests in combination for test in tests)
            case RandomShare() | FlagIs():
                what = "a random share of its own" if isinstance(selector, RandomShare) else f"flag {selector.key!r} of another system"
                hint = "flags and the edge can only agree on what both can see: write the cohort without it"
                self.problems.append(Problem("render.flag-cannot", f"{self._path}.{path}", f"{what} cannot be said in a flag", hint))


def _as_pairs(country_header: str, region_header: str, codes: tuple[str, ...]) -> Selector:
    pairs = [code.split("-", 1) for code in codes]
    country, region = Fact(FactKind.HEADER, country_header), Fact(FactKind.HEADER, region_header)
    return AnyOf(tuple(AllOf((Among(country, (one,)), Among(region, (other,)))) for one, other in pairs))


def without(earlier: list[Rule], rule: Rule) -> list[tuple[Test, ...]]:
    """The alternatives of a rule that no earlier one takes: for vendors whose rules are tried all, not in order."""
    met: list[tuple[Test, ...]] = [rule.tests]
    for one in earlier:
        met = [(*tests, replace(test, negated=not test.negated)) for tests, test in product(met, one.tests)]
        met = [tests for tests in dict.fromkeys(map(_tidied, met)) if not _contradicts(tests)]
        if len(met) > MOST:
            break
    return met


def _tidied(tests: tuple[Test, ...]) -> tuple[Test, ...]:
    return tuple(dict.fromkeys(tests))


def _contradicts(tests: tuple[Test, ...]) -> bool:
    return any(replace(test, negated=not test.negated) in tests for test in tests)
