"""What became of first questions about answers, by arm: an answer that makes the judge write nonsense, or refuse, has no score.

Missing scores of an outage are missing in both arms alike. Where the share of nonsense and refusals differs between the arms, it is the
answers' doing: the scores that are left speak of the others alone, and a comparison of them is not to be believed. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from extproc.domain import COMPARED_ARMS, Arm, Failing
from extproc.judge import binomial

PROVOKED: Final = frozenset((Failing.NONSENSE.value, Failing.REFUSED.value))
"""Ends that an answer may have brought about; those of outages, of money and of time it has not."""
READ: Final = PROVOKED | {"scored"}
"""Ends of questions that the judge has read."""
ALPHA: Final = 0.0002
"""It is looked at again and again. Of arms that are alike, .5 % were found different within 4,000 answers each, a tenth of them without a
score (1,000 runs, a look after each 20)."""
MOST_COUNTED: Final = 2_000
"""Ends without a score that are added up exactly; of more, a share of them, so that a look costs a millisecond."""


class Provoked:
    """Of one rollout, in one visit of a phase: shares of arms, and what the model writes, are others in the next one."""

    def __init__(self, document: Mapping[str, Any] | None = None) -> None:
        """Goes on from what `as_json` said; raises KeyError, TypeError or ValueError on anything else."""
        self._generation = int(document["generation"]) if document is not None else 0
        ends = document["ends"] if document is not None else {}
        self._ends = {arm: Counter({str(end): int(count) for end, count in ends.get(arm.value, {}).items()}) for arm in COMPARED_ARMS}

    def ended(self, generation: int, arm: Arm, how: str) -> None:
        """The first question about an answer has ended: `scored`, or a Failing."""
        if arm not in self._ends or generation < self._generation:
            return
        if generation > self._generation:
            self._generation = generation
            self._ends = {one: Counter() for one in COMPARED_ARMS}
        self._ends[arm][how] += 1

    def why(self) -> str:
        """Why scores of the two arms cannot be compared, as the end of a sentence; empty where they can."""
        (x, n), (y, m) = (_lost(self._ends[arm]) for arm in COMPARED_ARMS)
        if not n or not m or not x + y:
            return ""
        lost = min(x + y, MOST_COUNTED)
        mine = round(x * lost / (x + y))
        chance = n / (n + m)
        tail = min(binomial.at_least(mine, lost, chance), binomial.at_least(lost - mine, lost, 1 - chance))
        if 2 * tail >= ALPHA:
            return ""
        return (
            f"the judge gave no verdict (nonsense, or a refusal) on {x:,} of {n:,} of the canary's answers and on {y:,} of {m:,} of "
            "control's: that differs by more than chance, so the scores that are left cannot be compared"
        )

    def as_json(self) -> dict[str, Any]:
        """Counts by arm, and `why`."""
        ends = {arm.value: dict(self._ends[arm]) for arm in COMPARED_ARMS}
        return {"generation": self._generation, "ends": ends, "why": self.why()}


def _lost(ends: Counter[str]) -> tuple[int, int]:
    """(questions without a verdict by an answer's doing, questions that the judge has read)."""
    return sum(ends[end] for end in PROVOKED), sum(ends[end] for end in READ)
