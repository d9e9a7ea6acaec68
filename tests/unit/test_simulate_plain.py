"""The simulator's plain form reproduces the design's table, ours and the peers', within the noise of few runs."""

from __future__ import annotations

import random
from itertools import pairwise
from statistics import median

import pytest
from scipy.stats import mannwhitneyu

from extproc.release.eprocess import BetE
from extproc.release.simulate import TABLE, Row, Stop, plain_rows
from extproc.release.simulate.peers import (
    BOUNDARIES,
    FlaggerLike,
    GroupSequential,
    KayentaLike,
    Minute,
    ZTest,
    mann_whitney,
    two_proportions,
)
from extproc.release.simulate.plain import OURS, PER_CANARY, Errors, Judge, Latency, requests_to_advance, score
from extproc.release.simulate.rows import row


def table(world: str, runs: int) -> dict[str, Row]:
    made = [TABLE[world](random.Random(number * 7919 + 1)) for number in range(runs)]
    return {one.rule: one for one in plain_rows(world, made)}


def test_a_harmless_canary_is_rarely_rolled_back_by_us_and_often_by_others() -> None:
    """60 releases of 100,000 requests, A/A at .5 %: .33 %, 31 %, 100 %, 1.2 % and 1.25 % in the design's table."""
    found = table("errors: A/A .5 %", 60)
    assert found[OURS].stopped <= 2
    assert 0.15 <= found["z-test p<.05 each minute"].share <= 0.5
    assert found["Flagger-like"].share == 1.0
    assert found["Kayenta-like"].share <= 0.1
    assert found["group sequential, 14 looks"].share <= 0.1


@pytest.mark.parametrize(
    ("world", "runs", "ours", "others"),
    [
        ("errors: .5 -> 5 %", 100, (1_840, 92), {"z-test p<.05 each minute": 1_660, "Flagger-like": 8_340, "Kayenta-like": 16_660}),
        ("errors: .5 -> 100 %", 30, (60, 3), {"z-test p<.05 each minute": 1_660, "group sequential, 14 looks": 7_140}),
        ("latency: +50 %", 12, (1_800, 90), {"Mann-Whitney p<.05 each minute": 1_660}),
        ("judge: .80 -> .77", 12, (10_400, 520), {"Flagger-like": 11_660}),
    ],
)
def test_a_harmful_canary_is_found_after_as_many_requests_as_the_table_says(
    world: str, runs: int, ours: tuple[int, int], others: dict[str, int]
) -> None:
    """Medians within a quarter; every release is rolled back."""
    found = table(world, runs)
    assert found[OURS].share == 1.0
    assert found[OURS].requests == pytest.approx(ours[0], rel=0.25)
    assert found[OURS].canary == pytest.approx(ours[1], rel=0.25)
    for rule, requests in others.items():
        assert found[rule].requests == pytest.approx(requests, rel=0.25), rule


def test_a_small_harm_is_found_more_often_than_not() -> None:
    """.5 -> 1 %: 82 % @ 48,980 in the table."""
    found = table("errors: .5 -> 1 %", 60)[OURS]
    assert 0.65 <= found.share <= 0.95
    assert found.requests == pytest.approx(48_980, rel=0.3)


@pytest.mark.parametrize(("margin", "requests"), [(0.05, 166), (0.03, 370)])
def test_an_identical_judge_advances_after_about_as_many(margin: float, requests: int) -> None:
    """Medians of 41."""

    def needed(draw: random.Random) -> int:
        found = requests_to_advance(BetE(1.0, abs_=-margin), lambda: score(draw, 0.8), lambda: score(draw, 0.8))
        assert found is not None
        return found

    assert median(needed(random.Random(number)) for number in range(41)) == pytest.approx(requests, rel=0.3)


def test_the_same_seed_gives_the_same_table() -> None:
    """And another one another."""

    def stops(seed: int, release: Errors | Latency | Judge) -> dict[str, Stop | None]:
        return release(random.Random(seed))

    for release in (Errors(0.005, 0.05, 20_000), Latency(1.5, 4_000), Judge(0.8, 0.6, 4_000)):
        assert stops(1, release) == stops(1, release)
    assert stops(1, Errors(0.005, 0.05, 20_000)) != stops(2, Errors(0.005, 0.05, 20_000))


# ----------------------------------------------------------------------------------------------------------------------- peers
def test_the_rank_sum_is_that_of_the_books() -> None:
    """Against scipy, with ties; too few values have no z."""
    draw = random.Random(1)
    for _ in range(20):
        canary = [draw.randrange(6) + 0.0 for _ in range(draw.randrange(5, 40))]
        stable = [draw.randrange(5) + 0.0 for _ in range(draw.randrange(5, 60))]
        p = mannwhitneyu(canary, stable, alternative="greater", method="asymptotic").pvalue
        from scipy.stats import norm

        assert norm.sf(mann_whitney(canary, stable)) == pytest.approx(p, abs=0.03)
    assert mann_whitney([], [1.0]) == mann_whitney([1.0, 1.0], [1.0]) == 0.0


def test_two_proportions_by_hand() -> None:
    """30 of 100 against 20 of 100 is 1.63 standard errors; nothing against nothing is none."""
    assert two_proportions(30, 100, 20, 100) == pytest.approx(1.633, abs=0.001)
    assert two_proportions(0, 10, 0, 10) == two_proportions(1, 0, 1, 5) == 0.0


def test_each_peer_follows_its_own_rule() -> None:
    """Five failed checks; ten points; fourteen looks; any minute below .05."""
    bad = Minute(100, 1900, 50, 10, 0.5, 0.005)
    good = Minute(100, 1900, 0, 10, 0.0, 0.005)
    flagger = FlaggerLike(limit=0.01)
    assert [flagger.minute(one) for one in (bad, good, bad, bad, good, bad, bad)] == [False] * 6 + [True]
    score_rule = FlaggerLike(drop=0.98)
    assert [score_rule.minute(Minute(1, 1, 0, 0, 0.3, 0.2)) for _ in range(5)] == [False] * 4 + [True]
    assert not any(FlaggerLike(ratio=1.1).minute(Minute(1, 1, 0, 0, 0.21, 0.2)) for _ in range(9))
    kayenta = KayentaLike()
    assert [kayenta.minute(bad) for _ in range(10)] == [False] * 9 + [True]
    assert ZTest().minute(bad)
    assert not ZTest().minute(good)
    planned = GroupSequential()
    assert not any(planned.minute(good) for _ in range(20))
    assert len(BOUNDARIES) == 14
    assert all(later < sooner for sooner, later in pairwise(BOUNDARIES))


def test_a_row_counts_runs_that_were_let_pass() -> None:
    """Medians are of those that were stopped; none has none."""
    assert row("w", "r", [Stop(100, 5), None, Stop(300, 15)]) == Row("w", "r", 3, 2, 200, 10)
    nobody = row("w", "r", [None, None])
    assert (nobody.share, nobody.requests, nobody.canary) == (0.0, None, None)
    assert PER_CANARY == 19
