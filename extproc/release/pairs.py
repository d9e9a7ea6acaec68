"""What a shadow shows: two answers to one request, stable's and the canary's. Never Evidence: nobody has met the canary.

The rules:
* A pair is joined by the request's name, once both have ended; a copy that is still open at the deadline has failed, as everywhere.
* The canary also fails where it refuses (any 4xx but 429) what stable takes: parameters that it does not know are what a shadow is for.
* A request to be mirrored of which no copy is heard by its deadline is *missing*. Where half of the last ones are, the mirror is silent.
* E-processes look at each unit once, at its first pair: one person's prompts are alike. A restart forgets who was there.
* A judge compares some of the pairs (blind, in both orders). What it says is looked at in the order in which it comes: which pairs are
  judged was chosen by a hash, and how long a judge takes has nothing to do with which answer is better.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from extproc.domain import Arm, Finding, Mirrored, Outcome, Preferred, Prices, Reaction, Rollout, Shadow, Verdict
from extproc.measures import COST, ERRORS, MEASURES
from extproc.release import sentences
from extproc.release.eprocess import BetE
from extproc.release.finding import finding
from extproc.release.gate import harm_limit
from extproc.release.guards import CANARY, STABLE
from extproc.release.sentences import e_value
from extproc.release.totals import ArmTotals, Moments

LATE: Final = 5.0
"""Seconds after its deadline at which what is known of a request is all that there will be."""
WAITING_KEPT: Final = 20_000
"""Requests whose other half is waited for; the oldest is given up first."""
UNITS_KEPT: Final = 50_000
"""Units of which is known that they were there; nobody new is looked at beyond that, and there is evidence enough."""
RECENT: Final = 50
FEWEST: Final = 20
"""The mirror is silent where of the last RECENT requests, FEWEST at least, half or more are missing."""
WORSE: Final = 0.05
"""By so much of a preference (1 for the canary, 0 for stable, 0.5 for a tie) the canary may lose before that is harm."""
WATCHED_FOR: Final = 30.0
"""Seconds for which the last pair keeps the dwell counting."""
PAIRED_ERRORS, PREFERENCE = "shadow:errors", "shadow:judge"
VERSION: Final = 1
"""Of the document that `to_json` writes."""


class Pairs:
    """Of one visit of a rollout's shadow. Time is an argument: Unix seconds."""

    def __init__(self, rollout: Rollout, deadline: float, generation: int, attempt: int, prices: Mapping[str, Prices]) -> None:
        """`deadline`: seconds after which an open request has failed. `prices`: by cluster that answers."""
        assert rollout.shadow is not None
        self.shadow: Shadow = rollout.shadow
        self.generation = generation
        self._deadline, self._prices = deadline, prices
        self._judged_by_somebody = self.shadow.min_judged > 0
        processes = 2 if self._judged_by_somebody else 1
        self.limit = harm_limit(rollout, attempt) + math.log(processes)
        """ln of the e-value that ends a shadow: each e-process has its part of alpha."""
        first = next((gate.margin for gate in rollout.phases[0].gates if gate.measure == ERRORS.name), ERRORS.margin(0))
        self._errors = BetE(1.0, abs_=first)
        self._loses = BetE(1.0, abs_=WORSE)
        self._margin = first
        self.arms = {CANARY: ArmTotals(), STABLE: ArmTotals()}
        self.slower = Moments()
        """Seconds by which the copy took longer."""
        self.preferred = {"canary": 0, "tie": 0, "stable": 0}
        self.unjudged = ""
        """Why the judge says less than it might."""
        self.missing = 0
        self.throttled = 0
        """Pairs in which the canary said 429: counted apart, and no failure."""
        self.spent = 0.0
        """USD of the canary's answers; its prices may not be known."""
        self.watched = 0.0
        self._last = -math.inf
        self._recent: deque[bool] = deque(maxlen=RECENT)
        """Of the last requests, True for those that have a copy."""
        self._stable: dict[str, Outcome] = {}
        self._copies: dict[str, Mirrored] = {}
        """What waits for the other half, in the order of arrival."""
        self._units: set[str] = set()
        self._judged_units: set[str] = set()

    # ------------------------------------------------------------------------------------------------------------------ what is heard
    def hear(self, outcome: Outcome, now: float) -> None:
        """A request of the client, by its end. Only what was to be mirrored in this visit counts."""
        if not outcome.final or outcome.generation != self.generation:
            return
        copy = self._copies.get(outcome.stream_id)
        if copy is not None and copy.final:
            del self._copies[outcome.stream_id]
            self._pair(outcome, copy, now)
        else:
            self._keep(self._stable, outcome.stream_id, outcome)

    def hear_copy(self, copy: Mirrored, now: float) -> None:
        """A copy, by its end or while it is open."""
        outcome = self._stable.get(copy.stream_id)
        if outcome is not None and copy.final:
            del self._stable[copy.stream_id]
            self._copies.pop(copy.stream_id, None)
            self._pair(outcome, copy, now)
        else:
            self._keep(self._copies, copy.stream_id, copy)

    def prefer(self, preferred: Iterable[Preferred], silent: str) -> None:
        """What a judge says of pairs; `silent`: why it says less than it might."""
        self.unjudged = silent
        for said in preferred:
            if said.generation == self.generation:
                self.preferred["canary" if said.value > 0.5 else "stable" if said.value < 0.5 else "tie"] += 1
                if self._is_new(said.unit, self._judged_units):
                    self._loses.record(1.0 - said.value, 0.5)

    def tick(self, now: float, elapsed: float, unseen: bool) -> None:
        """Give up what is too old. `unseen`: entries of these `elapsed` seconds were lost, so that nobody can tell of what waits whether
        its other half will come."""
        if unseen:
            self._stable.clear()
            self._copies.clear()
            return
        limit = now - self._deadline - LATE
        while self._stable:
            name, outcome = next(iter(self._stable.items()))
            if outcome.start > limit:
                break
            del self._stable[name]
            copy = self._copies.pop(name, None)
            if copy is None:
                self.missing += 1
                self._recent.append(False)
            else:
                self._pair(outcome, replace(copy, final=True, failed=True, duration=max(copy.duration, self._deadline)), now)
        while self._copies:
            name, open_ = next(iter(self._copies.items()))
            if open_.start > limit:
                break
            del self._copies[name]
        if now - self._last < WATCHED_FOR:
            self.watched += elapsed

    def _keep(self, where: dict[str, Any], name: str, what: Any) -> None:
        where[name] = what
        if len(where) > WAITING_KEPT:
            del where[next(iter(where))]

    def _pair(self, outcome: Outcome, copy: Mirrored, now: float) -> None:
        self._recent.append(True)
        self._last = now
        late = copy.duration > self._deadline
        refused = 400 <= copy.status < 500 and copy.status != 429 and outcome.status < 400
        answered = replace(
            outcome,
            arm=Arm.CANARY,
            start=copy.start,
            duration=copy.duration,
            status=copy.status,
            failed=copy.failed or refused or late,
            throttled=copy.throttled,
            client_aborted=False,
            ttft=copy.ttft,
            answered_by=copy.answered_by,
            model=copy.model,
            input_tokens=copy.input_tokens,
            cached_tokens=copy.cached_tokens,
            output_tokens=copy.output_tokens,
            reasoning_tokens=None,
        )
        assert COST.read is not None
        self.spent += COST.read(answered, self._prices.get(answered.answered_by)) or 0.0
        self.throttled += copy.throttled
        if copy.throttled or outcome.throttled or outcome.client_aborted:
            # Whoever was not served, or went away, says nothing of the other.
            return
        failed = outcome.failed or outcome.duration > self._deadline
        self.arms[CANARY].add(answered)
        self.arms[STABLE].add(replace(outcome, failed=failed))
        if not (answered.failed or failed):
            slower = answered.duration - outcome.duration
            self.slower.n += 1
            self.slower.total += slower
            self.slower.squares += slower * slower
        if self._is_new(outcome.unit, self._units):
            self._errors.record(float(answered.failed), float(failed))

    @staticmethod
    def _is_new(unit: str, units: set[str]) -> bool:
        if unit in units or len(units) >= UNITS_KEPT:
            return False
        units.add(unit)
        return True

    # ------------------------------------------------------------------------------------------------------------------ what it says
    @property
    def count(self) -> int:
        """Pairs."""
        return self.arms[CANARY].requests

    @property
    def judged(self) -> int:
        """Pairs that a judge has compared."""
        return sum(self.preferred.values())

    @property
    def silent(self) -> str:
        """Why the mirror is believed to be silent; empty where it is not."""
        lost = len(self._recent) - sum(self._recent)
        if len(self._recent) < FEWEST or 2 * lost < len(self._recent):
            return ""
        return f"the mirror is silent: of the last {len(self._recent)} requests to be mirrored {lost} have no copy in the access log"

    def findings(self) -> tuple[Finding, ...]:
        """Errors; where somebody judges, what is preferred."""
        found = [self._of_errors()]
        if self._judged_by_somebody:
            found.append(self._of_preference())
        return tuple(found)

    def _of_errors(self) -> Finding:
        canary, stable = (_failures(self.arms[arm]) for arm in (CANARY, STABLE))
        log_e = self._errors.log_e
        said = f"canary {sentences.rate(canary)}, stable {sentences.rate(stable)} of the same requests"
        if self.slower.n:
            said += f"; the canary takes {_of_mean(self.slower)}"
        return finding(
            PAIRED_ERRORS,
            self._verdict(log_e, self.count),
            f"errors in the shadow: {said}; harm E {e_value(log_e)} of {e_value(self.limit)}",
            margin=self._margin,
            samples=(canary.n, stable.n),
            values=(canary.mean, stable.mean),
            harm=log_e,
            limit=self.limit,
            reaction=Reaction.ROLL_BACK,
        )

    def _of_preference(self) -> Finding:
        log_e, won = self._loses.log_e, self.preferred
        share = (won["canary"] + won["tie"] / 2) / self.judged if self.judged else None
        said = f"canary better in {won['canary']:,}, stable in {won['stable']:,}, no difference in {won['tie']:,} of {self.judged:,} pairs"
        return finding(
            PREFERENCE,
            self._verdict(log_e, self.judged),
            f"judge in the shadow: {said}; harm E {e_value(log_e)} of {e_value(self.limit)}",
            margin=WORSE,
            samples=(self.judged, self.judged),
            values=(share, None),
            harm=log_e,
            limit=self.limit,
            reaction=Reaction.ROLL_BACK,
        )

    def _verdict(self, log_e: float, count: int) -> Verdict:
        return Verdict.FAIL if log_e >= self.limit else Verdict.PASS if count else Verdict.NO_DATA

    # ------------------------------------------------------------------------------------------------------------- persistence
    def to_json(self) -> dict[str, Any]:
        """What a restart needs. What waits for its other half is not in it, nor who was there; nor what a judge says: whoever has it
        written down tells it again."""
        return {
            "version": VERSION,
            "generation": self.generation,
            "errors": self._errors.vector,
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "slower": [self.slower.n, self.slower.total, self.slower.squares],
            "missing": self.missing,
            "throttled": self.throttled,
            "spent": self.spent,
            "watched": self.watched,
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from what `to_json` wrote; raises KeyError, TypeError or ValueError on anything else, of another visit too."""
        if (document["version"], document["generation"]) != (VERSION, self.generation):
            raise ValueError("is of another visit, or was written by another version")
        self._errors = BetE(1.0, abs_=self._margin, vector=[float(one) for one in document["errors"]])
        self.arms = {name: ArmTotals.from_json(document["arms"][name]) for name in (CANARY, STABLE)}
        n, total, squares = document["slower"]
        self.slower = Moments(int(n), float(total), float(squares))
        self.missing, self.throttled = int(document["missing"]), int(document["throttled"])
        self.spent, self.watched = float(document["spent"]), float(document["watched"])


def _failures(arm: ArmTotals) -> Moments:
    return Moments(arm.requests, float(arm.failures), float(arm.failures))


def _of_mean(slower: Moments) -> str:
    """`0.120 s longer (95 % interval +0.080 s to +0.160 s)`; of pairs, so the same prompts on both sides."""
    mean, error = slower.total / slower.n, 1.96 * math.sqrt(slower.variance / slower.n)
    measure = MEASURES["latency_mean"]
    low, high = (sentences.difference(measure, value) for value in (mean - error, mean + error))
    return f"{sentences.value(measure, abs(mean))} {'longer' if mean >= 0 else 'less'} (95 % interval {low} to {high})"
