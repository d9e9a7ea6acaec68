"""The phase machine under random findings, people and clocks: what must hold after every step."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from extproc.domain import (
    Action,
    Decision,
    Finding,
    Freeze,
    JournalEntry,
    Reaction,
    Rollout,
    RolloutState,
    StartMode,
    State,
    Status,
    Verdict,
)
from extproc.errors import RefusedError
from extproc.release import AUTOMATION, Evidence, Wish, apply, decide, human
from tests.support.specs import rollout

NAME = "new"
ACTS = (Action.START, Action.PAUSE, Action.RESUME, Action.ADVANCE, Action.RETURN, Action.OVERRIDE, Action.ROLL_BACK)
ANYWAY = (Action.ADVANCE, Action.RETURN, Action.OVERRIDE, Action.ROLL_BACK)
POSSIBLE: dict[Status, tuple[Action, ...]] = {
    Status.PENDING: (Action.START,),
    Status.PROGRESSING: (Action.PAUSE, *ANYWAY),
    Status.PAUSED: (Action.RESUME, *ANYWAY),
    Status.AWAITING_APPROVAL: (Action.PAUSE, Action.RESUME, *ANYWAY),
    Status.COMPLETED: (Action.ROLL_BACK,),
    Status.ROLLED_BACK: (Action.START,),
}
WHYS = st.sampled_from(["incident 4711", "go", "x", "", "   "])
FINDINGS = st.lists(
    st.builds(
        Finding,
        gate=st.sampled_from(["errors", "ceiling:errors", "metric:revenue", "sample_ratio"]),
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
        cohort=st.sampled_from(["", "", "staff", "germany"]),
        reaction=st.sampled_from([Reaction.ROLL_BACK, Reaction.ROLL_BACK, Reaction.RETURN, Reaction.HOLD]),
    ),
    max_size=3,
)


def holds(finding: Finding) -> bool:
    """A FAIL of it keeps the exposure as it is."""
    return finding.both_arms or (finding.reaction is Reaction.HOLD and not finding.cohort)


def exposure(given: Rollout, state: RolloutState) -> float:
    """Share of units that meet the canary, cohorts aside."""
    if state.status.exposes:
        return given.phases[state.phase].share
    return 1.0 if state.status is Status.COMPLETED else 0.0


class PhaseMachine(RuleBasedStateMachine):
    """Automation and people take turns; every decision is applied."""

    @initialize(
        start=st.sampled_from(StartMode),
        shares=st.sampled_from([(1.0,), (0.05, 1.0), (0.01, 0.05, 0.25, 0.5, 1.0)]),
        after=st.tuples(
            st.sampled_from([Reaction.ASK, Reaction.HOLD, Reaction.RETURN, Reaction.ROLL_BACK]), st.sampled_from(list(Reaction))
        ),
        approval_above=st.sampled_from([1.0, 1.0, 0.2]),
    )
    def begin(self, start: StartMode, shares: tuple[float, ...], after: tuple[Reaction, Reaction], approval_above: float) -> None:
        plain = rollout(start=start, approval_above=approval_above, freezes=(Freeze(200_000.0, 260_000.0, "holidays"),))
        phase = replace(plain.phases[0], min_units=0, min_requests=0, on_inconclusive=after[0], on_no_data=after[1])
        self.rollout = replace(plain, phases=tuple(replace(phase, name=f"{share:.0%}", share=share) for share in shares))
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
        harmful = [finding for finding in failing if not holds(finding)]
        overridden = self.now < before.override_until
        if decision.action is Action.HOLD:
            assert decision.why.strip()
            if before.status.exposes:
                assert not harmful, "a FAIL of the canary alone is never held"
            assert not decision.page or (failing and before.status.exposes)
            return
        assert not before.status.terminal, "no decision leaves an end without a person"
        if before.status.exposes and harmful:
            assert decision.action in (Action.ROLL_BACK, Action.ROLL_BACK_COHORT, Action.RETURN)
        if any(finding.reaction is Reaction.ROLL_BACK and not finding.cohort for finding in harmful) and before.status.exposes:
            assert decision.action is Action.ROLL_BACK
        self.carry_out(decision, AUTOMATION)
        after = self.stands
        if exposure(self.rollout, after) > exposure(self.rollout, before):
            assert not 200_000.0 <= self.now < 260_000.0, "not in a freeze"
            assert before.status in (Status.PROGRESSING, Status.PENDING)
            if before.status is Status.PENDING:
                assert self.rollout.start is StartMode.AUTOMATIC
            else:
                assert not [finding for finding in failing if not (overridden and finding.gate.startswith("metric:"))]
                assert overridden or all(finding.verdict is Verdict.PASS for finding in findings)
                assert self.evidence_was.watched >= self.rollout.phases[before.phase].min_dwell
                assert exposure(self.rollout, after) <= self.rollout.approval_above or after.status is Status.COMPLETED

    @rule(action=st.sampled_from(ACTS), why=WHYS)
    def a_person_acts(self, action: Action, why: str) -> None:
        possible = action in POSSIBLE[self.stands.status] and (action is not Action.RETURN or self.stands.phase > 0)
        if why.strip() and possible:
            self.carry_out(self.said(action, why), "ada")
            return
        with pytest.raises(RefusedError) as caught:
            self.said(action, why)
        assert all(problem.hint for problem in caught.value.problems)

    def said(self, action: Action, why: str) -> Decision:
        return human(self.rollout, self.stands, action, why, Wish(until=self.now + 5000.0), self.now)

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
        possible = [one for one in POSSIBLE[self.stands.status] if one is not Action.RETURN or self.stands.phase > 0]
        self.carry_out(self.said(data.draw(st.sampled_from(possible)), "seen"), "ada")

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
        assert after.phase >= before.phase or decision.action in (Action.START, Action.RETURN)
        moved = exposure(self.rollout, after) != exposure(self.rollout, before) or after.phase != before.phase
        moved = moved or after.cohorts_out != before.cohorts_out
        assert not moved or after.generation == self.state.generation, "whoever is met by a changed exposure carries its generation"
        assert after.generation in (before.generation, self.state.generation)
        if decision.action is Action.ROLL_BACK:
            assert exposure(self.rollout, after) == 0.0
        if decision.action is Action.RETURN:
            assert exposure(self.rollout, after) < exposure(self.rollout, before)
            assert after.status is (Status.AWAITING_APPROVAL if actor == AUTOMATION else Status.PROGRESSING)
        if decision.action is Action.ROLL_BACK_COHORT:
            assert after.cohorts_out == (*before.cohorts_out, decision.cohort)
            assert len(set(after.cohorts_out)) < len(self.rollout.cohorts), "the last cohort takes all the way back"
        if after.attempt != before.attempt:
            assert (decision.action, before.status, actor) == (Action.START, Status.ROLLED_BACK, "ada") or decision.fresh
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
        go(human(given, state.rollouts[NAME], action, "why"))
    go(decide(given, state.rollouts[NAME], (), Evidence(given, 8.0), 1e9))
    assert state.rollouts[NAME].status is Status.AWAITING_APPROVAL
    while state.rollouts[NAME].status is not Status.COMPLETED:
        go(human(given, state.rollouts[NAME], Action.ADVANCE, "why"))
    assert reached == set(Status) - {Status.SHADOW}
    assert state.rollouts[NAME].attempt == 2
