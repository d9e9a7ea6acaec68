"""The load test's arithmetic: who belongs where, which split holds, and what is written."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from extproc.domain import AllOf, AnyOf, Not, PathStarts, RandomShare, Selector
from tests.support.specs import IDENTITY, countries, header, ids, tiers

LOADTEST = Path(__file__).parents[2] / "loadtest"


@pytest.fixture(scope="module")
def observations() -> Iterator[ModuleType]:
    """loadtest/ holds scripts, not a package: they are imported as locust imports them."""
    sys.path.insert(0, str(LOADTEST))
    yield importlib.import_module("observations")
    sys.path.remove(str(LOADTEST))


@pytest.fixture(scope="module")
def report(observations: ModuleType) -> ModuleType:
    """Its neighbour."""
    return importlib.import_module("report")


def test_the_first_cohort_that_matches_counts(observations: ModuleType) -> None:
    """All, any and not; nobody matching is no cohort, and who is excluded neither: not even the next one."""
    rule = observations.CohortRule
    rules = [
        rule("staff", tiers("internal"), countries("US")),
        rule("first", AnyOf((countries("NZ"), countries("DE"))), None),
        rule("paying", AllOf((tiers("paid"), Not(countries("FR")))), None),
        rule("all", tiers("free"), None),
    ]
    expected = {
        ("internal", "DE"): "staff", ("internal", "US"): "", ("free", "DE"): "first",
        ("paid", "US"): "paying", ("paid", "FR"): "", ("free", "US"): "all",
    }  # fmt: skip
    headers = (IDENTITY.tier_header, IDENTITY.country_header)
    assert all(one.understood(headers) for one in rules)
    for (tier, country), cohort in expected.items():
        assert observations.cohort_of(rules, dict(zip(headers, (tier, country), strict=True))) == cohort


@pytest.mark.parametrize(
    "selector", [RandomShare(0.5), PathStarts(("/v1",)), Not(RandomShare(0.5)), AllOf((tiers("x"), ids("u"))), header("x-flag", "on")]
)
def test_what_the_load_test_cannot_know_is_not_understood(observations: ModuleType, selector: Selector) -> None:
    """It knows a person's tier and country: a cohort by anything else would be counted wrongly."""
    for rule in (observations.CohortRule("c", selector, None), observations.CohortRule("c", None, selector)):
        assert not rule.understood((IDENTITY.tier_header, IDENTITY.country_header))


@pytest.mark.parametrize(
    ("people", "canary", "share", "deviations", "holds"),
    [
        (1_000, 250, 0.25, 0.0, True),
        (1_000, 304, 0.25, 3.94, True),
        (1_000, 306, 0.25, 4.09, False),
        (1_000, 194, 0.25, 4.09, False),
        (1_000, 0, 0.0, 0.0, True),
        (1_000, 1, 0.0, math.inf, False),
        (1_000, 999, 1.0, math.inf, False),
        (0, 0, 0.25, 0.0, True),
    ],
)
def test_a_split_holds_within_four_standard_deviations(
    observations: ModuleType, people: int, canary: int, share: float, deviations: float, holds: bool
) -> None:
    """Binomial in distinct people; a share of 0 or 1 is met exactly or not at all."""
    split = observations.Split("everyone", people, canary, share)
    assert split.deviations == pytest.approx(deviations, abs=0.01)
    assert split.holds is holds


def test_people_are_counted_once_and_movers_are_a_problem(observations: ModuleType) -> None:
    """Ten answers to one person are one person; one answered by both models is a mover; one without an id is not counted."""
    seen = observations.Observations({"everyone": 0.5, "staff": 0.5}, "new")
    for _ in range(10):
        seen.good("everyone", "a", "new", 0.1, None)
        seen.good("everyone", "b", "old", 0.2, 0.1)
    seen.good("everyone", "", "old", 0.2, None)
    (split,) = seen.splits
    assert (split.people, split.canary, seen.movers, seen.problems) == (2, 1, 0, [])
    seen.good("everyone", "b", "new", 0.1, None)
    assert seen.movers == 1
    assert seen.problems == ["1 people met both models"]


def test_errors_and_silence_are_problems(observations: ModuleType) -> None:
    """A failed request fails the run, and so does a run without any answer; a wrong split is told with its numbers."""
    seen = observations.Observations({"everyone": 0.5, "staff": 0.5}, "new")
    assert seen.problems == ["there was no good answer at all"]
    seen.failed("status 503")
    for person in range(100):
        seen.good("staff", str(person), "old", 0.1, None)
    assert seen.problems == [
        "1 requests failed: status 503",
        "cohort staff: 0 of 100 people met the canary, 10.0 standard deviations from 50.000%",
    ]


def test_each_cohort_has_its_own_share(observations: ModuleType) -> None:
    """And who is in none meets stable."""
    seen = observations.Observations({"staff": 1.0, "everyone": 0.5}, "new")
    for person in range(100):
        seen.good("staff", f"s{person}", "new", 0.1, None)
        seen.good("everyone", f"e{person}", "new" if person % 2 else "old", 0.1, None)
        seen.good("", f"n{person}", "old", 0.1, None)
    assert seen.problems == []
    assert [(split.cohort, split.expected_share) for split in seen.splits] == [("", 0.0), ("everyone", 0.5), ("staff", 1.0)]


def test_a_phase_that_moves_asks_nothing_of_the_split(observations: ModuleType) -> None:
    """Without a known share only errors count."""
    seen = observations.Observations(None, "new")
    seen.good("everyone", "a", "old", 0.1, None)
    seen.good("everyone", "a", "new", 0.1, None)
    assert seen.problems == []
    assert seen.results()["splits"][0]["expected_share"] is None


def test_the_report_tells_split_and_latency(observations: ModuleType, report: ModuleType, tmp_path: Path) -> None:
    """Markdown and JSON hold the same numbers; a bad run says so in its first lines."""
    seen = observations.Observations({"everyone": 0.25}, "new")
    for person in range(400):
        seen.good("everyone", str(person), "new" if person % 4 == 0 else "old", 0.120, 0.060 if person % 8 == 0 else None)
    path = report.write(tmp_path, "try", {**seen.results(), "settings": {"phase": "25%"}})
    text = path.read_text()
    assert "**Good**" in text
    assert "| everyone | 400 | 100 | 25.00% | 25.00% | 0.00 | yes |" in text
    assert "| canary | 100 | 0.120 | 0.120 | 0.120 | 0.060 | 0.060 | 0.060 |" in text
    assert json.loads((tmp_path / "try.json").read_text())["latency"]["stable"]["requests"] == 300
    seen.failed("broken stream")
    assert "**Not good:**\n\n* 1 requests failed: broken stream" in report.markdown("try", seen.results())
