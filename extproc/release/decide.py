"""decide: where a rollout stands + Findings -> Decision; `apply`: Decision -> next State and its Journal entry.

The law, one row per event (everything else is refused or holds):

    from                                  event                                            action            to
    pending                               start: automatic, or a person                    START             progressing, phase 1; shadow
                                                                                                             where the Spec has one
    shadow                                enough pairs, and nothing against the canary     ADVANCE           progressing, phase 1
    shadow                                a pair's gate fails; money or time is over       ROLL_BACK         rolled_back
    shadow                                a person promotes                                ADVANCE           progressing, phase 1
    progressing                           every gate passes, dwell and minimums met        ADVANCE           progressing, next phase
    progressing                           the same, and the next share needs approval      ASK               awaiting_approval
    progressing, last phase               the same                                         COMPLETE          completed
    progressing                           max dwell over, nothing decided                  ASK, or as the    awaiting_approval
                                                                                           phase declares
    progressing, paused, awaiting         a gate fails, or the canary alone breaks a       ROLL_BACK         rolled_back
                                          ceiling
    progressing, paused, awaiting         the same, where the phase declares `return`      RETURN            awaiting_approval, the phase
                                                                                                             before, attempt + 1
    progressing, paused, awaiting         one cohort alone is to blame                     ROLL_BACK_COHORT  (unchanged), cohort out
    progressing, paused, awaiting         both arms break a ceiling; units do not fall     HOLD and page     (unchanged)
                                          as planned; a metric that only holds is broken
    progressing, awaiting                 a person pauses                                  PAUSE             paused
    paused, awaiting                      a person resumes                                 RESUME            progressing
    progressing                           a person says that what held it is over          RESUME            progressing, the same phase
                                                                                                             looked at anew
    progressing, paused, awaiting         a person promotes                                ADVANCE/COMPLETE
    progressing, paused, awaiting         a person returns to an earlier phase             RETURN            progressing, that phase
    progressing, paused, awaiting         a person takes one cohort out                    ROLL_BACK_COHORT  (unchanged), cohort out
    progressing, paused, awaiting         a person answers for the missing evidence        OVERRIDE          (unchanged), for a while
    any but pending and rolled_back       a person rolls back                              ROLL_BACK         rolled_back
    rolled_back                           a person starts it again: attempt + 1            START             as from pending
    any but pending                       a person revokes all conversation tokens         REVOKE            (unchanged)

What happens in a shadow is decided by `shadowing`. Automation may always lower exposure; only in `progressing` does it raise it, inside
the change windows, never against a person. A PAUSE keeps the share: whoever wants it gone rolls back. A failed attempt is never tried
again by itself. Conversation tokens end (epoch + 1) with a RETURN, with a ROLL_BACK that does not drain, with another attempt, and with a
REVOKE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from extproc.domain import Action, Decision, Finding, Reaction, RollbackPolicy, Rollout, RolloutState, StartMode, Status, Verdict
from extproc.errors import Problem, RefusedError
from extproc.measures import MEASURES
from extproc.release import calendar
from extproc.release.evidence import Evidence
from extproc.release.missing import has_no_source, unmet, waiting_for
from extproc.release.sentences import percent

AUTOMATION: Final = "extproc"
"""The actor of every decision that no person made."""
LONGEST_OVERRIDE: Final = 7 * 86400.0
"""Seconds: whoever needs longer says so again."""
DRAINING: Final = frozenset({"judge", "thumbs", "cost"})
"""Groups of measures that are about quality and cost."""
_SEVERITY: Final = (Reaction.HOLD, Reaction.ASK, Reaction.RETURN, Reaction.ROLL_BACK)


# ----------------------------------------------------------------------------------------------------------------- automation
def decide(rollout: Rollout, state: RolloutState, findings: Sequence[Finding], evidence: Evidence, now: float) -> Decision:
    """What to do now. HOLD says what is waited for."""
    if state.status is Status.PENDING:
        return _start(rollout, now)
    if not state.status.exposes:
        return Decision(Action.HOLD, state.why)
    harm = _harm(rollout, state, findings, now)
    if harm is not None:
        return replace(harm, findings=tuple(findings))
    if state.status is not Status.PROGRESSING:
        return Decision(Action.HOLD, state.why, findings=tuple(findings))
    return replace(_progress(rollout, state, findings, evidence, now), findings=tuple(findings))


def _start(rollout: Rollout, now: float) -> Decision:
    if rollout.start is not StartMode.AUTOMATIC:
        return Decision(Action.HOLD, f"waits for `extproc start {rollout.name}`")
    shut = calendar.closed(rollout, now)
    return Decision(Action.HOLD, f"waits to start: {shut}") if shut else Decision(Action.START, "starts by itself", 0)


def _harm(rollout: Rollout, state: RolloutState, findings: Sequence[Finding], now: float) -> Decision | None:
    """What failed: all the way back, a phase back, one cohort out, or hold; None where nothing did."""
    failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    alone = [one for one in failed if not one.both_arms and not one.cohort and one.reaction is not Reaction.HOLD]
    if alone:
        reaction = max((one.reaction for one in alone), key=_SEVERITY.index)
        return replace(_back(state, reaction, _sentences(alone), fresh=True), drains=_drains(rollout, alone))
    cohorts = [one for one in failed if one.cohort and not one.both_arms]
    if cohorts:
        out = cohorts[0].cohort
        why = _sentences([one for one in cohorts if one.cohort == out])
        left = [one.name for one in rollout.cohorts if one.name != out and one.name not in state.cohorts_out]
        return Decision(Action.ROLL_BACK_COHORT, why, cohort=out) if left else Decision(Action.ROLL_BACK, why)
    incident = [one for one in failed if one.both_arms]
    if incident:
        return Decision(Action.HOLD, f"incident in both arms, held: {_sentences(incident)}", page=True)
    held = [one for one in failed if not (_overridden(state, now) and one.gate.startswith("metric:"))]
    return Decision(Action.HOLD, f"held: {_sentences(held)}", page=True) if held else None


def _drains(rollout: Rollout, failed: Sequence[Finding]) -> bool:
    """True where open conversations may end on the canary: it answers, and in time; only how well, or for how much, is not good enough."""
    conversation = rollout.conversation
    if conversation is None or conversation.on_quality_rollback is not RollbackPolicy.DRAIN:
        return False
    return all(one.gate in MEASURES and MEASURES[one.gate].group in DRAINING for one in failed)


def _back(state: RolloutState, reaction: Reaction, why: str, fresh: bool) -> Decision:
    if reaction is Reaction.RETURN and state.phase > 0:
        return Decision(Action.RETURN, why, state.phase - 1, fresh=fresh)
    return Decision(Action.ROLL_BACK, why)


def _progress(rollout: Rollout, state: RolloutState, findings: Sequence[Finding], evidence: Evidence, now: float) -> Decision:
    phase, overridden = rollout.phases[state.phase], _overridden(state, now)
    missing = unmet(phase, evidence) if overridden else waiting_for(phase, findings, evidence)
    if not missing:
        return _forward_in_time(rollout, state, findings, now)
    if now - state.since < phase.max_dwell:
        return Decision(Action.HOLD, "needs " + "; ".join(missing))
    why = f"max dwell is over and there is no decision; missing: {'; '.join(missing)}"
    verdicts = {finding.verdict for finding in findings if not has_no_source(finding)}
    declared = [(Verdict.INCONCLUSIVE, phase.on_inconclusive), (Verdict.NO_DATA, phase.on_no_data)]
    reactions = [reaction for verdict, reaction in declared if verdict in verdicts and not overridden]
    reaction = max(reactions, key=_SEVERITY.index, default=Reaction.ASK)
    if reaction is Reaction.HOLD:
        return Decision(Action.HOLD, "needs " + "; ".join(missing))
    return Decision(Action.ASK, why) if reaction is Reaction.ASK else _back(state, reaction, why, fresh=False)


def _forward_in_time(rollout: Rollout, state: RolloutState, findings: Sequence[Finding], now: float) -> Decision:
    """Everything is there; what is left is the hour, and a person's approval."""
    shut = calendar.closed(rollout, now)
    if shut:
        return Decision(Action.HOLD, f"everything is there, waits: {shut}")
    forward = _forward(rollout, state, _reason(findings, _overridden(state, now)))
    if forward.to_phase is not None:
        share = rollout.phases[forward.to_phase].share
        if share > rollout.approval_above:
            return Decision(Action.ASK, f"{percent(share)} of the units needs a person's approval; {forward.why}")
    return forward


def _overridden(state: RolloutState, now: float) -> bool:
    return now < state.override_until


def _sentences(findings: Sequence[Finding]) -> str:
    return "; ".join(finding.sentence for finding in findings)


def _reason(findings: Sequence[Finding], overridden: bool) -> str:
    said = _sentences(findings) or "dwell and minimums are met, the phase has no gate"
    return f"a person answers for what is missing; {said}" if overridden else said


def _forward(rollout: Rollout, state: RolloutState, why: str) -> Decision:
    if state.status is Status.SHADOW:
        return Decision(Action.ADVANCE, why, 0)
    if state.phase + 1 < len(rollout.phases):
        return Decision(Action.ADVANCE, why, state.phase + 1)
    return Decision(Action.COMPLETE, why)


# ---------------------------------------------------------------------------------------------------------------------- people
_EXPOSED: Final = frozenset({Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL})
_ALLOWED: Mapping[Action, frozenset[Status]] = {
    Action.START: frozenset({Status.PENDING, Status.ROLLED_BACK}),
    Action.PAUSE: frozenset({Status.PROGRESSING, Status.AWAITING_APPROVAL}),
    Action.RESUME: frozenset({Status.PAUSED, Status.AWAITING_APPROVAL}),
    Action.ADVANCE: _EXPOSED | {Status.SHADOW},
    Action.RETURN: _EXPOSED,
    Action.ROLL_BACK_COHORT: _EXPOSED,
    Action.OVERRIDE: _EXPOSED,
    Action.ROLL_BACK: _EXPOSED | {Status.COMPLETED, Status.SHADOW},
    Action.REVOKE: frozenset(Status) - {Status.PENDING, Status.SHADOW},
}
_WORDS = {
    Action.START: "start",
    Action.PAUSE: "pause",
    Action.RESUME: "resume",
    Action.ADVANCE: "promote",
    Action.RETURN: "return",
    Action.ROLL_BACK_COHORT: "rollback --cohort",
    Action.OVERRIDE: "override",
    Action.ROLL_BACK: "rollback",
    Action.REVOKE: "revoke",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person's act leaves open."""

    to_phase: int | None = None
    """Of RETURN: the phase before unless it is given."""
    cohort: str = ""
    """Of ROLL_BACK_COHORT."""
    drains: bool = False
    """Of ROLL_BACK: open conversations on the canary may end there."""
    until: float = 0.0
    """Of OVERRIDE: when it ends."""
    retry: bool | None = None
    """Of START: True where another attempt is meant, False where a first one is; None: whichever it is."""
    held: bool = False
    """Of RESUME: something has failed that only holds (an incident in both arms), so even a rollout that progresses can go on."""


PLAIN: Final = Wish()


def human(rollout: Rollout, state: RolloutState, action: Action, why: str, wish: Wish = PLAIN, now: float = 0.0) -> Decision:
    """A person's decision; raises RefusedError where it makes no sense, or gives no reason."""
    if not why.strip():
        raise RefusedError(Problem("act.why", rollout.name, "no reason is given", 'say why, such as --why "incident 4711"'))
    over = action is Action.RESUME and state.status is Status.PROGRESSING and wish.held
    if state.status not in _ALLOWED[action] and not over:
        possible = [_WORDS[other] for other, statuses in _ALLOWED.items() if state.status in statuses]
        message = f"cannot {_WORDS[action]} while it is {state.status.value}: {state.why}"
        raise RefusedError(Problem("act.refused", rollout.name, message, f"possible now: {', '.join(possible)}"))
    match action:
        case Action.START:
            return _begin(rollout, state, why, wish.retry)
        case Action.ADVANCE:
            return _forward(rollout, state, why)
        case Action.RETURN:
            return _return(rollout, state, why, state.phase - 1 if wish.to_phase is None else wish.to_phase)
        case Action.ROLL_BACK_COHORT:
            return _cohort_out(rollout, state, why, wish.cohort)
        case Action.OVERRIDE:
            return _override(rollout, why, now, wish.until)
    return Decision(action, why, drains=wish.drains and action is Action.ROLL_BACK)


def _begin(rollout: Rollout, state: RolloutState, why: str, retry: bool | None) -> Decision:
    failed = state.status is Status.ROLLED_BACK
    if failed and retry is False:
        message = f"attempt {state.attempt} was rolled back: {state.why}"
        hint = f"add --retry to try again: attempt {state.attempt + 1}, which has half of this one's alpha"
        raise RefusedError(Problem("act.retry", rollout.name, message, hint))
    if retry and not failed:
        raise RefusedError(Problem("act.retry", rollout.name, "it has not been tried yet", "start it without --retry"))
    return Decision(Action.START, why, 0)


def _return(rollout: Rollout, state: RolloutState, why: str, to_phase: int) -> Decision:
    if not 0 <= to_phase < state.phase:
        here, earlier = rollout.phases[state.phase].name, [phase.name for phase in rollout.phases[: state.phase]]
        hint = f"name one of {', '.join(earlier)}" if earlier else "it is in its first phase: pause it or roll it back"
        raise RefusedError(Problem("act.return", rollout.name, f"that is not a phase before {here}", hint))
    return Decision(Action.RETURN, why, to_phase)


def _cohort_out(rollout: Rollout, state: RolloutState, why: str, cohort: str) -> Decision:
    there = [one.name for one in rollout.cohorts if one.name not in state.cohorts_out]
    if cohort not in there:
        hint = f"still in: {', '.join(there)}" if there else "no cohort is left: roll the whole rollout back"
        raise RefusedError(Problem("act.cohort", rollout.name, f"cohort {cohort!r} is not in the rollout, or out already", hint))
    return Decision(Action.ROLL_BACK_COHORT, why, cohort=cohort)


def _override(rollout: Rollout, why: str, now: float, until: float) -> Decision:
    if not now < until <= now + LONGEST_OVERRIDE:
        message = f"it must end within {LONGEST_OVERRIDE / 86400:g} days, and after now"
        raise RefusedError(Problem("act.override", rollout.name, message, "say how long, such as --for 2h"))
    return Decision(Action.OVERRIDE, why, until=until)
