"""What the API says about a rollout: plain JSON, the same for `extproc status`, the demo's picture and scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from extproc import release
from extproc.controller.collector import Collector
from extproc.controller.desk import Desk
from extproc.controller.loop import WARM_UP, Loop
from extproc.domain import RolloutState, Status, Verdict
from extproc.release.gap import Gap
from extproc.release.gate import TOGETHER
from extproc.release.pairs import Pairs
from extproc.release.spent import Spent
from extproc.release.totals import ArmTotals, Ended


def status_document(loop: Loop, collector: Collector, routers: Sequence[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """Everything `extproc status` shows."""
    return {
        "at": now,
        "application": loop.spec.application.name,
        "generation": loop.state.generation,
        "spec_digest": loop.state.spec_digest,
        "spec_file": {
            "path": loop.spec_file.path,
            "failures": loop.spec_file.failures,
            "problems": [asdict(problem) for problem in loop.spec_file.problems],
        },
        "store": {
            "url": loop.store_url,
            "problem": asdict(loop.store_health.problem) if loop.store_health.problem is not None else None,
            "failures": dict(loop.store_health.failures),
        },
        "collector": {
            "streams": collector.streams,
            "bad_messages": collector.bad_messages,
            "undecided": loop.undecided,
            "unknown": loop.unknown,
        },
        "watch": {
            "lease": loop.spec.application.watch_lease,
            "heartbeat": loop.heartbeat.number,
            "blind": {name: str(blindness) for name, blindness in loop.blind.items()},
        },
        "routers": routers,
        "rollouts": {
            name: {**_rollout(desk, loop.state.rollouts[name], now), "metrics": loop.readings.document(name)}
            for name, desk in loop.desks.items()
        },
    }


def _rollout(desk: Desk, state: RolloutState, now: float) -> dict[str, Any]:
    rollout, evidence = desk.rollout, desk.evidence
    phase = rollout.phases[state.phase]
    return {
        "status": state.status.value,
        "phase": phase.name,
        "phase_index": state.phase,
        "phases": [{"name": one.name, "share": one.share} for one in rollout.phases],
        "share": share_now(desk, state),
        "stable": rollout.stable,
        "canary": rollout.canary,
        "attempt": state.attempt,
        "generation": state.generation,
        "since": state.since,
        "seconds": now - state.since,
        "why": state.why,
        "cohorts": [cohort.name for cohort in rollout.cohorts],
        "cohorts_out": list(state.cohorts_out),
        "by_cohort": _by_cohort(desk, state),
        "override": _override(state, now),
        "waiting_for": _waiting_for(desk, state, now),
        "verdict": max((one.verdict for one in desk.findings), key=lambda one: one.rank).value if desk.findings else None,
        "now": desk.decision.why,
        "page": desk.decision.page,
        "watched": evidence.watched,
        "min_dwell": phase.min_dwell,
        "max_dwell": phase.max_dwell,
        "canary_units": len(evidence.canary_units),
        "min_units": phase.min_units,
        "min_requests": phase.min_requests,
        "arms": {name: _arm(arm) for name, arm in evidence.arms.items()},
        "looked_at_one_in": evidence.one_in,
        "late_outcomes": evidence.late_outcomes,
        "duplicate_outcomes": evidence.duplicates,
        "foreign_outcomes": evidence.foreign,
        "restart": _restart(evidence.gap),
        "findings": [asdict(finding) for finding in desk.findings],
        "harm_limit": release.harm_limit(rollout, evidence.attempt),
        "together": _together(desk),
        "has_shadow": desk.rollout.shadow is not None,
        "shadow": _shadow(desk.pairs) if desk.pairs is not None else None,
        "money": _money(evidence.spent),
        "advice": _advice(desk, state),
    }


def _override(state: RolloutState, now: float) -> dict[str, Any] | None:
    """Until when a person answers for missing evidence; None where nobody does."""
    if now >= state.override_until or not state.status.exposes:
        return None
    return {"until": state.override_until, "seconds": state.override_until - now}


def _waiting_for(desk: Desk, state: RolloutState, now: float) -> list[str]:
    """What the next phase still needs, one sentence each; empty where there is none, or nothing is missing."""
    if state.status is Status.SHADOW and desk.pairs is not None:
        return list(release.shadow_needs(desk.pairs))
    if not state.status.exposes:
        return []
    phase = desk.rollout.phases[state.phase]
    if now < state.override_until:
        return list(release.unmet(phase, desk.evidence))
    return list(release.waiting_for(phase, desk.findings, desk.evidence))


def _by_cohort(desk: Desk, state: RolloutState) -> list[dict[str, Any]]:
    """In the Spec's order: who takes part, with which share, and what its own requests say; one alone is to blame at `harm_limit`."""
    evidence, shares = desk.evidence, desk.evidence.shares(state.phase)
    alone = release.by_cohort(desk.rollout, evidence)
    found = []
    for cohort in desk.rollout.cohorts:
        log_e, measure = alone.get(cohort.name, (None, None))
        out = cohort.name in state.cohorts_out
        share = 0.0 if out else shares[cohort.name] if state.status.exposes else share_now(desk, state)
        units = evidence.met.get(cohort.name, 0)
        ended = evidence.visit.cohorts.get(cohort.name, {})
        arms = {name: _ended(ended.get(name, Ended())) for name in evidence.arms}
        found.append(
            {"cohort": cohort.name, "share": share, "out": out, "canary_units": units, "log_e": log_e, "measure": measure, "arms": arms}
        )
    return found


def _ended(ended: Ended | ArmTotals) -> dict[str, Any]:
    rate = ended.failures / ended.requests if ended.requests else None
    return {"requests": ended.requests, "failures": ended.failures, "error_rate": rate}


def _money(spent: Spent) -> dict[str, Any]:
    """USD of this attempt's answers, where prices are known; `parallel`: what the canary's cost beyond as many of stable's."""
    arms = {name: {"requests": bill.requests, "priced": bill.priced, "usd": bill.usd} for name, bill in spent.bills.items()}
    return {"arms": arms, "parallel": spent.beyond}


def _together(desk: Desk) -> dict[str, Any] | None:
    """E_tot, the e-value of all comparisons, against its limit; None where nothing is compared."""
    for one in desk.findings:
        if one.gate == TOGETHER:
            return {"log_e": one.log_e_harm, "log_e_limit": one.log_e_limit, "verdict": one.verdict.value, "cohort": one.cohort}
    return None


def _shadow(pairs: Pairs) -> dict[str, Any]:
    """What the present shadow, or the last one, has shown."""
    slower = pairs.slower
    return {
        "share": pairs.shadow.share,
        "pairs": pairs.count,
        "min_pairs": pairs.shadow.min_pairs,
        "judged": pairs.judged,
        "min_judged": pairs.shadow.min_judged,
        "preferred": pairs.preferred,
        "watched": pairs.watched,
        "min_dwell": pairs.shadow.min_dwell,
        "missing": pairs.missing,
        "silent": pairs.silent,
        "throttled": pairs.throttled,
        "slower": slower.mean,
        "spent": pairs.spent,
        "per_release": float(pairs.shadow.per_release) if pairs.shadow.per_release is not None else None,
        "arms": {name: _arm(arm) for name, arm in pairs.arms.items()},
    }


def _restart(gap: Gap | None) -> dict[str, Any] | None:
    """When the controller came back, and what it did not look at because of that."""
    if gap is None:
        return None
    return {"at": gap.until - WARM_UP, "seconds": gap.seconds, "outcomes": gap.outcomes}


def share_now(desk: Desk, state: RolloutState) -> float:
    """Share of units that meet the canary."""
    if state.status is Status.COMPLETED:
        return 1.0 - desk.rollout.holdback
    return min(desk.rollout.phases[state.phase].share, 1.0 - desk.rollout.holdback) if state.status.exposes else 0.0


def _arm(arm: ArmTotals) -> dict[str, Any]:
    return {
        **_ended(arm),
        "throttled": arm.throttled,
        "client_aborted": arm.client_aborted,
        "input_tokens": arm.input_tokens,
        "output_tokens": arm.output_tokens,
        "p50": arm.duration.quantile(0.5),
        "p95": arm.duration.quantile(0.95),
        "ttft_p50": arm.ttft.quantile(0.5),
        "ttft_p95": arm.ttft.quantile(0.95),
    }


def _advice(desk: Desk, state: RolloutState) -> str:
    """The next step of a person, empty where there is none."""
    name = desk.rollout.name
    if state.status is Status.COMPLETED:
        return (
            "stable must keep its full capacity until Envoy's own default has moved: requests that Envoy answers without a decision "
            f"go to stable until the runtime key extproc.{name}.completed is 100"
        )
    if state.status is Status.SHADOW:
        return f"to go on without the rest of it: extproc promote {name}; to end it: extproc rollback {name}"
    if state.status is Status.AWAITING_APPROVAL:
        return f"decide: extproc promote {name}, extproc resume {name}, or extproc rollback {name}"
    if state.status is Status.ROLLED_BACK:
        answers = f"; its worst answers: extproc samples {name} --worst" if desk.rollout.judging is not None else ""
        return f"once it is mended: extproc start {name} --retry (attempt {state.attempt + 1}, with half of this one's alpha){answers}"
    if state.status is Status.PROGRESSING and any(one.verdict is Verdict.FAIL for one in desk.findings):
        return f"when it is over: extproc resume {name} (the phase is looked at anew), or extproc rollback {name}"
    if state.status is Status.PAUSED:
        return f"go on with: extproc resume {name}"
    return ""


def e_value(log_e: float) -> float:
    """The e-value itself, for metrics; infinite where it is beyond floating point."""
    return math.exp(log_e) if log_e < 700 else math.inf
