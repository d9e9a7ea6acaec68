"""Who approves, who is asked, and when automation may raise the share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from extproc.domain import ChangeWindow, Freeze, Rollout, StartMode
from extproc.plan.markdown import code, listed, prose
from extproc.release.sentences import percent

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def parts(rollout: Rollout) -> list[str]:
    """The section about approvals."""
    return ["### Who approves", listed(_said(rollout))]


def _said(rollout: Rollout) -> Iterator[str]:
    name = rollout.name
    if rollout.start is StartMode.MANUAL:
        yield f"**Start:** a person, by {code(f'extproc start {name}')}."
    else:
        yield "**Start:** by itself, as soon as the controller has the Spec."
    asked = [prose(phase.name) for phase in rollout.phases if phase.share > rollout.approval_above]
    if asked:
        above = percent(rollout.approval_above)
        yield f"**Approval:** shares above {above} ({', '.join(asked)}) wait for a person, by {code(f'extproc promote {name}')}."
    else:
        yield "**Approval:** automation goes through every phase whose gates pass; no person is asked before."
    yield f"**Windows:** {'; '.join(_window(one) for one in rollout.windows) or 'the share is raised at any time'}."
    if rollout.freezes:
        yield f"**Freezes:** {'; '.join(_freeze(one) for one in rollout.freezes)}."
    commands = ", ".join(code(f"extproc {act} {name}") for act in ("pause", "return", "rollback"))
    yield f"**At any time:** whoever has the controller's token may lower the share ({commands}); every act wants a reason and is kept."


def _window(one: ChangeWindow) -> str:
    days = ", ".join(DAYS[day] for day in one.days)
    return f"{days} {_clock(one.begin)} to {_clock(one.end)} ({prose(str(one.zone))})"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02d}:{int(seconds) % 3600 // 60:02d}"


def _freeze(one: Freeze) -> str:
    begin, end = (datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M") for instant in (one.begin, one.end))
    return f"{begin} to {end} UTC, {prose(one.why)}"
