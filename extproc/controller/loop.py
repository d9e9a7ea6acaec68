"""The evaluate loop: outcomes -> Evidence -> Findings -> Decision -> State, once a second; and the acts of people in between.

Rules: State and its Journal entry are committed before anybody is told; where the store refuses, nothing moves and the next tick tries
again. The clock is an argument: `now` is Unix seconds, `elapsed` the monotonic seconds since the last tick.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from extproc import release
from extproc import spec as spec_room
from extproc.controller import saved
from extproc.controller.acts import wished
from extproc.controller.desk import Desk, are_saved, unsaved
from extproc.controller.leftovers import LOOK_BACK, Leftovers
from extproc.controller.readings import NoReadings, Readings
from extproc.controller.sight import Blindness, Sight
from extproc.domain import (
    Action,
    Decision,
    Finding,
    Heartbeat,
    JournalEntry,
    Mirrored,
    Outcome,
    Preferred,
    Rating,
    Reason,
    Rollout,
    RolloutState,
    Spec,
    State,
    Status,
    Verdict,
    reads_flags,
)
from extproc.errors import Problem, RefusedError, StoreError
from extproc.release import Evidence, Pairs
from extproc.runtime import FileState
from extproc.store import Health, Store

TICK: Final = 1.0
"""Seconds between evaluations."""
WATCHED_FOR: Final = 30.0
"""Seconds for which the last outcome keeps the dwell counting: without outcomes nobody watches."""
WARM_UP: Final = 2.0
"""After a start only requests that began this much later are looked at: of earlier ones some entries are lost, and not by chance."""
LONGEST_TICK: Final = 3.0
"""A longer gap (a frozen process, a suspended machine) was not watched, and does not count as dwell."""
CLOCK_SET: Final = 1.0
"""Seconds by which our two clocks may differ between two ticks; more means that somebody has set one."""

NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})
LOWERING: Final = frozenset({Action.ROLL_BACK, Action.ROLL_BACK_COHORT, Action.RETURN})
"""What may be done blindly: there is less canary afterwards."""

log = logging.getLogger(__name__)


class Loop:
    """The only writer of State. Synchronous: no decision waits for a network."""

    def __init__(self, spec_text: str, store: Store, now: float) -> None:
        """Meets the Spec with what is in the store; raises SpecError, RefusedError or StoreError and has then changed nothing."""
        self._store = store
        self.spec: Spec = spec_room.load(spec_text)
        self.spec_text = spec_text
        self.spec_file = FileState("")
        """What became of changes of the Spec's file, for those who look."""
        self.desks: dict[str, Desk] = {}
        self.readings: Readings = NoReadings()
        self.sight = Sight(self.spec.application.watch_lease)
        self.blind: dict[str, Blindness] = {}
        """Rollouts whose decisions are not heard of again, and what is missing."""
        self.away: dict[str, str] = {}
        """Rollouts whose canary cannot be asked, and why: its traffic goes to stable, and nothing is decided but to lower it."""
        self.heartbeat = store.read_heartbeat() or Heartbeat(0, ())
        """The last one that was written."""
        self._leftovers = Leftovers(store.journal(limit=LOOK_BACK))
        before = store.read_state()
        old = spec_room.load(store.read_spec(before.spec_digest)) if before is not None else None
        self.state: State = self._commit_spec(before, old, spec_text, self.spec, now)
        self._refusal = ""
        """Why Evidence could not be saved, as the log was told."""
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
        kept = self._kept(spec)
        self.spec, self.spec_text, self.state = spec, text, state
        self.sight.lease = spec.application.watch_lease
        self._lay_out(kept, now)
        return True

    def _kept(self, spec: Spec) -> dict[str, Desk]:
        """Desks whose Evidence is good under another Spec as it stands, each with its rollout as it is there: when it may go on can have
        changed. Evidence that was made under another deadline, or at other prices, is read again."""
        if spec.application.sla.latency_p99 != self.spec.application.sla.latency_p99 or spec.prices != self.spec.prices:
            return {}
        kept = {}
        for name, desk in self.desks.items():
            rollout = spec.rollouts.get(name)
            if rollout is not None and spec_room.fingerprint(rollout) == spec_room.fingerprint(desk.rollout):
                desk.rollout = rollout
                kept[name] = desk
        return kept

    def adopt_flags(self, source: str, text: str, now: float) -> bool:
        """Put a polled document of flags in force (it can be evaluated: the poller has looked); False where it is the present one.

        Raises StoreError and has then changed nothing.
        """
        digest = sha256(text.encode()).hexdigest()[:16]
        before = self.state.flags.get(source)
        if digest == before:
            return False
        state = replace(self.state, generation=self.state.generation + 1, flags={**self.state.flags, source: digest})
        numbers = {"source": source, "digest": digest, "before": before}
        why = f"flags {digest} of {source} are in force"
        entries = [
            JournalEntry(0, now, name, release.AUTOMATION, Action.ADOPT, why, state.generation, numbers)
            for name, rollout in self.spec.rollouts.items()
            if reads_flags(rollout, source)
        ]
        self.put(state, entries, {digest: text})
        log.info("flags %s of %s are in force", digest, source)
        return True

    def put(self, state: State, entries: Sequence[JournalEntry], texts: Mapping[str, str] = NO_OPTIONS) -> None:
        """Commit a State that moves no rollout; raises StoreError and has then changed nothing."""
        self._store.commit(state, self.state.generation, entries, {}, texts, self._leftovers.ripe(state))
        self._leftovers.changed(self.state, state)
        self.state = state

    def _commit_spec(self, before: State | None, old: Spec | None, text: str, spec: Spec, now: float) -> State:
        prints = {name: spec_room.fingerprint(rollout) for name, rollout in spec.rollouts.items()}
        state = release.adopt(before, old, spec, prints, now)
        if before is None or state.generation != before.generation:
            numbers = {"digest": spec.digest, "before": before.spec_digest if before is not None else None}
            entries = [
                JournalEntry(0, now, name, release.AUTOMATION, Action.ADOPT, f"Spec {spec.digest} is in force", state.generation, numbers)
                for name in spec.rollouts
            ]
            desks = self.desks.values()
            expected, ripe = before.generation if before is not None else 0, self._leftovers.ripe(state)
            self._store.commit(state, expected, entries, unsaved(desks), {spec.digest: text}, ripe)
            self._leftovers.changed(before, state)
            are_saved(desks)
        return state

    def _lay_out(self, kept: Mapping[str, Desk], now: float) -> None:
        """A desk for each rollout: what did not change stays on it, the rest is found in the store or begins anew."""
        stored = self._store.read_evidence() if len(kept) < len(self.spec.rollouts) else {}
        self.desks = {
            name: kept[name] if name in kept else Desk(rollout, self._restored(rollout, stored, now), pairs=self._paired(rollout, stored))
            for name, rollout in self.spec.rollouts.items()
        }
        for name in self.desks:
            self._follow(name)

    def _restored(self, rollout: Rollout, stored: Mapping[str, str], now: float) -> Evidence:
        attempt = self.state.rollouts[rollout.name].attempt
        deadline = self.spec.application.sla.latency_p99
        try:
            document = saved.document(rollout.name, attempt, stored)
            if document is not None:
                return Evidence.from_json(rollout, deadline, document, now + WARM_UP, self.spec.prices)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            said = "%s: its Evidence in the store cannot be used (%s) and begins anew; nothing is to be done, the next phase comes later"
            log.warning(said, rollout.name, type(error).__name__, extra={"rollout": rollout.name})
        return Evidence(rollout, deadline, attempt, now + WARM_UP, self.spec.prices)

    def _paired(self, rollout: Rollout, stored: Mapping[str, str]) -> Pairs | None:
        """The pairs of a shadow that goes on."""
        state = self.state.rollouts[rollout.name]
        going_on = state.status is Status.SHADOW
        return saved.paired(self._pairs(rollout), rollout.name, state.attempt, stored) if going_on else None

    # ---------------------------------------------------------------------------------------------------------------- outcomes
    def receive(self, outcomes: Sequence[Outcome], now: float, mirrored: Sequence[Mirrored] = ()) -> None:
        """What the collector heard."""
        for outcome in outcomes:
            self.sight.hear(outcome)
            desk = self.desks.get(outcome.rollout)
            if desk is None:
                self.unknown += 1
            elif outcome.reason is Reason.SHADOW and desk.pairs is not None:
                desk.pairs.hear(outcome, now)
            else:
                desk.evidence.observe(outcome, now)
        for copy in mirrored:
            pairs = self.desks[copy.rollout].pairs if copy.rollout in self.desks else None
            if pairs is not None:
                pairs.hear_copy(copy, now)

    def rate(self, ratings: Iterable[Rating], silent: Mapping[str, str] = NO_OPTIONS) -> None:
        """What judges and users say of answers; `silent`: by measure, why they say less than they might, empty where they do not."""
        for rating in ratings:
            if rating.rollout in self.desks:
                self.desks[rating.rollout].evidence.hear(rating)
        for desk in self.desks.values():
            desk.evidence.rated.silent.update(silent)

    def distrust(self, measure: str, lopsided: Mapping[str, tuple[int, str]]) -> None:
        """Rollout -> (visit, why a measure's ratings of its arms cannot be compared in it; empty where they can)."""
        for name, desk in self.desks.items():
            generation, why = lopsided.get(name, (0, ""))
            desk.evidence.rated.lopsided[measure] = why if generation == desk.evidence.generation else ""

    def prefer(self, preferred: Sequence[Preferred], silent: str) -> None:
        """What a judge says of pairs; `silent`: why it says less than it might, empty where it does not."""
        for name, desk in self.desks.items():
            if desk.pairs is not None:
                desk.pairs.prefer((said for said in preferred if said.rollout == name), silent)

    def count_decisions(self, rollout: str, count: int, begin: float, end: float) -> None:
        """So many decisions more between two instants (Unix seconds), as a router tells."""
        self.sight.decide(rollout, count, begin, end)

    # ------------------------------------------------------------------------------------------------------------------- tick
    def tick(self, now: float, elapsed: float) -> bool:
        """Evaluate every rollout, act on what that says, and tell routers that it was done; True where all Evidence was saved."""
        self._look(now, elapsed)
        carried_out = [self._evaluate(name, desk, now) for name, desk in self.desks.items()]
        self.ticks += 1
        self.last_tick = now
        # Whoever cannot carry out what he decides does not watch.
        kept = self.save()
        if kept and all(carried_out):
            self._beat()
        return kept

    def _look(self, now: float, elapsed: float) -> None:
        """What can be seen at all: a gap in our own time, or in what we hear, is not evidence of anything."""
        set_by = now - self.last_tick - elapsed
        gap = elapsed >= LONGEST_TICK or abs(set_by) > CLOCK_SET
        if gap:
            log.warning("%.0f s were not watched: this process stood still, or its clock was set (by %+.1f s)", elapsed, set_by)
            self.sight.begin_anew()
        before, self.blind = self.blind, self.sight.tick(now)
        for name, desk in self.desks.items():
            evidence, unseen = desk.evidence, gap or name in self.blind
            if unseen:
                evidence.look_from(now + WARM_UP)
            evidence.advance(now)
            if desk.pairs is not None and self.state.rollouts[name].status is Status.SHADOW:
                desk.pairs.tick(now, elapsed, unseen)
            if now - evidence.last_outcome < WATCHED_FOR and not unseen and name not in self.away:
                evidence.watch(elapsed)
        for name in self.blind.keys() - before.keys():
            said = "%s is blind, its canary traffic goes to stable: %s; find out why with `extproc doctor`"
            log.error(said, name, self.blind[name], extra={"rollout": name})
        for name in before.keys() - self.blind.keys():
            log.info("%s is not blind any more", name, extra={"rollout": name})

    def _evaluate(self, name: str, desk: Desk, now: float) -> bool:
        """One rollout; False where what was decided could not be carried out."""
        state, paged = self.state.rollouts[name], desk.decision.page
        desk.findings = self._found(desk, state)
        if state.status is Status.SHADOW and desk.pairs is not None:
            desk.decision = release.decide_shadow(desk.rollout, state, desk.pairs, now)
        else:
            desk.decision = release.decide(desk.rollout, state, desk.findings, desk.evidence, now)
        unseen = f"blind: {self.blind[name]}" if name in self.blind else self.away.get(name)
        if unseen and not state.status.terminal and desk.decision.action not in LOWERING:
            desk.decision = Decision(Action.HOLD, unseen, findings=desk.findings, page=True)
        elif desk.decision.page and not paged:
            said = "%s: %s; find out why; what can be done then is in `extproc status`"
            log.error(said, name, desk.decision.why, extra={"rollout": name, "generation": self.state.generation})
        if desk.decision.action is Action.HOLD:
            return True
        try:
            self._carry_out(desk, desk.decision, release.AUTOMATION, now)
        except StoreError as error:
            problem = error.problems[0]
            said = "%s could not %s, the next tick tries again: %s"
            log.error(said, name, desk.decision.action.value, problem, extra={"rollout": name, "problem": problem.id})
            return False
        return True

    def _beat(self) -> None:
        heartbeat = Heartbeat(self.heartbeat.number + 1, tuple(sorted({*self.blind, *self.away})))
        try:
            self._store.beat(heartbeat)
        except StoreError as error:
            lease, problem = self.spec.application.watch_lease, error.problems[0]
            log.error("no heartbeat, after %.0f s of that canary traffic goes to stable: %s", lease, problem, extra={"problem": problem.id})
        else:
            self.heartbeat = heartbeat

    def save(self) -> bool:
        """Write all Evidence; done at each tick, so that a kill costs a second of outcomes. A store that refuses is tried again."""
        desks = self.desks.values()
        try:
            self._store.save_evidence(unsaved(desks))
        except StoreError as error:
            problem = error.problems[0]
            if self._refusal != problem.id:
                log.error("the store cannot be written, and nothing moves until it can: %s", problem, extra={"problem": problem.id})
            self._refusal = problem.id
            return False
        are_saved(desks)
        if self._refusal:
            log.info("the store can be written again")
            self._refusal = ""
        return True

    @property
    def store_url(self) -> str:
        """Where State, Evidence and Journal are kept."""
        return self._store.url

    @property
    def store_health(self) -> Health:
        """Whether they can be."""
        return self._store.health

    # ------------------------------------------------------------------------------------------------------------------ people
    def act(
        self, name: str, action: Action, actor: str, why: str, now: float, request: str = "", options: Mapping[str, str] = NO_OPTIONS
    ) -> RolloutState:
        """What a person asks for; committed when this returns. Raises RefusedError or StoreError and has then changed nothing.

        `request`: the asker's name for this act, for the Journal. `options`: see `acts.OPTIONS`.
        """
        desk = self.desks.get(name)
        if desk is None:
            known = ", ".join(self.desks) or "none"
            raise RefusedError(Problem("act.unknown-rollout", name, "there is no such rollout", f"there are: {known}"))
        meant, wish = wished(desk.rollout, action, options, now)
        wish = replace(wish, held=any(finding.verdict is Verdict.FAIL for finding in desk.findings))
        decision = release.human(desk.rollout, self.state.rollouts[name], meant, why, wish, now)
        if desk.findings:
            decision = replace(decision, findings=desk.findings)
        self._carry_out(desk, decision, actor, now, request)
        return self.state.rollouts[name]

    # ----------------------------------------------------------------------------------------------------------------- commit
    def _carry_out(self, desk: Desk, decision: Decision, actor: str, now: float, request: str = "") -> None:
        name = desk.rollout.name
        state, entry = release.apply(self.state, desk.rollout, decision, actor, now)
        if request:
            entry = replace(entry, numbers={**entry.numbers, "request": request})
        self._store.commit(state, self.state.generation, [entry], unsaved([desk]))
        are_saved([desk])
        self.state = state
        self._follow(name)
        about = {"rollout": name, "generation": state.generation}
        log.info("%s: %s by %s: %s", name, decision.action.value, actor, decision.why, extra=about)

    def _follow(self, name: str) -> None:
        """Evidence goes where State has gone: a new attempt begins anew, a new phase is a new visit."""
        state, desk = self.state.rollouts[name], self.desks[name]
        if desk.evidence.attempt != state.attempt:
            desk.evidence = Evidence(desk.rollout, self.spec.application.sla.latency_p99, state.attempt, prices=self.spec.prices)
        if state.status.exposes and desk.evidence.generation != state.generation:
            desk.evidence.begin_visit(state.generation, state.phase, state.cohorts_out)
        if state.status is Status.SHADOW and (desk.pairs is None or desk.pairs.generation != state.generation):
            desk.pairs = self._pairs(desk.rollout)
        desk.findings = self._found(desk, state)

    def _pairs(self, rollout: Rollout) -> Pairs:
        state = self.state.rollouts[rollout.name]
        return Pairs(rollout, self.spec.application.sla.latency_p99, state.generation, state.attempt, self.spec.prices)

    def _found(self, desk: Desk, state: RolloutState) -> tuple[Finding, ...]:
        if state.status is Status.SHADOW and desk.pairs is not None:
            return desk.pairs.findings()
        if not state.status.exposes:
            return ()
        return release.evaluate(desk.rollout, desk.evidence, self.readings.values(desk.rollout.name, state.generation))
