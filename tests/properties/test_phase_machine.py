"""The phase machine under random findings, people and clocks: what must hold after every step."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extproc.domain import Action, Decision, Finding, JournalEntry, Rollout, RolloutState, StartMode, State, Status, Verdict
from extproc.errors import RefusedError
from extproc.release import AUTOMATION, Evidence, apply, decide, human
from tests.support.specs import rollout

NAME = "new"
ACTS = (Action.START, Action.PAUSE, Action.RESUME, Action.ADVANCE, Action.ROLL_BACK)
POSSIBLE: dict[Status, tuple[Action, ...]] = {
    Status.PENDING: (Action.START,),
    Status.PROGRESSING: (Action.PAUSE, Action.ADVANCE, Action.ROLL_BACK),
    Status.PAUSED: (Action.RESUME, Action.ADVANCE, Action.ROLL_BACK),
    Status.AWAITING_APPROVAL: (Action.PAUSE, Action.RESUME, Action.ADVANCE, Action.ROLL_BACK),
    Status.COMPLETED: (Action.ROLL_BACK,),
    Status.ROLLED_BACK: (Action.START,),
}
WHYS = st.sampled_from(["incident 4711", "go", "x", "", "   "])
FINDINGS = st.lists(
    st.builds(
        Finding,
        gate=st.sampled_from(["errors", "ceiling:errors"]),
        verdict=st.sampled_from(Verdict),
        sentence=st.sampled_from(["a sentence", "another one"]),
        estimate=st.none(),
        interval=st.none(),
        margin=st.just(0.01),
        canary_samples=st.integers(0, 1000),
        stable_samples=st.integers(0, 1000),
        canary_value=st.none(),
        stable_value=st.none(),
        log_e_harm=st.floats(-5, 50),
        log_e_safe=st.floats(-5, 50),
        both_arms=st.booleans(),
    ),
    max_size=3,
)


def exposure(given: Rollout, state: RolloutState) -> float:
    """Share of units that meet the canary."""
    if state.status.exposes:
        return given.phases[state.phase].share
    return 1.0 if state.status is Status.COMPLETED else 0.0


class PhaseMachine(RuleBasedStateMachine):
    """Automation and people take turns; every decision is applied."""

    @initialize(start=st.sampled_from(StartMode), shares=st.sampled_from([(1.0,), (0.05, 1.0), (0.01, 0.05, 0.25, 0.5, 1.0)]))
    def begin(self, start: StartMode, shares: tuple[float, ...]) -> None:
        plain = rollout(start=start)
        self.rollout = replace(
            plain, phases=tuple(replace(plain.phases[0], name=f"{share:.0%}", share=share, min_units=0, min_requests=0) for share in shares)
        )
        self.now = 1000.0
        pending = RolloutState(Status.PENDING, 0, self.now, 0, 1, "has not been started", "print")
        self.state = State(1, "digest", {NAME: pending, "bystander": replace(pending, status=Status.PAUSED)})
        self.bystander = self.state.rollouts["bystander"]
        self.journal: list[JournalEntry] = []
        self.applied = 0
        self.evidence = Evidence(self.rollout, 8.0)

    @property
    def stands(self) -> RolloutState:
        return self.state.rollouts[NAME]

    @rule(seconds=st.sampled_from([1.0, 59.0, 60.0, 3600.0, 100_000.0]), watched=st.booleans())
    def time_passes(self, seconds: float, watched: bool) -> None:
        self.now += seconds
        if watched:
            self.evidence.watch(seconds)

    @rule(findings=FINDINGS)
    def automation_decides(self, findings: list[Finding]) -> None:
        before = self.stands
        decision = decide(self.rollout, before, findings, self.evidence, self.now)
        failing = [finding for finding in findings if finding.verdict is Verdict.FAIL]
        if decision.action is Action.HOLD:
            assert decision.why.strip()
            if before.status.exposes:
                assert not any(not finding.both_arms for finding in failing), "a FAIL of the canary alone is never held"
            assert decision.page == (bool(failing) and before.status.exposes)
            return
        assert not before.status.terminal, "no decision leaves an end without a person"
        if before.status.exposes and failing:
            assert decision.action is Action.ROLL_BACK
        self.carry_out(decision, AUTOMATION)
        after = self.stands
        if exposure(self.rollout, after) > exposure(self.rollout, before):
            assert before.status in (Status.PROGRESSING, Status.PENDING)
            if before.status is Status.PENDING:
                assert self.rollout.start is StartMode.AUTOMATIC
            else:
                assert not failing
                assert all(finding.verdict is Verdict.PASS for finding in findings)
                assert self.evidence_was.watched >= self.rollout.phases[before.phase].min_dwell

    @rule(action=st.sampled_from(ACTS), why=WHYS)
    def a_person_acts(self, action: Action, why: str) -> None:
        if why.strip() and action in POSSIBLE[self.stands.status]:
            self.carry_out(human(self.rollout, self.stands, action, why, {}), "ada")
            return
        with pytest.raises(RefusedError) as caught:
            human(self.rollout, self.stands, action, why, {})
        assert all(problem.hint for problem in caught.value.problems)

    @rule()
    @precondition(lambda self: not self.stands.status.terminal)
    def all_is_well_for_the_dwell(self) -> None:
        """So that the walk also comes to the last phases, and tempts whoever waits for a person: everything passes, and was watched."""
        self.time_passes(60.0, True)
        self.automation_decides([])

    @rule()
    @precondition(lambda self: self.stands.status is Status.PROGRESSING)
    def max_dwell_passes_unwatched(self) -> None:
        """So that the walk also comes to where a person is asked."""
        self.evidence = Evidence(self.rollout, 8.0, self.stands.attempt)
        self.time_passes(3600.0, False)
        self.automation_decides([])

    @rule(data=st.data())
    @precondition(lambda self: self.stands.status in (Status.PAUSED, Status.AWAITING_APPROVAL))
    def a_person_answers(self, data: st.DataObject) -> None:
        action = data.draw(st.sampled_from(POSSIBLE[self.stands.status]))
        self.carry_out(human(self.rollout, self.stands, action, "seen", {}), "ada")

    def carry_out(self, decision: Decision, actor: str) -> None:
        before = self.stands
        self.evidence_was = self.evidence
        self.state, entry = apply(self.state, self.rollout, decision, actor, self.now)
        self.applied += 1
        self.journal.append(entry)
        after = self.stands
        assert entry.why.strip()
        assert (entry.actor, entry.generation, entry.rollout) == (actor, self.state.generation, NAME)
        assert entry.numbers["share"] == exposure(self.rollout, after)
        assert after.phase <= before.phase + 1
        assert after.phase >= before.phase or decision.action is Action.START
        moved = exposure(self.rollout, after) != exposure(self.rollout, before) or after.phase != before.phase
        assert not moved or after.generation == self.state.generation, "whoever is met by a changed exposure carries its generation"
        assert after.generation in (before.generation, self.state.generation)
        if decision.action is Action.ROLL_BACK:
            assert exposure(self.rollout, after) == 0.0
        if after.attempt != before.attempt:
            assert (decision.action, before.status, actor) == (Action.START, Status.ROLLED_BACK, "ada")
            assert after.attempt == before.attempt + 1
        if after.generation != before.generation and after.status.exposes:
            self.evidence = Evidence(self.rollout, 8.0, after.attempt)
            self.evidence.begin_visit(after.generation, after.phase)

    @invariant()
    def generation_is_the_number_of_decisions(self) -> None:
        if hasattr(self, "state"):
            assert self.state.generation == 1 + self.applied
            assert [entry.generation for entry in self.journal] == list(range(2, 2 + self.applied))

    @invariant()
    def nobody_else_moves(self) -> None:
        if hasattr(self, "state"):
            assert self.state.rollouts["bystander"] == self.bystander
            assert 0 <= self.stands.phase < len(self.rollout.phases)

    @invariant()
    def a_rollback_stays_rolled_back_until_a_person_comes(self) -> None:
        if getattr(self, "journal", None) and self.stands.status is Status.ROLLED_BACK:
            assert exposure(self.rollout, self.stands) == 0.0
            assert self.journal[-1].action is Action.ROLL_BACK


PhaseMachine.TestCase.settings = settings(deadline=None, derandomize=True, database=None, max_examples=300, stateful_step_count=40)
test_the_phase_machine_keeps_its_laws = PhaseMachine.TestCase


@pytest.mark.parametrize("start", list(StartMode))
def test_every_status_of_the_law_is_reached(start: StartMode) -> None:
    """The walk that a release takes, so that the machine above is known to meet every status but shadow."""
    given = rollout(start=start)
    one = RolloutState(Status.PENDING, 0, 0.0, 0, 1, "new", "print")
    state = State(1, "d", {NAME: one})
    reached = {Status.PENDING}

    def go(decision: Decision) -> None:
        nonlocal state
        state, _ = apply(state, given, decision, "ada", 0.0)
        reached.add(state.rollouts[NAME].status)

    for action in (Action.START, Action.PAUSE, Action.RESUME, Action.ROLL_BACK, Action.START):
        go(human(given, state.rollouts[NAME], action, "why", {}))
    go(decide(given, state.rollouts[NAME], (), Evidence(given, 8.0), 1e9))
    assert state.rollouts[NAME].status is Status.AWAITING_APPROVAL
    while state.rollouts[NAME].status is not Status.COMPLETED:
        go(human(given, state.rollouts[NAME], Action.ADVANCE, "why", {}))
    assert reached == set(Status) - {Status.SHADOW}
    assert state.rollouts[NAME].attempt == 2
