"""Messages that the leader does not have for certain yet, in order; pure."""

from __future__ import annotations

from collections import deque
from typing import Final

MOST_BYTES: Final = 64 << 20
"""Of all messages that wait. At 20,000 outcomes a second and 500 bytes each that is 6 s, more than a change of leaders takes."""
BATCH_BYTES: Final = 1 << 20
"""Of one batch, unless a single message is larger."""


class Outbox:
    """One collector's messages, numbered from 1."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._kept = 0
        """Number of the last message that is not here any more."""
        self.lost = 0
        """Messages that had to give way to newer ones, unkept."""

    @property
    def last(self) -> int:
        """Number of the newest message; 0 before the first."""
        return self._kept + len(self._waiting)

    @property
    def waiting(self) -> int:
        """Messages that are held."""
        return len(self._waiting)

    @property
    def kept(self) -> int:
        """Up to this number nothing is held: the leader has kept it, or it was lost."""
        return self._kept

    def put(self, message: bytes) -> None:
        """One more; where there is no room, the oldest ones give way: the newest say how the canary does now."""
        self._waiting.append(message)
        self._bytes += len(message)
        while self._bytes > self._most and len(self._waiting) > 1:
            self._drop()
            self.lost += 1

    def after(self, number: int, most_bytes: int = BATCH_BYTES) -> tuple[int, list[bytes]]:
        """(number of the first, messages) of the next batch behind `number`; empty where there is nothing newer."""
        begin = max(number, self._kept) - self._kept
        found: list[bytes] = []
        size = 0
        for place in range(begin, len(self._waiting)):
            message = self._waiting[place]
            if found and size + len(message) > most_bytes:
                break
            found.append(message)
            size += len(message)
        return self._kept + begin + 1, found

    def forget(self, number: int) -> None:
        """The leader has kept everything up to `number`."""
        while self._waiting and self._kept < number:
            self._drop()

    def _drop(self) -> None:
        self._bytes -= len(self._waiting.popleft())
        self._kept += 1
