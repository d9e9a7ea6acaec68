"""decide, human, apply: one test for each row of the table, and a refusal for everything that is not in it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import orjson
import pytest

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
from tests.support.outcomes import outcome
from tests.support.specs import rollout

ROLLOUT = rollout()
MANUAL = rollout(start=StartMode.MANUAL)
LAST = len(ROLLOUT.phases) - 1
NOW = 10_000.0
EXPOSING = (Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL)


def finding(
    verdict: Verdict, gate: str = "errors", both_arms: bool = False, cohort: str = "", reaction: Reaction = Reaction.ROLL_BACK
) -> Finding:
    return Finding(
        gate=gate,
        verdict=verdict,
        sentence=f"{gate} {verdict.value}",
        estimate=None,
        interval=None,
        margin=0.01,
        canary_samples=0,
        stable_samples=0,
        canary_value=None,
        stable_value=None,
        log_e_harm=0.0,
        log_e_safe=0.0,
        both_arms=both_arms,
        cohort=cohort,
        reaction=reaction,
        within="+1.00 pp",
    )


PASSES = (finding(Verdict.PASS), finding(Verdict.PASS, "ceiling:errors"))


def standing(status: Status, phase: int = 1, since: float = NOW - 100.0, attempt: int = 1) -> RolloutState:
    return RolloutState(status, phase, since, 7, attempt, f"it is {status.value}", "print")


def watched(seconds: float = 60.0, units: int = 50, requests: int = 100, phase: int = 1) -> Evidence:
    evidence = Evidence(ROLLOUT, 8.0)
    evidence.begin_visit(2, phase)
    evidence.watch(seconds)
    for number in range(requests):
        evidence.observe(outcome(number, unit=str(number % units) if units else "", durable=units > 0), 101.0)
    return evidence


def decided(
    state: RolloutState, *findings: Finding, evidence: Evidence | None = None, given: Rollout = ROLLOUT, now: float = NOW
) -> Decision:
    return decide(given, state, findings, evidence or watched(phase=state.phase), now)


def applied(status: Status, decision: Decision, phase: int = 1, actor: str = AUTOMATION) -> tuple[RolloutState, JournalEntry]:
    before = State(9, "digest", {"new": standing(status, phase), "other": standing(Status.PAUSED)})
    after, entry = apply(before, ROLLOUT, decision, actor, NOW)
    assert after.generation == entry.generation == 10
    assert after.spec_digest == "digest"
    assert after.rollouts["other"] == before.rollouts["other"], "nobody else moves"
    assert before.rollouts["new"] == standing(status, phase), "State is a value"
    assert (entry.sequence, entry.at, entry.rollout, entry.actor) == (0, NOW, "new", actor)
    assert (entry.action, entry.why) == (decision.action, decision.why)
    changed = after.rollouts["new"]
    assert changed.why == decision.why
    assert changed.fingerprint == "print"
    return changed, entry


# ------------------------------------------------------------------------------------------------------------- rows: automation
def test_row_pending_starts_by_itself() -> None:
    """start: automatic."""
    decision = decided(standing(Status.PENDING, 0))
    assert (decision.action, decision.to_phase, decision.why) == (Action.START, 0, "starts by itself")
    changed, entry = applied(Status.PENDING, decision, 0)
    assert changed == RolloutState(Status.PROGRESSING, 0, NOW, 10, 1, "starts by itself", "print")
    assert entry.numbers["share"] == 0.01


def test_row_pending_waits_for_a_person() -> None:
    """start: manual says which command it waits for."""
    decision = decided(standing(Status.PENDING, 0), given=MANUAL)
    assert (decision.action, decision.why) == (Action.HOLD, "waits for `extproc start new`")


def test_row_every_gate_passes() -> None:
    """Dwell and minimums are met: the next phase, with the sentences of the gates as its reason."""
    decision = decided(standing(Status.PROGRESSING, 1), *PASSES)
    assert (decision.action, decision.to_phase) == (Action.ADVANCE, 2)
    assert decision.why == "errors pass; ceiling:errors pass"
    assert decision.findings == PASSES
    changed, entry = applied(Status.PROGRESSING, decision)
    assert (changed.status, changed.phase, changed.since, changed.generation) == (Status.PROGRESSING, 2, NOW, 10)
    assert entry.numbers["from"] == {"status": "progressing", "phase": "5%"}
    assert entry.numbers["to"] == {"status": "progressing", "phase": "25%"}
    assert entry.numbers["share"] == 0.25
    assert [one["gate"] for one in entry.numbers["findings"]] == ["errors", "ceiling:errors"]


def test_row_the_last_phase_completes() -> None:
    """The canary is the default then."""
    decision = decided(standing(Status.PROGRESSING, LAST), PASSES[1])
    assert (decision.action, decision.to_phase) == (Action.COMPLETE, None)
    changed, entry = applied(Status.PROGRESSING, decision, LAST)
    assert (changed.status, changed.phase, changed.since, changed.generation) == (Status.COMPLETED, LAST, NOW, 10)
    assert entry.numbers["share"] == 1.0


def test_a_phase_without_gates_moves_on_by_dwell_and_minimums() -> None:
    """And says so."""
    assert decided(standing(Status.PROGRESSING, 1)).why == "dwell and minimums are met, the phase has no gate"


@pytest.mark.parametrize(
    ("evidence", "findings", "wish"),
    [
        (watched(seconds=59.0), PASSES, "1 s more of watched time"),
        (watched(units=49), PASSES, "1 more distinct canary units"),
        (watched(requests=99), PASSES, "1 more canary requests"),
        (watched(units=0), PASSES, "50 more distinct canary units"),
        (watched(), (finding(Verdict.INCONCLUSIVE),), "evidence that errors stays within +1.00 pp (safety E 1 of 20)"),
        (watched(), (finding(Verdict.PASS), finding(Verdict.NO_DATA, "ceiling:errors")), "data for ceiling:errors"),
    ],
)
def test_whatever_is_missing_holds(evidence: Evidence, findings: tuple[Finding, ...], wish: str) -> None:
    """Dwell, units, requests, evidence, data: each alone."""
    decision = decided(standing(Status.PROGRESSING), *findings, evidence=evidence)
    assert (decision.action, decision.why, decision.page) == (Action.HOLD, f"needs {wish}", False)


def test_row_max_dwell_is_over() -> None:
    """A person is asked, with what is missing; at the last moment before it is not."""
    state = standing(Status.PROGRESSING, since=NOW - 3600.0)
    decision = decided(state, finding(Verdict.NO_DATA))
    assert (decision.action, decision.why) == (Action.ASK, "max dwell is over and there is no decision; missing: data for errors")
    assert decided(state, finding(Verdict.NO_DATA), now=NOW - 0.1).action is Action.HOLD
    assert decided(state, *PASSES).action is Action.ADVANCE, "what is there counts, even at the last moment"
    changed, entry = applied(Status.PROGRESSING, decision)
    assert (changed.status, changed.phase, changed.generation) == (Status.AWAITING_APPROVAL, 1, 7)
    assert entry.numbers["share"] == 0.05, "the share stays"


@pytest.mark.parametrize("status", EXPOSING)
@pytest.mark.parametrize("gate", ["errors", "ceiling:errors"])
def test_row_a_gate_fails(status: Status, gate: str) -> None:
    """Rolled back at once, in whatever state exposes; no dwell and no minimum is asked for."""
    bad = finding(Verdict.FAIL, gate)
    decision = decided(standing(status), PASSES[0], bad, evidence=watched(0.0, requests=0))
    assert (decision.action, decision.why, decision.findings) == (Action.ROLL_BACK, f"{gate} fail", (PASSES[0], bad))
    changed, entry = applied(status, decision)
    assert (changed.status, changed.phase, changed.since, changed.generation) == (Status.ROLLED_BACK, 1, NOW, 10)
    assert entry.numbers["share"] == 0.0


@pytest.mark.parametrize("status", EXPOSING)
def test_row_both_arms_break_a_ceiling(status: Status) -> None:
    """An incident: held and paged, even past max dwell and with all else passing; the canary's own fault still rolls back."""
    both = finding(Verdict.FAIL, "ceiling:errors", both_arms=True)
    decision = decided(standing(status, since=0.0), PASSES[0], both)
    assert (decision.action, decision.page) == (Action.HOLD, True)
    assert decision.why == "incident in both arms, held: ceiling:errors fail"
    alone = decided(standing(status), finding(Verdict.FAIL), both)
    assert (alone.action, alone.why, alone.page) == (Action.ROLL_BACK, "errors fail", False)


@pytest.mark.parametrize("status", [Status.PAUSED, Status.AWAITING_APPROVAL])
@pytest.mark.parametrize("findings", [PASSES, (finding(Verdict.INCONCLUSIVE),), (finding(Verdict.NO_DATA),), ()])
def test_automation_never_raises_exposure_against_a_person(status: Status, findings: tuple[Finding, ...]) -> None:
    """Paused, or a person is asked: whatever passes, it holds, and keeps the reason."""
    decision = decided(standing(status, since=0.0), *findings)
    assert (decision.action, decision.why) == (Action.HOLD, f"it is {status.value}")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ROLLED_BACK, Status.SHADOW])
@pytest.mark.parametrize("findings", [PASSES, (finding(Verdict.FAIL),)])
@pytest.mark.parametrize("given", [ROLLOUT, MANUAL])
def test_what_rests_is_left_alone(status: Status, findings: tuple[Finding, ...], given: Rollout) -> None:
    """Only a person leads out of an end, also where rollouts start by themselves."""
    assert decided(standing(status), *findings, given=given) == Decision(Action.HOLD, f"it is {status.value}")


# ----------------------------------------------------------------------------------------------------------------- rows: people
@pytest.mark.parametrize("given", [ROLLOUT, MANUAL])
def test_row_a_person_starts(given: Rollout) -> None:
    """From pending: the first attempt."""
    decision = human(given, standing(Status.PENDING, 0), Action.START, "go")
    assert (decision.action, decision.to_phase, decision.why) == (Action.START, 0, "go")
    changed, _ = applied(Status.PENDING, decision, 0, "ada")
    assert (changed.status, changed.phase, changed.attempt) == (Status.PROGRESSING, 0, 1)


def test_row_a_person_starts_again() -> None:
    """From rolled back, at whatever phase it stood: the first phase, and one attempt more."""
    decision = human(ROLLOUT, standing(Status.ROLLED_BACK, 3), Action.START, "fixed")
    changed, entry = applied(Status.ROLLED_BACK, decision, 3, "ada")
    assert (changed.status, changed.phase, changed.attempt, changed.generation) == (Status.PROGRESSING, 0, 2, 10)
    assert entry.numbers["attempt"] == 2


@pytest.mark.parametrize("status", [Status.PROGRESSING, Status.AWAITING_APPROVAL])
def test_row_a_person_pauses(status: Status) -> None:
    """The share stays: whoever wants it gone rolls back. The visit goes on."""
    changed, entry = applied(status, human(ROLLOUT, standing(status), Action.PAUSE, "look"), 1, "ada")
    assert changed == replace(standing(Status.PAUSED), why="look")
    assert entry.numbers["share"] == 0.05


@pytest.mark.parametrize("status", [Status.PAUSED, Status.AWAITING_APPROVAL])
def test_row_a_person_resumes(status: Status) -> None:
    """The same visit; the clock of max dwell begins anew."""
    changed, _ = applied(status, human(ROLLOUT, standing(status), Action.RESUME, "fine"), 1, "ada")
    assert changed == replace(standing(Status.PROGRESSING), why="fine", since=NOW)


def test_row_a_person_says_that_an_incident_is_over() -> None:
    """The same phase, looked at anew: e-values do not forget. Where nothing has failed, there is nothing to resume."""
    changed, _ = applied(Status.PROGRESSING, human(ROLLOUT, standing(Status.PROGRESSING), Action.RESUME, "over", Wish(held=True)), 1, "ada")
    assert changed == replace(standing(Status.PROGRESSING), why="over", since=NOW, generation=10)
    changed, _ = applied(Status.PAUSED, human(ROLLOUT, standing(Status.PAUSED), Action.RESUME, "over", Wish(held=True)), 1, "ada")
    assert changed.generation == standing(Status.PAUSED).generation
    with pytest.raises(RefusedError, match="cannot resume while it is progressing"):
        human(ROLLOUT, standing(Status.PROGRESSING), Action.RESUME, "over", Wish(held=False))


@pytest.mark.parametrize(
    ("status", "retry", "said"),
    [
        (Status.ROLLED_BACK, False, "attempt 1 was rolled back: it is rolled_back"),
        (Status.PENDING, True, "it has not been tried yet"),
    ],
)
def test_a_retry_is_asked_for_by_its_name(status: Status, retry: bool, said: str) -> None:
    """Who starts again what was rolled back says so, and is told which attempt that is, and what it has left."""
    with pytest.raises(RefusedError) as caught:
        human(ROLLOUT, standing(status), Action.START, "go", Wish(retry=retry))
    (problem,) = caught.value.problems
    assert (problem.id, problem.message) == ("act.retry", said)
    if status is Status.ROLLED_BACK:
        assert problem.hint == "add --retry to try again: attempt 2, which has half of this one's alpha"
    assert human(ROLLOUT, standing(status), Action.START, "go", Wish(retry=not retry)).action is Action.START


@pytest.mark.parametrize("status", EXPOSING)
@pytest.mark.parametrize(("phase", "action"), [(1, Action.ADVANCE), (LAST, Action.COMPLETE)])
def test_row_a_person_promotes(status: Status, phase: int, action: Action) -> None:
    """The next phase, or the end, whatever the gates say."""
    decision = human(ROLLOUT, standing(status, phase), Action.ADVANCE, "I know")
    assert decision.action is action
    changed, entry = applied(status, decision, phase, "ada")
    assert changed.status is (Status.PROGRESSING if action is Action.ADVANCE else Status.COMPLETED)
    assert changed.phase == min(phase + 1, LAST)
    assert (entry.actor, entry.why) == ("ada", "I know")


@pytest.mark.parametrize("status", [*EXPOSING, Status.COMPLETED])
def test_row_a_person_rolls_back(status: Status) -> None:
    """Any time, also after completion."""
    changed, entry = applied(status, human(ROLLOUT, standing(status), Action.ROLL_BACK, "no"), 1, "ada")
    assert (changed.status, changed.generation, entry.numbers["share"]) == (Status.ROLLED_BACK, 10, 0.0)


@pytest.mark.parametrize(("wish", "epoch"), [(Wish(), 4), (Wish(drains=True), 3)])
@pytest.mark.parametrize("status", [*EXPOSING, Status.COMPLETED])
def test_a_rollback_moves_open_conversations_unless_told_otherwise(status: Status, wish: Wish, epoch: int) -> None:
    """Their tokens end with it; drained, they still count."""
    decision = human(ROLLOUT, standing(status), Action.ROLL_BACK, "no", wish)
    state = State(9, "digest", {"new": replace(standing(status), epoch=3)})
    after, entry = apply(state, ROLLOUT, decision, "ada", NOW)
    assert (after.rollouts["new"].epoch, entry.numbers["epoch"]) == (epoch, epoch)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING, Status.SHADOW}))
def test_row_a_person_revokes(status: Status) -> None:
    """Every token that is out has ended; nothing else moves, and why it stands where it stands is not forgotten."""
    decision = human(ROLLOUT, standing(status), Action.REVOKE, "leaked")
    after, entry = apply(State(9, "digest", {"new": standing(status)}), ROLLOUT, decision, "ada", NOW)
    assert after == State(10, "digest", {"new": replace(standing(status), epoch=1)})
    assert (entry.action, entry.why, entry.numbers["epoch"]) == (Action.REVOKE, "leaked", 1)


def test_another_attempt_ends_the_tokens_of_the_one_before() -> None:
    """Whoever was pinned in the attempt that failed is met by the ring again."""
    first = human(ROLLOUT, standing(Status.PENDING, 0), Action.START, "go")
    again = human(ROLLOUT, standing(Status.ROLLED_BACK), Action.START, "fixed")
    assert [applied(status, one)[0].epoch for status, one in ((Status.PENDING, first), (Status.ROLLED_BACK, again))] == [0, 1]


POSSIBLE: dict[Status, list[str]] = {
    Status.PENDING: ["start"],
    Status.SHADOW: ["promote", "rollback"],
    Status.PROGRESSING: ["pause", "promote", "return", "rollback --cohort", "override", "rollback", "revoke"],
    Status.PAUSED: ["resume", "promote", "return", "rollback --cohort", "override", "rollback", "revoke"],
    Status.AWAITING_APPROVAL: ["pause", "resume", "promote", "return", "rollback --cohort", "override", "rollback", "revoke"],
    Status.COMPLETED: ["rollback", "revoke"],
    Status.ROLLED_BACK: ["start", "revoke"],
}
WORDS = {
    "start": Action.START,
    "pause": Action.PAUSE,
    "resume": Action.RESUME,
    "promote": Action.ADVANCE,
    "return": Action.RETURN,
    "rollback --cohort": Action.ROLL_BACK_COHORT,
    "override": Action.OVERRIDE,
    "rollback": Action.ROLL_BACK,
    "revoke": Action.REVOKE,
}


@pytest.mark.parametrize(("status", "word"), [(s, w) for s, w in product(Status, WORDS) if w not in POSSIBLE[s]])
def test_what_the_table_does_not_name_is_refused(status: Status, word: str) -> None:
    """With where it stands, and everything that is possible instead."""
    with pytest.raises(RefusedError) as caught:
        human(ROLLOUT, standing(status), WORDS[word], "please")
    (problem,) = caught.value.problems
    assert (problem.id, problem.path) == ("act.refused", "new")
    assert problem.message == f"cannot {word} while it is {status.value}: it is {status.value}"
    assert problem.hint == f"possible now: {', '.join(POSSIBLE[status])}"


@pytest.mark.parametrize(("status", "word"), [(s, w) for s, words in POSSIBLE.items() for w in words])
def test_what_the_table_names_is_possible(status: Status, word: str) -> None:
    """The counterpart: exactly these pairs are not refused."""
    assert (
        human(ROLLOUT, standing(status), WORDS[word], "please", Wish(cohort=ROLLOUT.cohorts[0].name, until=NOW + 60), NOW).why == "please"
    )


@pytest.mark.parametrize("why", ["", "  ", "\n\t"])
def test_a_person_gives_a_reason(why: str) -> None:
    """The Journal is read by those who come later."""
    with pytest.raises(RefusedError) as caught:
        human(ROLLOUT, standing(Status.PROGRESSING), Action.PAUSE, why)
    assert [problem.id for problem in caught.value.problems] == ["act.why"]
    assert "--why" in caught.value.problems[0].hint


@pytest.mark.parametrize("action", [Action.HOLD, Action.ADOPT])
def test_what_changes_no_rollout_is_not_applied(action: Action) -> None:
    """A HOLD that reaches State would be a defect of ours, and is loud."""
    with pytest.raises(AssertionError, match="changes no rollout"):
        applied(Status.PROGRESSING, Decision(action, "nothing"))


def test_numbers_are_ready_for_json() -> None:
    """The Journal keeps them as they are."""
    decision = decided(standing(Status.PROGRESSING), finding(Verdict.FAIL))
    numbers: dict[str, Any] = orjson.loads(orjson.dumps(applied(Status.PROGRESSING, decision)[1].numbers))
    assert numbers["findings"][0]["verdict"] == "fail"
    assert numbers["findings"][0]["margin"] == 0.01


# -------------------------------------------------------------------------------------------------------- rows: less than all the way
@pytest.mark.parametrize("status", EXPOSING)
def test_row_one_cohort_is_to_blame(status: Status) -> None:
    """It goes out, the phase and the status stay; whoever else fails takes all the way back; the last cohort does, too."""
    bad = finding(Verdict.FAIL, cohort="germany")
    decision = decided(standing(status), PASSES[1], bad)
    assert (decision.action, decision.cohort, decision.why) == (Action.ROLL_BACK_COHORT, "germany", "errors fail")
    changed, entry = applied(status, decision)
    assert changed == replace(standing(status), cohorts_out=("germany",), why="errors fail", since=NOW, generation=10)
    assert (entry.numbers["cohort"], entry.numbers["cohorts_out"]) == ("germany", ["germany"])
    assert decided(standing(status), bad, finding(Verdict.FAIL, "ceiling:errors")).action is Action.ROLL_BACK
    both = finding(Verdict.FAIL, "ceiling:errors", both_arms=True)
    assert decided(standing(status), bad, both).action is Action.ROLL_BACK_COHORT
    others_out = replace(standing(status), cohorts_out=("staff", "everyone"))
    assert decided(others_out, bad).action is Action.ROLL_BACK


@pytest.mark.parametrize("status", EXPOSING)
def test_row_a_phase_that_declares_a_return_goes_one_back(status: Status) -> None:
    """And waits there for a person, as another attempt: what has just failed is not climbed again by itself. From the first phase, or
    where another finding says so, it is all the way."""
    back = finding(Verdict.FAIL, reaction=Reaction.RETURN)
    decision = decided(standing(status, 2), back)
    assert (decision.action, decision.to_phase, decision.fresh) == (Action.RETURN, 1, True)
    changed, _ = applied(status, decision, 2)
    assert (changed.status, changed.phase, changed.attempt, changed.generation) == (Status.AWAITING_APPROVAL, 1, 2, 10)
    assert decided(standing(status, 0), back).action is Action.ROLL_BACK
    assert decided(standing(status, 2), back, finding(Verdict.FAIL)).action is Action.ROLL_BACK


@pytest.mark.parametrize("status", EXPOSING)
@pytest.mark.parametrize("gate", ["sample_ratio", "metric:revenue"])
def test_row_what_only_holds_pages(status: Status, gate: str) -> None:
    """Never an advance, never a rollback; a real failure still goes first."""
    held = finding(Verdict.FAIL, gate, reaction=Reaction.HOLD)
    decision = decided(standing(status, since=0.0), PASSES[0], held)
    assert (decision.action, decision.page, decision.why) == (Action.HOLD, True, f"held: {gate} fail")
    assert decided(standing(status), held, finding(Verdict.FAIL)).action is Action.ROLL_BACK


@pytest.mark.parametrize(
    ("inconclusive", "no_data", "verdicts", "action"),
    [
        (Reaction.HOLD, Reaction.ASK, (Verdict.INCONCLUSIVE,), Action.HOLD),
        (Reaction.ROLL_BACK, Reaction.ASK, (Verdict.INCONCLUSIVE,), Action.ROLL_BACK),
        (Reaction.RETURN, Reaction.ASK, (Verdict.INCONCLUSIVE,), Action.RETURN),
        (Reaction.HOLD, Reaction.ROLL_BACK, (Verdict.INCONCLUSIVE,), Action.HOLD),
        (Reaction.HOLD, Reaction.ROLL_BACK, (Verdict.INCONCLUSIVE, Verdict.NO_DATA), Action.ROLL_BACK),
        (Reaction.ROLL_BACK, Reaction.ROLL_BACK, (Verdict.PASS,), Action.ASK),
    ],
)
def test_what_a_verdict_does_after_max_dwell_is_declared(
    inconclusive: Reaction, no_data: Reaction, verdicts: tuple[Verdict, ...], action: Action
) -> None:
    """Until then it holds; where only dwell and minimums are missing a person is asked. A return for want of evidence is no new attempt."""
    declared = tuple(replace(phase, on_inconclusive=inconclusive, on_no_data=no_data) for phase in ROLLOUT.phases)
    given, few = replace(ROLLOUT, phases=declared), watched(requests=10)
    found = tuple(finding(verdict) for verdict in verdicts)
    decision = decided(standing(Status.PROGRESSING, since=NOW - 3600.0), *found, evidence=few, given=given)
    assert (decision.action, decision.fresh) == (action, False)
    assert decided(standing(Status.PROGRESSING, since=NOW - 3599.0), *found, evidence=few, given=given).action is Action.HOLD


# --------------------------------------------------------------------------------------------------- approval, windows, override
def test_a_larger_share_needs_approval() -> None:
    """Everything passes: a person is asked, and only for shares above the bound; the person's promote goes on."""
    given = replace(ROLLOUT, approval_above=0.05)
    decision = decided(standing(Status.PROGRESSING, 1), *PASSES, given=given)
    assert decision.action is Action.ASK
    assert decision.why == "25% of the units needs a person's approval; errors pass; ceiling:errors pass"
    assert decided(standing(Status.PROGRESSING, 0), *PASSES, given=given).action is Action.ADVANCE
    assert human(given, standing(Status.AWAITING_APPROVAL, 1), Action.ADVANCE, "yes").action is Action.ADVANCE
    assert decided(standing(Status.PROGRESSING, LAST), *PASSES, given=given).action is Action.COMPLETE


def test_outside_of_a_window_nothing_is_raised_and_everything_may_be_lowered() -> None:
    """No start, no advance, no completion by automation, and nobody is asked for it; a failure rolls back, and a person decides."""
    given = replace(ROLLOUT, freezes=(Freeze(NOW - 10, NOW + 3600, "black friday"),))
    said = "frozen for 1 h 00 min more: black friday"
    starting = decided(standing(Status.PENDING, 0), given=given)
    assert (starting.action, starting.why) == (Action.HOLD, f"waits to start: {said}")
    for phase in (1, LAST):
        held = decided(standing(Status.PROGRESSING, phase, since=0.0), *PASSES, given=given)
        assert (held.action, held.why) == (Action.HOLD, f"everything is there, waits: {said}")
    assert decided(standing(Status.PROGRESSING), finding(Verdict.FAIL), given=given).action is Action.ROLL_BACK
    assert human(given, standing(Status.PROGRESSING), Action.ADVANCE, "I know").action is Action.ADVANCE
    assert decided(standing(Status.PROGRESSING), *PASSES, given=given, now=NOW + 3600).action is Action.ADVANCE


def test_a_person_answers_for_the_missing_evidence_for_a_while() -> None:
    """Until it ends, INCONCLUSIVE, NO_DATA and a metric that only holds do not hold; dwell, minimums, sample ratio and harm do."""
    decision = human(ROLLOUT, standing(Status.PROGRESSING), Action.OVERRIDE, "we know why", Wish(until=NOW + 7200), NOW)
    changed, entry = applied(Status.PROGRESSING, decision, actor="ada")
    assert changed == replace(standing(Status.PROGRESSING), why="we know why", override_until=NOW + 7200)
    assert entry.numbers["until"] == NOW + 7200
    missing = (finding(Verdict.INCONCLUSIVE), finding(Verdict.NO_DATA), finding(Verdict.FAIL, "metric:x", reaction=Reaction.HOLD))
    forward = decided(changed, *missing)
    assert (forward.action, forward.why[:38]) == (Action.ADVANCE, "a person answers for what is missing; ")
    assert decided(changed, *missing, now=NOW + 7200).action is Action.HOLD
    assert decided(changed, *missing, evidence=watched(59.0)).action is Action.HOLD
    ratio = finding(Verdict.FAIL, "sample_ratio", reaction=Reaction.HOLD)
    assert decided(changed, ratio).action is Action.HOLD
    assert decided(changed, finding(Verdict.FAIL)).action is Action.ROLL_BACK
    assert decided(changed, finding(Verdict.FAIL, "ceiling:errors")).action is Action.ROLL_BACK
    started, _ = apply(
        State(1, "d", {"new": replace(changed, status=Status.ROLLED_BACK)}), ROLLOUT, Decision(Action.START, "again", 0), "ada", NOW
    )
    assert started.rollouts["new"].override_until == 0.0, "a new attempt begins without it"


@pytest.mark.parametrize("until", [0.0, NOW, NOW + 8 * 86400])
def test_an_override_ends(until: float) -> None:
    """Not in the past, and not later than in a week."""
    with pytest.raises(RefusedError) as caught:
        human(ROLLOUT, standing(Status.PROGRESSING), Action.OVERRIDE, "please", Wish(until=until), NOW)
    assert [problem.id for problem in caught.value.problems] == ["act.override"]


@pytest.mark.parametrize("status", EXPOSING)
def test_row_a_person_returns_to_an_earlier_phase(status: Status) -> None:
    """The one before, or the one that is named; it goes on from there, as the same attempt."""
    decision = human(ROLLOUT, standing(status, 3), Action.RETURN, "too fast")
    assert (decision.action, decision.to_phase) == (Action.RETURN, 2)
    changed, entry = applied(status, human(ROLLOUT, standing(status, 3), Action.RETURN, "too fast", Wish(to_phase=0)), 3, "ada")
    assert (changed.status, changed.phase, changed.attempt, changed.generation) == (Status.PROGRESSING, 0, 1, 10)
    assert entry.numbers["share"] == 0.01
    for here, there in ((3, 3), (3, 4), (0, None), (2, -1)):
        with pytest.raises(RefusedError) as caught:
            human(ROLLOUT, standing(status, here), Action.RETURN, "please", Wish(to_phase=there))
        assert [problem.id for problem in caught.value.problems] == ["act.return"]


def test_a_retry_begins_with_every_cohort() -> None:
    """Those that went out alone are in again, at half of the alpha."""
    before = State(1, "d", {"new": replace(standing(Status.ROLLED_BACK), cohorts_out=("germany",))})
    after, _ = apply(before, ROLLOUT, human(ROLLOUT, before.rollouts["new"], Action.START, "fixed"), "ada", NOW)
    assert (after.rollouts["new"].cohorts_out, after.rollouts["new"].attempt) == ((), 2)
