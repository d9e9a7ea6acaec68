"""What is bet on means: at most 1 on average under each null, whichever way is worse; and each null is the one that is documented."""

from __future__ import annotations

import math
from itertools import product

import pytest

from extproc.release.compare import MeanPanel, MeanTest
from extproc.release.eprocess import BETS
from extproc.release.limits import Limits
from extproc.release.scales import WHOLE
from extproc.release.strata import Stratum

VALUES = (0.0, 0.3, 1.0)


def spread(mean: float) -> tuple[float, ...]:
    """Chances of VALUES with the given mean."""
    middle = 0.4 * min(mean / 0.3, (1 - mean) / 0.7, 1.0)
    top = mean - 0.3 * middle
    return (1 - middle - top, middle, top)


def edge(test: MeanTest, stable: float) -> float:
    """The canary's mean at which the null just holds."""
    worse = test.margin if test.more_is_worse else -test.margin
    if not test.relative:
        return stable + worse
    # Of harm where less is worse the null is stable <= (1 + d) * canary.
    return stable / (1 + test.margin) if not test.more_is_worse and not test.safety else stable * (1 + worse)


TESTS = [
    MeanTest("m", 0, margin, relative, more_is_worse, safety)
    for margin in (0.0, 0.1)
    for relative in (True, False)
    for more_is_worse in (True, False)
    for safety in (True, False)
]


@pytest.mark.parametrize("test", TESTS, ids=str)
@pytest.mark.parametrize("stable", [0.2, 0.5])
@pytest.mark.parametrize(("n_c", "n_s"), [(1, 1), (1, 3), (2, 2)])
def test_each_bet_is_fair_on_the_edge_of_its_null(test: MeanTest, stable: float, n_c: int, n_s: int) -> None:
    """Enumerated over all outcomes of a batch: on average 1 on the edge (nothing is capped here), less inside, more outside."""
    stake = test.stake(1.5)
    assert stake is not None

    def expected(canary: float) -> float:
        chances_c, chances_s = spread(canary), spread(stable)
        total = 0.0
        for places in product(range(3), repeat=n_c + n_s):
            chance = math.prod(chances_c[place] for place in places[:n_c]) * math.prod(chances_s[place] for place in places[n_c:])
            units = [[VALUES[place]] for place in places]
            z = stake.move(units[:n_c], units[n_c:])
            assert z is not None
            assert z >= -1 - 1e-12
            total += chance * (1 + BETS[-1] * z)
        return total

    canary = edge(test, stable)
    assert expected(canary) == pytest.approx(1.0)
    outside = 0.05 if test.more_is_worse is not test.safety else -0.05
    assert expected(canary + outside) > 1.0
    assert expected(canary - outside) < 1.0


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_no_value_can_take_everything(test: MeanTest) -> None:
    """Whatever is measured, a bet keeps at least a tenth."""
    stake = test.stake(1.0)
    assert stake is not None
    for canary, stable in product((0.0, 0.5, 1.0, 1e9), repeat=2):
        z = stake.move([[canary]], [[stable]])
        assert z is not None
        assert 1 + BETS[-1] * z >= 0.1 - 1e-9


def test_an_arm_without_a_value_says_nothing() -> None:
    """None of the canary's units were told their tokens: the batch moves nothing."""
    stake = MeanTest("m", 0, 0.0, True, True, False).stake(1.0)
    assert stake is not None
    assert stake.move([[None]], [[0.5]]) is None
    assert stake.move([[0.5]], [[None], [None]]) is None
    assert stake.move([[0.5], [None]], [[0.5], [None]]) == pytest.approx(0.0)


@pytest.mark.parametrize("cap", [0.0, -1.0])
def test_without_a_past_there_is_no_bet(cap: float) -> None:
    """A cap that is not known yet."""
    assert MeanTest("m", 0, 0.1, True, True, False).stake(cap) is None
    assert MeanTest("m", 0, 0.1, False, True, True).stake(0.05) is None, "a margin as wide as the range leaves nothing"
    assert MeanTest("m", 0, 1.0, True, False, True).stake(1.0) is None, "less than nothing cannot be asked for"


@pytest.mark.parametrize(
    ("more_is_worse", "canary", "found"), [(True, 1.4, True), (True, 0.6, False), (False, 0.6, True), (False, 1.4, False)]
)
def test_harm_has_a_direction(more_is_worse: bool, canary: float, found: bool) -> None:
    """Dearer is worse, fewer tokens a second are worse."""
    panel = MeanPanel([MeanTest("m", 0, 0.05, True, more_is_worse, False)], (WHOLE,))
    epochs, lane = (0,), panel.lanes[0]
    here, limits = Stratum(1, 0, "everyone", 0.25, frozenset({"m"})), Limits(0, (), (3.0,))
    for _ in range(300):
        for _ in range(3):
            panel.feed(here, epochs, limits, False, [1.0], 0, 1)
        panel.feed(here, epochs, limits, True, [canary], 0, 1)
    assert (lane.log_e(0) > math.log(1000)) is found
    if not found:
        assert lane.log_e(0) < 0
