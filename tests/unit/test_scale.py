"""How far it goes is arithmetic over measured costs; this is the arithmetic, by hand."""

from __future__ import annotations

import pytest

from loadtest.scale import Costs, Told, fleet, limits, report

COSTS = Costs(decision=25e-6, outcome=50e-6, entry=1_000, presence=500, most_writes=4_000.0, told=(Told(10, 10.0, 0.001, 0.002, 0.01),))


def test_a_hundred_envoys_by_hand() -> None:
    """100 Envoys at 50 requests/s: 5,000 outcomes, of 50 us each; three watchers each and two for each controller."""
    found = fleet(100, 50.0, COSTS)
    assert found.decisions == 5_000
    assert found.router_cores == pytest.approx(0.00125)
    assert found.watchers == 304
    assert found.writes == 104
    assert found.etcd_share == pytest.approx(0.026)
    assert found.log == 5_000_000
    assert found.leader_cores == pytest.approx(0.25)


def test_the_leader_ends_first() -> None:
    """20,000 outcomes a second are one core: 400 Envoys; etcd's writes last for ten times as many."""
    (first, said), (second, _) = limits(50.0, COSTS)
    assert first == pytest.approx(400)
    assert "leader" in said
    assert second == pytest.approx(3_996)


def test_an_etcd_that_does_not_keep_up_is_told() -> None:
    """A table of writes that were not taken would be a promise."""
    slow = Costs(25e-6, 50e-6, 1_000, 500, 4_000.0, (Told(1_000, 400.0, 0.5, 2.0, 1.0),))
    assert report(slow, 50.0)[1] == ["etcd took 400 of 1,000 writes a second"]
    assert not report(COSTS, 50.0)[1]
