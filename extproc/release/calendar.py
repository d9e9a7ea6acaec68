"""When automation may raise exposure: change windows and freezes.

Lowering it is never a matter of the hour, and people decide for themselves.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final

from extproc.domain import ChangeWindow, Rollout

DAYS_AHEAD: Final = 8
"""A window that opens at all opens within a week."""


def closed(rollout: Rollout, now: float) -> str:
    """Why nothing may be raised now; empty where it may. `now`: Unix seconds."""
    for freeze in rollout.freezes:
        if freeze.begin <= now < freeze.end:
            return f"frozen for {_hours(freeze.end - now)} more: {freeze.why}"
    if not rollout.windows or any(_open(window, now) for window in rollout.windows):
        return ""
    opens = min((at for window in rollout.windows if (at := _opens(window, now)) is not None), default=None)
    when = f", the next one opens in {_hours(opens - now)}" if opens is not None else ", and none will open"
    return f"outside of the change windows{when}"


def _open(window: ChangeWindow, now: float) -> bool:
    here = datetime.fromtimestamp(now, window.zone)
    seconds = here.hour * 3600 + here.minute * 60 + here.second + here.microsecond / 1e6
    return here.weekday() in window.days and window.begin <= seconds < window.end


def _opens(window: ChangeWindow, now: float) -> float | None:
    """When it opens next, by the clock on its wall; None where it has no days."""
    here = datetime.fromtimestamp(now, window.zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(DAYS_AHEAD):
        begin = (midnight + timedelta(days=day)).replace(
            hour=int(window.begin // 3600), minute=int(window.begin % 3600 // 60), second=int(window.begin % 60)
        )
        if begin.weekday() in window.days and begin.timestamp() > now:
            return begin.timestamp()
    return None


def _hours(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    days, hours = minutes // 1440, minutes % 1440 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60:02d} min" if hours else f"{minutes} min"
