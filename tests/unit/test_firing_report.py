"""The report on what fires: nothing that can be asked for is left out, what did not fire is told, and so is a reason that names another."""

from __future__ import annotations

import math

import pytest
import yaml

from extproc.demo import stand
from extproc.demo.changes import same_prices
from extproc.demo.scenarios import SCENARIOS
from extproc.domain import Reaction
from extproc.measures import MEASURES
from extproc.spec import load
from loadtest.firing import BY_PEOPLE, CASES, Case, Ends, Fired, report, written


def test_every_measure_is_a_gate_and_where_less_is_better_a_ceiling() -> None:
    """A measure that is new must be shown to fire, or there is a scenario of people who make it."""
    told = set(MEASURES) - set(BY_PEOPLE)
    assert all(f"{name}: canary " in SCENARIOS[scenario].says[0] for name, scenario in BY_PEOPLE.items())
    for kind, names in (("gate", told), ("ceiling", {name for name in told if MEASURES[name].more_is_worse})):
        assert {key.partition(":")[2] for key in CASES if key.startswith(f"{kind}:")} == names


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_case_has_that_gate_alone_and_is_a_spec(case: Case) -> None:
    """In every phase in which the canary is compared there is one gate, one ceiling or one metric; the limit is one of the Spec's."""
    document = stand.template()
    same_prices(document)
    document["prometheus"] = {"url": "http://127.0.0.1:9090"}
    written(document, CASES["gate:errors"])
    written(document, case)
    (rollout,) = load(yaml.safe_dump(document)).rollouts.values()
    for phase in rollout.phases[:-1]:
        assert len(phase.gates) + len(phase.ceilings) + len(phase.metrics) == 1
    assert (rollout.phases[2].on_fail is Reaction.RETURN) is (case.ends is Ends.RETURNED)


def test_what_did_not_fire_is_told() -> None:
    """Never, for another reason, or for a gate where a ceiling was to speak."""
    found = [
        Fired(CASES["gate:errors"], 2.5, 40, "errors: canary 50.00%, stable 0.00%; harm E 41 of 20"),
        Fired(CASES["gate:cost"], math.inf, 0, "progressing: needs calm"),
        Fired(CASES["gate:throttled"], 3.0, 60, "errors: canary 9.00%"),
        Fired(CASES["ceiling:errors"], 3.0, 60, "errors: canary 50.00%, stable 0.00%; harm E 41 of 20"),
        Fired(CASES["ceiling:cost"], 3.0, 61, "cost: canary $0.002 on average (of 61), ceiling $0.001; E 30 of 20"),
        Fired(CASES["both:errors"], 4.0, 0, "incident in both arms, held: errors: canary 50.00%, ceiling 10.00%"),
    ]
    lines, problems = report(found)
    assert problems == [
        "gate:cost: did not fire: progressing: needs calm",
        "gate:throttled: the reason is another one: errors: canary 9.00%",
        "ceiling:errors: the reason is another one: errors: canary 50.00%, stable 0.00%; harm E 41 of 20",
    ]
    assert any(line.startswith("| gate:errors | every second answer is a 500 | rolled back | 2.5 | 40 | errors: canary") for line in lines)
    assert any(line.startswith("| both:errors 10% | both models: every second") and "| 4.0 | - |" in line for line in lines)
    assert any("A short form" in line for line in lines)
    assert lines[-1] == "3 of 6 did what they have to, and said so."


def test_a_whole_run_is_no_short_form() -> None:
    """All cases, all as they should be."""
    found = [Fired(case, 3.0, 60, case.says + (", ceiling " if case.gating["ceilings"] else "")) for case in CASES.values()]
    lines, problems = report(found)
    assert problems == []
    assert not any("short form" in line for line in lines)
