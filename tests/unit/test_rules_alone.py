"""Tripwires without a judge: rules alone look at sampled answers, nobody is asked, and nothing is paid."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc import contract, spec
from extproc.controller.judge_process import Bench
from extproc.controller.scores import SILENT_AFTER, Scores
from extproc.cost.sheet import Sheet, sheets
from extproc.domain import Rollout, Spec
from extproc.errors import SpecError
from extproc.plan.pipeline.place import judged
from extproc.store.samples import Kept, SampleFile
from tests.support.samples import sample
from tests.unit.test_loop import NAME, TEXT, World

A_JUDGE = {"url": "http://127.0.0.1:1/v1", "model": "a-judge", "prices": {"input": "$1", "output": "$10"}}


def written(judges: list[dict[str, Any]], *gates: str, **rollout: Any) -> str:
    """A Spec with these judges, whose phases have these gates; without any they have the default ones."""
    document = yaml.safe_load(TEXT)
    document["judge"] = {"judges": judges}
    one = document["rollouts"][NAME]
    one.pop("gates", None)
    for phase in one["phases"]:
        phase.pop("gates", None)
        if gates:
            phase["gates"] = {gate: {} for gate in gates}
    one |= rollout
    return yaml.safe_dump(document)


def made(judges: list[dict[str, Any]], *gates: str, **says: Any) -> tuple[Spec, Rollout]:
    given = spec.load(written(judges, *gates, **says))
    return given, given.rollouts[NAME]


def test_a_spec_may_name_no_judge() -> None:
    """By default its phases have the gate tripwires then, and no gate that nobody could feed."""
    given, rollout = made([])
    assert given.judge is not None
    assert given.judge.endpoints == ()
    gated = {gate.measure for phase in rollout.phases for gate in phase.gates}
    assert "tripwires" in gated
    assert "judge" not in gated
    assert rollout.judging is not None
    assert rollout.judging.judges == ()
    assert judged(given) == (), "a golden set has nobody to score it"


@pytest.mark.parametrize(
    ("judges", "gates", "shadow", "asks"),
    [
        ([A_JUDGE], ("errors", "judge"), None, True),
        ([A_JUDGE], ("errors", "tripwires"), None, False),
        ([A_JUDGE], ("errors", "tripwires"), {}, True),
        ([A_JUDGE], ("errors", "tripwires"), {"min_judged": 0}, False),
        ([], ("errors", "tripwires"), {}, False),
    ],
)
def test_a_judge_is_asked_where_a_gate_or_a_shadow_wants_its_word(
    judges: list[dict[str, Any]], gates: tuple[str, ...], shadow: dict[str, Any] | None, asks: bool
) -> None:
    """And nowhere else; a shadow waits for no comparison that nobody makes."""
    _, rollout = made(judges, *gates, **({} if shadow is None else {"shadow": shadow}))
    assert rollout.judging is not None
    assert bool(rollout.judging.judges) is asks
    if rollout.shadow is not None:
        assert (rollout.shadow.min_judged > 0) is asks


@pytest.mark.parametrize(
    ("gates", "says", "path"),
    [
        (("errors", "judge"), {}, f"rollouts.{NAME}.phases[0].gates.judge"),
        (("errors",), {"shadow": {"min_judged": 20}}, f"rollouts.{NAME}.shadow.min_judged"),
    ],
)
def test_a_word_that_nobody_gives_is_a_problem(gates: tuple[str, ...], says: dict[str, Any], path: str) -> None:
    """Before anything runs, and at its place."""
    with pytest.raises(SpecError) as raised:
        made([], *gates, **says)
    problems = [problem for problem in raised.value.problems if problem.id == "spec.no-judge"]
    assert problems[0].path.startswith(path)
    assert "judge.judges is empty" in problems[0].message


def test_a_judge_that_nobody_asks_costs_nothing() -> None:
    """It is in the Spec, and in no bill."""
    bills = []
    for gate in ("judge", "tripwires"):
        given, _ = made([A_JUDGE], "errors", gate)
        (priced,) = sheets(given)
        assert isinstance(priced, Sheet)
        bills.append(priced.case.judge)
    assert bills[0] is not None
    assert bills[1] is None


def test_the_process_keeps_samples_and_asks_nobody(tmp_path: Path) -> None:
    """Without a judge there is nobody to ask; neither an answer nor an anchor waits for one."""
    given, _ = made([], "errors", "tripwires")
    assert given.judge is not None
    file = SampleFile(tmp_path / "x.samples", Kept())
    bench = Bench(given.judge, given.application.type, frozenset(), file)
    bench.pipeline.put(sample(1, rollout=NAME, start=1e12))

    async def a_moment() -> None:
        running = asyncio.create_task(bench.run())
        await asyncio.sleep(0.05)
        assert not running.done(), "it lives on"
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(a_moment())
    document = bench.pipeline.document()
    assert document["kept"] == {"gate": 1}
    assert document["waiting"] == 0
    assert document["ends"] == document["spent"] == {}
    file.close()


def test_rules_are_silent_with_the_process_and_not_with_the_judge(tmp_path: Path) -> None:
    """What a judge cannot do is no reason of a gate that needs none; a process that is away is one."""
    world = World(tmp_path, written([A_JUDGE], "errors", "judge", "tripwires"))
    file, scores = SampleFile(Path(contract.samples_path(world.url)), Kept()), Scores(world.loop)
    rated = world.loop.desks[NAME].evidence.rated
    file.stand({"lately": {"unreachable": 5}, "ends": {}, "why": "it does not answer"}, world.now)
    scores.look(world.now)
    assert "it does not answer" in rated.silence("judge")
    assert rated.silence("tripwires") == ""
    scores.look(world.now + SILENT_AFTER + 1)
    assert "said nothing for 11 s" in rated.silence("tripwires")
    world.store.close()
