"""The gate of an offline run: scores and failures -> Findings, by the bets that gates on live traffic make (`extproc.release`).

* Beside stable: *harm* on the paired scores and on the paired failures; their mean by equal weights reaches 1/alpha: FAIL. *Safety*: the
  bet against "worse by the margin or more" reaches 20: PASS, where the harm is calm and nearly everything was scored.
* Alone: the mean score beside a floor, and the failures beside the Spec's ceiling of errors.
* Neither: INCONCLUSIVE, with how many prompts like these would be needed. Without scores: NO_DATA.
A prompt is one sample: a question asked twice is not two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from extproc.domain import Finding, Gate, Rollout, Verdict
from extproc.judge.offline.tally import Mean, mean
from extproc.measures import ERRORS, JUDGE
from extproc.release.eprocess import BET_WEIGHTS, BetE, ceiling_bets, ceiling_log_e, combine
from extproc.release.finding import finding
from extproc.release.gate import CALM, SAFE_LIMIT
from extproc.release.sentences import e_value

FAILURES: Final = "failures"
LEAST_SCORED: Final = 0.9
"""Of the answers that there are, the share that must have a score: what a judge passes over may not be chance."""
MOST_NEEDED: Final = 1_000_000
"""Prompts; what would take more is called out of reach."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gate says."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    needed: int | None
    """Prompts that would pass if all were like these; None where no number would, or nothing is missing."""


def judge_gate(rollout: Rollout) -> Gate:
    """The first of its phases that has one; else the measure's default."""
    for phase in rollout.phases:
        for gate in phase.gates:
            if gate.measure == JUDGE.name:
                return gate
    return Gate(JUDGE.name, JUDGE.margin(0), 1.0)


def beside_stable(pairs: Sequence[tuple[float, float]], failures: Sequence[tuple[bool, bool]], rollout: Rollout) -> Judged:
    """`pairs`: (canary's, stable's) score of each prompt with both; `failures`: (canary failed, stable failed) of each that was asked."""
    gate = judge_gate(rollout)
    tolerance = JUDGE.tolerance if gate.tolerance is None else gate.tolerance
    harm, safe, broken = BetE(1.0, abs_=tolerance), BetE(1.0, abs_=-gate.margin), BetE(1.0)
    for canary, stable in pairs:
        harm.record(1 - canary, 1 - stable)
        safe.record(canary, stable)
    for canary_failed, stable_failed in failures:
        broken.record(float(canary_failed), float(stable_failed))
    limit = -math.log(rollout.alpha)
    together = combine([harm.log_e, broken.log_e], (0.5, 0.5))
    difference = mean([canary - stable for canary, stable in pairs], -1.0, 1.0)
    answered = sum(not (one or other) for one, other in failures)
    verdict = _verdict(len(pairs), answered, safe.log_e, together, harm.log_e >= broken.log_e, limit)
    values = tuple(mean([pair[place] for pair in pairs], 0.0, 1.0) for place in (0, 1))
    needed = needed_for(safe.vector, len(pairs)) if verdict is Verdict.INCONCLUSIVE else None
    alone = limit + math.log(2.0)
    said = _compared(difference, values[0], values[1], gate.margin)
    numbers = f"harm E {e_value(harm.log_e)} of {e_value(alone)}, safety E {e_value(safe.log_e)} of {e_value(SAFE_LIMIT)}"
    score = _finding(
        JUDGE.name,
        verdict,
        f"{said}; {numbers}{_missing(verdict, len(pairs), answered, needed, safe.log_e)}",
        difference,
        gate.margin,
        (len(pairs), len(pairs)),
        (values[0].value if values[0] else None, values[1].value if values[1] else None),
        harm.log_e,
        safe.log_e,
        alone,
    )
    return _together(score, _failures(failures, broken.log_e, together, harm.log_e, limit), needed)


def alone(scores: Sequence[float], failures: Sequence[bool], floor: float, rollout: Rollout) -> Judged:
    """The canary without a stable beside it. `floor`: the mean score that it must have, above 0 and below 1."""
    harm, safe = [0.0] * len(BET_WEIGHTS), [0.0] * len(BET_WEIGHTS)
    for score in scores:
        harm = [before + gain for before, gain in zip(harm, ceiling_bets(1 - score, 1 - floor), strict=True)]
        safe = [before + gain for before, gain in zip(safe, ceiling_bets(score, floor), strict=True)]
    log_harm, log_safe = combine(harm, BET_WEIGHTS), combine(safe, BET_WEIGHTS)
    ceiling = next((one.limit for phase in rollout.phases[:1] for one in phase.ceilings if one.measure == ERRORS.name), None)
    failed = sum(failures)
    broken = ceiling_log_e(failed, len(failures), ceiling) if ceiling is not None and 0 < ceiling < 1 else 0.0
    limit = -math.log(rollout.alpha)
    together = combine([log_harm, broken], (0.5, 0.5))
    verdict = _verdict(len(scores), len(failures) - failed, log_safe, together, log_harm >= broken, limit)
    found = mean(list(scores), 0.0, 1.0)
    needed = needed_for(safe, len(scores)) if verdict is Verdict.INCONCLUSIVE else None
    value = f"canary {_mean(found)}" if found is not None else "no answer of the canary has a score"
    numbers = f"harm E {e_value(log_harm)} of {e_value(limit + math.log(2.0))}, safety E {e_value(log_safe)} of {e_value(SAFE_LIMIT)}"
    missing = _missing(verdict, len(scores), len(failures) - failed, needed, log_safe)
    sentence = f"judge: {value}, floor {floor:.3f}; {numbers}{missing}"
    values = (found.value if found is not None else None, None)
    of_score = _finding(
        JUDGE.name, verdict, sentence, found, floor, (len(scores), 0), values, log_harm, log_safe, limit + math.log(2.0), of_canary=True
    )
    verdict = _broken(broken, log_harm, together, limit, len(failures))
    beside = f"ceiling {ceiling:.2%}; E {e_value(broken)} of {e_value(limit + math.log(2.0))}" if ceiling is not None else "no ceiling"
    said = f"{FAILURES}: canary {failed} of {len(failures)}, {beside}"
    share = failed / len(failures) if failures else None
    second = _finding(FAILURES, verdict, said, None, ceiling or 0.0, (len(failures), 0), (share, None), broken, 0.0, limit + math.log(2.0))
    return _together(of_score, second, needed)


def needed_for(vector: Sequence[float], samples: int) -> int | None:
    """Samples at which a bet of this vector reaches SAFE_LIMIT, if all that come are like those that came; None where it never does."""
    if not samples or max(vector) <= 0:
        return None

    def reaches(number: int) -> bool:
        return combine([capital * number / samples for capital in vector], BET_WEIGHTS) >= SAFE_LIMIT

    low, high = samples, samples
    while not reaches(high):
        low, high = high, high * 2
        if high > MOST_NEEDED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


# ------------------------------------------------------------------------------------------------------------------------ verdicts
def _verdict(scored: int, answered: int, safe: float, together: float, blamed: bool, limit: float) -> Verdict:
    """Of the scores. `answered`: prompts with every answer that was wanted; `blamed`: the scores bring more harm than the failures."""
    if together >= limit and blamed and scored:
        return Verdict.FAIL
    if not scored:
        return Verdict.NO_DATA
    passed = safe >= SAFE_LIMIT and together < CALM and scored >= LEAST_SCORED * answered
    return Verdict.PASS if passed else Verdict.INCONCLUSIVE


def _broken(broken: float, harm: float, together: float, limit: float, asked: int) -> Verdict:
    """Of the failures."""
    if together >= limit and broken > harm:
        return Verdict.FAIL
    if not asked:
        return Verdict.NO_DATA
    return Verdict.PASS if broken < CALM else Verdict.INCONCLUSIVE


def _failures(failures: Sequence[tuple[bool, bool]], broken: float, together: float, harm: float, limit: float) -> Finding:
    canary, stable, asked = sum(one for one, _ in failures), sum(other for _, other in failures), len(failures)
    difference = mean([float(one) - float(other) for one, other in failures], -1.0, 1.0)
    alone = limit + math.log(2.0)
    said = f"{FAILURES}: canary {canary} of {asked}, stable {stable} of {asked}; harm E {e_value(broken)} of {e_value(alone)}"
    values = (canary / asked, stable / asked) if asked else (None, None)
    return _finding(
        FAILURES, _broken(broken, harm, together, limit, asked), said, difference, 0.0, (asked, asked), values, broken, 0.0, alone
    )


def _together(score: Finding, failures: Finding, needed: int | None) -> Judged:
    worst = max((score.verdict, failures.verdict), key=lambda verdict: verdict.rank)
    return Judged(worst, (score, failures), needed)


# ----------------------------------------------------------------------------------------------------------------------- sentences
def _compared(difference: Mean | None, canary: Mean | None, stable: Mean | None, margin: float) -> str:
    if difference is None or canary is None or stable is None:
        return f"judge: nothing to compare: no prompt has a score of both, margin {-margin:+.3f}"
    interval = _interval(difference.low, difference.high, "+.3f")
    both = f"canary {canary.value:.3f}, stable {stable.value:.3f} (of {difference.n:,} prompts)"
    return f"judge: {both}: {difference.value:+.3f}{interval}, margin {-margin:+.3f}"


def _mean(found: Mean) -> str:
    return f"{found.value:.3f}{_interval(found.low, found.high, '.3f')} of {found.n:,} prompts"


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f" (95 % interval {low:{form}} to {high:{form}})"


def _missing(verdict: Verdict, scored: int, answered: int, needed: int | None, safe: float) -> str:
    if verdict is Verdict.NO_DATA:
        return "; no answer has a score"
    if verdict is not Verdict.INCONCLUSIVE:
        return ""
    if scored < LEAST_SCORED * answered:
        return f"; only {scored} of {answered} answered prompts have scores, {LEAST_SCORED:.0%} are needed"
    if safe >= SAFE_LIMIT:
        return "; there is evidence of harm too, no step forward while it is this strong"
    if needed is None:
        return "; however many more prompts like these would not pass"
    return f"; about {needed:,} prompts like these would be needed to pass, these are {scored:,}"


Sizes = tuple[int, int]
Values = tuple[float | None, float | None]


def _finding(
    gate: str,
    verdict: Verdict,
    sentence: str,
    found: Mean | None,
    margin: float,
    samples: Sizes,
    values: Values,
    harm: float,
    safe: float,
    limit: float,
    of_canary: bool = False,
) -> Finding:
    interval = (found.low, found.high) if found is not None and found.low is not None and found.high is not None else None
    return finding(
        gate,
        verdict,
        sentence,
        estimate=values[0] if of_canary or found is None else found.value,
        interval=interval,
        margin=margin,
        samples=samples,
        values=values,
        harm=harm,
        safe=safe,
        limit=limit,
    )
