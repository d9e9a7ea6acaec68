"""Bugs that rivals had in analysis and promotion, each as a promise of ours. The issue that reported it is named beside each test."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from extproc import contract, wire
from extproc.domain import Action, Arm, Finding, Outcome, Status, Verdict
from extproc.pb.access_log_pb2 import HttpAccessLogEntry, StreamAccessLogsMessage
from extproc.release import Evidence, apply, decide, evaluate, human
from tests.support.outcomes import outcome, show, traffic
from tests.support.specs import rollout, spec, state_of

ROLLOUT = rollout()
PHASE_25 = 2
NOW = 10_000.0


def seen(outcomes: list[Outcome]) -> Evidence:
    evidence = Evidence(ROLLOUT, 8.0)
    evidence.begin_visit(2, PHASE_25)
    if outcomes:
        show(evidence, outcomes)
    evidence.watch(3600.0)
    return evidence


def comparison(evidence: Evidence) -> Finding:
    return evaluate(ROLLOUT, evidence)[0]


def entry(number: int, start: float, arm: Arm, **common: object) -> HttpAccessLogEntry:
    """What Envoy says of a request that was answered with 200 after 0.2 s."""
    made = HttpAccessLogEntry()
    properties = made.common_properties
    properties.start_time.CopyFrom(Timestamp(seconds=int(start), nanos=int(start % 1 * 1e9)))
    properties.duration.CopyFrom(Duration(nanos=200_000_000))
    properties.stream_id = f"id-{number}"
    properties.upstream_request_attempt_count = int(str(common.get("attempts", 1)))
    properties.upstream_cluster = str(common["cluster"])
    properties.metadata.filter_metadata[contract.assignment_namespace("model")].update(
        {
            "rollout": "new",
            "generation": 2,
            "phase": "25%",
            "cohort": "everyone",
            "arm": arm.value,
            "reason": "ring",
            "durable": True,
            "unit": f"{number:016x}",
        }
    )
    made.response.response_code.value = 200
    return made


def read(entries: list[HttpAccessLogEntry]) -> list[Outcome]:
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.extend(entries)
    return wire.read_outcomes(message.SerializeToString())[0]


# ------------------------------------------------------------------------------------------------------------------- no data
@pytest.mark.parametrize(
    "outcomes",
    [
        [],
        traffic(60, share=0.0),
        traffic(60, share=1.0),
        traffic(60, share=0.25, generation=1),
        traffic(60, share=0.25, cohort=""),
    ],
    ids=["nothing", "stable alone", "canary alone", "another visit", "no cohort"],
)
def test_no_data_is_a_verdict_of_its_own(outcomes: list[Outcome]) -> None:
    """argo-rollouts#3850, #3015, #1905 (an empty result passed, or failed); Flagger counts it as a failed check: here it holds, and
    after max dwell a person is asked. It never advances and never rolls back, however long it lasts."""
    evidence = seen(outcomes)
    finding = comparison(evidence)
    assert finding.verdict is Verdict.NO_DATA
    assert (finding.estimate, finding.interval) == (None, None)
    state = state_of(spec(), 0.25).rollouts["new"]
    findings = evaluate(ROLLOUT, evidence)
    early = decide(ROLLOUT, state, findings, evidence, 60.0)
    late = decide(ROLLOUT, state, findings, evidence, 1e9)
    assert early.action is Action.HOLD
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        # One arm alone: units do not fall as planned, and somebody is paged for it.
        assert (late.action, late.page) == (Action.HOLD, True)
        assert "sample ratio" in late.why
    else:
        assert late.action is Action.ASK
        assert "data for errors" in early.why
        assert "data for errors" in late.why


# ------------------------------------------------------------------------------------------------------------------- the report
@pytest.mark.parametrize(
    ("canary_errors", "seconds", "verdict"), [(0.2, 20, Verdict.FAIL), (0.0, 60, Verdict.PASS), (0.0, 10, Verdict.INCONCLUSIVE)]
)
def test_the_report_shows_the_value_the_interval_and_the_margin(canary_errors: float, seconds: int, verdict: Verdict) -> None:
    """argo-rollouts#2658, flagger#1810: "analysis failed", and nobody knew by how much. Numbers and sentence tell the same, and the
    Journal keeps both."""
    evidence = seen(traffic(seconds, 0.25, canary_errors=canary_errors))
    finding = comparison(evidence)
    assert finding.verdict is verdict
    assert finding.estimate is not None
    assert finding.interval is not None
    low, high = finding.interval
    for number in (finding.estimate, low, high, finding.margin):
        assert f"{number * 100:+.2f} pp" in finding.sentence
    assert f"{finding.canary_samples:,})" in finding.sentence
    assert f"{finding.stable_samples:,})" in finding.sentence
    given = spec()
    state = state_of(given, 0.25)
    decision = decide(ROLLOUT, state.rollouts["new"], evaluate(ROLLOUT, evidence), evidence, 60.0)
    if decision.action is not Action.HOLD:
        _, journal = apply(state, ROLLOUT, decision, "extproc", 60.0)
        assert finding.sentence in journal.why
        kept = journal.numbers["findings"][0]
        assert (kept["estimate"], kept["interval"], kept["margin"]) == (finding.estimate, finding.interval, finding.margin)


def test_control_and_canary_are_never_swapped_in_a_report() -> None:
    """growthbook/growthbook#6020: each arm's numbers stand under its own name, and worse is plus; with the arms exchanged everything is."""
    made = traffic(40, 0.5, canary_errors=0.10, errors=0.02)
    one = comparison(seen(made))
    other = comparison(seen([replace(each, arm=Arm.REST if each.arm is Arm.CANARY else Arm.CANARY) for each in made]))
    assert (one.canary_value, one.stable_value) == (pytest.approx(0.10), pytest.approx(0.02))
    assert (other.canary_value, other.stable_value) == (one.stable_value, one.canary_value)
    assert one.estimate == pytest.approx(0.08)
    assert other.estimate == pytest.approx(-0.08)
    assert one.sentence.startswith("errors: canary 10.00% (200 of 2,000), stable 2.00% (40 of 2,000): +8.00 pp (95 % interval +")
    assert other.sentence.startswith("errors: canary 2.00% (40 of 2,000), stable 10.00% (200 of 2,000): -8.00 pp (95 % interval -")
    assert (one.verdict, other.verdict) == (Verdict.FAIL, Verdict.PASS)


@pytest.mark.parametrize("arm", [Arm.CONTROL, Arm.REST])
def test_an_arm_from_the_wire_lands_on_its_own_side(arm: Arm) -> None:
    """The same promise from Envoy's bytes on: control and rest are stable, canary is canary."""
    evidence = seen(
        read([entry(0, 100.0, Arm.CANARY, cluster="new"), entry(1, 100.1, arm, cluster="old"), entry(2, 100.2, arm, cluster="old")])
    )
    finding = comparison(evidence)
    assert (finding.canary_samples, finding.stable_samples) == (1, 2)


# ------------------------------------------------------------------------------------------------------------------ who decides
@pytest.mark.parametrize("status", [Status.PAUSED, Status.ROLLED_BACK])
def test_a_humans_decision_is_never_overridden_by_automation(status: Status) -> None:
    """aws-samples/sample-citadel#76: a person paused, or rolled back, and the next tick went on. Here everything passes for a year."""
    evidence = seen(traffic(60, 0.25))
    findings = evaluate(ROLLOUT, evidence)
    assert {finding.verdict for finding in findings} == {Verdict.PASS}
    state = state_of(spec(), 0.25)
    action = Action.PAUSE if status is Status.PAUSED else Action.ROLL_BACK
    state, _ = apply(state, ROLLOUT, human(ROLLOUT, state.rollouts["new"], action, "ada says no"), "ada", NOW)
    assert state.rollouts["new"].status is status
    for later in (1.0, 3600.0, 31_536_000.0):
        decision = decide(ROLLOUT, state.rollouts["new"], findings, evidence, NOW + later)
        assert (decision.action, decision.why) == (Action.HOLD, "ada says no")


def test_a_pause_does_not_shield_a_canary_that_harms() -> None:
    """The other side of the same promise: automation may always lower exposure."""
    evidence = seen(traffic(20, 0.25, canary_errors=0.5))
    state = state_of(spec(), 0.25, Status.PAUSED)
    assert decide(ROLLOUT, state.rollouts["new"], evaluate(ROLLOUT, evidence), evidence, NOW).action is Action.ROLL_BACK


# ------------------------------------------------------------------------------------------------------------------- fallbacks
def test_a_failure_of_the_assigned_arm_counts_even_if_a_fallback_answered() -> None:
    """can1357/oh-my-pi#7980: the canary failed, stable answered 200 on the second attempt, and the canary looked healthy. Here, from
    Envoy's bytes to the decision, it is the canary that failed; the cluster that answered is only a label."""
    entries = []
    for number in range(400):
        canary = number % 4 == 3
        arm = Arm.CANARY if canary else Arm.REST
        entries.append(entry(number, 100 + number / 100, arm, cluster="old", attempts=2 if canary else 1))
    outcomes = read(entries)
    assert {one.status for one in outcomes} == {200}
    assert {(one.arm, one.failed, one.answered_by) for one in outcomes} == {(Arm.CANARY, True, "old"), (Arm.REST, False, "old")}
    evidence = seen(outcomes)
    finding = comparison(evidence)
    assert (finding.canary_value, finding.stable_value, finding.verdict) == (1.0, 0.0, Verdict.FAIL)
    state = state_of(spec(), 0.25).rollouts["new"]
    assert decide(ROLLOUT, state, evaluate(ROLLOUT, evidence), evidence, NOW).action is Action.ROLL_BACK


def test_the_counterpart_first_attempts_that_answer_are_no_failures() -> None:
    """The same bytes without the second attempt advance."""
    outcomes = read([entry(n, 100 + n / 100, Arm.CANARY if n % 4 == 3 else Arm.REST, cluster="old") for n in range(6000)])
    assert comparison(seen(outcomes)).verdict is Verdict.PASS


def test_the_same_request_told_twice_does_not_decide() -> None:
    """memgraph/ai-toolkit#324, confident-ai/deepeval#3110 of judges; here of outcomes: one failure, repeated a hundred times, is one."""
    evidence = seen([])
    for one in [*traffic(3, 0.25), *[outcome(9999, 101.0, failed=True)] * 100]:
        evidence.observe(one, 103.0)
    evidence.advance(200.0)
    assert evidence.duplicates == 99
    assert evidence.seen("canary", "errors").total == 1
    assert comparison(evidence).verdict is not Verdict.FAIL
