"""apply: Decision -> the next State and its Journal entry. Nothing moves without one."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from extproc.domain import Action, Decision, JournalEntry, Rollout, RolloutState, State, Status
from extproc.release.decide import AUTOMATION


def apply(state: State, rollout: Rollout, decision: Decision, actor: str, now: float) -> tuple[State, JournalEntry]:
    """The next State, and what the Journal says about it. Not for HOLD, which changes nothing."""
    old = state.rollouts[rollout.name]
    generation = state.generation + 1
    first = Status.SHADOW if rollout.shadow is not None else Status.PROGRESSING
    changed = _next(old, first, decision, actor, generation, now)
    numbers: dict[str, Any] = {
        "from": {"status": old.status.value, "phase": rollout.phases[old.phase].name},
        "to": {"status": changed.status.value, "phase": rollout.phases[changed.phase].name},
        "share": rollout.phases[changed.phase].share if changed.status.exposes else 1.0 if changed.status is Status.COMPLETED else 0.0,
        "attempt": changed.attempt,
        "epoch": changed.epoch,
        "findings": [asdict(finding) for finding in decision.findings],
    }
    if decision.cohort:
        numbers["cohort"] = decision.cohort
    if changed.cohorts_out:
        numbers["cohorts_out"] = list(changed.cohorts_out)
    if decision.until:
        numbers["until"] = decision.until
    entry = JournalEntry(0, now, rollout.name, actor, decision.action, decision.why, generation, numbers)
    return replace(state, generation=generation, rollouts={**state.rollouts, rollout.name: changed}), entry


def _next(old: RolloutState, first: Status, decision: Decision, actor: str, generation: int, now: float) -> RolloutState:
    """Where a rollout stands after a decision; `generation` moves only where its exposure changes. `first`: what it is once started."""
    new = replace(old, why=decision.why)
    match decision.action:
        case Action.START:
            again = old.status is Status.ROLLED_BACK
            begun = replace(new, cohorts_out=(), override_until=0.0, attempt=old.attempt + again, epoch=old.epoch + again)
            return replace(begun, status=first, phase=0, since=now, generation=generation)
        case Action.ADVANCE:
            assert decision.to_phase is not None
            return replace(new, status=Status.PROGRESSING, phase=decision.to_phase, since=now, generation=generation)
        case Action.RETURN:
            assert decision.to_phase is not None
            # Automation that went back must not climb again by itself into what has just failed.
            status = Status.AWAITING_APPROVAL if actor == AUTOMATION else Status.PROGRESSING
            attempt = old.attempt + decision.fresh
            back = replace(new, status=status, phase=decision.to_phase, since=now, generation=generation)
            return replace(back, attempt=attempt, override_until=0.0, epoch=old.epoch + (not decision.drains))
        case Action.COMPLETE:
            return replace(new, status=Status.COMPLETED, since=now, generation=generation)
        case Action.ROLL_BACK:
            return replace(new, status=Status.ROLLED_BACK, since=now, generation=generation, epoch=old.epoch + (not decision.drains))
        case Action.ROLL_BACK_COHORT:
            return replace(new, cohorts_out=(*old.cohorts_out, decision.cohort), since=now, generation=generation)
        case Action.PAUSE:
            return replace(new, status=Status.PAUSED)
        case Action.ASK:
            return replace(new, status=Status.AWAITING_APPROVAL)
        case Action.OVERRIDE:
            return replace(new, override_until=decision.until)
        case Action.RESUME:
            # The clock of max dwell begins anew: who resumes has just been asked. What has held a release that was going on is over for
            # him: e-values do not forget, so the phase is looked at anew.
            anew = generation if old.status is Status.PROGRESSING else old.generation
            return replace(new, status=Status.PROGRESSING, since=now, generation=anew)
        case Action.REVOKE:
            # Where the rollout stands is explained as before.
            return replace(old, epoch=old.epoch + 1)
    raise AssertionError(f"{decision.action} changes no rollout")
