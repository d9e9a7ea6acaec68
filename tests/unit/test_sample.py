"""Above a rate of outcomes a sample of units is looked at: the same in both arms, decided before requests begin, and enough."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from extproc.domain import Arm, Outcome
from extproc.release import Evidence
from extproc.release.guards import CANARY, STABLE
from extproc.release.sample import HOLDS, LOOKED_AT_MOST, LOWER_FROM, MOST, Sample
from extproc.release.units import unit_key
from tests.support.outcomes import outcome
from tests.support.specs import gated

DEADLINE = 8.0
RATE = 20_000
PHASE_25 = 2


def test_all_units_are_looked_at_below_the_rate() -> None:
    """Nothing is left out that could be looked at."""
    sample = Sample(DEADLINE)
    sample.renew(LOOKED_AT_MOST, 100.0)
    assert sample.one_in == 1
    assert all(sample.has(unit_key(f"{unit:016x}", False), 101.0) for unit in range(1000))


@pytest.mark.parametrize("one_in", [2, 8, 64])
def test_a_sample_is_a_fair_one(one_in: int) -> None:
    """Of either arm one unit in so many; the smaller sample is part of the larger one."""
    small, large = Sample(DEADLINE), Sample(DEADLINE)
    small.renew(LOOKED_AT_MOST * one_in, 100.0)
    large.renew(LOOKED_AT_MOST * one_in / 2, 100.0)
    units = 40_000
    for canary in (False, True):
        keys = [unit_key(f"{unit * 0x9E3779B97F4A7C15 % 2**64:016x}", canary) for unit in range(units)]
        found = {key for key in keys if small.has(key, 101.0)}
        expected = units / one_in
        assert abs(len(found) - expected) < 5 * math.sqrt(expected)
        assert all(large.has(key, 101.0) for key in found)


def test_a_change_holds_for_what_begins_after_it() -> None:
    """How long a request takes has no say in whether it is looked at: what counts is the sample of the instant at which it began."""
    sample = Sample(DEADLINE)
    key = next(key for key in (unit_key(f"{unit:016x}", True) for unit in range(100)) if key >> 40 & 7)
    assert sample.has(key, 99.0)
    sample.renew(8 * LOOKED_AT_MOST, 100.0)
    assert sample.has(key, 99.9)
    assert not sample.has(key, 100.0)


def test_it_is_steady() -> None:
    """It stays for a while, grows again only well below the border, and remembers no more than may still be heard of."""
    sample = Sample(DEADLINE)
    sample.renew(2 * LOOKED_AT_MOST, 100.0)
    sample.renew(LOOKED_AT_MOST * LOWER_FROM, 100.0 + HOLDS - 0.1)
    assert sample.one_in == 2
    sample.renew(2 * LOOKED_AT_MOST * LOWER_FROM + 1, 100.0 + HOLDS)
    assert sample.one_in == 2
    sample.renew(2 * LOOKED_AT_MOST * LOWER_FROM - 1, 100.0 + HOLDS)
    assert sample.one_in == 1
    for turn in range(100):
        sample.renew(1e12 if turn % 2 else 0.0, 200.0 + HOLDS * turn)
        assert len(sample._changes) <= 2 + (DEADLINE + HOLDS) / HOLDS + 1
    assert sample.one_in == MOST


def seconds(failing: float = 0.0, begin: float = 1000.0) -> Iterator[list[Outcome]]:
    """What begins in each second, without end: a quarter meets the canary, of which this share fails."""
    draw, number = random.Random(7), 0
    while True:
        found = []
        for place in range(RATE):
            number += 1
            canary = number % 4 == 0
            failed = draw.random() < (failing if canary else 0.002)
            unit = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"
            found.append(outcome(number, begin + place / RATE, canary, failed, unit=unit, ttft=None, output_tokens=None))
        begin += 1.0
        yield found


def test_what_is_told_counts_everybody_what_is_compared_is_the_sample() -> None:
    """At 20,000 a second: totals of all requests, comparisons of about one in eight, equally many of either arm, and a canary of which
    half fails is still found within a few seconds."""
    evidence = Evidence(gated("errors"), DEADLINE)
    evidence.begin_visit(2, PHASE_25)
    well, told = seconds(0.002), Counter[Arm]()
    for _ in range(15):
        heard = next(well)
        for one in heard:
            evidence.observe(one, one.start + one.duration)
            told[one.arm] += 1
        evidence.advance(heard[-1].start + 1.0)
    assert evidence.one_in == 8
    assert evidence.arms[CANARY].requests == told[Arm.CANARY]
    assert evidence.arms[STABLE].requests == told[Arm.REST]
    before = {arm: evidence.visit.early[arm].n for arm in (CANARY, STABLE)}
    assert evidence.log_e_harm("errors") < math.log(20)
    for _ in range(5):
        heard = next(well)
        for one in heard:
            evidence.observe(one, one.start + one.duration)
        evidence.advance(heard[-1].start + 1.0)
    looked = {arm: evidence.visit.early[arm].n - before[arm] for arm in before}
    for arm, share in ((CANARY, 0.25), (STABLE, 0.75)):
        expected = 5 * RATE * share / 8
        assert abs(looked[arm] - expected) < 6 * math.sqrt(expected)
    faulty = seconds(0.5, 1020.0)
    for _ in range(5):
        heard = next(faulty)
        for one in heard:
            evidence.observe(one, one.start + one.duration)
        evidence.advance(heard[-1].start + 1.0)
    assert evidence.log_e_harm("errors") > math.log(1000)


def test_a_restart_goes_on_with_the_sample() -> None:
    """The rate is saved: it does not have to be learned again by looking at everything."""
    evidence = Evidence(gated("errors"), DEADLINE)
    evidence.begin_visit(2, PHASE_25)
    evidence.rate = 20_000.0
    again = Evidence.from_json(gated("errors"), DEADLINE, evidence.to_json(), 2000.0)
    assert again.one_in == 8
