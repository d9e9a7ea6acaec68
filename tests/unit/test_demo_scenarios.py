"""The demo's stories: each is told once, in order, and knows its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from extproc import spec as spec_room
from extproc.demo import stand
from extproc.demo.judge_model import JudgeKnobs
from extproc.demo.model import Knobs
from extproc.demo.processes import DemoError
from extproc.demo.scenarios import SCENARIOS, scenario_named
from extproc.demo.story import Script, Turn
from extproc.domain import Status


def test_the_scenarios_that_are_promised_exist() -> None:
    """healthy ends completed without any change of the world; errors ends rolled back, with a bound in seconds."""
    assert SCENARIOS["healthy"].ends is Status.COMPLETED
    assert SCENARIOS["healthy"].script == ()
    assert SCENARIOS["errors"].ends is Status.ROLLED_BACK
    assert SCENARIOS["errors"].promise == 5.0


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_script_turns_knobs_that_exist(name: str) -> None:
    """A script names real knobs of a model and breaks it at most once; a promise has a fault to be timed from, and the other way round."""
    scenario = scenario_named(name)
    for turn in scenario.script:
        assert turn.arm in ("", "canary", "stable", "both", "judge")
        (JudgeKnobs() if turn.arm == "judge" else Knobs()).changed(dict(turn.knobs))
        assert bool(turn.knobs) == bool(turn.arm)
    breaks = sum(turn.breaks for turn in scenario.script)
    assert breaks <= 1
    assert (scenario.promise is not None) == (scenario.fault is not None) == (breaks == 1)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_scenario_is_a_spec_that_check_accepts(name: str) -> None:
    """What it changes in the demo's Spec is something that people can write, and the cohort it is about is there."""
    scenario = scenario_named(name)
    document = stand.template(scenario.spec)
    if scenario.change is not None:
        scenario.change(document)
    (rollout,) = spec_room.load(yaml.safe_dump(document)).rollouts.values()
    phases = {phase.name for phase in rollout.phases} | ({"shadow"} if rollout.shadow is not None else set())
    assert {turn.phase for turn in scenario.script} | set(scenario.dwell) <= phases
    assert scenario.out in {"", *(cohort.name for cohort in rollout.cohorts)}


def test_fast_shortens_dwell_and_nothing_else() -> None:
    """A third of the quiet time and of the dwells; what happens after it, and what is promised, stay."""
    plain = SCENARIOS["late-fault"]
    short = plain.shortened(1 / 3)
    assert [(turn.quiet, turn.after) for turn in short.script] == [(20.0, 0.0), (20.0, 4.0)]
    assert dict(short.dwell) == {"25%": pytest.approx(30.0)}
    assert replace(short, script=plain.script, dwell=plain.dwell) == plain
    assert SCENARIOS["low-traffic"].shortened(1 / 3).max_dwell == pytest.approx(20.0)
    script = Script(short.script)
    assert script.due("25%", 100.0) == []
    assert len(script.due("25%", 120.0)) == 1
    assert [turn.breaks for turn in script.due("25%", 124.0)] == [True]


def test_a_script_is_told_in_order_and_once() -> None:
    """Turns come when their phase has lasted long enough; a phase left and entered again counts anew; nothing comes twice."""
    first, second = Turn("5%", 0.0, "first"), Turn("5%", 3.0, "second")
    script = Script([first, second])
    assert script.due("1%", 0.0) == []
    assert script.due("5%", 10.0) == [first]
    assert script.due("5%", 12.9) == []
    assert script.due("1%", 13.5) == []
    assert script.due("5%", 14.0) == []
    assert script.untold == [second]
    assert script.due("5%", 17.0) == [second]
    assert script.due("5%", 99.0) == []
    assert script.untold == []


def test_a_story_can_be_told_in_another_phase() -> None:
    """--at-phase moves every turn and changes nothing else."""
    moved = SCENARIOS["errors"].at_phase("5%")
    assert {turn.phase for turn in moved.script} == {"5%"}
    assert [turn.sentence for turn in moved.script] == [turn.sentence for turn in SCENARIOS["errors"].script]


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    """The Problem's hint lists every scenario with its sentence."""
    with pytest.raises(DemoError, match=r"demo\.unknown-scenario") as refused:
        scenario_named("misfortune")
    for scenario in SCENARIOS.values():
        assert f"{scenario.name}: {scenario.sentence}" in refused.value.problems[0].hint
