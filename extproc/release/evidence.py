"""What we have seen of one rollout: outcomes in, sufficient statistics out.

The rules:
* A request is looked at at two fixed ages (see `flight`), in the order of its start, within a stratum: (generation, cohort). Generation
  names the visit of a phase, so membership never depends on clocks.
* Units count, not requests: once in each epoch of each scale (see `scales`), by their first request and, at equal weight, by what
  happened in their window. Units that may never be seen again stay out of comparisons; ceilings see them, each once.
* E-processes against harm run over the whole attempt; evidence of safety, ceilings, counts, sample ratio and dwell belong to the
  present visit of a phase.
* Above LOOKED_AT_MOST outcomes a second a sample of units is looked at (see `sample`); what is told of requests counts all of them.
* Memory is bounded by what is under way; the past is a few vectors and three filters of units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from extproc.domain import Arm, Outcome, Prices, Rating, Reason, Rollout
from extproc.release.capital import Capital
from extproc.release.flight import GRACE, Flight, Member
from extproc.release.gap import Gap
from extproc.release.guards import CANARY, STABLE
from extproc.release.lanes import EVERYBODY, View
from extproc.release.limits import Past
from extproc.release.ratings import Rated
from extproc.release.sample import Sample
from extproc.release.sorting import Sorter
from extproc.release.spent import Spent
from extproc.release.strata import Stratum
from extproc.release.totals import ArmTotals, Moments, Visit
from extproc.release.units import unit_key
from extproc.release.watched import Watched

COUNTED: Final = frozenset((Reason.RING, Reason.COMPLETED))
"""Only where the ring decided are the arms comparable: not overrides, pinned conversations, or whoever is excluded."""
UNITS_KEPT: Final = 20_000
"""Distinct units are counted up to here; no phase may ask for more."""
RATE_OVER: Final = 10.0
"""Seconds over which the rate of outcomes is smoothed."""
VERSION: Final = 3
"""Of the document that `to_json` writes."""
NO_PRICES: Final[Mapping[str, Prices]] = {}


class Evidence:
    """Evidence of one attempt of one rollout. Time is an argument everywhere: Unix seconds, by the clock of Envoy's access log."""

    def __init__(
        self, rollout: Rollout, deadline: float, attempt: int = 1, not_before: float = 0.0, prices: Mapping[str, Prices] = NO_PRICES
    ) -> None:
        """`deadline`: seconds after which an open request has failed. `not_before`: requests that began earlier are not looked at.
        `prices`: by cluster that answers."""
        self._rollout = rollout
        self._deadline = deadline
        self._not_before = not_before
        self.attempt = attempt
        self.measured = Watched(rollout, prices)
        self.past = Past(self.measured.quantiles, self.measured.means, self.measured.readings)
        self.capital = Capital(self.measured)
        self.rated = Rated(rollout, self.measured.gates)
        self.spent = Spent(prices)
        self._flight = Flight(deadline)
        self._sample = Sample(deadline)
        self._sorter = Sorter(deadline)
        self._visits: dict[int, int] = {}
        self._strata: dict[tuple[int, str], Stratum] = {}
        self._looked_at = 0.0
        self.generation = 0
        """The present visit; 0 before the first."""
        self.phase = 0
        self.excluded: frozenset[str] = frozenset()
        """Cohorts that were rolled back by themselves."""
        self.watched = 0.0
        """Seconds of this visit during which outcomes arrived."""
        self.canary_units: dict[str, None] = {}
        """Distinct units that met the canary in this visit, in the order of their first request."""
        self.last_outcome = 0.0
        """When an outcome of this visit last arrived."""
        self.met: dict[str, int] = {}
        """By cohort: units of the canary, each once in an hour, over the whole attempt: who had how much chance to fail."""
        self.late_outcomes = 0
        self.duplicates = 0
        self.foreign = 0
        """Outcomes of no visit that we know: assigned before a rollback, or by a router that is behind."""
        self.dropped = 0
        """Requests that found no room, see OPEN_KEPT."""
        self.as_of = 0.0
        """Everything that was heard by then is in here."""
        self.rate = 0.0
        """Outcomes a second, of late."""
        self._ended = 0
        self.gap: Gap | None = None
        """What the last restart has cost; None where there was none."""
        self.before: Visit | None = None
        """The last visit before the present one: what harm is told of where the present one has hardly begun."""
        self._clear_visit()

    def _clear_visit(self) -> None:
        self.watched = 0.0
        self.canary_units = {}
        self.visit = Visit(self.phase, self.measured.readings)
        self.last_outcome = 0.0
        self._sorter.begin_visit()
        self.capital.begin_visit(self._rollout.phases[self.phase], self.shares(self.phase))

    # ------------------------------------------------------------------------------------------------------------------ visits
    def begin_visit(self, generation: int, phase: int, excluded: tuple[str, ...] = ()) -> None:
        """The rollout has entered a phase, or entered it again; the same generation twice changes nothing. `excluded`: cohorts that
        were rolled back by themselves."""
        if generation == self.generation:
            return
        for cohort in frozenset(excluded) - self.excluded:
            self.capital.exclude(cohort)
            self.met.pop(cohort, None)
        self.rated.begin_visit(phase, frozenset(excluded) - self.excluded)
        self.excluded = frozenset(excluded)
        for stratum in self._strata.values():
            stratum.compared = stratum.compared and stratum.cohort not in self.excluded
        if self.generation:
            self.before = self.visit
        self.generation, self.phase = generation, phase
        self._visits[generation] = phase
        self._clear_visit()

    def watch(self, seconds: float) -> None:
        """So much of the dwell was watched."""
        self.watched += seconds

    def look_from(self, start: float) -> None:
        """Entries were lost: of requests that began before `start` nobody can tell how they ended, so those that wait are forgotten."""
        self._not_before = max(self._not_before, start)
        self._flight.clear()
        self._sorter.clear()

    def shares(self, phase: int) -> dict[str, float]:
        """Share of each cohort's units that meet the canary in a phase, holdback taken off."""
        return {cohort.name: self._rollout.share_of(cohort, phase) for cohort in self._rollout.cohorts}

    @property
    def compares(self) -> bool:
        """True while there is a cohort in which both arms have units: one at 0 or 100 % has nobody to compare with."""
        shares = self.shares(self.phase)
        return any(0 < shares[cohort] < 1 for cohort in self.cohorts)

    @property
    def cohorts(self) -> tuple[str, ...]:
        """Those that are still in."""
        return tuple(cohort.name for cohort in self._rollout.cohorts if cohort.name not in self.excluded)

    def _stratum(self, generation: int, cohort: str) -> Stratum:
        key = generation, cohort
        found = self._strata.get(key)
        if found is None:
            phase = self._visits[generation]
            measures = frozenset(gate.measure for gate in self._rollout.phases[phase].gates)
            found = self._strata[key] = Stratum(generation, phase, cohort, self.shares(phase).get(cohort, 0.0), measures)
        return found

    # ---------------------------------------------------------------------------------------------------------------- outcomes
    def observe(self, outcome: Outcome, now: float) -> None:
        """One access-log entry: a request that ended, or one that is still open."""
        self.as_of = max(self.as_of, now)
        self._ended += outcome.final
        if not outcome.cohort or outcome.reason not in COUNTED:
            return
        if outcome.generation not in self._visits or outcome.start < self._not_before or outcome.cohort in self.excluded:
            self.foreign += 1
            return
        canary = outcome.arm is Arm.CANARY
        unit = unit_key(outcome.unit, canary)
        if not self._sample.has(unit, outcome.start):
            self._count(outcome, canary, now)
            return
        member = self._flight.known.get(outcome.stream_id)
        if member is None:
            member = self._meet(outcome, canary, unit, now)
            if member is None:
                return
        elif member.ended:
            self.duplicates += 1
            return
        member.outcome = outcome
        if outcome.final:
            member.ended = True
            self._end(outcome, member.canary)

    def _count(self, outcome: Outcome, canary: bool, now: float) -> None:
        """A request of a unit that is not in the sample: nobody waits for it, so a second end of it would be counted twice."""
        if outcome.generation == self.generation:
            self._hear(outcome, canary, now)
        if outcome.final:
            self._end(outcome, canary)

    def _end(self, outcome: Outcome, canary: bool) -> None:
        arm = CANARY if canary else STABLE
        self.spent.add(arm, outcome)
        if outcome.generation == self.generation:
            self.visit.end(arm, outcome)

    def _hear(self, outcome: Outcome, canary: bool, now: float) -> None:
        self.last_outcome = now
        if canary and outcome.durable and len(self.canary_units) < UNITS_KEPT:
            self.canary_units[outcome.unit] = None

    def _meet(self, outcome: Outcome, canary: bool, unit: int, now: float) -> Member | None:
        """A request heard of for the first time; None if it is too late to be looked at."""
        if outcome.start <= self._looked_at - self._deadline - GRACE:
            # Longer than the deadline: it was looked at by its periodic entries, this is only its end.
            self.late_outcomes += outcome.duration <= self._deadline
            return None
        if self._flight.full:
            self.dropped += 1
            return None
        member = Member(outcome, self._stratum(outcome.generation, outcome.cohort), unit)
        in_time = outcome.start > self._looked_at - self._flight.early_age - GRACE
        if not in_time:
            self.late_outcomes += outcome.final and outcome.duration <= self._flight.early_age
        self._flight.add(outcome.stream_id, member, in_time)
        if outcome.generation == self.generation:
            self._hear(outcome, canary, now)
        return member

    def hear(self, rating: Rating) -> None:
        """What somebody thinks of one answer."""
        if rating.generation not in self._visits or rating.cohort in self.excluded:
            self.foreign += 1
        else:
            self.rated.hear(rating)

    def advance(self, now: float) -> None:
        """Look at the requests that are old enough by now."""
        if now > self._looked_at > 0.0:
            passed = now - self._looked_at
            self.rate += (self._ended / passed - self.rate) * (min(1.0, passed / RATE_OVER) if self.rate else 1.0)
        self._ended = 0
        self._sample.renew(self.rate, now)
        self.as_of = max(self.as_of, now)
        self._looked_at = now = max(self._looked_at, now)
        flight, sorter = self._flight, self._sorter
        only = flight.early_age >= self._deadline
        for member in flight.young(now):
            self._sort(member)
            self._look_early(member, member.failed_by(flight.early_age, only))
        for member in flight.ripe(now):
            if not member.looked:
                self._sort(member)
            self._look_late(member)
        for window in sorter.blinks(now):
            self.capital.add_blink(window)
        for window in sorter.minutes(now):
            self.capital.add_minute(window, window.visit and window.stratum.generation == self.generation)
        self.past.renew()
        self.rated.advance(now, self.generation, self._visits, self.excluded)

    def _sort(self, member: Member) -> None:
        present = member.stratum.generation == self.generation
        if member.durable:
            self._sorter.sort(member, self.past.limits, present)
            if member.scales > 2 and member.canary:
                self.met[member.stratum.cohort] = self.met.get(member.stratum.cohort, 0) + 1
            if member.visit:
                self.capital.ratio.add(member.stratum.cohort, member.router, member.arm)
        else:
            member.limits, member.epochs = self.past.limits, self._sorter.epochs(member.start)

    def _look_early(self, member: Member, failed: bool) -> None:
        present = member.stratum.generation == self.generation
        if present:
            seen = self.visit.early[CANARY if member.canary else STABLE]
            seen.n += 1
            if failed:
                seen.total += 1.0
                seen.squares += 1.0
            self.capital.guard_early(member, failed)
        if member.scales and member.stratum.compared:
            self.capital.add_early(member, failed)

    def _look_late(self, member: Member) -> None:
        measured, stratum = self.measured, member.stratum
        limits = member.limits
        assert limits is not None
        readings = measured.read(member.outcome, member.open_at(self._deadline), self._deadline)
        present = stratum.generation == self.generation
        if present:
            self.visit.late[CANARY if member.canary else STABLE].add(readings)
            self.capital.guard_late(member, readings)
        if not member.durable or not stratum.compared:
            return
        if not member.canary:
            self.past.add(readings)
        if member.blink is None and member.minute is None:
            return
        mask = measured.events(readings, limits, member.canary)
        values = measured.values(readings, limits, member.canary, stratum.phase)
        if member.blink is not None:
            member.blink.add(mask, values)
        if member.minute is not None:
            member.minute.add(mask, values)
        if member.scales:
            self.capital.add_first(member, mask, values)
        if member.visit and present:
            self.capital.add_safe_first(member, values)

    # ----------------------------------------------------------------------------------------------------------------- reading
    def log_e_harm(self, measure: str, view: View = EVERYBODY) -> float:
        """ln of the e-value against "the canary is no worse than the tolerance allows"."""
        return self.rated[measure].log_e_harm(view) if measure in self.rated else self.capital.log_e_harm(measure, view)

    def log_e_safe(self, measure: str) -> float:
        """ln of the e-value against "the canary is worse by the margin, or more", in this visit."""
        return self.rated[measure].log_e_safe() if measure in self.rated else self.capital.log_e_safe(measure)

    @property
    def arms(self) -> Mapping[str, ArmTotals]:
        """What ended in this visit, of both arms."""
        return self.visit.arms

    def seen(self, arm: str, measure: str, visit: Visit | None = None) -> Moments:
        """Requests of an arm that have reached their deadline in the present visit (or in `before`), or ratings of them."""
        visit = visit or self.visit
        if measure in self.rated:
            rated = self.rated[measure]
            return (rated.seen if visit is self.visit else rated.seen_before)[arm]
        return visit.late[arm].of(self.measured.reading[measure])

    @property
    def one_in(self) -> int:
        """One unit in so many is looked at."""
        return self._sample.one_in

    @property
    def waiting(self) -> int:
        """Requests that are being waited for."""
        return len(self._flight)

    # ------------------------------------------------------------------------------------------------------------- persistence
    def to_json(self) -> dict[str, Any]:
        """What a restart needs. Requests that are still being waited for are not in it: after a restart only those that began after
        it are looked at, in both arms alike. Nor is who was there: each epoch that is open ends with it."""
        return {
            "version": VERSION,
            "models": [self._rollout.stable, self._rollout.canary],
            "attempt": self.attempt,
            "generation": self.generation,
            "phase": self.phase,
            "excluded": sorted(self.excluded),
            "visits": {str(generation): phase for generation, phase in self._visits.items()},
            "watched": self.watched,
            "as_of": self.as_of,
            "rate": self.rate,
            "canary_units": list(self.canary_units),
            "met": self.met,
            "past": self.past.to_json(),
            **self.visit.to_json(),
            "before": None if self.before is None else {"phase": self.before.phase, **self.before.to_json()},
            "rated": self.rated.to_json(),
            "spent": self.spent.to_json(),
            **self.capital.to_json(),
        }

    @classmethod
    def from_json(
        cls, rollout: Rollout, deadline: float, document: dict[str, Any], not_before: float, prices: Mapping[str, Prices] = NO_PRICES
    ) -> Evidence:
        """Evidence as `to_json` wrote it; raises KeyError, TypeError or ValueError on anything else, IndexError where phases are gone.

        Evidence of other models is refused too: what an earlier canary of this name did says nothing about the present one.
        """
        if document["models"] != [rollout.stable, rollout.canary]:
            raise ValueError(f"is about the models {document['models']}, not about {rollout.stable} and {rollout.canary}")
        if document.get("version") != VERSION:
            raise ValueError(f"was written by another version ({document.get('version')}, not {VERSION})")
        evidence = cls(rollout, deadline, document["attempt"], not_before, prices)
        evidence.excluded = frozenset(document["excluded"])
        evidence.generation, evidence.phase = document["generation"], document["phase"]
        evidence._visits = {int(generation): phase for generation, phase in document["visits"].items()}
        evidence._clear_visit()
        evidence.rated.begin_visit(evidence.phase, frozenset())
        evidence.watched = document["watched"]
        evidence.as_of, evidence.rate = document["as_of"], document["rate"]
        evidence._sample.renew(evidence.rate, 0.0)
        if evidence.as_of:
            evidence.gap = Gap(evidence.as_of, not_before, evidence.rate)
        evidence.canary_units = dict.fromkeys(document["canary_units"])
        evidence.met = {cohort: int(count) for cohort, count in document["met"].items()}
        evidence.past.restore(document["past"])
        evidence.visit.restore(document)
        before = document.get("before")
        if before is not None:
            evidence.before = Visit(int(before["phase"]), evidence.measured.readings)
            evidence.before.restore(before)
        evidence.capital.restore(document)
        evidence.rated.restore(document.get("rated", {}))
        evidence.spent.restore(document.get("spent", {}))
        return evidence
