"""A rollout in its shadow: when it goes on to the first phase, and when it ends; nobody meets the canary in either case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from extproc.domain import Action, Decision, Finding, Rollout, RolloutState, Verdict
from extproc.release import calendar
from extproc.release.gate import CALM
from extproc.release.pairs import Pairs
from extproc.release.sentences import duration, e_value, percent


def decide_shadow(rollout: Rollout, state: RolloutState, pairs: Pairs, now: float) -> Decision:
    """What to do now. HOLD says what is waited for."""
    findings = pairs.findings()
    return replace(_decided(rollout, state, pairs, findings, now), findings=findings)


def _decided(rollout: Rollout, state: RolloutState, pairs: Pairs, findings: Sequence[Finding], now: float) -> Decision:
    shadow = pairs.shadow
    failed = [one.sentence for one in findings if one.verdict is Verdict.FAIL]
    if failed:
        return Decision(Action.ROLL_BACK, f"{'; '.join(failed)}; nobody has met the canary")
    missing = list(shadow_needs(pairs))
    if not missing:
        return _forward(rollout, "; ".join(one.sentence for one in findings), now)
    if shadow.per_release is not None and pairs.spent >= shadow.per_release:
        why = f"the ${shadow.per_release:,.2f} that the shadow may cost are spent, and it still needs {'; '.join(missing)}"
        return Decision(Action.ROLL_BACK, f"{why}; nobody has met the canary")
    if now - state.since >= shadow.max_dwell:
        return Decision(Action.ROLL_BACK, f"max dwell of the shadow is over, missing: {'; '.join(missing)}; nobody has met the canary")
    if pairs.silent:
        return Decision(Action.HOLD, pairs.silent, page=True)
    return Decision(Action.HOLD, "needs " + "; ".join(missing))


def shadow_needs(pairs: Pairs) -> Iterator[str]:
    """What a shadow still needs for the first phase, one sentence each."""
    shadow = pairs.shadow
    if pairs.silent:
        yield pairs.silent
    if pairs.watched < shadow.min_dwell:
        yield f"{duration(shadow.min_dwell - pairs.watched)} more that are watched"
    if pairs.count < shadow.min_pairs:
        yield f"{shadow.min_pairs - pairs.count:,} more pairs (it has {pairs.count:,})"
    for one in pairs.findings():
        if CALM <= one.log_e_harm < one.log_e_limit:
            yield f"harm E of {one.gate} below {e_value(CALM)} (it is {e_value(one.log_e_harm)})"
    if pairs.judged < shadow.min_judged:
        why = f"; judge: {pairs.unjudged}" if pairs.unjudged else ""
        yield f"{shadow.min_judged - pairs.judged:,} more pairs that the judge has compared (it has {pairs.judged:,}){why}"


def _forward(rollout: Rollout, why: str, now: float) -> Decision:
    share = rollout.phases[0].share
    if share > rollout.approval_above:
        return Decision(Action.HOLD, f"{percent(share)} of the units needs a person's approval: extproc promote {rollout.name}; {why}")
    shut = calendar.closed(rollout, now)
    return Decision(Action.HOLD, f"everything is there, waits: {shut}") if shut else Decision(Action.ADVANCE, why, 0)
