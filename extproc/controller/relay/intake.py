"""Where a leader takes what other collectors have heard; pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc import wire

RELAYS_KEPT: Final = 10_000
"""Lives of relays that are remembered; the one that was heard longest ago is forgotten first."""


class Intake:
    """One leadership's ears for relays: every message is heard once, in the order of its relay."""

    def __init__(self, life: str, take: Callable[[bytes], None]) -> None:
        """`life`: a name that no other leadership has."""
        self._life = life
        self._take = take
        self._taken: dict[str, int] = {}
        self._ticked: dict[str, int] = {}
        self._kept: dict[str, int] = {}

    def receive(self, data: bytes) -> bytes:
        """One batch, and the answer to it; raises ValueError for what is none."""
        batch = wire.read_relayed(data)
        if batch.life == self._life and batch.messages:
            self._hear(batch)
        return wire.write_taken(wire.Taken(self._life, self._taken.get(batch.relay, 0), self._kept.get(batch.relay, 0)))

    def _hear(self, batch: wire.Relayed) -> None:
        # A relay that we do not know begins where it begins: what it had before, another leader has kept.
        taken = self._taken.pop(batch.relay, batch.first - 1)
        for message in batch.messages[max(0, taken - batch.first + 1) :]:
            self._take(message)
        self._taken[batch.relay] = max(taken, batch.first + len(batch.messages) - 1)
        while len(self._taken) > RELAYS_KEPT:
            del self._taken[next(iter(self._taken))]

    def saved(self) -> None:
        """All Evidence was saved just now. Exposures are written beside it, so what counts as kept is what was here a tick ago."""
        self._kept, self._ticked = self._ticked, dict(self._taken)
