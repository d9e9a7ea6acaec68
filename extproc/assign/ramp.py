"""When a unit enters the canary: the router's own decision, asked for every phase of the ramp.

Nothing is computed here that `assign` would not compute: for each phase the rollout is derived as if it stood there, and the request is
assigned. Tokens and QA headers, which speak of one conversation or one request, are left out; lists in the Spec count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from extproc.assign.assign import assign
from extproc.assign.deriving import Choices, derive_rollout
from extproc.assign.explained import Entry, When
from extproc.assign.prepared import Prepared, PreparedRollout
from extproc.assign.snapshot import Answer, CompiledRollout
from extproc.domain import RING, Arm, Assignment, Reason, Rollout, RolloutState, Status, Subject


class Request(NamedTuple):
    """What `assign` is asked about."""

    subject: Subject
    request_id: bytes
    now: float


def percent(share: float) -> str:
    """`25%`, `7.4621%`: a share as people read it."""
    return f"{share * 100:.6g}%"


def without(compiled: CompiledRollout, request: Request, lists: bool) -> Answer:
    """The answer that there would be without token and QA header, and where `lists`, without the lists in the Spec.

    The rollout is one that has taken the request.
    """
    overrides = None if lists or compiled.overrides is None else replace(compiled.overrides, qa=None)
    answer = assign((replace(compiled, conversation=None, overrides=overrides),), *request)
    assert answer is not None, "a rollout that has taken the request takes it whatever else is so"
    return answer


def entry(whole: Prepared, prepared: PreparedRollout, state: RolloutState, request: Request) -> Entry:
    """When the unit of a request that this rollout has taken meets the canary."""
    rollout = prepared.rollout
    if not state.status.exposes and state.status is not Status.COMPLETED:
        state = replace(state, cohorts_out=())  # another attempt begins with all of them
    ended = _standing_at(whole, prepared, replace(state, status=Status.COMPLETED), request)
    if state.status is not Status.COMPLETED:
        for phase in range(len(rollout.phases)):
            there = replace(state, status=Status.PROGRESSING, phase=phase)
            answer = _standing_at(whole, prepared, there, request)
            if answer.arm is Arm.CANARY:
                return _at_phase(rollout, state, phase, answer)
    if ended.arm is Arm.CANARY:
        if state.status is Status.COMPLETED:
            return Entry(When.SINCE, "", ended.cohort, 1.0 - rollout.holdback, "the rollout is completed: the canary is the default")
        last = replace(state, status=Status.PROGRESSING, phase=len(rollout.phases) - 1)
        why = _before_completion(_standing_at(whole, prepared, last, request), rollout)
        return Entry(When.COMPLETION, "", ended.cohort, 1.0 - rollout.holdback, f"not before the rollout is completed: {why}")
    return Entry(When.NEVER, "", ended.cohort, 0.0, f"never: {_never(ended, rollout)}")


def _standing_at(whole: Prepared, prepared: PreparedRollout, state: RolloutState, request: Request) -> Assignment:
    """What the request would be assigned."""
    steps = derive_rollout(prepared, state, False, Choices(whole, lambda *_: b""))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return without(end.value, request, lists=False).choice.assignment


def _at_phase(rollout: Rollout, state: RolloutState, phase: int, answer: Assignment) -> Entry:
    name, cohort = rollout.phases[phase].name, answer.cohort
    share = next((one.shares[phase] for one in rollout.cohorts if one.name == cohort), 0.0)
    if answer.reason is Reason.FORCED:
        when = When.SINCE if state.status.exposes else When.PHASE
        return Entry(when, name, cohort, share, "a list in the Spec names it: it meets the canary whenever anybody does")
    grown = f"phase {name}, when {percent(share)} of cohort {cohort} meet the canary"
    if not state.status.exposes:
        if state.status is Status.ROLLED_BACK:
            return Entry(When.PHASE, name, cohort, share, f"the rollout is rolled back; another attempt would reach it at {grown}")
        return Entry(When.PHASE, name, cohort, share, f"once the rollout is started, it enters at {grown}")
    if phase <= state.phase:
        return Entry(When.SINCE, name, cohort, share, f"it belongs to the canary since phase {name} (cohort {cohort}, {percent(share)})")
    return Entry(When.PHASE, name, cohort, share, f"it enters at {grown}")


def _before_completion(last: Assignment, rollout: Rollout) -> str:
    """Why not even the last phase has it."""
    match last.reason:
        case Reason.NO_COHORT:
            return "no cohort matches it"
        case Reason.RING:
            share = next(one.shares[-1] for one in rollout.cohorts if one.name == last.cohort)
            return f"its cohort {last.cohort} ends at {percent(share)}"
        case _:
            return f"{last.reason.value.replace('_', ' ')} at every phase"


def _never(ended: Assignment, rollout: Rollout) -> str:
    match ended.reason:
        case Reason.EXCLUDED:
            return f"cohort {ended.cohort} excludes it"
        case Reason.FORCED:
            return "a list in the Spec keeps it on stable"
        case Reason.COHORT_OUT:
            return f"its cohort {ended.cohort} was rolled back by itself, and stays there until another attempt"
        case Reason.COMPLETED:
            return f"it is in the holdback, the {percent(rollout.holdback)} that stay on stable for comparison"
        case _:
            return ended.reason.value.replace("_", " ")


def position(point: int) -> float:
    """A point as a fraction of the ring."""
    return point / RING
