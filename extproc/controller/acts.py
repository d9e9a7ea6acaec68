"""What people ask for in words -> an Action and a Wish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.domain import Action, Rollout
from extproc.errors import Problem, RefusedError
from extproc.release import Wish
from extproc.spec.units import duration

OPTIONS: Final[Mapping[Action, tuple[str, ...]]] = {
    Action.START: ("retry",),
    Action.ROLL_BACK: ("conversations", "cohort"),
    Action.RETURN: ("to",),
    Action.OVERRIDE: ("for",),
}
"""What an act leaves open: is it a `retry`, `conversations` are drained or moved, `cohort` alone goes back, `to` which phase, `for` how
long."""


def wished(rollout: Rollout, action: Action, options: Mapping[str, str], now: float) -> tuple[Action, Wish]:
    """What is meant; raises RefusedError for an option that the act does not have, or a value that it cannot have."""
    known = OPTIONS.get(action, ())
    for name in options:
        if name not in known:
            hint = f"it has {', '.join(known)}" if known else "it has none"
            raise _refused(rollout, name, f"the act has no option {name!r}", hint)
    conversations, cohort = options.get("conversations", "move"), options.get("cohort", "")
    if conversations not in ("move", "drain"):
        raise _refused(rollout, "conversations", f"conversations cannot be {conversations!r}", "say drain or move")
    if options.get("retry", "no") not in ("yes", "no"):
        raise _refused(rollout, "retry", f"retry cannot be {options['retry']!r}", "say yes or no, or leave it out")
    if cohort:
        if "conversations" in options:
            raise _refused(rollout, "conversations", "a cohort's open conversations always move", "leave one of the two out")
        return Action.ROLL_BACK_COHORT, Wish(cohort=cohort)
    return action, Wish(
        to_phase=_phase(rollout, options.get("to")),
        drains=conversations == "drain",
        until=_until(rollout, options.get("for"), now),
        retry=options["retry"] == "yes" if "retry" in options else None,
    )


def _phase(rollout: Rollout, name: str | None) -> int | None:
    if name is None:
        return None
    names = [phase.name for phase in rollout.phases]
    if name not in names:
        raise _refused(rollout, "to", f"there is no phase {name!r}", f"its phases are {', '.join(names)}")
    return names.index(name)


def _until(rollout: Rollout, written: str | None, now: float) -> float:
    if written is None:
        return 0.0
    try:
        return now + duration(written)
    except ValueError as error:
        raise _refused(rollout, "for", f"{written!r} {error}", "such as --for 2h") from error


def _refused(rollout: Rollout, name: str, message: str, hint: str) -> RefusedError:
    return RefusedError(Problem("act.option", f"{rollout.name}.{name}", message, hint))
