"""Sample ratio mismatch: fair under the plan, sure where the plan is broken, by cohort and router, across restarts."""

from __future__ import annotations

import json
import math
import random
from itertools import product

import pytest

from extproc.domain import Arm
from extproc.release import sampleratio
from extproc.release.eprocess import sample_ratio_log_bf
from extproc.release.sampleratio import LOG_LIMIT, SampleRatio


@pytest.mark.parametrize("shares", [(0.05, 0.95), (0.25, 0.25, 0.5)])
@pytest.mark.parametrize("units", [1, 5, 12])
def test_the_bayes_factor_is_1_on_average_under_the_plan(shares: tuple[float, ...], units: int) -> None:
    """Enumerated over all counts."""
    expected = 0.0
    for counts in product(range(units + 1), repeat=len(shares)):
        if sum(counts) == units:
            ways = math.factorial(units) / math.prod(math.factorial(count) for count in counts)
            chance = ways * math.prod(share**count for share, count in zip(shares, counts, strict=True))
            expected += chance * math.exp(sample_ratio_log_bf(counts, shares, concentration=10.0))
    assert expected == pytest.approx(1.0)


@pytest.mark.parametrize(("counts", "shares"), [((1,), (0.5, 0.5)), ((1, 1), (1.0, 0.0)), ((1, 1), (0.5, 0.4))])
def test_a_plan_that_is_none_is_refused(counts: tuple[int, ...], shares: tuple[float, ...]) -> None:
    """Counts and shares go together; each share is above 0, all are 1."""
    with pytest.raises(ValueError, match="do not go with"):
        sample_ratio_log_bf(counts, shares)


def filled(share: float, real: float, units: int, seed: int = 1, routers: tuple[str, ...] = ("",), broken: str = "") -> SampleRatio:
    """Units that fall as `real` says; with `broken`, at that router alone."""
    made, draw = SampleRatio({"everyone": share}), random.Random(seed)
    for _ in range(units):
        router = draw.choice(routers)
        canary = real if not broken or router == broken else share
        point = draw.random()
        arm = Arm.CANARY if point < canary else Arm.CONTROL if point >= 1 - min(share, 1 - share) else Arm.REST
        made.add("everyone", router, arm)
    return made


def test_units_that_fall_as_planned_stay_calm() -> None:
    """20 visits of 20,000 units at four shares, looked at at the end: none hits."""
    for share in (0.05, 0.25, 0.5, 0.95):
        assert max(filled(share, share, 20_000, seed).log_e() for seed in range(5)) < LOG_LIMIT


@pytest.mark.parametrize(("share", "real", "units"), [(0.05, 0.06, 20_000), (0.25, 0.28, 20_000), (0.5, 0.45, 20_000)])
def test_a_broken_assignment_is_found(share: float, real: float, units: int) -> None:
    """A few points beside the plan."""
    assert filled(share, real, units).log_e() > LOG_LIMIT


def test_one_router_that_is_behind_is_found_and_named() -> None:
    """Three routers, one of which still serves 5 % where 25 % are planned."""
    made = filled(0.25, 0.05, 6000, routers=("a", "b", "c"), broken="b")
    assert made.log_e() > LOG_LIMIT
    assert made.worst() == ("everyone", "b")


def test_cells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routers that come and go are in the whole alone after so many."""
    monkeypatch.setattr(sampleratio, "CELLS_KEPT", 3)
    made = SampleRatio({"everyone": 0.25})
    for router in range(10):
        made.add("everyone", str(router), Arm.REST)
    assert len(made.cells) == 3
    assert made.counts() == (0, 0, 10)


def test_a_restart_forgets_who_was_there_and_not_what_it_said() -> None:
    """The e-value stays; people see all units; what comes later has an e-process of its own."""
    made = filled(0.25, 0.27, 5000)
    again = SampleRatio({"everyone": 0.25})
    again.restore(json.loads(json.dumps(made.to_json())))
    assert again.log_e() == pytest.approx(made.log_e())
    assert again.counts() == made.counts()
    assert again.to_json() == made.to_json()
    for _ in range(3000):
        again.add("everyone", "", Arm.CANARY)
    assert again.log_e() > LOG_LIMIT


def test_cohorts_have_shares_of_their_own() -> None:
    """Staff at 50 %, everyone at 5 %, guests not at all: each as planned is calm, though the sum is like neither; exchanged it is found."""
    shares = {"staff": 0.5, "everyone": 0.05, "guests": 0.0}
    for exchanged in (False, True):
        made, draw = SampleRatio(shares), random.Random(4)
        for _ in range(8000):
            cohort = draw.choice(["staff", "everyone", "guests"])
            share = shares["everyone" if cohort == "staff" else "staff"] if exchanged else shares[cohort]
            point = draw.random()
            made.add(cohort, "r", Arm.CANARY if point < share else Arm.CONTROL if point >= 1 - share else Arm.REST)
        assert (made.log_e() > LOG_LIMIT) is exchanged
        assert sum(made.expected()) == pytest.approx(sum(made.counts()))
        assert {cohort for cohort, _ in made.cells} == {"staff", "everyone"}


@pytest.mark.parametrize("document", [{}, {"restarts": 1}, {"restarts": 1, "counts": {}, "before": [["everyone", 1.0]]}])
def test_what_is_no_document_is_refused(document: dict[str, object]) -> None:
    """The loop begins anew then."""
    with pytest.raises((KeyError, ValueError)):
        SampleRatio({"everyone": 0.25}).restore(document)


def test_each_cohort_has_its_own_plan() -> None:
    """Staff at 100 % beside everyone at 1 %: nothing is out of order; a cohort that is, is named."""
    made, draw = SampleRatio({"staff": 1.0, "everyone": 0.01}), random.Random(3)
    for _ in range(5000):
        made.add("staff", "", Arm.CANARY)
        point = draw.random()
        made.add("everyone", "", Arm.CANARY if point < 0.01 else Arm.CONTROL if point >= 0.99 else Arm.REST)
    assert made.log_e() < LOG_LIMIT
    for _ in range(200):
        made.add("everyone", "", Arm.CANARY)
    assert made.log_e() > LOG_LIMIT
    assert made.worst() == ("everyone", "")
