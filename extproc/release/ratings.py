"""What ratings say: means of values that somebody gives to some answers, later, such as the judge's scores.

The rules:
* Which answers are rated is chosen by hash, with the same probability in canary and control, before there is an answer. So arms are as
  large as each other up to a share of 50 %, and control stands for stable.
* A rating is looked at at a fixed age of its *request*, in the order of starts, whenever it came; one that comes later is not.
* A unit counts once in each epoch (a minute, an hour, the release), by its first rated request, in each arm.
* Evidence of harm runs over the attempt, evidence of safety over the visit of a phase, as everywhere.
* What waits is not saved: whoever wrote the ratings down tells them again after a restart, from `horizon` on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from extproc.domain import COMPARED_ARMS, Arm, Gate, Rating, Rollout
from extproc.measures import MEASURES
from extproc.release.compare import MeanPanel, MeanTest, Values
from extproc.release.eprocess import log_sum_exp
from extproc.release.guards import CANARY, STABLE
from extproc.release.lanes import EVERYBODY, View
from extproc.release.limits import Limits
from extproc.release.scales import HOUR, LONGER, MINUTE, WHOLE
from extproc.release.strata import Stratum
from extproc.release.totals import Moments
from extproc.release.units import EVER_PLANE, HOUR_PLANE, VISIT_PLANE, UnitFilter, unit_key
from extproc.release.watched import is_guardrail

WAITING_KEPT: Final = 100_000
"""Ratings that wait for their age; what comes beyond that is counted and not looked at, whatever it says."""
LOG_SCALE: Final = -math.log(len(LONGER))
NO_LIMITS: Final = Limits(0, (), ())
"""Values are within [0, 1]: nothing has to be learnt from the past."""
ONE_EPOCH: Final = (0,)


class Ratings:
    """Of one measure in one attempt of a rollout."""

    def __init__(self, rollout: Rollout, gate: Gate, within: float) -> None:
        """`gate`: the first one of the measure. `within`: seconds of a request's age at which its rating is looked at."""
        self.within = within
        self._rollout = rollout
        self._measure = MEASURES[gate.measure]
        tolerance = self._measure.tolerance if gate.tolerance is None else gate.tolerance
        self._harm = MeanPanel([self._test(tolerance, safety=False)], LONGER)
        self._waiting: list[tuple[float, str, Rating]] = []
        self._known: set[str] = set()
        """Requests that wait."""
        self._strata: dict[tuple[int, str], Stratum] = {}
        self._seen = UnitFilter()
        self._minute = self._hour = -1
        self._in_minute: set[int] = set()
        self.horizon = 0.0
        """Requests that began by then have been looked at."""
        self.late = 0
        """Ratings that came after their request had been looked at."""
        self.duplicates = 0
        self.dropped = 0
        self.seen = {CANARY: Moments(), STABLE: Moments()}
        """Ratings of this visit that have been looked at, units that are seen once alone included."""
        self.begin_visit(0)

    def _test(self, margin: float, safety: bool) -> MeanTest:
        return MeanTest(self._measure.name, 0, margin, self._measure.relative, self._measure.more_is_worse, safety)

    def begin_visit(self, phase: int) -> None:
        """What belongs to a visit begins anew; harm goes on."""
        gates = [gate for gate in self._rollout.phases[phase].gates if gate.measure == self._measure.name and is_guardrail(gate)]
        self._safe = MeanPanel([self._test(gate.margin, safety=True) for gate in gates], (WHOLE,))
        self._guarded = bool(gates)
        self.seen_before = self.seen
        """Of the visit before this one."""
        self.seen = {CANARY: Moments(), STABLE: Moments()}
        self._seen.clear(VISIT_PLANE)

    def exclude(self, cohort: str) -> None:
        """From now on this cohort is not part of the whole."""
        self._harm.exclude(cohort)
        self._safe.exclude(cohort)

    # ----------------------------------------------------------------------------------------------------------------- ratings
    def hear(self, rating: Rating) -> None:
        """One rating; the caller has seen to it that its visit and its cohort are known."""
        if rating.arm not in COMPARED_ARMS:
            return
        if rating.start <= self.horizon:
            self.late += 1
        elif rating.stream_id in self._known:
            self.duplicates += 1
        elif len(self._waiting) >= WAITING_KEPT:
            self.dropped += 1
        else:
            self._known.add(rating.stream_id)
            heappush(self._waiting, (rating.start, rating.stream_id, rating))

    def advance(self, now: float, generation: int, visits: Mapping[int, int], excluded: frozenset[str]) -> None:
        """Look at what is old enough by `now`; `generation` is the present visit, `visits` all of them with their phases."""
        self.horizon = max(self.horizon, now - self.within)
        waiting = self._waiting
        while waiting and waiting[0][0] <= self.horizon:
            rating = heappop(waiting)[2]
            self._known.discard(rating.stream_id)
            if rating.cohort not in excluded and rating.generation in visits:
                self._look(rating, visits[rating.generation], rating.generation == generation)

    def _look(self, rating: Rating, phase: int, present: bool) -> None:
        canary, value = rating.arm is Arm.CANARY, min(1.0, max(0.0, rating.value))
        stratum = self._stratum(rating.generation, rating.cohort, phase)
        if present:
            seen = self.seen[CANARY if canary else STABLE]
            seen.n += 1
            seen.total += value
            seen.squares += value * value
        if not stratum.compared:
            return
        scales, first = self._count(rating, canary, present)
        values: Values = (value,)
        if scales:
            epochs = self._minute, self._hour, 0
            self._harm.feed(stratum, epochs, NO_LIMITS, canary, values, 0, scales)
        if first and self._guarded:
            self._safe.feed(stratum, ONE_EPOCH, NO_LIMITS, canary, values, 0, 1)

    def _stratum(self, generation: int, cohort: str, phase: int) -> Stratum:
        found = self._strata.get((generation, cohort))
        if found is None:
            rollout = self._rollout
            share = next((rollout.share_of(one, phase) for one in rollout.cohorts if one.name == cohort), 0.0)
            # Up to 50 % control is as large as the canary, and rated as often.
            compared = 0.5 if 0.0 < share <= 0.5 else share
            measures = frozenset(gate.measure for gate in rollout.phases[phase].gates)
            found = self._strata[generation, cohort] = Stratum(generation, phase, cohort, compared, measures)
        return found

    def _count(self, rating: Rating, canary: bool, present: bool) -> tuple[int, bool]:
        """(in how many scales its unit is new, shortest first; whether it is new in this visit)."""
        minute = int(rating.start // MINUTE.seconds)
        if minute != self._minute:
            # In the order of starts: the next minute, and perhaps the next hour.
            self._minute, self._in_minute = minute, set()
            hour = int(rating.start // HOUR.seconds)
            if hour != self._hour:
                self._hour = hour
                self._seen.clear(HOUR_PLANE)
        unit = unit_key(rating.unit, canary)
        if unit in self._in_minute:
            return 0, False
        self._in_minute.add(unit)
        new = self._seen.add(unit, HOUR_PLANE | EVER_PLANE | (VISIT_PLANE if present else 0))
        scales = 1 if not new & HOUR_PLANE else 2 if not new & EVER_PLANE else 3
        return scales, bool(new & VISIT_PLANE)

    # ----------------------------------------------------------------------------------------------------------------- reading
    def log_e_harm(self, view: View = EVERYBODY) -> float:
        """ln of the e-value against "the canary's mean is no worse than the tolerance allows"."""
        return LOG_SCALE + log_sum_exp(self._harm.log_e(0, view))

    def log_e_safe(self) -> float:
        """ln of the e-value against "the canary is worse by the margin, or more", in this visit; 0 where it is no guardrail."""
        return self._safe.log_e(0, EVERYBODY)[0] if self._guarded else 0.0

    @property
    def waiting(self) -> int:
        """Ratings that wait for their age."""
        return len(self._waiting)

    # ------------------------------------------------------------------------------------------------------------- persistence
    def to_json(self) -> dict[str, Any]:
        """What a restart needs, apart from what waits. Who was there is not known then: each epoch that is open ends with it."""
        return {
            "harm": self._harm.to_json(),
            "safe": self._safe.to_json(),
            "seen": _rows(self.seen),
            "before": _rows(self.seen_before),
            "horizon": self.horizon,
        }

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        self._harm.restore(document["harm"])
        self._safe.restore(document["safe"])
        self.seen = _moments(document["seen"])
        self.seen_before = _moments(document.get("before", document["seen"]))
        self.horizon = float(document["horizon"])


def _rows(seen: Mapping[str, Moments]) -> dict[str, list[float]]:
    return {arm: [one.n, one.total, one.squares] for arm, one in seen.items()}


def _moments(rows: Mapping[str, Sequence[float]]) -> dict[str, Moments]:
    """What `_rows` wrote; raises KeyError, TypeError or ValueError on anything else."""
    read = {arm: rows[arm] for arm in (CANARY, STABLE)}
    return {arm: Moments(int(n), float(total), float(squares)) for arm, (n, total, squares) in read.items()}


class Rated:
    """The measures of a rollout that are told by ratings."""

    def __init__(self, rollout: Rollout, gates: Mapping[str, Gate]) -> None:
        """`gates`: the first one of each measure."""
        names = [name for name in gates if MEASURES[name].read is None]
        self._of = {name: Ratings(rollout, gates[name], rollout.matures[name]) for name in names}
        self.silent: dict[str, str] = {}
        """By measure: why ratings do not come, in the words of whoever gives them; empty where they do."""

        self.lopsided: dict[str, str] = {}
        """By measure: why the ratings that there are cannot be compared in this visit; empty where they can."""

    def __contains__(self, measure: str) -> bool:
        return measure in self._of

    def __getitem__(self, measure: str) -> Ratings:
        return self._of[measure]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    @property
    def horizon(self) -> float:
        """Requests that began by then have been looked at (Unix seconds)."""
        return min((one.horizon for one in self._of.values()), default=0.0)

    def silence(self, measure: str) -> str:
        """Why there is so little of a measure, or nothing to be believed, as the end of a sentence; empty where nothing is the matter."""
        why = (self.lopsided.get(measure) or self.silent.get(measure)) if measure in self._of else None
        return f"; {measure}: {why}" if why else ""

    def is_lopsided(self, measure: str) -> bool:
        """True where its ratings are missing in one arm more than in the other, by the answers' own doing."""
        return measure in self._of and bool(self.lopsided.get(measure))

    def begin_visit(self, phase: int, out: frozenset[str]) -> None:
        """The rollout has entered a phase; `out`: cohorts that were rolled back by themselves since the last one."""
        for one in self._of.values():
            for cohort in out:
                one.exclude(cohort)
            one.begin_visit(phase)

    def advance(self, now: float, generation: int, visits: Mapping[int, int], excluded: frozenset[str]) -> None:
        """Look at what is old enough."""
        for one in self._of.values():
            one.advance(now, generation, visits, excluded)

    def hear(self, rating: Rating) -> None:
        """One rating; of a measure that has no gate it is nobody's."""
        if rating.measure in self._of:
            self._of[rating.measure].hear(rating)

    def to_json(self) -> dict[str, Any]:
        """What a restart needs."""
        return {name: one.to_json() for name, one in self._of.items()}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else."""
        for name, one in self._of.items():
            one.restore(document[name])
