"""Does the judge like a place, or see differences where there are none? Pure: counts that add up, exact binomial bounds, a sentence.

* `Places`: which place was preferred where the same two answers were shown in both orders, or one answer twice.
* `SameArms`: how often a gate that was fed with scores of two like arms (stable against control, or the same answers twice) rejected. The
  e-processes themselves belong to `release`; here is their ln e at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.domain import Comparison, Preference
from extproc.judge import binomial

LEAST: Final = 20
"""Decided ballots, or trials, below which nothing is said."""
SURE: Final = 0.01
"""A place is called preferred only below this p-value; it is looked at now and then, not for ever."""


@dataclass(frozen=True, slots=True)
class Places:
    """Counts of pairs that were shown in both orders."""

    first: int = 0
    """The first place won in both orders: the judge contradicts itself, for the first place."""
    second: int = 0
    """The second place won in both orders."""
    agreed: int = 0
    """The same answer won in both orders."""
    level: int = 0
    """A tie in at least one of them."""

    def with_pair(self, comparison: Comparison) -> Places:
        """One pair more; one answer against itself is a pair as well."""
        one, other = comparison.in_order, comparison.in_reverse
        if Preference.TIE in (one, other):
            return Places(self.first, self.second, self.agreed, self.level + 1)
        if one is not other:
            return Places(self.first, self.second, self.agreed + 1, self.level)
        first = one is Preference.A
        return Places(self.first + first, self.second + (not first), self.agreed, self.level)

    def plus(self, other: Places) -> Places:
        """Both, of different pairs."""
        return Places(self.first + other.first, self.second + other.second, self.agreed + other.agreed, self.level + other.level)

    def as_json(self) -> dict[str, int]:
        """For `from_json`."""
        return {"first": self.first, "second": self.second, "agreed": self.agreed, "level": self.level}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Places:
        """What `as_json` gave."""
        return Places(*(int(value[key]) for key in ("first", "second", "agreed", "level")))


@dataclass(frozen=True, slots=True)
class PlaceBias:
    """Preference for a place."""

    share: float
    """Of the pairs in which the judge contradicts itself, those in which the first place won; .5 is none."""
    low: float
    high: float
    """95 % interval (Clopper & Pearson)."""
    p: float
    contradicted: float
    """Share of decided pairs that are lost to ties because the two orders contradict each other."""
    biased: bool
    sentence: str


def place_bias(places: Places) -> PlaceBias | None:
    """None where too few pairs were decided. Without bias, who contradicts itself does so for either place alike."""
    flips = places.first + places.second
    decided = flips + places.agreed
    if decided < LEAST:
        return None
    share = places.first / flips if flips else 0.5
    low, high = binomial.lower(places.first, flips, 0.025), binomial.upper(places.first, flips, 0.025)
    p = binomial.two_sided(places.first, flips)
    biased = p < SURE
    liked = f"prefers the {'first' if share > 0.5 else 'second'} place" if biased else "shows no preference for a place"
    sentence = (
        f"the judge {liked}: of {decided} decided pairs {flips} were contradicted in the other order, {places.first} of them for the first "
        f"place (p = {p:.2g})"
    )
    return PlaceBias(share, low, high, p, flips / decided, biased, sentence)


@dataclass(frozen=True, slots=True)
class SameArms:
    """Counts of A/A trials: two arms that are alike, compared by the gate that compares canary and stable."""

    trials: int = 0
    rejected: int = 0

    def with_trial(self, log_e: float, alpha: float) -> SameArms:
        """One trial more: ln of the largest e-value that it reached, and the gate's alpha."""
        return SameArms(self.trials + 1, self.rejected + (log_e >= -math.log(alpha)))

    def plus(self, other: SameArms) -> SameArms:
        """Both, of different trials."""
        return SameArms(self.trials + other.trials, self.rejected + other.rejected)

    def as_json(self) -> dict[str, int]:
        """For `from_json`."""
        return {"trials": self.trials, "rejected": self.rejected}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> SameArms:
        """What `as_json` gave."""
        return SameArms(int(value["trials"]), int(value["rejected"]))


@dataclass(frozen=True, slots=True)
class SameArmsFinding:
    """Whether a judge sees differences where there are none."""

    sound: bool
    """False where the share of rejections is above alpha beyond doubt (SURE)."""
    share: float
    low: float
    """The true share is at least this, but for an error of SURE."""
    sentence: str


def same_arms(seen: SameArms, alpha: float) -> SameArmsFinding | None:
    """None below LEAST trials."""
    if seen.trials < LEAST:
        return None
    low = binomial.lower(seen.rejected, seen.trials, SURE)
    sound = low <= alpha
    says = "sees no difference between like arms" if sound else "sees differences between like arms: do not decide by it"
    sentence = f"the judge {says}: {seen.rejected} of {seen.trials} A/A trials rejected, at most {alpha:.1%} may"
    return SameArmsFinding(sound, seen.rejected / seen.trials, low, sentence)
