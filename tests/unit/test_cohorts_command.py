"""cohorts: who is in each, which share of each arm it has by phase, and what that makes of a usual day."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from rich.console import Console

from extproc import spec as spec_room
from extproc.assign import assign, derive, prepare
from extproc.assign.expected import COMPLETED, RolloutExpected, expected
from extproc.cli.cohorts import cohorts_picture
from extproc.domain import Arm, RolloutState, Spec, State, Status
from tests.unit.test_explain import TEXT, run

SPEC = spec_room.load(TEXT)


def changed(**changes: Any) -> RolloutExpected:
    """What is expected of the rollout `third`, changed."""
    document = yaml.safe_load(TEXT)
    document["rollouts"]["third"] |= changes
    return next(one for one in expected(spec_room.load(yaml.safe_dump(document))) if one.name == "third")


def test_shares_of_a_cohort_by_phase() -> None:
    """Its own share, its first phase, the holdback; canary, control and rest are everybody."""
    new, _ = expected(SPEC)
    shares = {cohort.name: [(one.phase, one.canary, one.control) for one in cohort.shares] for cohort in new.cohorts}
    assert [round(canary, 6) for _, canary, _ in shares["staff"]] == [0.6, 0.6, 0.6, 0.6, 0.6, 0.95]
    assert [round(canary, 6) for _, canary, _ in shares["europe"]] == [0.0, 0.0, 0.25, 0.5, 0.95, 0.95]
    assert [round(control, 6) for _, _, control in shares["everyone"]] == [0.01, 0.05, 0.25, 0.5, 0.05, 0.05]
    assert shares["everyone"][-1][0] == COMPLETED
    assert [cohort.first_phase for cohort in new.cohorts] == ["1%", "1%", "25%", "1%"]
    assert new.cohorts[1].exclude == "header x-geo-country is CH"
    for cohort in new.cohorts:
        for one in cohort.shares:
            assert one.canary + one.control + one.rest == pytest.approx(1.0)
            assert min(one.canary, one.control, one.rest) >= 0


def test_the_router_sends_as_many_there() -> None:
    """Of 4,000 users of each cohort, at each phase: each arm within 4 standard deviations of what is told."""
    prepared = prepare(SPEC)
    new, _ = expected(SPEC)
    for phase in range(5):
        state = State(1, SPEC.digest, {"new": RolloutState(Status.PROGRESSING, phase, 0.0, 1, 1, "", "")})
        (layer,) = derive(prepared, state, lambda *_: b"").layers
        for cohort, subject in ((new.cohorts[0], {"x-user-tier": b"internal"}), (new.cohorts[3], {})):
            counted: Counter[Arm] = Counter()
            for number in range(4_000):
                user = b"%s-%d" % (cohort.name.encode(), number)
                asked = {"x-user-id": user, ":path": b"/v1/", "extproc.request.model": b"m", **subject}
                answer = assign(layer, asked, b"r", 0.0)
                if answer is not None and answer.choice.assignment.rollout == "new":
                    counted[answer.choice.assignment.arm] += 1
            total = counted.total()
            told = cohort.shares[phase]
            for arm, share in ((Arm.CANARY, told.canary), (Arm.CONTROL, told.control), (Arm.REST, told.rest)):
                assert abs(counted[arm] - total * share) <= 4 * sqrt(total * share * (1 - share)) + 1e-9


def test_a_usual_day() -> None:
    """One figure where all cohorts have the same share, of the slot's part of the units; else the least and the most there can be."""
    simple = changed()
    assert [(one.phase, one.canary_units, one.canary_requests) for one in simple.days] == [
        ("10%", (1_500, 1_500), (60_000, 60_000)),
        ("100%", (15_000, 15_000), (600_000, 600_000)),
        (COMPLETED, (15_000, 15_000), (600_000, 600_000)),
    ]
    own = changed(cohorts=[{"name": "staff", "tier": ["internal"], "share": "100%"}, {"name": "everyone"}])
    assert own.days[0].canary_units == (1_500, 15_000)
    partly = changed(cohorts=[{"name": "staff", "tier": ["internal"]}])
    assert partly.some_in_none
    assert [one.canary_units for one in partly.days] == [(0, 1_500), (0, 15_000), (15_000, 15_000)]
    excluding = changed(cohorts=[{"name": "everyone", "exclude": {"country": ["CH"]}}])
    assert [one.canary_units for one in excluding.days] == [(0, 1_500), (0, 15_000), (0, 15_000)]
    assert not excluding.some_in_none


def test_without_sources_each_request_is_a_unit() -> None:
    """And there are as many units as requests."""
    document = yaml.safe_load(TEXT)
    document["rollouts"] = {"third": {**document["rollouts"]["third"], "unit": "request"}}
    (only,) = expected(spec_room.load(yaml.safe_dump(document)))
    assert only.days[0].canary_units == only.days[0].canary_requests == (60_000, 60_000)


def shown(spec: Spec) -> str:
    console = Console(file=io.StringIO(), width=240, highlight=False, markup=False)
    console.print(cohorts_picture({"rollouts": [asdict(one) for one in expected(spec)]}))
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_the_picture() -> None:
    """Who, from when, every share, the day, and that nobody knows how large a cohort is."""
    picture = shown(SPEC)
    for text in (
        "old → new, by user, layer model, slot a (60% of its units)",
        "2 pilots claim realm.roles is pilot; never header x-geo-country is CH 1% canary 1% 5% 25% 50% 95% 95%",
        "units (user) 1,500 15,000 15,000",
        "shares are of a cohort's own units",
        "Who matches none meets stable, until the rollout is completed.",
    ):
        assert text in picture
    document = yaml.safe_load(TEXT) | {"rollouts": {}, "layers": {}}
    assert shown(spec_room.load(yaml.safe_dump(document))) == "the Spec has no rollout"


def test_the_command(tmp_path: Path) -> None:
    """A table, and the same as JSON."""
    path = tmp_path / "release.yaml"
    path.write_text(TEXT)
    document = orjson.loads(run("cohorts", str(path), "--json").stdout)
    assert document["spec_digest"] == SPEC.digest
    assert [one["name"] for one in document["rollouts"]] == ["new", "third"]
    assert document["rollouts"][0]["cohorts"][2]["first_phase"] == "25%"
    assert "everyone" in run("cohorts", str(path)).stdout
