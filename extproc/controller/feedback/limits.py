"""How much feedback is taken, from whom and about what. Pure, bounded: whoever was not heard of for longest is forgotten first.

A token bucket is kept as one number, the instant at which it would be full again (the generic cell rate algorithm). Who is forgotten has a
full one: an attacker with more addresses than are remembered gets as much as that many clients would. `now` is monotonic: a clock that is
set back must lock nobody out.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

REMEMBERED: Final = 100_000
"""Buckets of a kind: some 20 MB for the two kinds together."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """So much at once, and so much a second from then on."""

    burst: float
    rate: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and one answer, may."""

    address: Bucket = Bucket(200.0, 10.0)
    """Items from one address, or one IPv6 network of 64 bits."""
    key: Bucket = Bucket(20_000.0, 5_000.0)
    """Items with one feedback key."""
    answer: Bucket = Bucket(20.0, 0.05)
    """Items about one answer, whoever they are from."""
    open: int = 100
    """Posts of one client that are being answered at the same time."""


class Buckets:
    """One bucket for each name."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._full_at: OrderedDict[str | bytes, float] = OrderedDict()
        self._remembered = remembered

    def take(self, name: str | bytes, count: int, bucket: Bucket, now: float) -> float:
        """Take `count` out: 0; or take nothing, and the seconds until they would be there. Raises ValueError where they never will."""
        if count > bucket.burst:
            raise ValueError(f"a bucket of {bucket.burst:g} never holds {count}")
        full_at = max(self._full_at.get(name, 0.0), now) + count / bucket.rate
        wait = full_at - now - bucket.burst / bucket.rate
        # What is left of a difference of large numbers is no reason to refuse.
        granted = wait <= 1e-6
        if granted:
            self._full_at[name] = full_at
        # Who is refused is heard of too: forgotten, he would have a full bucket again.
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._remembered:
            self._full_at.popitem(last=False)
        return 0.0 if granted else wait

    def __len__(self) -> int:
        return len(self._full_at)


class Open:
    """Posts that are being answered, by client."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count: Counter[str] = Counter()

    def enter(self, client: str) -> bool:
        """False where he has too many."""
        if self._count[client] >= self._most:
            return False
        self._count[client] += 1
        return True

    def leave(self, client: str) -> None:
        """One was answered, however."""
        self._count[client] -= 1
        if not self._count[client]:
            del self._count[client]
