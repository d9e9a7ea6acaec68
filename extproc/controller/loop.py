"""The evaluate loop: outcomes -> Evidence -> Findings -> Decision -> State, once a second; and the acts of people in between.

Rules: State and its Journal entry are committed before anybody is told; where the store refuses, nothing moves and the next tick tries
again. The clock is an argument: `now` is Unix seconds, `elapsed` the monotonic seconds since the last tick.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from extproc import release
from extproc import spec as spec_room
from extproc.domain import Action, Decision, Finding, JournalEntry, Outcome, Rollout, RolloutState, Spec, State
from extproc.errors import Problem, RefusedError, StoreError
from extproc.release import Evidence
from extproc.runtime import FileState
from extproc.store import Store

TICK: Final = 1.0
"""Seconds between evaluations."""
SAVE_EVERY: Final = 5.0
"""Seconds between two writes of Evidence; a decision writes it at once."""
WATCHED_FOR: Final = 30.0
"""Seconds for which the last outcome keeps the dwell counting: without outcomes nobody watches."""
WARM_UP: Final = 2.0
"""After a start only requests that began this much later are looked at: of earlier ones some entries are lost, and not by chance."""
LONGEST_TICK: Final = 3.0
"""A longer gap (a frozen process, a suspended machine) was not watched, and does not count as dwell."""

NOT_YET: Final = Decision(Action.HOLD, "has not been evaluated yet")

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Desk:
    """One rollout as the loop sees it."""

    rollout: Rollout
    evidence: Evidence
    findings: tuple[Finding, ...] = ()
    decision: Decision = NOT_YET


class Loop:
    """The only writer of State. Synchronous: no decision waits for a network."""

    def __init__(self, spec_text: str, store: Store, now: float) -> None:
        """Meets the Spec with what is in the store; raises SpecError, RefusedError or StoreError and has then changed nothing."""
        self._store = store
        self.spec: Spec = spec_room.load(spec_text)
        self.spec_file = FileState("")
        """What became of changes of the Spec's file, for those who look."""
        self.desks: dict[str, Desk] = {}
        before = store.read_state()
        old = spec_room.load(store.read_spec(before.spec_digest)) if before is not None else None
        self.state: State = self._commit_spec(before, old, spec_text, self.spec, now)
        self._unsaved = 0.0
        self.undecided = 0
        """Requests that ended without an assignment."""
        self.unknown = 0
        """Outcomes of a rollout that the Spec does not know."""
        self.ticks = 0
        self.last_tick = now
        self._lay_out({}, now)

    # -------------------------------------------------------------------------------------------------------------------- Spec
    def adopt(self, text: str, spec: Spec, now: float) -> bool:
        """Put another Spec in force (`spec` is what `text` says); False where it is the present one.

        By the rules of a start: what runs is immutable. Raises RefusedError or StoreError and has then changed nothing.
        """
        if spec.digest == self.state.spec_digest:
            return False
        state = self._commit_spec(self.state, self.spec, text, spec, now)
        # A deadline can only have changed where nothing runs; Evidence that was made under another one is read again under this one.
        same = spec.application.sla.latency_p99 == self.spec.application.sla.latency_p99
        kept = {name: desk for name, desk in self.desks.items() if same and desk.rollout == spec.rollouts.get(name)}
        self.spec, self.state = spec, state
        self._lay_out(kept, now)
        return True

    def _commit_spec(self, before: State | None, old: Spec | None, text: str, spec: Spec, now: float) -> State:
        prints = {name: spec_room.fingerprint(rollout) for name, rollout in spec.rollouts.items()}
        state = release.adopt(before, old, spec, prints, now)
        if before is None or state.generation != before.generation:
            numbers = {"digest": spec.digest, "before": before.spec_digest if before is not None else None}
            entries = [
                JournalEntry(0, now, name, release.AUTOMATION, Action.ADOPT, f"Spec {spec.digest} is in force", state.generation, numbers)
                for name in spec.rollouts
            ]
            evidence = dict(self._saved(desk) for desk in self.desks.values())
            self._store.commit(state, before.generation if before is not None else 0, entries, evidence, {spec.digest: text})
        return state

    def _lay_out(self, kept: Mapping[str, Desk], now: float) -> None:
        """A desk for each rollout: what did not change stays on it, the rest is found in the store or begins anew."""
        saved = self._store.read_evidence() if len(kept) < len(self.spec.rollouts) else {}
        self.desks = {
            name: kept[name] if name in kept else Desk(rollout, self._restored(rollout, saved, now))
            for name, rollout in self.spec.rollouts.items()
        }
        for name in self.desks:
            self._follow(name)

    def _restored(self, rollout: Rollout, saved: Mapping[str, str], now: float) -> Evidence:
        attempt = self.state.rollouts[rollout.name].attempt
        document = saved.get(_evidence_key(rollout.name, attempt))
        deadline = self.spec.application.sla.latency_p99
        if document is not None:
            try:
                return Evidence.from_json(rollout, deadline, orjson.loads(document), now + WARM_UP)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                said = (
                    "%s: its Evidence in the store cannot be used (%s) and begins anew; nothing is to be done, the next phase comes later"
                )
                log.warning(said, rollout.name, type(error).__name__, extra={"rollout": rollout.name})
        return Evidence(rollout, deadline, attempt, now + WARM_UP)

    # ---------------------------------------------------------------------------------------------------------------- outcomes
    def receive(self, outcomes: Sequence[Outcome], now: float) -> None:
        """What the collector heard."""
        for outcome in outcomes:
            desk = self.desks.get(outcome.rollout)
            if desk is None:
                self.unknown += 1
            else:
                desk.evidence.observe(outcome, now)

    # ------------------------------------------------------------------------------------------------------------------- tick
    def tick(self, now: float, elapsed: float) -> None:
        """Evaluate every rollout, and act on what that says."""
        for name, desk in self.desks.items():
            evidence = desk.evidence
            evidence.advance(now)
            if now - evidence.last_outcome < WATCHED_FOR and elapsed < LONGEST_TICK:
                evidence.watch(elapsed)
            state = self.state.rollouts[name]
            desk.findings = release.evaluate(desk.rollout, evidence) if state.status.exposes else ()
            paged = desk.decision.page
            desk.decision = release.decide(desk.rollout, state, desk.findings, evidence, now)
            if desk.decision.page and not paged:
                said = "%s: %s; look at both models, then `extproc resume %s` or `extproc rollback %s`"
                log.error(said, name, desk.decision.why, name, name, extra={"rollout": name, "generation": self.state.generation})
            if desk.decision.action is not Action.HOLD:
                try:
                    self._carry_out(desk, desk.decision, release.AUTOMATION, now)
                except StoreError as error:
                    problem = error.problems[0]
                    said = "%s could not %s, the next tick tries again: %s"
                    log.error(said, name, desk.decision.action.value, problem, extra={"rollout": name, "problem": problem.id})
        self.ticks += 1
        self.last_tick = now
        self._unsaved += elapsed
        if self._unsaved >= SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write all Evidence; a store that refuses is logged, and tried again."""
        try:
            self._store.save_evidence(dict(self._saved(desk) for desk in self.desks.values()))
            self._unsaved = 0.0
        except StoreError as error:
            log.error("Evidence could not be saved: %s", error.problems[0], extra={"problem": error.problems[0].id})

    # ------------------------------------------------------------------------------------------------------------------ people
    def act(self, name: str, action: Action, actor: str, why: str, now: float) -> RolloutState:
        """What a person asks for; committed when this returns. Raises RefusedError or StoreError and has then changed nothing."""
        desk = self.desks.get(name)
        if desk is None:
            known = ", ".join(self.desks) or "none"
            raise RefusedError(Problem("act.unknown-rollout", name, "there is no such rollout", f"there are: {known}"))
        decision = release.human(desk.rollout, self.state.rollouts[name], action, why)
        if desk.findings:
            decision = replace(decision, findings=desk.findings)
        self._carry_out(desk, decision, actor, now)
        return self.state.rollouts[name]

    # ----------------------------------------------------------------------------------------------------------------- commit
    def _carry_out(self, desk: Desk, decision: Decision, actor: str, now: float) -> None:
        name = desk.rollout.name
        state, entry = release.apply(self.state, desk.rollout, decision, actor, now)
        self._store.commit(state, self.state.generation, [entry], dict([self._saved(desk)]))
        self.state = state
        self._follow(name)
        about = {"rollout": name, "generation": state.generation}
        log.info("%s: %s by %s: %s", name, decision.action.value, actor, decision.why, extra=about)

    def _follow(self, name: str) -> None:
        """Evidence goes where State has gone: a new attempt begins anew, a new phase is a new visit."""
        state, desk = self.state.rollouts[name], self.desks[name]
        if desk.evidence.attempt != state.attempt:
            desk.evidence = Evidence(desk.rollout, self.spec.application.sla.latency_p99, state.attempt)
        if state.status.exposes and desk.evidence.generation != state.generation:
            desk.evidence.begin_visit(state.generation, state.phase)
        desk.findings = release.evaluate(desk.rollout, desk.evidence) if state.status.exposes else ()

    def _saved(self, desk: Desk) -> tuple[str, str]:
        return _evidence_key(desk.rollout.name, desk.evidence.attempt), orjson.dumps(desk.evidence.to_json()).decode()


def _evidence_key(rollout: str, attempt: int) -> str:
    """Every attempt keeps its own Evidence: the old one is the archive."""
    return f"{rollout}#{attempt}"
