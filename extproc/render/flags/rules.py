"""A rollout at a phase as an ordered list of simple rules, which every flag vendor can express in its own words.

Cohorts are tried in order and the first that matches decides; so are these rules. A cohort's selector becomes a list of alternatives, each
a list of tests that all hold (its disjunctive normal form). Who is excluded, and the lists of the Spec, are rules of share 0 or 1 before.
What a flag cannot say (a random share inside a selector, another system's flag, a slot) is refused with its path.
"""

from __future__ import annotations

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
from extproc.render.flags.names import Names, is_claim
from extproc.render.settings import RenderError

UNIT: Final = ""
"""Attribute of the unit's id; each vendor has its own name for it."""
MOST: Final = 200
"""Alternatives of one cohort; more would be a flag that nobody can read."""
_COMPARED: Final = 5 * MOST
"""Alternatives that are compared with each other: a million comparisons, a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Test:
    """One test of an attribute."""

    attribute: str
    values: tuple[str, ...]
    prefix: bool = False
    """True: the attribute begins with one of the values; else it is one of them."""
    negated: bool = False


Tests = tuple[Test, ...]
"""All of them hold."""
Alternatives = list[Tests]
"""One of them holds."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Whoever meets all tests gets the canary with this share; the first rule that is met decides."""

    cohort: str
    tests: Tests
    share: float


def rules(spec: Spec, rollout: Rollout, phase: int) -> list[Rule]:
    """The rollout at a phase; raises RenderError with everything that no flag can say."""
    writer = _Writer(spec, f"rollouts.{rollout.name}")
    if rollout.slot is not None:
        hint = "ask the edge's own answer (x-llm-cluster), or give the rollout the whole layer"
        writer.problems.append(Problem("render.flag-slot", f"{writer.path}.slot", "a flag knows no slots of a layer", hint))
    found: list[Rule] = []
    for name, ids, share in (("forced to stable", rollout.overrides.stable, 0.0), ("forced to canary", rollout.overrides.canary, 1.0)):
        if ids is not None:
            found.append(Rule(name, (Test(UNIT, ids.ids),), share))
    for index, cohort in enumerate(rollout.cohorts):
        path = f"{writer.path}.cohorts[{index}]"
        inside = writer.alternatives(cohort.selector, path)
        if cohort.exclude is not None:
            outside = writer.alternatives(cohort.exclude, f"{path}.exclude")
            both = writer.bounded(_both(inside, outside), f"{path}.exclude")
            found += [Rule(f"{cohort.name}, excluded", one, 0.0) for one in both]
        found += [Rule(cohort.name, one, rollout.share_of(cohort, phase)) for one in inside]
    if writer.problems:
        raise RenderError(writer.problems)
    return found


def attributes(found: list[Rule]) -> list[str]:
    """Attributes that the rules look at, apart from the unit's id, sorted."""
    return sorted({test.attribute for rule in found for test in rule.tests} - {UNIT})


class _Writer:
    def __init__(self, spec: Spec, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._names = Names(spec, path, self.problems)

    def alternatives(self, selector: Selector | None, path: str) -> Alternatives:
        """The selector's disjunctive normal form; tells a problem where it has none, or none of a readable size."""
        return self._of(selector, path, negated=False) if selector is not None else [()]

    def bounded(self, found: Alternatives, path: str) -> Alternatives:
        """As they are, or none and a problem where they are too many. Asked at every step: sizes multiply."""
        if len(found) <= MOST:
            return found
        hint = "simplify the selector, or write the flag by hand"
        problem = Problem("render.flag-size", path, f"has more than {MOST} alternatives", hint)
        if problem not in self.problems:
            self.problems.append(problem)
        return []

    def _of(self, selector: Selector, path: str, negated: bool) -> Alternatives:
        match selector:
            case Among(fact, values):
                return [(Test(self._names.of(fact), values, negated=negated),)]
            case PathStarts(prefixes):
                return [(Test(self._names.of(Fact(FactKind.PATH)), prefixes, prefix=True, negated=negated),)]
            case Ids(ids, _):
                return [(Test(UNIT, ids, negated=negated),)]
            case Regions(country_header, region_header, codes):
                return self._of(_as_pairs(country_header, region_header, codes), path, negated)
            case Not(part):
                return self._of(part, path, not negated)
            case AllOf(parts) | AnyOf(parts):
                lists = [self._of(part, path, negated) for part in parts]
                if isinstance(selector, AnyOf) is not negated:
                    return self.bounded(list(dict.fromkeys(one for found in lists for one in found)), path)
                met: Alternatives = [()]
                for found in lists:
                    met = self.bounded(_both(met, found), path)
                return met
            case RandomShare() | FlagIs():
                what = "a random share of its own" if isinstance(selector, RandomShare) else f"flag {selector.key!r} of another system"
                hint = "flags and the edge can only agree on what both can see: write the cohort without it"
                self.problems.append(Problem("render.flag-cannot", path, f"{what} cannot be said in a flag", hint))
                return []


def _as_pairs(country_header: str, region_header: str, codes: tuple[str, ...]) -> Selector:
    """Region GB-ENG as country GB and region ENG."""
    pairs = [code.split("-", 1) for code in codes]
    country, region = Fact(FactKind.HEADER, country_header), Fact(FactKind.HEADER, region_header)
    return AnyOf(tuple(AllOf((Among(country, (one,)), Among(region, (other,)))) for one, other in pairs))


def without(earlier: list[Rule], rule: Rule) -> Alternatives:
    """The alternatives of a rule that no earlier one takes: for vendors whose rules are tried all, not in order. More than MOST are not
    counted on."""
    met: Alternatives = [rule.tests]
    for one in earlier:
        met = _both(met, [(replace(test, negated=not test.negated),) for test in one.tests])
        if len(met) > MOST:
            break
    return met


def _both(some: Alternatives, others: Alternatives) -> Alternatives:
    """One of these and one of those hold; what can never hold is left out."""
    found = (tuple(dict.fromkeys((*one, *other))) for one, other in product(some, others))
    return _least([tests for tests in dict.fromkeys(found) if not _never(tests)])


def _least(found: Alternatives) -> Alternatives:
    """Without those that ask for more than another one asks for; not looked at where there are too many to compare."""
    if len(found) > _COMPARED:
        return found
    asked = {frozenset(tests): tests for tests in found}
    return [tests for mine, tests in asked.items() if not any(other < mine for other in asked)]


def _never(tests: Tests) -> bool:
    """A test and its contrary, or one attribute among two lists that have nothing in common (a claim may be a list itself)."""
    asked: dict[str, set[str]] = {}
    for test in tests:
        if replace(test, negated=not test.negated) in tests:
            return True
        if not test.prefix and not test.negated and not is_claim(test.attribute):
            left = asked.setdefault(test.attribute, set(test.values))
            left.intersection_update(test.values)
            if not left:
                return True
    return False
