"""The gate of an offline run: what passes, what fails, what is left open; and how often it is wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest

from extproc.cli.judged import alone, beside_stable, judge_gate, needed_for
from extproc.domain import Ceiling, Gate, Rollout, Verdict
from extproc.judge.offline.tally import mean
from extproc.measures import JUDGE
from tests.support.specs import rollout

FINE = [(False, False)]


def given(margin: float | None = None, tolerance: float | None = None, ceiling: float | None = None) -> Rollout:
    made = rollout("r")
    gates = (Gate(JUDGE.name, margin, 1.0, tolerance),) if margin is not None else ()
    ceilings = (Ceiling("errors", ceiling),) if ceiling is not None else ()
    return replace(made, phases=(replace(made.phases[0], gates=gates, ceilings=ceilings), *made.phases[1:]))


def scores(random: Random, n: int, canary: float, stable: float = 0.8, noise: float = 0.15) -> list[tuple[float, float]]:
    def draw(level: float) -> float:
        return min(1.0, max(0.0, random.gauss(level, noise)))

    return [(draw(canary), draw(stable)) for _ in range(n)]


def verdict(pairs: list[tuple[float, float]], made: Rollout, failures: list[tuple[bool, bool]] | None = None) -> Verdict:
    return beside_stable(pairs, failures if failures is not None else FINE * len(pairs), made).verdict


def test_the_margin_is_that_of_the_rollouts_first_judge_gate() -> None:
    """Without one it is the measure's default."""
    assert judge_gate(given(0.12)).margin == 0.12
    assert judge_gate(given()).margin == JUDGE.margin(0) == 0.05


def test_equal_passes_worse_fails_little_is_open_and_nothing_is_no_data() -> None:
    """The four verdicts, with their sentences."""
    random = Random(1)
    passed = beside_stable(scores(random, 400, 0.8), FINE * 400, given())
    assert (passed.verdict, passed.needed) == (Verdict.PASS, None)
    assert passed.findings[0].canary_samples == 400
    failed = beside_stable(scores(random, 60, 0.5), FINE * 60, given())
    assert failed.verdict is Verdict.FAIL
    assert failed.findings[0].estimate == pytest.approx(-0.3, abs=0.06)
    assert failed.findings[0].interval is not None
    assert failed.findings[0].interval[1] < -0.2
    little = beside_stable(scores(random, 20, 0.8), FINE * 20, given())
    assert little.verdict is Verdict.INCONCLUSIVE
    assert beside_stable([], FINE * 20, given()).verdict is Verdict.NO_DATA
    assert beside_stable([], [], given()).verdict is Verdict.NO_DATA


def test_what_is_needed_would_do() -> None:
    """The number of prompts that is named passes where all are like those seen, and one less does not."""
    pairs = scores(Random(5), 40, 0.82)
    found = beside_stable(pairs, FINE * 40, given(0.1))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.needed is not None
    assert f"about {found.needed:,} prompts like these" in found.findings[0].sentence
    times = math.ceil(found.needed / 40)
    assert verdict(pairs * times, given(0.1)) is Verdict.PASS
    assert needed_for([-1.0] * 8, 40) is None
    assert needed_for([], 0) is None
    hopeless = beside_stable(scores(Random(2), 25, 0.73), FINE * 25, given())
    assert hopeless.needed is None
    assert "however many more" in hopeless.findings[0].sentence


def test_a_pass_or_a_fail_by_mistake_is_rare() -> None:
    """Worse by exactly the margin passes in at most 5 % of runs, an equal canary fails in at most 5 %: in fact much less."""
    random, runs = Random(7), 300
    passes = sum(verdict(scores(random, 250, 0.72, 0.77), given()) is Verdict.PASS for _ in range(runs))
    fails = sum(verdict(scores(random, 250, 0.7, 0.7), given()) is Verdict.FAIL for _ in range(runs))
    assert passes <= 0.05 * runs
    assert fails <= 0.05 * runs


def test_power_at_the_size_of_a_golden_set() -> None:
    """Twenty-four prompts are enough to see a collapse nearly always."""
    random = Random(11)
    assert sum(verdict(scores(random, 24, 0.45, 0.85), given()) is Verdict.FAIL for _ in range(100)) >= 95


def test_failures_fail_by_themselves_and_a_single_one_does_not() -> None:
    """A canary that does not answer is as bad as one that answers badly; stable's own failures excuse it."""
    assert verdict([], given(), [(True, False)] * 12) is Verdict.FAIL
    both = beside_stable([], [(True, True)] * 12, given())
    assert both.verdict is Verdict.NO_DATA
    one = beside_stable(scores(Random(1), 400, 0.8), [*FINE * 400, (True, False)], given())
    assert one.verdict is Verdict.PASS
    assert "canary 1 of 401" in one.findings[1].sentence


def test_what_the_judge_passed_over_is_no_pass() -> None:
    """Scores of eight in ten answers may be the easy ones."""
    found = beside_stable(scores(Random(1), 400, 0.8), FINE * 500, given())
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "only 400 of 500" in found.findings[0].sentence


def test_a_tolerance_is_no_harm() -> None:
    """The Spec's tolerance of the gate holds here too."""
    pairs = scores(Random(3), 300, 0.7, 0.8)
    assert verdict(pairs, given(0.2)) is Verdict.FAIL
    assert verdict(pairs, given(0.2, tolerance=0.15)) is not Verdict.FAIL


def test_alone_the_canary_meets_a_floor_and_the_ceiling_of_errors() -> None:
    """Above it with evidence: PASS; below: FAIL; a canary that fails too often FAILs whatever its scores say."""
    random = Random(4)
    good = [canary for canary, _ in scores(random, 80, 0.8)]
    fine = [False] * 80
    assert alone(good, fine, 0.6, given()).verdict is Verdict.PASS
    assert alone(good, fine, 0.95, given()).verdict is Verdict.FAIL
    near = alone(good[:10], fine[:10], 0.75, given())
    assert near.verdict is Verdict.INCONCLUSIVE
    assert near.findings[0].stable_value is None
    assert alone([], [], 0.6, given()).verdict is Verdict.NO_DATA
    assert alone(good, [False] * 80 + [True] * 40, 0.6, given(ceiling=0.05)).verdict is Verdict.FAIL
    assert alone(good, [False] * 80 + [True] * 40, 0.6, given()).verdict is not Verdict.FAIL


def test_an_interval_covers_what_it_says() -> None:
    """Student's interval of a mean: 95 % of a thousand, also of five values; none of two."""
    random = Random(9)
    for n in (5, 25):
        covered = 0
        for _ in range(1000):
            found = mean([random.gauss(0.3, 1.0) for _ in range(n)])
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            covered += found.low <= 0.3 <= found.high
        assert 930 <= covered <= 970
    assert mean([]) is None
    two = mean([0.1, 0.2])
    assert two is not None
    assert (two.low, two.high) == (None, None)
