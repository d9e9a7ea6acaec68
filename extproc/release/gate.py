"""evaluate: a phase's gates and ceilings + Evidence -> Findings, each with its numbers and a sentence.

* A comparison FAILs when the e-value against "the canary is no worse" reaches 1/alpha: no minimum sample, over the whole attempt. It
  PASSes when the e-value against "the canary is worse by the margin or more" reaches 20 in this visit of the phase (and harm stays
  below 5). Between the two it is INCONCLUSIVE; without requests in both arms it is NO_DATA.
* A ceiling FAILs when the e-value against "the rate is at most the ceiling" reaches 1/alpha. Where stable breaks it too it is an incident.
* Attempt k of a release has alpha * 2^-(k-1), so that trying again and again does not spend more than twice alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from extproc.domain import Ceiling, Finding, Gate, Phase, Rollout, Verdict
from extproc.release.eprocess import ceiling_log_e, combine
from extproc.release.evidence import Counts, Evidence, Maturity

SAFE_LIMIT: Final = math.log(20.0)
"""Non-inferiority is shown at level .05."""
CALM: Final = math.log(5.0)
"""No step forward while the evidence of harm is this strong."""
HALVES: Final = (0.5, 0.5)
"""Both ages at which requests are looked at weigh the same."""


def harm_limit(rollout: Rollout, attempt: int) -> float:
    """ln of the e-value that rolls back."""
    return -math.log(rollout.alpha) + (attempt - 1) * math.log(2.0)


def evaluate(rollout: Rollout, evidence: Evidence) -> tuple[Finding, ...]:
    """Findings of every gate and ceiling of the phase that the Evidence is in, in the order written."""
    phase = rollout.phases[evidence.phase]
    limit = harm_limit(rollout, evidence.attempt)
    findings: list[Finding] = []
    # At 100 % without a holdback nobody is left to compare with: the phase stands on its ceilings.
    if evidence.share(evidence.phase) < 1.0:
        findings.extend(_comparison(gate, evidence, limit) for gate in phase.gates)
    findings.extend(_ceiling(ceiling, evidence, limit) for ceiling in phase.ceilings)
    return tuple(findings)


def _comparison(gate: Gate, evidence: Evidence, limit: float) -> Finding:
    early, late = evidence.early.log_e_harm(), evidence.late.log_e_harm()
    seen = _more_telling(evidence, early, late)
    canary, stable = seen.canary, seen.stable
    harm = combine([early, late], HALVES)
    safe = evidence.late.log_e_safe(gate.margin)
    if harm >= limit:
        verdict = Verdict.FAIL
    elif not canary.requests or not stable.requests:
        verdict = Verdict.NO_DATA
    elif safe >= SAFE_LIMIT and harm < CALM:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    estimate = _rate(canary) - _rate(stable) if canary.requests and stable.requests else None
    interval = _interval(canary, stable) if estimate is not None else None
    numbers = f"harm E {_e(harm)} of {_e(limit)}, safety E {_e(safe)} of {_e(SAFE_LIMIT)}"
    if estimate is None or interval is None:
        sentence = f"{gate.measure}: nothing to compare yet in this phase ({_said(canary)} canary, {_said(stable)} stable); {numbers}"
    else:
        sentence = (
            f"{gate.measure}: canary {_said(canary)}, stable {_said(stable)}: {_points(estimate)} (95 % interval {_points(interval[0])} "
            f"to {_points(interval[1])}), margin {_points(gate.margin)}; {numbers}"
        )
    return Finding(
        gate=gate.measure,
        verdict=verdict,
        sentence=sentence,
        estimate=estimate,
        interval=interval,
        margin=gate.margin,
        canary_samples=canary.requests,
        stable_samples=stable.requests,
        canary_value=_rate(canary) if canary.requests else None,
        stable_value=_rate(stable) if stable.requests else None,
        log_e_harm=harm,
        log_e_safe=safe,
    )


def _ceiling(ceiling: Ceiling, evidence: Evidence, limit: float) -> Finding:
    ages = (evidence.early, evidence.late)
    early, late = [ceiling_log_e(age.canary.failures, age.canary.requests, ceiling.limit) for age in ages]
    over = combine([early, late], HALVES)
    stable_over = combine([ceiling_log_e(age.stable.failures, age.stable.requests, ceiling.limit) for age in ages], HALVES)
    both = over >= limit and stable_over >= limit
    seen = _more_telling(evidence, early, late)
    canary, stable = seen.canary, seen.stable
    verdict = Verdict.FAIL if over >= limit else Verdict.PASS if canary.requests else Verdict.NO_DATA
    sentence = f"{ceiling.measure}: canary {_said(canary)}, ceiling {_percent(ceiling.limit)}; E {_e(over)} of {_e(limit)}"
    if both:
        sentence += f"; stable is over it too ({_said(stable)}, E {_e(stable_over)})"
    return Finding(
        gate=f"ceiling:{ceiling.measure}",
        verdict=verdict,
        sentence=sentence,
        estimate=_rate(canary) if canary.requests else None,
        interval=None,
        margin=ceiling.limit,
        canary_samples=canary.requests,
        stable_samples=stable.requests,
        canary_value=_rate(canary) if canary.requests else None,
        stable_value=_rate(stable) if stable.requests else None,
        log_e_harm=over,
        log_e_safe=0.0,
        both_arms=both,
    )


def _more_telling(evidence: Evidence, early: float, late: float) -> Maturity:
    """The age whose counts explain the verdict: the deadline, unless a fault has been seen early and is not old enough for it."""
    return evidence.early if early > max(late, CALM) else evidence.late


def waiting_for(phase: Phase, findings: Sequence[Finding], evidence: Evidence) -> tuple[str, ...]:
    """What is still missing for the next phase, one sentence each; empty where nothing is."""
    missing: list[str] = []
    if evidence.watched < phase.min_dwell:
        missing.append(f"{_duration(phase.min_dwell - evidence.watched)} more of watched time")
    units = len(evidence.canary_units)
    if units < phase.min_units:
        missing.append(f"{phase.min_units - units} more distinct canary units")
    requests = evidence.arms["canary"].requests
    if requests < phase.min_requests:
        missing.append(f"{phase.min_requests - requests} more canary requests")
    for finding in findings:
        if finding.verdict is Verdict.INCONCLUSIVE:
            wanted = "calm" if finding.log_e_safe >= SAFE_LIMIT else f"evidence that {finding.gate} are within {_points(finding.margin)}"
            missing.append(f"{wanted} (safety E {_e(finding.log_e_safe)} of {_e(SAFE_LIMIT)}, harm E {_e(finding.log_e_harm)})")
        elif finding.verdict is Verdict.NO_DATA:
            missing.append(f"data for {finding.gate}")
    return tuple(missing)


def _rate(counts: Counts) -> float:
    return counts.failures / counts.requests


def _interval(canary: Counts, stable: Counts) -> tuple[float, float]:
    """95 % asymptotic confidence sequence for the difference (Waudby-Smith et al. 2024), tightest near 1,000 requests. For eyes only."""
    variance = sum((_smoothed(one) * (1 - _smoothed(one))) / one.requests for one in (canary, stable))
    n = float(min(canary.requests, stable.requests))
    rho_squared = (-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 1000.0
    factor = 2 * (n * rho_squared + 1) / (n * rho_squared) * math.log(math.sqrt(n * rho_squared + 1) / 0.05)
    half = math.sqrt(factor * variance)
    difference = _rate(canary) - _rate(stable)
    return max(-1.0, difference - half), min(1.0, difference + half)


def _smoothed(counts: Counts) -> float:
    # A rate of 0 of n would have no spread at all.
    return (counts.failures + 0.5) / (counts.requests + 1)


def _said(counts: Counts) -> str:
    if not counts.requests:
        return "no request"
    return f"{_percent(_rate(counts))} ({counts.failures:,} of {counts.requests:,})"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _points(share: float) -> str:
    return f"{share * 100:+.2f} pp"


def _e(log_e: float) -> str:
    if log_e > math.log(1e6):
        return f"10^{log_e / math.log(10):.0f}"
    value = math.exp(log_e)
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    seconds = math.ceil(seconds)
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds % 60:02d} s" if minutes else f"{seconds} s"
