"""What a Spec says of gates, as nouns: defaults by what has a source, whole lists, ceilings in their units, the calendar, edits while it
runs; and that a healthy canary gets through the default Spec."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from extproc import spec
from extproc.cli.write import filled_template
from extproc.domain import (
    Arm,
    Ceiling,
    ChangeWindow,
    Credential,
    Freeze,
    Gate,
    MetricGate,
    Prices,
    Prometheus,
    Reaction,
    Rollout,
    Spec,
    Verdict,
)
from extproc.errors import SpecError
from extproc.measures import MEASURES
from extproc.release import Evidence, evaluate, waiting_for
from extproc.release.evidence import UNITS_KEPT
from extproc.release.watched import is_guardrail
from extproc.spec.document.gates import MOST_UNITS
from tests.support.outcomes import outcome, show

NAME = "new"
LATENCY = ["latency_mean", "latency_p50", "latency_p95", "latency_p99"]
TTFT = ["ttft_mean", "ttft_p50", "ttft_p95", "ttft_p99"]


def document() -> Any:
    """The template's plain values, to change."""
    return yaml.safe_load(filled_template("chat", "old", NAME))


def load(values: Any) -> Spec:
    return spec.load(yaml.safe_dump(values, sort_keys=False))


def rollout(phase: int = 0, phase_says: dict[str, Any] | None = None, **says: Any) -> Rollout:
    """The template's rollout, with this in it, and this in one phase."""
    values = document()
    del values["rollouts"][NAME]["ceilings"]
    values["rollouts"][NAME] |= says
    values["rollouts"][NAME]["phases"][phase] |= phase_says or {}
    values["prometheus"] = {"url": "http://prometheus.example:9090"}
    return load(values).rollouts[NAME]


def names(given: Rollout, phase: int = 0) -> list[str]:
    return [gate.measure for gate in given.phases[phase].gates]


# -------------------------------------------------------------------------------------------------------------------- defaults
def test_what_is_compared_by_default() -> None:
    """What Envoy's access log tells, and cost where both models have prices."""
    assert names(rollout()) == ["errors", *LATENCY, *TTFT, "cost"]


@pytest.mark.parametrize("model", ["old", NAME])
def test_without_prices_there_is_no_cost(model: str) -> None:
    """A gate exists where its source does; of one model alone nothing can be compared."""
    values = document()
    del values["models"][model]["prices"]
    assert names(load(values).rollouts[NAME]) == ["errors", *LATENCY, *TTFT]


def test_variants_may_be_answered_by_any_model() -> None:
    """In another layer stable and canary are no models: cost needs the prices of all."""
    values = document()
    values["rollouts"][NAME] |= {"layer": "prompt", "stable": "plain", "canary": "formal"}
    assert "cost" in names(load(values).rollouts[NAME])
    values["models"]["third"] = {"endpoint": {"host": "x.example", "port": 443}}
    assert "cost" not in names(load(values).rollouts[NAME])


def test_evidence_of_safety_is_asked_for_of_three() -> None:
    """Each further guardrail costs time; the others roll back on harm."""
    assert [gate.measure for gate in rollout().phases[0].gates if is_guardrail(gate)] == ["errors", "latency_mean", "cost"]


def test_default_weights_are_those_of_the_groups_that_are_there() -> None:
    """.40 to .20 to .08, each over .68; a group's weight is shared by its members."""
    weights = {gate.measure: gate.weight for gate in rollout().phases[0].gates}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["errors"] == pytest.approx(0.40 / 0.68)
    assert weights["cost"] == pytest.approx(0.08 / 0.68)
    assert [weights[name] for name in (*LATENCY, *TTFT)] == pytest.approx([0.20 / 0.68 / 8] * 8)


def test_margins_narrow_with_the_phases() -> None:
    """As each measure says; in all phases the same where the Spec names one."""
    of = {name: [gate.margin for phase in rollout().phases for gate in phase.gates if gate.measure == name] for name in ("errors", "cost")}
    assert of == {"errors": [0.05, 0.01, 0.005, 0.0025, 0.0025], "cost": [0.5, 0.2, 0.1, 0.1, 0.1]}
    one = rollout(gates={"errors": {"margin": "2%"}})
    assert [phase.gates for phase in one.phases] == [(Gate("errors", 0.02, 1.0),)] * 5


def test_no_phase_asks_for_more_units_than_are_counted() -> None:
    """Or it would never end."""
    assert MOST_UNITS == UNITS_KEPT


# ------------------------------------------------------------------------------------------------------------------ whole lists
def test_the_nearest_block_is_the_whole_list() -> None:
    """A phase's in place of the rollout's, the rollout's in place of the default; the other phases keep what they had."""
    last = (Ceiling("errors", 0.02), Ceiling("latency_p95", 6.0))
    given = rollout(
        1,
        {"gates": {"errors": {}}, "ceilings": {}, "metrics": {}},
        gates={"errors": {"weight": 0.75}, "throttled": {"weight": 0.25}},
        ceilings={"errors": "4%"},
        metrics={"revenue": {"query": "sum(revenue)", "min": 100}},
    )
    assert [names(given, index) for index in (0, 1, 2)] == [["errors", "throttled"], ["errors"], ["errors", "throttled"]]
    assert [phase.ceilings for phase in given.phases] == [(Ceiling("errors", 0.04),), (), *((Ceiling("errors", 0.04),),) * 2, last]
    assert given.phases[0].metrics == (MetricGate("revenue", "sum(revenue)", 100.0, more_is_worse=False),)
    assert given.phases[1].metrics == ()


def test_a_gate_with_all_that_it_can_have() -> None:
    """Nothing that is written is lost."""
    written = {"margin": "15%", "weight": 1, "tolerance": "2%", "guardrail": True}
    assert rollout(gates={"latency_p95": written}).phases[3].gates == (Gate("latency_p95", 0.15, 1.0, 0.02, True),)


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("errors", "1.5%", Ceiling("errors", 0.015)),
        ("latency_mean", "1500ms", Ceiling("latency_mean", 1.5)),
        ("ttft_p95", "2s", Ceiling("ttft_p95", 2.0)),
        ("cost", "$0.05", Ceiling("cost", 0.05)),
        ("output_tokens", 900, Ceiling("output_tokens", 900.0)),
        ("dear", {"measure": "cost", "limit": "$0.10"}, Ceiling("cost", 0.1, "dear")),
    ],
)
def test_a_ceiling_is_in_its_measures_unit(name: str, written: Any, meant: Ceiling) -> None:
    """Shares with %, durations with their unit, dollars with $, tokens as a number; or under a name of one's own."""
    assert rollout(ceilings={name: written}).phases[0].ceilings == (meant,)


def test_what_a_verdict_does() -> None:
    """By phase; by default a failure rolls back, and a person is asked when max dwell is over."""
    given = rollout(2, {"on_fail": "return", "on_inconclusive": "hold", "on_no_data": "roll_back"})
    reactions = [(phase.on_fail, phase.on_inconclusive, phase.on_no_data) for phase in given.phases[1:3]]
    assert reactions == [(Reaction.ROLL_BACK, Reaction.ASK, Reaction.ASK), (Reaction.RETURN, Reaction.HOLD, Reaction.ROLL_BACK)]


def test_metrics_and_where_they_are_asked() -> None:
    """One bound each; holding is the default, since one reading has no error control."""
    values = document()
    credential = {"env": "PROMETHEUS_TOKEN"}
    values["prometheus"] = {"url": "https://prometheus.example", "credential": credential, "every": "30s"}
    values["rollouts"][NAME]["metrics"] = {"carts": {"query": "sum(lost)", "max": 3, "on_fail": "roll_back"}}
    loaded = load(values)
    assert loaded.prometheus == Prometheus(
        "https://prometheus.example", Credential("authorization", "Bearer ", None, "PROMETHEUS_TOKEN"), 30.0
    )
    assert loaded.rollouts[NAME].phases[4].metrics == (MetricGate("carts", "sum(lost)", 3.0, True, True),)


# -------------------------------------------------------------------------------------------------------------------- calendar
def test_windows_freezes_and_approval() -> None:
    """Times of day need no quotes here: YAML 1.1 would read 17:00 as 1020."""
    text = filled_template("chat", "old", NAME).replace(
        "    phases:\n",
        "    approval_above: 25%\n"
        "    windows:\n"
        "      - {days: [fri, mon, mon], from: 09:00, to: 17:00, zone: Europe/Berlin}\n"
        "      - {days: sun, from: 00:00, to: 24:00}\n"
        "    freezes: [{from: 2026-12-20T00:00Z, to: 2027-01-04T06:00+01:00, why: the holidays}]\n"
        "    phases:\n",
    )
    given = spec.load(text).rollouts[NAME]
    assert given.approval_above == 0.25
    assert given.windows == (
        ChangeWindow((0, 4), 9 * 3600.0, 17 * 3600.0, ZoneInfo("Europe/Berlin")), ChangeWindow((6,), 0.0, 86400.0, ZoneInfo("UTC"))
    )  # fmt: skip
    assert given.freezes == (Freeze(1797724800.0, 1799038800.0, "the holidays"),)


@pytest.mark.parametrize("time", ["24:01", "9", "09:60", 9, None])
def test_a_time_of_day_is_one(time: Any) -> None:
    """Not a number, and not after midnight."""
    with pytest.raises(SpecError, match="no time of day"):
        rollout(windows=[{"days": ["mon"], "from": "00:00", "to": time}])


def test_the_templates_comments_can_be_uncommented() -> None:
    """What it suggests is valid."""
    text = filled_template("chat", "old", NAME)
    for key in ("approval_above", "windows"):
        assert f"    # {key}:" in text
        text = text.replace(f"    # {key}:", f"    {key}:")
    given = spec.load(text).rollouts[NAME]
    assert (given.approval_above, len(given.windows)) == (0.25, 1)


def test_when_it_may_go_on_can_be_edited_while_it_runs() -> None:
    """A freeze that is declared during an incident asks for no rollback; gates, ceilings, metrics and reactions are another rollout."""
    before = spec.fingerprint(rollout())
    freeze = {"from": "2026-12-20T00:00Z", "to": "2027-01-04T00:00Z", "why": "the holidays"}
    for calendar in ({"approval_above": "25%"}, {"windows": [{"days": "mon", "from": "09:00", "to": "17:00"}]}, {"freezes": [freeze]}):
        assert spec.fingerprint(rollout(**calendar)) == before
    changed: tuple[dict[str, Any], ...] = (
        {"gates": {"errors": {}}}, {"ceilings": {"errors": "4%"}}, {"metrics": {"m": {"query": "x", "max": 1}}}, {"alpha": 0.01}
    )  # fmt: skip
    for gates in changed:
        assert spec.fingerprint(rollout(**gates)) != before
    assert spec.fingerprint(rollout(2, {"on_fail": "return"})) != before


# ----------------------------------------------------------------------------------------------------------------- blind spots
def spots(given: dict[str, Any], identity: str, phase: int = 0, **says: Any) -> list[str]:
    values = document()
    values["rollouts"][NAME] |= says
    values["rollouts"][NAME]["phases"][phase] |= given
    return [str(spot) for spot in spec.blind_spots(load(values)) if spot.id == identity]


def test_blind_no_gate() -> None:
    """Each measure that is not compared, phases with the same ones in one sentence."""
    first, rest = spots(
        {"gates": {name: {} for name in MEASURES if name != "throttled" and MEASURES[name].read is not None}}, "blind.no-gate"
    )
    assert first == (
        "rollouts.new: phase 1%: no gate for throttled, session_length, judge, tripwires, thumbs; a canary that is worse in these is not "
        "stopped [blind.no-gate]\n"
        "    name those that matter in gates: a block of gates is all that is compared"
    )
    assert (
        "phases 5%, 25%, 50%: no gate for throttled, client_aborts, abandons, retries, regenerates, session_length, input_tokens, " in rest
    )


def test_blind_judge_prices() -> None:
    """A judge without prices has no budget; one that costs nothing says so."""
    values = document()
    values["judge"] = {"judges": [{"url": "https://judge.example/v1", "model": "judge-1"}]}
    (spot,) = [str(spot) for spot in spec.blind_spots(load(values)) if spot.id == "blind.judge-prices"]
    assert spot == (
        "judge.judges: what the judge judge-1 costs is not known, so that per_hour and per_release do not bound it [blind.judge-prices]\n"
        "    give it prices; $0 where it is your own"
    )
    values["judge"]["judges"][0]["prices"] = {"input": "$0", "output": "$0"}
    assert not [spot for spot in spec.blind_spots(load(values)) if spot.id == "blind.judge-prices"]


def test_blind_no_comparison() -> None:
    """At 100 % without a holdback ceilings are all there is."""
    (spot,) = spots({"ceilings": {"slow": {"measure": "latency_p99", "limit": "5s"}}}, "blind.no-comparison", 4)
    assert spot.startswith(
        "rollouts.new.phases[4]: in phase 100% nobody is left to compare with; what is looked at are its ceilings: slow [blind"
    )
    assert spots({}, "blind.no-comparison", holdback="2%") == []


# --------------------------------------------------------------------------------------------------- does it get through at all
@dataclass(frozen=True)
class Canary:
    """Its latency and its tokens, times so much."""

    slower: float = 1.0
    longer: float = 1.0


def seen(given: Rollout, phase: int, seconds: int, canary: Canary = Canary(), ttft: bool = True) -> Evidence:
    """Traffic of 100 requests a second, each of another user, with lognormal latencies."""
    prices = load(document()).models["old"].prices
    assert isinstance(prices, Prices)
    draw, evidence = random.Random(7), Evidence(given, 8.0, prices={"old": prices, "new": prices})
    evidence.begin_visit(2, phase)
    made = []
    for number in range(seconds * 100):
        point, share = draw.random(), given.phases[phase].share
        is_canary = point < share
        took = 0.8 * draw.lognormvariate(0, 0.5) * (canary.slower if is_canary else 1.0)
        tokens = int(200 * draw.lognormvariate(0, 0.5) * (canary.longer if is_canary else 1.0))
        changes: dict[str, Any] = {"duration": min(took, 7.9), "ttft": took / 3 if ttft else None}
        changes |= {"output_tokens": tokens, "input_tokens": 300}
        changes["arm"] = Arm.CANARY if is_canary else Arm.CONTROL if point >= 1 - share else Arm.REST
        made.append(outcome(number, 100 + number / 100, is_canary, **changes))
    show(evidence, made)
    return evidence


def missing(given: Rollout, phase: int, evidence: Evidence) -> tuple[str, ...]:
    evidence.watch(1e6)
    return waiting_for(given.phases[phase], evaluate(given, evidence), evidence)


@pytest.mark.parametrize("ttft", [True, False], ids=["full profile", "core profile"])
def test_an_equal_canary_gets_through_the_default_gates(ttft: bool) -> None:
    """At 25 % and 100 requests a second, each of another user, within three minutes; without a time to first token as well."""
    given = rollout(phase=2, phase_says={"min_units": 500})
    evidence = seen(given, 2, 180, ttft=ttft)
    assert missing(given, 2, evidence) == ()
    assert all(one.verdict is not Verdict.FAIL for one in evaluate(given, evidence))


def test_a_slower_and_a_dearer_canary_do_not() -> None:
    """Twice as slow, or twice as many tokens: stopped by what measures it; each finding has its numbers."""
    given = rollout()
    for changes, gates in ((Canary(slower=2.0), {*LATENCY, *TTFT}), (Canary(longer=2.5), {"cost"})):
        found = evaluate(given, seen(given, 2, 90, changes))
        failed = {one.gate for one in found if one.verdict is Verdict.FAIL}
        assert "together" in failed
        assert failed - {"together"} <= gates
        assert failed & gates
        for one in found:
            if one.gate in failed & gates:
                assert one.margin == 0.1
                assert one.canary_samples > 1000
                assert one.estimate is not None
                assert one.interval is not None
                assert one.interval[0] < one.estimate < one.interval[1]
                assert one.sentence.startswith(f"{one.gate}: canary ")
