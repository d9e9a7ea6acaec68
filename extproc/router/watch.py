"""*No watcher, no canary*: what a router makes of the heartbeat. Pure: `now` is this process's own monotonic clock, in seconds.

A change of the heartbeat tells that the controller has evaluated; its value, age or the controller's clock tell nothing. A worker that
has just been started has seen no change yet and exposes nobody until it does, a second later: it cannot know how old what it finds is.
The first heartbeat in a store that had none is a change.
"""

from __future__ import annotations

import math

from extproc.domain import Heartbeat


class Watch:
    """Whether somebody watches, and which rollouts cannot be watched."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._looked = False
        self._changed_at = -math.inf
        self._blind: tuple[str, ...] = ()

    def see(self, heartbeat: Heartbeat | None, now: float) -> None:
        """The heartbeat as it is in the store."""
        looked, self._looked = self._looked, True
        if heartbeat is None or heartbeat.number == self._number:
            return
        if looked:
            self._changed_at = now
        self._number, self._blind = heartbeat.number, heartbeat.blind

    def age(self, now: float) -> float:
        """Seconds since the heartbeat was last seen to change; infinite before that."""
        return now - self._changed_at

    def withdrawn(self, exposed: frozenset[str], lease: float, now: float) -> frozenset[str]:
        """Which of the rollouts that expose units must not: all of them where nobody watches."""
        return exposed if self.age(now) >= lease else exposed.intersection(self._blind)
