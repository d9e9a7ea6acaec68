"""decide: where a rollout stands + Findings -> Decision; `apply`: Decision -> next State and its Journal entry.

The law, one row per event (everything else is refused or holds):

    from                                  event                                            action          to
    pending                               start: automatic, or a person                    START           progressing, phase 1
    progressing                           every gate passes, dwell and minimums met        ADVANCE         progressing, next phase
    progressing, last phase               the same                                         COMPLETE        completed
    progressing                           max dwell over, nothing decided                  ASK             awaiting_approval
    progressing, paused, awaiting         a gate fails, or the canary alone breaks a       ROLL_BACK       rolled_back
                                          ceiling
    progressing, paused, awaiting         both arms break a ceiling                        HOLD and page   (unchanged)
    progressing, awaiting                 a person pauses                                  PAUSE           paused
    paused, awaiting                      a person resumes                                 RESUME          progressing
    progressing, paused, awaiting         a person promotes                                ADVANCE/COMPLETE
    any but pending and rolled_back       a person rolls back                              ROLL_BACK       rolled_back
    rolled_back                           a person starts it again: attempt + 1            START           progressing, phase 1
    any but pending                       a person revokes all conversation tokens         REVOKE          (unchanged)

Automation may always lower exposure; only in `progressing` does it raise it, never against a person. A PAUSE keeps the share: whoever
wants it gone rolls back. Conversation tokens end (epoch + 1) with a ROLL_BACK that does not drain, with another
attempt, and with a REVOKE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from extproc.domain import (
    Action,
    Decision,
    Finding,
    JournalEntry,
    Rollout,
    RolloutState,
    StartMode,
    State,
    Status,
    Verdict,
)
from extproc.errors import Problem, RefusedError
from extproc.release.evidence import Evidence
from extproc.release.gate import waiting_for

AUTOMATION = "extproc"
"""The actor of every decision that no person made."""


# ----------------------------------------------------------------------------------------------------------------- automation
def decide(rollout: Rollout, state: RolloutState, findings: Sequence[Finding], evidence: Evidence, now: float) -> Decision:
    """What to do now. HOLD says what is waited for."""
    if state.status is Status.PENDING:
        if rollout.start is StartMode.AUTOMATIC:
            return Decision(Action.START, "starts by itself", 0)
        return Decision(Action.HOLD, f"waits for `extproc start {rollout.name}`")
    if not state.status.exposes:
        return Decision(Action.HOLD, state.why)
    failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
    alone = [finding for finding in failed if not finding.both_arms]
    if alone:
        return Decision(Action.ROLL_BACK, "; ".join(finding.sentence for finding in alone), findings=tuple(findings))
    if failed:
        why = "incident in both arms, held: " + "; ".join(finding.sentence for finding in failed)
        return Decision(Action.HOLD, why, findings=tuple(findings), page=True)
    if state.status is not Status.PROGRESSING:
        return Decision(Action.HOLD, state.why, findings=tuple(findings))
    missing = waiting_for(rollout.phases[state.phase], findings, evidence)
    if not missing:
        return _forward(rollout, state, _reason(findings), findings)
    if now - state.since >= rollout.phases[state.phase].max_dwell:
        why = f"max dwell is over and there is no decision; missing: {'; '.join(missing)}"
        return Decision(Action.ASK, why, findings=tuple(findings))
    return Decision(Action.HOLD, "needs " + "; ".join(missing), findings=tuple(findings))


def _reason(findings: Sequence[Finding]) -> str:
    return "; ".join(finding.sentence for finding in findings) or "dwell and minimums are met, the phase has no gate"


def _forward(rollout: Rollout, state: RolloutState, why: str, findings: Sequence[Finding]) -> Decision:
    if state.phase + 1 < len(rollout.phases):
        return Decision(Action.ADVANCE, why, state.phase + 1, tuple(findings))
    return Decision(Action.COMPLETE, why, findings=tuple(findings))


# ---------------------------------------------------------------------------------------------------------------------- people
_ALLOWED: Mapping[Action, frozenset[Status]] = {
    Action.START: frozenset({Status.PENDING, Status.ROLLED_BACK}),
    Action.PAUSE: frozenset({Status.PROGRESSING, Status.AWAITING_APPROVAL}),
    Action.RESUME: frozenset({Status.PAUSED, Status.AWAITING_APPROVAL}),
    Action.ADVANCE: frozenset({Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL}),
    Action.ROLL_BACK: frozenset({Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL, Status.COMPLETED}),
    Action.REVOKE: frozenset(Status) - {Status.PENDING, Status.SHADOW},
}
_WORDS = {
    Action.START: "start",
    Action.PAUSE: "pause",
    Action.RESUME: "resume",
    Action.ADVANCE: "promote",
    Action.ROLL_BACK: "rollback",
    Action.REVOKE: "revoke",
}


NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
OPTIONS: Mapping[Action, Mapping[str, frozenset[str]]] = {Action.ROLL_BACK: {"conversations": frozenset({"drain", "move"})}}
"""What an act leaves open, and what can be said: a rollback moves open conversations unless told to let them end on the canary."""


def human(rollout: Rollout, state: RolloutState, action: Action, why: str, options: Mapping[str, str] = NO_OPTIONS) -> Decision:
    """A person's decision; raises RefusedError where it makes no sense, or gives no reason. `options`: see OPTIONS."""
    known = OPTIONS.get(action, {})
    for name, value in options.items():
        if value not in known.get(name, ()):
            words = "; ".join(f"{one}: {' or '.join(sorted(values))}" for one, values in known.items()) or "this act has none"
            raise RefusedError(Problem("act.option", rollout.name, f"there is no option {name}: {value}", words))
    if not why.strip():
        raise RefusedError(Problem("act.why", rollout.name, "no reason is given", 'say why, such as --why "incident 4711"'))
    if state.status not in _ALLOWED[action]:
        possible = [_WORDS[other] for other, statuses in _ALLOWED.items() if state.status in statuses]
        message = f"cannot {_WORDS[action]} while it is {state.status.value}: {state.why}"
        hint = f"possible now: {', '.join(possible)}" if possible else "nothing can be done from here"
        raise RefusedError(Problem("act.refused", rollout.name, message, hint))
    if action is Action.ADVANCE:
        return _forward(rollout, state, why, ())
    return Decision(action, why, 0 if action is Action.START else None, drains=options.get("conversations") == "drain")


# ----------------------------------------------------------------------------------------------------------------------- apply
def apply(state: State, rollout: Rollout, decision: Decision, actor: str, now: float) -> tuple[State, JournalEntry]:
    """The next State, and what the Journal says about it. Not for HOLD, which changes nothing."""
    old = state.rollouts[rollout.name]
    generation = state.generation + 1
    changed = _next(old, decision, generation, now)
    numbers: dict[str, Any] = {
        "from": {"status": old.status.value, "phase": rollout.phases[old.phase].name},
        "to": {"status": changed.status.value, "phase": rollout.phases[changed.phase].name},
        "share": rollout.phases[changed.phase].share if changed.status.exposes else 1.0 if changed.status is Status.COMPLETED else 0.0,
        "attempt": changed.attempt,
        "epoch": changed.epoch,
        "findings": [asdict(finding) for finding in decision.findings],
    }
    entry = JournalEntry(0, now, rollout.name, actor, decision.action, decision.why, generation, numbers)
    return replace(state, generation=generation, rollouts={**state.rollouts, rollout.name: changed}), entry


def _next(old: RolloutState, decision: Decision, generation: int, now: float) -> RolloutState:
    """Where a rollout stands after a decision; `generation` moves only where its exposure changes."""
    new = replace(old, why=decision.why)
    match decision.action:
        case Action.START:
            again = old.status is Status.ROLLED_BACK
            fresh = replace(new, attempt=old.attempt + again, epoch=old.epoch + again)
            return replace(fresh, status=Status.PROGRESSING, phase=0, since=now, generation=generation)
        case Action.ADVANCE:
            assert decision.to_phase is not None
            return replace(new, status=Status.PROGRESSING, phase=decision.to_phase, since=now, generation=generation)
        case Action.COMPLETE:
            return replace(new, status=Status.COMPLETED, since=now, generation=generation)
        case Action.ROLL_BACK:
            return replace(new, status=Status.ROLLED_BACK, since=now, generation=generation, epoch=old.epoch + (not decision.drains))
        case Action.PAUSE:
            return replace(new, status=Status.PAUSED)
        case Action.ASK:
            return replace(new, status=Status.AWAITING_APPROVAL)
        case Action.RESUME:
            # The clock of max dwell begins anew: who resumes has just been asked.
            return replace(new, status=Status.PROGRESSING, since=now)
        case Action.REVOKE:
            # Where the rollout stands is explained as before.
            return replace(old, epoch=old.epoch + 1)
    raise AssertionError(f"{decision.action} changes no rollout")
