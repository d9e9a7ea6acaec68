"""The planner: the design's figures, businesses of three sizes, and what would make possible what is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.domain import Application, ApplicationType, Gate, Infrastructure, Sla, taking_part
from extproc.measures import MEASURES
from extproc.release.plan import LOSS, Assumed, plan, units_to_advance
from tests.support.specs import cohort, gated, spec


def application(requests: int, units: int) -> Application:
    return Application("chat", ApplicationType.CHATBOT, requests, units, Sla(8.0, 2.0, 0.999), Infrastructure.VM, 15.0)


LARGE, MIDDLE, TENANTS = application(2_000_000, 200_000), application(200_000, 2_000), application(50_000, 40)


@pytest.mark.parametrize(
    ("base", "margin", "table"),
    [(0.0, 0.05, 106), (0.0, 0.01, 542), (0.0, 0.005, 1_086), (0.005, 0.05, 105), (0.005, 0.01, 963), (0.005, 0.005, 2_608)],
)
def test_units_to_advance_are_those_of_the_design(base: float, margin: float, table: int) -> None:
    """One canary unit against nineteen: within a fifth, after the loss of real batches and the weight of the visit's scale (a tenth)."""
    found = units_to_advance(Gate("errors", margin, 1.0), 0.05, Assumed(errors=base))
    assert found is not None
    assert found / LOSS == pytest.approx(table * 1.08, rel=0.25)


def test_wider_margins_and_calmer_traffic_need_less() -> None:
    """Monotone in the margin, in the errors of stable, and in the spread of latencies; for every measure that can be a guardrail."""
    for name in MEASURES:
        needed = [units_to_advance(Gate(name, margin, 1.0), 0.05, Assumed()) for margin in (0.1, 0.2, 0.4)]
        assert None not in needed, name
        assert sorted((one for one in needed if one), reverse=True) == needed, name
    errors = [units_to_advance(Gate("errors", 0.01, 1.0), 0.05, Assumed(errors=base)) for base in (0.0, 0.005, 0.02)]
    assert errors == sorted(one for one in errors if one)
    spread = [units_to_advance(Gate("cost", 0.1, 1.0), 0.05, Assumed(spread=spread)) for spread in (0.2, 0.6, 1.0)]
    assert spread == sorted(one for one in spread if one)


def test_answers_to_judge_are_those_that_were_measured() -> None:
    """docs/proof/judge.md has what the real gate took, answers of both arms coming by chance: the plan is within a fifth of its mean and of
    its median, at each margin."""
    rows = re.findall(
        r"^\| phase [0-9.]+% \| ([0-9.]+) \| ([0-9,]+) \| 100% \| ([0-9,]+) \| ([0-9,]+) \|",
        (Path(__file__).parents[2] / "docs" / "proof" / "judge.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 3
    for margin, *numbers in rows:
        told, mean, median = (int(number.replace(",", "")) for number in numbers)
        planned = units_to_advance(Gate("judge", float(margin), 1.0), 0.05, Assumed())
        assert planned == told
        assert planned == pytest.approx(mean, rel=0.2)
        assert planned == pytest.approx(median, rel=0.2)


def test_a_large_business_succeeds_and_knows_when() -> None:
    """200,000 people, 2,000,000 requests a day: under two hours, each phase finds smaller faults than the one before."""
    made = plan(LARGE, gated("errors", "latency_mean", "cost"))
    assert made.problems == ()
    assert made.seconds is not None
    assert 1800 < made.seconds < 7200
    smallest = [phase.smallest for phase in made.phases if phase.smallest is not None]
    assert smallest == sorted(smallest, reverse=True)
    assert [phase.failures for phase in made.phases] == [4, 5, 10, 20, None]
    quarter = made.phases[2]
    assert quarter.found_after is not None
    assert quarter.found_after < 5.0
    assert [phase.gates for phase in made.phases][-1] == (), "at 100 % nobody is compared"


def test_two_thousand_people_are_told_what_they_can_show() -> None:
    """Too few for the default margins; each refusal says how many are needed and what would do."""
    made = plan(MIDDLE, gated("errors", "latency_mean", min_units=10))
    assert made.seconds is None
    assert {problem.id for problem in made.problems} == {"plan.too-few-units"}
    first = made.problems[0]
    assert first.path == "rollouts.new.phases[0].gates.errors"
    assert first.message == "errors within +5.00 pp takes 172 canary units to show, 20 meet the canary at 1%"
    assert first.hint.startswith("a share of 9.053%, or units that are more than these")
    third = next(problem for problem in made.problems if problem.path.startswith("rollouts.new.phases[2].gates.latency_mean"))
    assert "a margin of +22.5%" in third.hint


@pytest.mark.parametrize(("name", "margin"), [("latency_mean", 0.225), ("errors", 0.02375)])
def test_what_the_planner_proposes_is_possible(name: str, margin: float) -> None:
    """With the margin of the hint the refusal is gone."""
    given = gated(name, min_units=10)
    wider = replace(given.phases[2], gates=(replace(given.phases[2].gates[0], margin=margin),))
    made = plan(MIDDLE, replace(given, phases=(*given.phases[:2], wider, *given.phases[3:])))
    assert not [problem for problem in made.problems if "phases[2]" in problem.path]


def test_forty_tenants_are_told_that_people_are_no_way() -> None:
    """Two tenants at 5 %: neither safety nor a total failure can be told from chance; it names a smaller unit and a shadow."""
    made = plan(TENANTS, gated("errors"))
    assert made.seconds is None
    assert {"plan.too-few-units", "plan.min-units", "plan.unseen-failure"} == {problem.id for problem in made.problems}
    assert [phase.failures for phase in made.phases[:2]] == [None, None]
    hints = [problem.hint for problem in made.problems if problem.id == "plan.too-few-units"]
    assert all("conversations or requests instead of people" in hint and "shadow" in hint for hint in hints)


def test_a_phase_that_takes_longer_than_its_max_dwell_is_told() -> None:
    """There are units enough, but they do not come in time."""
    slow = application(60_000, 40_000)
    made = plan(slow, gated("errors", min_units=10))
    (problem, *_) = [problem for problem in made.problems if problem.id == "plan.too-long"]
    assert problem.message.endswith("longer than max_dwell (1 h 00 min): a person would be asked each time")
    patient = gated("errors", min_units=10, max_dwell=40 * 86400.0)
    assert not [one for one in plan(slow, patient).problems if one.id == "plan.too-long"]


def test_dwell_and_minimums_count_as_well() -> None:
    """Without guardrails the phase takes its dwell, or as long as its minimums take."""
    bare = replace(gated("latency_p99"), phases=tuple(replace(p, min_dwell=7200.0, max_dwell=1e9) for p in gated("latency_p99").phases))
    assert [phase.seconds for phase in plan(LARGE, bare).phases] == [7200.0] * 5
    many = replace(bare, phases=tuple(replace(phase, min_requests=10_000) for phase in bare.phases))
    first = plan(LARGE, many).phases[0]
    assert first.seconds == pytest.approx(10_000 / 20_000 * 86400)


def test_cohorts_and_weights_make_it_later() -> None:
    """A gate with a small weight, and alpha that is split among cohorts, need a failure or two more."""
    plain, split = gated("errors"), replace(gated("errors", "latency_mean", "cost"), cohorts=(cohort("a"), cohort("b")))
    assert (plan(LARGE, plain).phases[2].failures or 0) < (plan(LARGE, split).phases[2].failures or 0)
    without = plan(LARGE, gated("latency_mean")).phases[2]
    assert (without.failures, without.smallest) == (None, None), "no gate for errors sees none"


def test_above_half_the_smaller_arm_counts() -> None:
    """A holdback of 5 %: ten times the failures of 50 %."""
    made = plan(LARGE, replace(gated("errors"), holdback=0.05))
    last = made.phases[-1]
    assert last.share == 0.95
    assert last.failures is not None
    assert last.failures > 100


def test_a_slot_has_its_part_of_the_units_alone() -> None:
    """Of 100,000 requests and 10,000 people a day, 60 % and 30 %: at 5 % 300 and 150 people meet the canary, and 1,000 requests of it take
    a third and two thirds of a day; without slots 500 people, and a fifth of a day."""
    plain = gated("latency_p99")
    plain = replace(plain, phases=tuple(replace(one, min_requests=1000, min_units=1, min_dwell=1.0, max_dwell=1e9) for one in plain.phases))
    first, second = (replace(plain, name=name, slot=name) for name in ("a", "b"))
    given = spec(first, second, application=application(100_000, 10_000), layers={"model": {"a": (0.0, 0.6), "b": (0.6, 0.9)}})
    made = [plan(taking_part(given, one), one).phases[1] for one in (first, second, plain)]
    assert [one.units for one in made] == pytest.approx([300.0, 150.0, 500.0])
    assert [one.requests for one in made] == pytest.approx([3000.0, 1500.0, 5000.0])
    assert [one.seconds for one in made] == pytest.approx([86400.0 / 3, 86400.0 * 2 / 3, 86400.0 / 5])
    assert taking_part(given, plain) == given.application
