"""No outcomes, no canary: decisions against what is heard of, with a clock that is an argument."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from extproc.controller.sight import FEWEST, LAG, SEES_AFTER, SETTLE, Sight
from tests.unit.test_loop import NAME, outcome

LEASE = 15.0


class Traffic:
    """Requests as they are decided, told (once a second, at any moment of it) and heard of: at their end, or a second after their start."""

    def __init__(self, lease: float = LEASE, seed: int = 5) -> None:
        self.sight = Sight(lease)
        self.now = 1_000.0
        self.random = Random(seed)
        self.number = 0
        self._later: list[tuple[float, float, int, bool]] = []
        self._decided: list[float] = []
        self._told_at = self.random.random()
        """A router's own second."""
        self._last_told = self.now
        self.silent = False
        """Nobody tells of decisions: a supervisor that waits for a worker, datagrams that are lost."""
        self.blind: list[bool] = []

    def run(self, seconds: int, rate: Callable[[float], int] | int, lost: float = 0.0) -> None:
        """`rate` requests in each second, of which a part's entries are lost."""
        for _ in range(seconds):
            for _ in range(rate if isinstance(rate, int) else rate(self.now - 1_000)):
                start = self.now + self.random.random()
                self.number += 1
                self._decided.append(start)
                if self.random.random() >= lost:
                    duration = self.random.expovariate(1.0)
                    # Envoy tells of open requests every second, of ended ones within a tenth of one; it may be late by half a second.
                    late = 0.1 + self.random.random() * 0.5
                    periods = [start + 1.0 + k + late for k in range(int(duration))]
                    self._later += [(at, start, self.number, False) for at in periods] + [
                        (start + duration + late, start, self.number, True)
                    ]
            self.now += 1.0
            self._told_at = (self._told_at + self.random.uniform(-0.1, 0.1)) % 1.0
            if not self.silent:
                told = self.now - self._told_at
                self.sight.decide(NAME, sum(start <= told for start in self._decided), self._last_told, told)
                self._decided = [start for start in self._decided if start > told]
                self._last_told = told
            self._later.sort()
            while self._later and self._later[0][0] <= self.now:
                _, start, number, final = self._later.pop(0)
                self.sight.hear(outcome(number, start, False, False, final=final))
            self.blind.append(NAME in self.sight.tick(self.now + 0.01))


@pytest.mark.parametrize("lease", [3.0, 15.0])
@pytest.mark.parametrize(
    "rate",
    [
        5,
        300,
        lambda now: 400 if now % 40 < 3 else 0,
        lambda now: 400 if now % 15 < 1 else 2,
        lambda now: 0 if now < 50 else 500,
        lambda now: 500 if now < 50 else 0,
        lambda now: int(now) * 5,
        lambda now: max(0, 600 - int(now) * 5),
        lambda now: 1 if now % 13 < 1 else 0,
    ],
    ids=["a few", "many", "bursts", "bursts on a floor", "begins", "ends", "grows", "shrinks", "one every 13 s"],
)
def test_nothing_lost_is_never_blind(rate: Callable[[float], int] | int, lease: float) -> None:
    """However traffic comes, a request that is heard of within its second is no reason."""
    for seed in range(5):
        traffic = Traffic(lease, seed)
        traffic.run(120, rate)
        assert not any(traffic.blind)


@pytest.mark.parametrize("silence", [2, 4, 9])
def test_whoever_tells_late_is_no_reason(silence: int) -> None:
    """What is told at once after some seconds was decided in all of them, and did not come as a burst that nobody heard of."""
    for seed in range(10):
        traffic = Traffic(3.0, seed)
        for _ in range(12):
            traffic.run(11, 120)
            traffic.silent = True
            traffic.run(silence, 120)
            traffic.silent = False
        assert not any(traffic.blind)


def test_nothing_heard_is_blind_within_one_lease_and_sees_again_within_another() -> None:
    """The bound of DESIGN.md, and the way back."""
    traffic = Traffic()
    traffic.run(60, 100)
    traffic.run(int(LEASE), 100, lost=1.0)
    assert traffic.blind[-1]
    traffic.run(SEES_AFTER + LAG + 2, 100)
    assert not traffic.blind[-1]


def test_a_fifth_lost_is_blind_a_twentieth_is_not() -> None:
    """The line is at 90 %."""
    some, few = Traffic(), Traffic()
    some.run(300, 200, lost=0.2)
    few.run(300, 200, lost=0.05)
    assert not any(few.blind)
    first = some.blind.index(True)
    assert first < SETTLE + LAG + LEASE + 2
    assert all(some.blind[first:]), "blind and seeing in turns"


def test_little_traffic_is_compared_over_more_time() -> None:
    """One request every five seconds: ten of them, and then it is blind; what is said has the numbers."""
    traffic = Traffic()
    traffic.run(300, lambda now: int(now % 5 < 1), lost=1.0)
    assert traffic.blind[-1]
    assert not any(traffic.blind[: FEWEST * 5])
    said = str(traffic.sight.tick(traffic.now + 1)[NAME])
    assert "only 0 were heard of" in said


def test_after_a_gap_of_our_own_nothing_is_compared_for_a_while() -> None:
    """A process that stood still knows nothing of what it missed."""
    traffic = Traffic()
    traffic.run(60, 100)
    traffic.sight.decide(NAME, 10_000, traffic.now - 1, traffic.now)
    traffic.sight.begin_anew()
    traffic.blind.clear()
    traffic.run(60, 100)
    assert not any(traffic.blind)
    traffic.run(int(SETTLE + LEASE), 100, lost=1.0)
    assert traffic.blind[-1]


def test_an_open_request_is_heard_of_once() -> None:
    """Periodic entries and the end are one request; half of the requests heard of twice do not hide that the other half is lost."""
    sight = Sight(3.0)
    for second in range(30):
        sight.decide(NAME, 10, second, second + 1.0)
        for number in range(second * 5, second * 5 + 5):
            for final in (False, False, True):
                sight.hear(outcome(number, second, False, False, final=final))
        blind = sight.tick(second + 1.0)
    assert blind[NAME].decided == 2 * blind[NAME].heard > 0
