"""What `extproc wait` makes of a status: reached, rolled back, or not yet; and the sentences it says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from extproc.cli.picture import duration
from extproc.domain import Status
from extproc.errors import Problem, SettingsError

COMPLETED: Final = Status.COMPLETED.value
AWAITING: Final = Status.AWAITING_APPROVAL.value
WORDS: Final = (COMPLETED, AWAITING)
"""What can be waited for besides phases."""
CODES: Final = (
    "Exit codes: 0 reached; 1 a mistake in the arguments, or no such rollout; 2 the command line is not understood; 3 rolled back; "
    "4 the time is over, and it still goes on or has not begun; 5 a person is needed: it is paused, held, or awaits approval; 6 the "
    "controller was not reached for longer than --patience."
)


class Ended(IntEnum):
    """Exit codes; 1 and 2 are those of every command."""

    REACHED = 0
    ROLLED_BACK = 3
    NOT_YET = 4
    PERSON = 5
    UNREACHABLE = 6


@dataclass(frozen=True, slots=True)
class Seen:
    """One rollout at one look."""

    name: str
    status: Status
    phase: str
    index: int
    phases: tuple[str, ...]
    why: str
    page: bool

    @property
    def place(self) -> str:
        """`progressing at 25%`."""
        words = self.status.value.replace("_", " ")
        return f"{words} at {self.phase}" if self.status.exposes else words

    @property
    def needs_person(self) -> bool:
        """True where it does not go on by itself."""
        held = self.status in (Status.SHADOW, Status.PROGRESSING) and self.page
        return held or self.status in (Status.PAUSED, Status.AWAITING_APPROVAL)


def seen(document: Mapping[str, Any], name: str) -> Seen:
    """One rollout of a status document; raises SettingsError where there is none of that name."""
    rollouts = document["rollouts"]
    if name not in rollouts:
        there = f"there are: {', '.join(rollouts)}" if rollouts else "its Spec has none"
        raise SettingsError(Problem("wait.no-rollout", name, "the controller knows no such rollout", there))
    one = rollouts[name]
    status = Status(one["status"])
    why = one["why"] if status.terminal else one["now"]
    return Seen(name, status, one["phase"], one["phase_index"], tuple(phase["name"] for phase in one["phases"]), why, one["page"])


def goal(until: str, phases: Sequence[str]) -> int:
    """Index of the phase to reach; one beyond the last for the words that are no phase. Raises SettingsError where there is none such."""
    if until in WORDS:
        return len(phases)
    if until not in phases:
        known = ", ".join((*phases, *WORDS))
        raise SettingsError(Problem("wait.no-phase", "--until", f"there is no phase {until!r}", f"one of {known}"))
    return phases.index(until)


def ended(one: Seen, until: str, stops_when_asked: bool) -> Ended | None:
    """How the wait ends at this look; None where it goes on."""
    asked = until == AWAITING and one.status is Status.AWAITING_APPROVAL
    if asked or one.status is Status.COMPLETED or (one.status.exposes and one.index >= goal(until, one.phases)):
        return Ended.REACHED
    if one.status is Status.ROLLED_BACK:
        return Ended.ROLLED_BACK
    return Ended.PERSON if stops_when_asked and one.needs_person else None


def last_words(one: Seen, how: Ended, until: str, seconds: float) -> str:
    """The one line that scripts read."""
    after = f"after {duration(seconds)}"
    match how:
        case Ended.REACHED:
            return f"{one.name} has reached {until} {after}: {one.place}"
        case Ended.ROLLED_BACK:
            return f"{one.name} was rolled back: {one.why}"
        case Ended.PERSON:
            return f"{one.name} has not reached {until} {after}, and needs a person: {one.place}; {one.why}"
        case _:
            return f"{one.name} has not reached {until} {after}: {one.place}; {one.why}"


def progress(one: Seen, left: float) -> str:
    """One line of progress, for a terminal."""
    exposes = one.status.exposes
    phases = "  ".join(f"[{name}]" if exposes and index == one.index else name for index, name in enumerate(one.phases))
    return f"{one.name}: {phases}   {one.place}, {duration(left)} left: {one.why}"
