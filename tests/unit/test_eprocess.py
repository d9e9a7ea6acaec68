"""E-processes: expectation at most 1 under the null by exact enumeration, and the figures that the design promises."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import mean, median

import pytest
from scipy.stats import binom

from extproc.release.batches import CLOSE_SOON_AT, Batcher
from extproc.release.eprocess import BETS, RATIO_WEIGHTS, RATIOS, BetE, RatioE, ceiling_log_e, combine, log_sum_exp

ROUNDING = 1e-9


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


# ------------------------------------------------------------------------------------------------------------------ validity
@pytest.mark.parametrize("r0", [1.0, 1.5])
@pytest.mark.parametrize(("n_c", "n_s"), [(1, 1), (1, 4), (1, 19), (3, 7), (5, 1), (12, 2), (19, 1)])
@pytest.mark.parametrize("stable", [0.001, 0.02, 0.2, 0.5, 0.66])
@pytest.mark.parametrize("of_null", [1.0, 0.5])
def test_ratio_e_is_at_most_1_on_average_where_the_canary_is_no_worse(r0: float, n_c: int, n_s: int, stable: float, of_null: float) -> None:
    """E[L | p_canary <= r0 * p_stable] <= 1, each bet alone and the mixture, summed over every outcome of a batch."""
    canary = of_null * r0 * stable
    alone = [0.0] * len(RATIOS)
    mixture = 0.0
    for x, y in product(range(n_c + 1), range(n_s + 1)):
        chance = binomial(x, n_c, canary) * binomial(y, n_s, stable)
        e = RatioE(r0)
        e.record(x, y, n_c, n_s)
        alone = [total + chance * math.exp(log_e) for total, log_e in zip(alone, e.vector, strict=True)]
        mixture += chance * math.exp(e.log_e)
    assert max(alone) <= 1 + ROUNDING
    assert mixture <= 1 + ROUNDING


def test_ratio_e_stays_valid_while_rates_drift_and_allocation_follows_what_was_seen() -> None:
    """The second batch's rate differs, and its size depends on the first batch: still at most 1 on average."""
    expected = 0.0
    for x1, y1 in product(range(3), range(5)):
        chance = binomial(x1, 2, 0.05) * binomial(y1, 4, 0.05)
        n_c, n_s = (1, 9) if x1 else (4, 2)
        for x2, y2 in product(range(n_c + 1), range(n_s + 1)):
            e = RatioE()
            e.record(x1, y1, 2, 4)
            e.record(x2, y2, n_c, n_s)
            expected += chance * binomial(x2, n_c, 0.4) * binomial(y2, n_s, 0.4) * math.exp(e.log_e)
    assert 0.5 < expected <= 1 + ROUNDING


def test_ratio_e_grows_where_the_canary_is_worse() -> None:
    """The counterpart: the same enumeration off the null exceeds 1, so the tests above can fail."""
    expected = 0.0
    for x, y in product(range(2), range(20)):
        e = RatioE()
        e.record(x, y, 1, 19)
        expected += binomial(x, 1, 0.5) * binomial(y, 19, 0.02) * math.exp(e.log_e)
    assert expected > 1.5


VALUES = (0.0, 0.3, 1.0)


def spread(mean: float) -> tuple[float, ...]:
    """Chances of VALUES with the given mean."""
    middle = 0.4 * min(mean / 0.3, (1 - mean) / 0.7, 1.0)
    top = mean - 0.3 * middle
    return (1 - middle - top, middle, top)


@pytest.mark.parametrize(("rel", "abs_"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.05), (0.1, 0.02), (0.0, -0.1)])
@pytest.mark.parametrize("stable_mean", [0.15, 0.4, 0.7])
@pytest.mark.parametrize("n_s", [1, 3])
def test_bet_e_is_at_most_1_on_average_where_the_canary_is_within_the_margin(rel: float, abs_: float, stable_mean: float, n_s: int) -> None:
    """E[K] <= 1 at canary mean = (1 + rel) * stable mean + abs, each bet alone and the mixture; equality where nothing is capped."""
    canary_mean = (1 + rel) * stable_mean + abs_
    chances_c, chances_s = spread(canary_mean), spread(stable_mean)
    assert min(chances_c + chances_s) >= 0
    alone = [0.0] * len(BETS)
    mixture = 0.0
    for places in product(range(3), repeat=n_s + 1):
        chance = chances_c[places[0]] * math.prod(chances_s[place] for place in places[1:])
        e = BetE(1.0, rel, abs_)
        e.record(VALUES[places[0]], sum(VALUES[place] for place in places[1:]) / n_s)
        alone = [total + chance * math.exp(log_k) for total, log_k in zip(alone, e.vector, strict=True)]
        mixture += chance * math.exp(e.log_e)
    assert max(alone) <= 1 + ROUNDING
    assert mixture == pytest.approx(1.0)


@pytest.mark.parametrize("margin", [0.05, 0.01, 0.005])
@pytest.mark.parametrize("stable", [0.0, 0.005, 0.3])
@pytest.mark.parametrize(("n_c", "n_s"), [(1, 1), (1, 6), (3, 2), (4, 1)])
@pytest.mark.parametrize("worse_by", [0.0, 0.1])
def test_bet_e_swapped_never_shows_safe_what_is_worse_by_the_margin(
    margin: float, stable: float, n_c: int, n_s: int, worse_by: float
) -> None:
    """Non-inferiority: with p_canary = p_stable + margin, or more, E <= 1 on average, also where several canary requests count as one."""
    canary = stable + margin + worse_by
    alone = [0.0] * len(BETS)
    for x, y in product(range(n_c + 1), range(n_s + 1)):
        chance = binomial(x, n_c, canary) * binomial(y, n_s, stable)
        e = BetE(1.0, abs_=-margin)
        e.record(1 - x / n_c, 1 - y / n_s)
        alone = [total + chance * math.exp(log_k) for total, log_k in zip(alone, e.vector, strict=True)]
    assert max(alone) <= 1 + ROUNDING
    if not worse_by:
        assert alone == pytest.approx([1.0] * len(BETS)), "on the edge of the null every bet is fair"


@pytest.mark.parametrize("ceiling", [0.005, 0.05, 0.3])
@pytest.mark.parametrize("requests", [1, 7, 60])
def test_a_ceiling_is_fair_at_the_ceiling_and_loses_below_it(ceiling: float, requests: int) -> None:
    """A likelihood ratio: exactly 1 on average at the ceiling, less below it, more above it."""

    def expected(rate: float) -> float:
        return sum(binomial(k, requests, rate) * math.exp(ceiling_log_e(k, requests, ceiling)) for k in range(requests + 1))

    assert expected(ceiling) == pytest.approx(1.0)
    assert expected(ceiling / 2) < 1.0
    assert expected(min(1.0, ceiling * 3)) > 1.0


# ------------------------------------------------------------------------------------------------------------------ arithmetic
def test_merging_is_adding_and_equals_recording_together() -> None:
    """Replicas and strata add vectors."""
    batches = [(1, 0, 1, 19), (0, 2, 3, 40), (2, 1, 5, 5)]
    together, first, second = RatioE(), RatioE(), RatioE()
    for index, batch in enumerate(batches):
        together.record(*batch)
        (first if index % 2 else second).record(*batch)
    added = [one + other for one, other in zip(first.vector, second.vector, strict=True)]
    first.merge(second)
    assert first.vector == added
    assert first.vector == pytest.approx(together.vector)

    joint, one, other = BetE(2.0, 0.1), BetE(2.0, 0.1), BetE(2.0, 0.1)
    for index, (x, y_mean) in enumerate([(0.3, 0.5), (1.9, 0.1), (2.5, 3.0)]):
        joint.record(x, y_mean)
        (one if index % 2 else other).record(x, y_mean)
    one.merge(other)
    assert one.vector == pytest.approx(joint.vector)


def test_what_was_saved_goes_on() -> None:
    """A vector is the whole state, and nobody else's list."""
    e = RatioE()
    e.record(3, 1, 10, 90)
    saved = e.vector
    again = RatioE(vector=saved)
    assert again.log_e == e.log_e
    again.record(1, 0, 1, 9)
    assert saved == e.vector


def test_a_batch_without_both_arms_says_nothing() -> None:
    """No comparison, no evidence."""
    e = RatioE()
    e.record(5, 0, 5, 0)
    e.record(0, 5, 0, 5)
    assert e.vector == [0.0] * len(RATIOS)
    assert e.log_e == pytest.approx(0.0)


def test_bet_e_bounds_what_one_batch_can_do() -> None:
    """A value beyond the cap counts as the cap; no single batch takes everything, or gives more than 1 + bet * cap / cap."""
    capped, at_cap = BetE(1.0), BetE(1.0)
    capped.record(50.0, 0.0)
    at_cap.record(1.0, 0.0)
    assert capped.vector == at_cap.vector == pytest.approx([math.log1p(bet) for bet in BETS])
    worst = BetE(1.0)
    worst.record(0.0, 70.0)
    assert worst.vector == pytest.approx([math.log1p(-bet) for bet in BETS])


@pytest.mark.parametrize(("cap", "rel", "abs_"), [(0.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (1.0, 0.0, -1.0), (1.0, -1.0, 0.0)])
def test_bet_e_refuses_margins_that_leave_nothing_to_bet_on(cap: float, rel: float, abs_: float) -> None:
    """A margin as wide as the range would divide by nothing."""
    with pytest.raises(ValueError, match="leaves nothing to bet on"):
        BetE(cap, rel, abs_)


def test_combine_is_the_weighted_mean_and_refuses_other_weights() -> None:
    """Weights sum to 1, or the mean is no e-value."""
    assert math.exp(combine([math.log(4.0), math.log(2.0)], [0.25, 0.75])) == pytest.approx(2.5)
    assert combine([math.log(3.0), 700.0], [1.0, 0.0]) == pytest.approx(math.log(3.0))
    assert sum(RATIO_WEIGHTS) == pytest.approx(1.0)
    for weights in ([0.5, 0.4], [0.5, 0.6], [0.0, 0.0]):
        with pytest.raises(ValueError, match="not to 1"):
            combine([0.0, 0.0], weights)
    with pytest.raises(ValueError, match="zip"):
        combine([0.0], [0.5, 0.5])


def test_log_sum_exp_neither_overflows_nor_underflows() -> None:
    """Log-capitals reach thousands in both directions."""
    assert log_sum_exp([5000.0, 5000.0]) == pytest.approx(5000.0 + math.log(2))
    assert log_sum_exp([-5000.0, -5001.0]) == pytest.approx(-5000.0 + math.log1p(math.exp(-1)))
    assert log_sum_exp([-math.inf, 3.0]) == pytest.approx(3.0)
    assert log_sum_exp([-math.inf, -math.inf]) == -math.inf
    assert log_sum_exp([]) == -math.inf
    e = RatioE()
    for _ in range(10_000):
        e.record(1, 0, 1, 19)
    assert 25_000 < e.log_e < math.inf


# ------------------------------------------------------------------------------------------------------- what the design promises
@pytest.mark.parametrize(("share", "failures"), [(0.01, 2), (0.05, 3), (0.25, 5), (0.5, 9), (0.75, 19), (0.9, 52), (0.99, 533)])
def test_failures_needed_to_reach_50_at_each_share(share: float, failures: int) -> None:
    """Every canary request fails and no stable one does; each batch is one canary request against (1 - share) / share stable ones."""
    e = RatioE()
    needed = 0
    while e.log_e < math.log(50):
        e.record(1, 0, 1, (1 - share) / share)  # type: ignore[arg-type]
        needed += 1
    assert needed == failures


@pytest.mark.parametrize(("share", "requests", "failures"), [(0.01, 200, 2), (0.05, 60, 3), (0.25, 20, 5), (0.5, 18, 9)])
def test_our_batches_need_no_more_failures_than_promised(share: float, requests: int, failures: int) -> None:
    """The same with real batches over requests that alternate evenly."""
    e, batcher, seen = RatioE(), Batcher(share), 0
    met = 0.0
    while e.log_e < math.log(50):
        seen += 1
        met += share
        canary = met >= 1 - 1e-9
        met -= canary
        batch = batcher.add(canary, canary)
        if batch is not None:
            e.record(batch.x, batch.y, batch.n_c, batch.n_s)
    assert (seen, round(seen * share)) == (requests, failures)


@pytest.mark.parametrize(("events", "requests", "ceiling"), [(0, 10, 0.05), (2, 2, 0.05), (7, 35, 0.05), (23, 230, 0.05), (6, 120, 0.01)])
def test_a_ceilings_e_is_the_mean_of_the_likelihood_ratios_that_are_documented(events: int, requests: int, ceiling: float) -> None:
    """Against scipy's binomial: rates c + g * (1 - c) with g from 1 % to 95 %, equal weights."""
    excesses = (0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.70, 0.95)
    rates = [ceiling + g * (1 - ceiling) for g in excesses]
    expected = mean(binom.pmf(events, requests, rate) / binom.pmf(events, requests, ceiling) for rate in rates)
    assert math.exp(ceiling_log_e(events, requests, ceiling)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ceiling", "rate", "requests"), [(0.05, 1.0, 2), (0.05, 0.5, 6), (0.05, 0.2, 35), (0.05, 0.1, 230), (0.01, 0.05, 120)]
)
def test_requests_needed_to_break_a_ceiling(ceiling: float, rate: float, requests: int) -> None:
    """Failures spread evenly at this rate: E reaches 20 after exactly this many requests."""
    seen = events = 0
    while ceiling_log_e(events, seen, ceiling) < math.log(20):
        seen += 1
        events = math.floor(seen * rate + 1e-9)
    assert seen == requests


def run(draw: random.Random, canary: float, stable: float, most: int, alpha: float = 0.01, share: float = 0.05) -> int | None:
    """Requests until E >= 1 / alpha, looked at after every batch, which ends with a canary request."""
    e, batcher, limit = RatioE(), Batcher(share), -math.log(alpha)
    chance = draw.random
    for request in range(1, most + 1):
        is_canary = chance() < share
        batch = batcher.add(is_canary, chance() < (canary if is_canary else stable))
        if batch is not None:
            e.record(batch.x, batch.y, batch.n_c, batch.n_s)
            if e.log_e >= limit:
                return request
    return None


def test_a_harmless_canary_is_rarely_rolled_back() -> None:
    """A/A at 0.5 % errors, alpha .01, a look after every batch: at most 1 % of 300 releases of 20,000 requests."""
    draw = random.Random(20_261_123)
    assert sum(run(draw, 0.005, 0.005, 20_000) is not None for _ in range(300)) <= 3


@pytest.mark.parametrize(("canary", "met"), [(0.05, 92), (1.0, 3)])
def test_a_harmful_canary_is_found_after_as_many_requests_as_promised(canary: float, met: int) -> None:
    """Median canary requests of 501 releases at 5 % share (each against 19 stable ones) and 0.5 % stable errors, within 15 %."""
    draw = random.Random(7)

    def needed() -> int:
        e, seen = RatioE(), 0
        while e.log_e < math.log(100):
            e.record(draw.random() < canary, sum(draw.random() < 0.005 for _ in range(19)), 1, 19)
            seen += 1
        return seen

    assert median(needed() for _ in range(501)) == pytest.approx(met, rel=0.15)


@pytest.mark.parametrize(("canary", "requests"), [(0.05, 1840), (1.0, 60)])
def test_our_batches_find_it_with_at_most_a_quarter_more(canary: float, requests: int) -> None:
    """Median total requests of 501 releases where arms come at random, as they do: at most 25 % above the design's table."""
    draw = random.Random(7)
    found = [run(draw, canary, 0.005, 100_000) for _ in range(501)]
    assert None not in found
    assert requests * 0.8 <= median(one for one in found if one) <= requests * 1.25


@pytest.mark.parametrize(("margin", "requests"), [(0.05, 106), (0.01, 542), (0.005, 1086)])
def test_canary_requests_that_show_safety_without_any_error(margin: float, requests: int) -> None:
    """Nothing ever fails: E reaches 20 after exactly this many canary requests."""
    e, needed = BetE(1.0, abs_=-margin), 0
    while e.log_e < math.log(20):
        e.record(1.0, 1.0)
        needed += 1
    assert needed == requests


@pytest.mark.parametrize(("margin", "requests"), [(0.05, 105), (0.01, 963), (0.005, 2608)])
def test_canary_requests_that_show_safety_at_half_a_percent_of_errors(margin: float, requests: int) -> None:
    """Both arms fail at 0.5 %, each canary request against 19 stable ones: medians of 101 releases, within 20 % of the design's middle."""
    draw = random.Random(5)

    def needed() -> int:
        e, seen = BetE(1.0, abs_=-margin), 0
        while e.log_e < math.log(20):
            stable = sum(draw.random() < 0.005 for _ in range(19))
            e.record(1.0 - (draw.random() < 0.005), 1 - stable / 19)
            seen += 1
        return seen

    assert median(needed() for _ in range(101)) == pytest.approx(requests, rel=0.2)


@pytest.mark.parametrize(("margin", "requests"), [(0.05, 105), (0.01, 963), (0.005, 2608)])
def test_our_batches_show_safety_with_at_most_a_third_more(margin: float, requests: int) -> None:
    """Real batches at 5 % share hold 1.6 canary requests that count as one: that costs at most a third."""
    draw = random.Random(5)

    def needed() -> int:
        e, batcher, met = BetE(1.0, abs_=-margin), Batcher(0.05, CLOSE_SOON_AT), 0
        while True:
            canary = draw.random() < 0.05
            met += canary
            batch = batcher.add(canary, draw.random() < 0.005)
            if batch is not None:
                e.record(1 - batch.x / batch.n_c, 1 - batch.y / batch.n_s)
                if e.log_e >= math.log(20):
                    return met

    assert requests * 0.8 <= median(needed() for _ in range(101)) <= requests * 4 / 3
