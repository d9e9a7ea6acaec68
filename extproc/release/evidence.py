"""What we have seen of one rollout: outcomes in, sufficient statistics out.

The rules:
* A request enters the statistics at two fixed ages, never at its completion: at EARLY (failed by then?) and at the deadline (failed by
  then, or still open?). Batching by completion would let an arm that fails fast look worse than one that fails slowly at every age;
  here only EARLY sees speed, on purpose: a canary that fails within a second where stable fails after seven *is* worse at that age,
  and is rolled back for it although the rates are equal at the deadline.
* At each age requests are taken in the order of their start, within a stratum: (generation, cohort). Generation names the visit of a
  phase, so membership never depends on clocks.
* Comparisons see units that will be recognised again; ceilings see every request. Requests outside of every cohort are not looked at.
* E-processes against harm run over the whole attempt; evidence for safety, counts and dwell belong to the present visit of a phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

from extproc.domain import Arm, Outcome, Reason, Rollout
from extproc.release.batches import CLOSE_SOON_AT, Batcher
from extproc.release.eprocess import BetE, RatioE
from extproc.release.histogram import Histogram

COUNTED: Final = frozenset((Reason.RING, Reason.COMPLETED))
"""Only where the ring decided are the arms comparable: not overrides, pinned conversations, or whoever is excluded."""
EARLY: Final = 1.0
"""Seconds; the first age at which a request is looked at, or the deadline where that is sooner."""
GRACE: Final = 0.5
"""Seconds for an access-log entry to arrive: Envoy flushes every 0.1 s and reports open requests every second."""
UNITS_KEPT: Final = 20_000
"""Distinct units are counted up to here; no phase may ask for more."""
RATE_OVER: Final = 10.0
"""Seconds over which the rate of outcomes is smoothed."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What a restart has cost: requests of this time are not looked at, in both arms alike. Those that were waiting for their deadline
    when it began (up to a deadline before `since`) were looked at at EARLY alone."""

    since: float
    """Unix seconds up to which everything that was heard is in the Evidence."""
    until: float
    """Requests that begin later are looked at."""
    rate: float
    """Outcomes a second, before."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(0.0, self.until - self.since)

    @property
    def outcomes(self) -> int:
        """About how many outcomes that were."""
        return round(self.rate * self.seconds)


@dataclass(slots=True)
class _Member:
    """One request until it has been looked at at both ages."""

    start: float
    generation: int
    cohort: str
    canary: bool
    durable: bool
    ended: float | None = None
    """Age at its end; None while open."""
    failed: bool = False

    def harmed_by(self, age: float, deadline: bool) -> bool:
        """True where it had failed by this age; at the deadline a request that is still open has failed too."""
        if self.ended is None or self.ended > age:
            return deadline
        return self.failed


@dataclass(slots=True)
class Counts:
    """Requests and failures of one arm at one age."""

    requests: int = 0
    failures: int = 0

    def add(self, failed: bool) -> None:
        """One request."""
        self.requests += 1
        self.failures += failed


@dataclass(slots=True)
class ArmTotals:
    """What ended in one arm during a visit; for people, never for a decision."""

    requests: int = 0
    failures: int = 0
    throttled: int = 0
    client_aborted: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    ttft: Histogram = field(default_factory=Histogram)
    duration: Histogram = field(default_factory=Histogram)

    def add(self, outcome: Outcome) -> None:
        """One outcome that is final."""
        self.requests += 1
        self.failures += outcome.failed
        self.throttled += outcome.throttled
        self.client_aborted += outcome.client_aborted
        self.input_tokens += outcome.input_tokens or 0
        self.output_tokens += outcome.output_tokens or 0
        if outcome.ttft is not None:
            self.ttft.add(outcome.ttft)
        self.duration.add(outcome.duration)


class Maturity:
    """One age at which requests are looked at: its queue, its batches and counts of the present visit, its e-process against harm."""

    def __init__(self, age: float, deadline: bool) -> None:
        self.age = age
        self._deadline = deadline
        self._queue: list[tuple[float, int, _Member]] = []
        self._added = 0
        self._batchers: dict[tuple[int, str], tuple[Batcher, Batcher]] = {}
        self.harm: dict[str, RatioE] = {}
        """By cohort, over the whole attempt; vectors are added when read."""
        self.safe: dict[str, BetE] = {}
        """By cohort, in the present visit."""
        self.canary = Counts()
        self.stable = Counts()

    def begin_visit(self) -> None:
        """Counts and evidence for safety begin anew; harm goes on."""
        self.safe = {}
        self.canary, self.stable = Counts(), Counts()

    def forget_waiting(self) -> None:
        """Requests that have not been looked at will not be."""
        self._queue.clear()

    def expect(self, member: _Member) -> None:
        """Look at this request when it is old enough."""
        self._added += 1
        heappush(self._queue, (member.start, self._added, member))

    def due(self, now: float) -> Iterator[tuple[_Member, bool]]:
        """Requests that are old enough, in order of start, each with whether it was harmed."""
        while self._queue and self._queue[0][0] <= now - self.age - GRACE:
            member = heappop(self._queue)[2]
            yield member, member.harmed_by(self.age, self._deadline)

    def count(self, member: _Member, harmed: bool) -> None:
        """A request of the present visit."""
        (self.canary if member.canary else self.stable).add(harmed)

    def compare(self, member: _Member, harmed: bool, share: float, margin: float | None) -> None:
        """Into the batch of its stratum; `margin` is that of the present visit, None for requests of an earlier one."""
        stratum = member.generation, member.cohort
        if stratum not in self._batchers:
            self._batchers[stratum] = Batcher(share), Batcher(share, CLOSE_SOON_AT)
        for_harm, for_safe = self._batchers[stratum]
        batch = for_harm.add(member.canary, harmed)
        if batch is not None:
            self.harm.setdefault(member.cohort, RatioE()).record(batch.x, batch.y, batch.n_c, batch.n_s)
        batch = for_safe.add(member.canary, harmed)
        if batch is not None and margin is not None and batch.n_c and batch.n_s:
            safe = self.safe.setdefault(member.cohort, BetE(1.0, abs_=-margin))
            safe.record(1 - batch.x / batch.n_c, 1 - batch.y / batch.n_s)

    def log_e_harm(self) -> float:
        """ln of the e-value against "the canary's rate is at most stable's", all strata together."""
        total = RatioE()
        for one in self.harm.values():
            total.merge(one)
        return total.log_e

    def log_e_safe(self, margin: float) -> float:
        """ln of the e-value against "the canary's rate is stable's plus the margin, or more"."""
        total = BetE(1.0, abs_=-margin)
        for one in self.safe.values():
            total.merge(one)
        return total.log_e


class Evidence:
    """Evidence of one attempt of one rollout. Time is an argument everywhere: Unix seconds, by the clock of Envoy's access log."""

    def __init__(self, rollout: Rollout, deadline: float, attempt: int = 1, not_before: float = 0.0) -> None:
        """`deadline`: seconds after which an open request has failed. `not_before`: requests that began earlier are not looked at."""
        self._rollout = rollout
        self._deadline = deadline
        self._not_before = not_before
        self.attempt = attempt
        self.early = Maturity(min(EARLY, deadline), deadline <= EARLY)
        self.late = Maturity(deadline, True)
        self._open: dict[str, _Member] = {}
        self._visits: dict[int, int] = {}
        self._looked_at = 0.0
        self.generation = 0
        """The present visit; 0 before the first."""
        self.phase = 0
        self.watched = 0.0
        """Seconds of this visit during which outcomes arrived."""
        self.canary_units: dict[str, None] = {}
        """Distinct units that met the canary in this visit, in the order of their first request."""
        self.arms = {"canary": ArmTotals(), "stable": ArmTotals()}
        self.last_outcome = 0.0
        """When an outcome of this visit last arrived."""
        self.late_outcomes = 0
        self.duplicates = 0
        self.foreign = 0
        """Outcomes of no visit that we know: assigned before a rollback, or by a router that is behind."""
        self.as_of = 0.0
        """Everything that was heard by then is in here."""
        self.rate = 0.0
        """Outcomes a second, of late."""
        self._ended = 0
        self.gap: Gap | None = None
        """What the last restart has cost; None where there was none."""

    # ------------------------------------------------------------------------------------------------------------------ visits
    def begin_visit(self, generation: int, phase: int) -> None:
        """The rollout has entered a phase, or entered it again; the same generation twice changes nothing."""
        if generation == self.generation:
            return
        self.generation, self.phase = generation, phase
        self._visits[generation] = phase
        self.watched = 0.0
        self.canary_units = {}
        self.arms = {"canary": ArmTotals(), "stable": ArmTotals()}
        self.last_outcome = 0.0
        for maturity in (self.early, self.late):
            maturity.begin_visit()

    def watch(self, seconds: float) -> None:
        """So much of the dwell was watched."""
        self.watched += seconds

    def look_from(self, start: float) -> None:
        """Entries were lost: of requests that began before `start` nobody can tell how they ended, so those that wait are forgotten."""
        self._not_before = max(self._not_before, start)
        self._open.clear()
        for maturity in (self.early, self.late):
            maturity.forget_waiting()

    def share(self, phase: int) -> float:
        """Share of units that meet the canary in a phase, holdback taken off."""
        return min(self._rollout.phases[phase].share, 1 - self._rollout.holdback)

    def margin(self) -> float | None:
        """The margin of the error gate in the present phase, None where it has no such gate."""
        return next((gate.margin for gate in self._rollout.phases[self.phase].gates), None)

    # ---------------------------------------------------------------------------------------------------------------- outcomes
    def observe(self, outcome: Outcome, now: float) -> None:
        """One access-log entry: a request that ended, or one that is still open."""
        self.as_of = max(self.as_of, now)
        self._ended += outcome.final
        if not outcome.cohort or outcome.reason not in COUNTED:
            return
        if outcome.generation not in self._visits or outcome.start < self._not_before:
            self.foreign += 1
            return
        member = self._open.get(outcome.stream_id)
        if member is None:
            member = self._meet(outcome, now)
            if member is None:
                return
        elif member.ended is not None:
            self.duplicates += 1
            return
        if outcome.final:
            member.ended, member.failed = outcome.duration, outcome.failed
            if outcome.generation == self.generation:
                self.arms["canary" if member.canary else "stable"].add(outcome)

    def _meet(self, outcome: Outcome, now: float) -> _Member | None:
        """A request heard of for the first time; None if it is too late to be looked at."""
        if outcome.start <= self._looked_at - self._deadline - GRACE:
            # Longer than the deadline: it was looked at by its periodic entries, this is only its end.
            self.late_outcomes += outcome.duration <= self._deadline
            return None
        canary = outcome.arm is Arm.CANARY
        member = _Member(outcome.start, outcome.generation, outcome.cohort, canary, outcome.durable)
        self._open[outcome.stream_id] = member
        if outcome.start > self._looked_at - self.early.age - GRACE:
            self.early.expect(member)
        else:
            self.late_outcomes += outcome.final and outcome.duration <= self.early.age
        self.late.expect(member)
        if outcome.generation == self.generation:
            self.last_outcome = now
            if canary and outcome.durable and len(self.canary_units) < UNITS_KEPT:
                self.canary_units[outcome.unit] = None
        return member

    def advance(self, now: float) -> None:
        """Look at the requests that are old enough by now."""
        if now > self._looked_at > 0.0:
            passed = now - self._looked_at
            self.rate += (self._ended / passed - self.rate) * (min(1.0, passed / RATE_OVER) if self.rate else 1.0)
        self._ended = 0
        self.as_of = max(self.as_of, now)
        self._looked_at = max(self._looked_at, now)
        for maturity in (self.early, self.late):
            for member, harmed in maturity.due(self._looked_at):
                present = member.generation == self.generation
                if present:
                    maturity.count(member, harmed)
                share = self.share(self._visits[member.generation])
                if member.durable and 0.0 < share < 1.0:
                    maturity.compare(member, harmed, share, self.margin() if present else None)
        if self._open:
            horizon = self._looked_at - self._deadline - GRACE
            for stream_id in [stream_id for stream_id, member in self._open.items() if member.start <= horizon]:
                del self._open[stream_id]

    # ------------------------------------------------------------------------------------------------------------- persistence
    def to_json(self) -> dict[str, Any]:
        """What a restart needs. Requests that are still being waited for are not in it: after a restart only those that began after
        it are looked at, in both arms alike."""
        return {
            "models": [self._rollout.stable, self._rollout.canary],
            "attempt": self.attempt,
            "generation": self.generation,
            "phase": self.phase,
            "visits": {str(generation): phase for generation, phase in self._visits.items()},
            "watched": self.watched,
            "as_of": self.as_of,
            "rate": self.rate,
            "canary_units": list(self.canary_units),
            "maturities": [
                {
                    "harm": {cohort: one.vector for cohort, one in maturity.harm.items()},
                    "safe": {cohort: one.vector for cohort, one in maturity.safe.items()},
                    "canary": [maturity.canary.requests, maturity.canary.failures],
                    "stable": [maturity.stable.requests, maturity.stable.failures],
                }
                for maturity in (self.early, self.late)
            ],
            "arms": {
                name: [arm.requests, arm.failures, arm.throttled, arm.client_aborted, arm.input_tokens, arm.output_tokens]
                + [{str(bucket): count for bucket, count in histogram.counts.items()} for histogram in (arm.ttft, arm.duration)]
                for name, arm in self.arms.items()
            },
        }

    @classmethod
    def from_json(cls, rollout: Rollout, deadline: float, document: dict[str, Any], not_before: float) -> Evidence:
        """Evidence as `to_json` wrote it; raises KeyError, TypeError or ValueError on anything else, IndexError where phases are gone.

        Evidence of other models is refused too: what an earlier canary of this name did says nothing about the present one.
        """
        if document["models"] != [rollout.stable, rollout.canary]:
            raise ValueError(f"is about the models {document['models']}, not about {rollout.stable} and {rollout.canary}")
        evidence = cls(rollout, deadline, document["attempt"], not_before)
        evidence.generation, evidence.phase = document["generation"], document["phase"]
        evidence._visits = {int(generation): phase for generation, phase in document["visits"].items()}
        evidence.watched = document["watched"]
        evidence.as_of, evidence.rate = document["as_of"], document["rate"]
        if evidence.as_of:
            evidence.gap = Gap(evidence.as_of, not_before, evidence.rate)
        evidence.canary_units = dict.fromkeys(document["canary_units"])
        margin = evidence.margin()
        for maturity, one in zip((evidence.early, evidence.late), document["maturities"], strict=True):
            maturity.harm = {cohort: RatioE(vector=vector) for cohort, vector in one["harm"].items()}
            if margin is not None:
                maturity.safe = {cohort: BetE(1.0, abs_=-margin, vector=vector) for cohort, vector in one["safe"].items()}
            maturity.canary, maturity.stable = Counts(*one["canary"]), Counts(*one["stable"])
        for name, (*counts, ttft, duration) in document["arms"].items():
            histograms = [Histogram({int(bucket): count for bucket, count in one.items()}) for one in (ttft, duration)]
            evidence.arms[name] = ArmTotals(*counts, *histograms)
        return evidence
