"""What a load test saw, and whether it is what was asked for. Plain data: no clock, no locust, no network.

The split is counted in distinct people, since a person stays on one side: among n people of a cohort at share p, the number that met
the canary is binomial, and must lie within 4 standard deviations of n*p (a right split fails this once in 16,000 times). Anonymous
people are counted under the cohort they belong to like everybody else, from their second request on: before that they have no id.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from extproc.domain import AllOf, Among, AnyOf, FactKind, Not, Selector

DEVIATIONS: Final = 4.0
CANARY: Final = "canary"
STABLE: Final = "stable"


@dataclass(frozen=True, slots=True)
class CohortRule:
    """A cohort as the load test understands it, independently of extproc's own matchers: selectors of a few headers, and no others."""

    name: str
    selector: Selector | None
    """None: everybody."""
    exclude: Selector | None
    """None: nobody."""

    def understood(self, headers: Collection[str]) -> bool:
        """True where it depends on these headers alone."""
        return all(_understood(one, headers) for one in (self.selector, self.exclude) if one is not None)


def cohort_of(rules: Sequence[CohortRule], headers: Mapping[str, str]) -> str:
    """The first cohort that matches somebody with these headers, in the order written; empty for none, and for who is excluded."""
    for rule in rules:
        if rule.selector is None or _met(rule.selector, headers):
            return "" if rule.exclude is not None and _met(rule.exclude, headers) else rule.name
    return ""


def _understood(selector: Selector, headers: Collection[str]) -> bool:
    match selector:
        case Among(fact, _):
            return fact.kind is FactKind.HEADER and fact.name in headers
        case AllOf(parts) | AnyOf(parts):
            return all(_understood(part, headers) for part in parts)
        case Not(part):
            return _understood(part, headers)
        case _:
            return False


def _met(selector: Selector, headers: Mapping[str, str]) -> bool:
    match selector:
        case Among(fact, values):
            return headers[fact.name] in values
        case AllOf(parts):
            return all(_met(part, headers) for part in parts)
        case AnyOf(parts):
            return any(_met(part, headers) for part in parts)
        case Not(part):
            return not _met(part, headers)
    raise ValueError(f"{selector} is not understood")


@dataclass(frozen=True, slots=True)
class Split:
    """One cohort's split among distinct people."""

    cohort: str
    people: int
    canary: int
    expected_share: float
    """Share of the cohort at the phase; NaN where the phase is not known."""

    @property
    def share(self) -> float:
        """Observed share; 0 without people."""
        return self.canary / self.people if self.people else 0.0

    @property
    def deviations(self) -> float:
        """Distance from the expected number in standard deviations; infinite where the share is 0 or 1 and is not met exactly."""
        p = self.expected_share
        distance = abs(self.canary - self.people * p)
        if distance < 1e-9:
            return 0.0
        spread = math.sqrt(self.people * p * (1 - p))
        return distance / spread if spread else math.inf

    @property
    def holds(self) -> bool:
        """True where the split is what was asked for, or nothing was asked for."""
        return math.isnan(self.expected_share) or self.deviations <= DEVIATIONS


@dataclass(slots=True)
class Arm:
    """Latencies of one arm in seconds."""

    total: list[float] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    """Streams only."""


class Observations:
    """Collects while the load runs; `results` is asked at the end."""

    def __init__(self, shares: Mapping[str, float] | None, canary_model: str) -> None:
        """`shares`: of each cohort at the phase; None: not known (a rollout that moves), then nothing is asked of the split."""
        self._shares = shares
        self._canary_model = canary_model
        self._sides: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._arms: dict[str, Arm] = {CANARY: Arm(), STABLE: Arm()}
        self._models: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def good(self, cohort: str, person: str, model: str, seconds: float, first_token: float | None) -> None:
        """A good answer. `person` is empty where the person had no id and no cookie yet."""
        side = CANARY if model == self._canary_model else STABLE
        self._models[model] += 1
        self._arms[side].total.append(seconds)
        if first_token is not None:
            self._arms[side].first_token.append(first_token)
        if person:
            self._sides[cohort][person].add(side)

    def failed(self, kind: str) -> None:
        """An answer that was not good."""
        self.errors[kind] += 1

    @property
    def splits(self) -> list[Split]:
        """Per cohort; a person who met both sides is counted in `movers` and, here, on the canary's."""
        return [
            Split(cohort, len(people), sum(CANARY in sides for sides in people.values()), self._expected(cohort))
            for cohort, people in sorted(self._sides.items())
        ]

    def _expected(self, cohort: str) -> float:
        # Who is in no cohort meets stable.
        return math.nan if self._shares is None else self._shares.get(cohort, 0.0)

    @property
    def movers(self) -> int:
        """People who met both models: none, while a phase stays."""
        return sum(len(sides) > 1 for people in self._sides.values() for sides in people.values())

    @property
    def problems(self) -> list[str]:
        """Why this run is not good; empty if it is."""
        found = [f"{count} requests failed: {kind}" for kind, count in sorted(self.errors.items())]
        if not self._models:
            found.append("there was no good answer at all")
        if self.movers and self._shares is not None:
            found.append(f"{self.movers} people met both models")
        for split in self.splits:
            if not split.holds:
                found.append(
                    f"cohort {split.cohort}: {split.canary} of {split.people} people met the canary, "
                    f"{split.deviations:.1f} standard deviations from {split.expected_share:.3%}"
                )
        return found

    def results(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "requests": self._models.total() + self.errors.total(),
            "errors": dict(self.errors),
            "answered_by": dict(self._models),
            "movers": self.movers,
            "splits": [
                {**asdict(one), "expected_share": None if math.isnan(one.expected_share) else one.expected_share, **_told(one)}
                for one in self.splits
            ],
            "latency": {
                name: {"requests": len(arm.total), **_quantiles("", arm.total), **_quantiles("first_token_", arm.first_token)}
                for name, arm in self._arms.items()
            },
            "problems": self.problems,
        }


def _told(split: Split) -> dict[str, Any]:
    known = not math.isnan(split.expected_share) and math.isfinite(split.deviations)
    return {"share": split.share, "deviations": split.deviations if known else None, "holds": split.holds}


def _quantiles(prefix: str, values: list[float]) -> dict[str, float | None]:
    ordered = sorted(values)
    return {
        f"{prefix}{name}": round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) if ordered else None
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
