"""The sentences of an explanation: what a person is told, in the words of the Spec."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from extproc.assign.explained import CohortSeen
from extproc.assign.ramp import percent
from extproc.assign.snapshot import Answer, CompiledRollout
from extproc.assign.tokens import Fate
from extproc.domain import RING, Arm, Assignment, Reason, Rollout, RolloutState, Source, SourceKind

UNCHECKED: Final = "unchecked"
"""Fate of what cannot be verified here, because the key is not here."""
_IGNORED: Final[Mapping[str, str]] = MappingProxyType(
    {
        Fate.NONE.name.lower(): "no token came",
        Fate.FORGED.name.lower(): "the token that came is not one of ours, or was changed: ignored",
        Fate.EXPIRED.name.lower(): "the token that came has expired: ignored",
        Fate.FOREIGN.name.lower(): "the token that came is of another rollout, unit or conversation: ignored",
        Fate.REVOKED.name.lower(): "the token that came was revoked: ignored",
    }
)


def source_said(source: Source) -> str:
    """Where an id comes from."""
    if source.kind is SourceKind.API_KEY:
        return f"API key in header {source.name}, hashed"
    return f"{source.kind.value} {source.name}"


def because(rollout: Rollout, state: RolloutState, assignment: Assignment, decided: CohortSeen | None, point: int) -> str:
    """Why a unit is on its arm."""
    match assignment.reason:
        case Reason.RING:
            assert decided is not None
            return _on_the_ring(assignment.arm, decided, point)
        case Reason.COMPLETED if assignment.arm is Arm.CANARY:
            return "the rollout is completed: the canary is the default"
        case Reason.COMPLETED:
            return f"the rollout is completed, and this unit is in the holdback: the {percent(rollout.holdback)} that stay on stable"
        case Reason.SHADOW:
            return "the rollout is in its shadow: stable answers, and a copy of the request goes to the canary, whose answer nobody gets"
        case Reason.NOT_EXPOSED:
            return f"the rollout is {state.status.value.replace('_', ' ')}: everybody meets stable"
        case Reason.WITHDRAWN:
            return "nobody watches the canary, or its outcomes do not arrive: everybody meets stable until that has ended"
        case Reason.NO_UNIT:
            return f"nothing says who it is: no source gives an id, and there is no x-request-id{_default(assignment)}"
        case Reason.NO_COHORT:
            return f"no cohort matches{_default(assignment)}"
        case Reason.NOT_YET:
            assert decided is not None
            return f"cohort {decided.name} takes part from phase {decided.first_phase} on"
        case Reason.EXCLUDED:
            assert decided is not None
            return f"cohort {decided.name} excludes it: {decided.exclude}"
        case Reason.COHORT_OUT:
            return f"cohort {assignment.cohort} was rolled back by itself"
        case Reason.PINNED:
            return f"a valid token keeps this conversation on {assignment.model}"
        case Reason.OVERRIDE:
            return f"a signed QA header asks for the {_role(assignment)}"
        case Reason.FORCED:
            return f"a list in the Spec puts it on the {_role(assignment)}"
        case Reason.NO_MATCH:
            return "no rollout of the layer is about this request"


def _on_the_ring(arm: Arm, cohort: CohortSeen, point: int) -> str:
    here = f"stands at {percent(point / RING)} of the ring"
    canary, control = percent(cohort.canary_below / RING), percent(1 - cohort.control_from / RING)
    if arm is Arm.CANARY:
        return f"{here}, below the {canary} of cohort {cohort.name} that meet the canary"
    if arm is Arm.CONTROL:
        return f"{here}, in the last {control}: the control, which the canary of cohort {cohort.name} is compared with"
    return f"{here}, above the {canary} of cohort {cohort.name} that meet the canary"


def _default(assignment: Assignment) -> str:
    return "; the rollout is completed, and the canary is the default" if assignment.arm is Arm.CANARY else ""


def _role(assignment: Assignment) -> str:
    return "canary" if assignment.arm is Arm.CANARY else "stable model"


def instead(answer: Answer, without: Answer) -> str:
    """What there would be without the token, the QA header or the list that has decided; empty where none has."""
    if answer.choice.assignment.reason not in (Reason.PINNED, Reason.OVERRIDE, Reason.FORCED):
        return ""
    made = without.choice.assignment
    cohort = f" of cohort {made.cohort}" if made.cohort else ""
    return f"without that: {made.model}, {made.arm.value}{cohort} ({made.reason.value.replace('_', ' ')})"


def conversation_said(compiled: CompiledRollout, answer: Answer, fate: str, lifetime: float) -> str:
    """What became of the token that came, and whether there is a new one."""
    conversation, note, assignment = compiled.conversation, answer.note, answer.choice.assignment
    if conversation is None:
        return "no token counts now, and none is handed out"
    if fate == UNCHECKED:
        return "a token came; its key is in the store and not here, so this is the answer without it"
    if fate == Fate.VALID.name.lower():
        if assignment.reason is Reason.PINNED:
            return "the token that came keeps the conversation where it is"
        return "the token that came is good, and what it says is so anyway"
    became = _IGNORED[fate]
    if note is not None and note.token:
        return f"{became}; a new one is handed out, good for {_spoken(lifetime)}"
    return f"{became}; none is handed out"


def _spoken(seconds: float) -> str:
    """`4 h`, `90 min`, `20 s`."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:g} {unit}"
    return f"{seconds:g} s"
