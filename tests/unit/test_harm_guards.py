"""A gate that only guards against harm asks for no evidence; where nothing measures it, it holds nothing."""

from __future__ import annotations

from dataclasses import replace

from extproc.domain import Action, Gate, Reaction, RolloutState, Status, Verdict
from extproc.release import Evidence, decide, evaluate, waiting_for
from tests.support.outcomes import show, traffic
from tests.support.specs import cohort, rollout

GATES = (Gate("errors", 0.05, 0.5), Gate("ttft_p95", 0.5, 0.5))
PLAIN = rollout(cohorts=(cohort("everyone"),))
ROLLOUT = replace(PLAIN, phases=tuple(replace(phase, gates=GATES) for phase in PLAIN.phases))
STATE = RolloutState(Status.PROGRESSING, 2, 0.0, 2, 1, "", "")


def seen(canary_tells: bool, stable_tells: bool, seconds: int = 60) -> Evidence:
    """Traffic at 25 %, in which an arm may tell no time to first token."""
    evidence = Evidence(ROLLOUT, 8.0)
    evidence.begin_visit(2, 2)
    told = {True: canary_tells, False: stable_tells}
    made = traffic(seconds, 0.25)
    show(evidence, [one if told[one.arm == "canary"] else replace(one, ttft=None) for one in made])
    evidence.watch(3600.0)
    return evidence


def test_what_no_arm_tells_is_not_waited_for() -> None:
    """The core profile has no time to first token; the finding still says that there is no data."""
    evidence = seen(False, False)
    found = evaluate(ROLLOUT, evidence)
    assert {one.gate: one.verdict for one in found}["ttft_p95"] is Verdict.NO_DATA
    assert waiting_for(ROLLOUT.phases[2], found, evidence) == ()
    assert decide(ROLLOUT, STATE, found, evidence, 100.0).action is Action.ADVANCE


def test_what_one_arm_alone_tells_is_waited_for() -> None:
    """A canary that never says when it begins is not like stable."""
    evidence = seen(False, True)
    assert waiting_for(ROLLOUT.phases[2], evaluate(ROLLOUT, evidence), evidence) == ("data for ttft_p95",)


def test_a_guardrail_is_waited_for_in_any_case() -> None:
    """It asks for evidence, and there is none."""
    gates = tuple(replace(gate, guardrail=True) for gate in GATES)
    given = replace(ROLLOUT, phases=tuple(replace(phase, gates=gates) for phase in ROLLOUT.phases))
    evidence = seen(False, False)
    assert waiting_for(given.phases[2], evaluate(given, evidence), evidence) == ("data for ttft_p95",)


def test_at_max_dwell_it_is_no_lack_of_data() -> None:
    """What is declared for NO_DATA is not done for a measure that is not there."""
    phases = tuple(replace(phase, on_no_data=Reaction.ROLL_BACK, min_requests=10**6) for phase in ROLLOUT.phases)
    given = replace(ROLLOUT, phases=phases)
    for evidence, action in ((seen(False, False), Action.ASK), (seen(False, True), Action.ROLL_BACK)):
        assert decide(given, STATE, evaluate(given, evidence), evidence, 1e6).action is action
