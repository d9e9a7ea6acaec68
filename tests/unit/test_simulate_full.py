"""The full design in simulated worlds: what is harmful is found, by the right gate and in time; what is not is let pass."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from extproc.domain import Action, Ceiling, Rollout
from extproc.release.simulate import WORLDS, Setting, World, at_share, full_rows, prove, simulate
from extproc.release.simulate.full import OURS
from tests.support.specs import PRICES, gated

PHASE_5, PHASE_25 = 1, 2


GIVEN = gated("errors", "latency_mean", "latency_p95", "cost")


def setting(phase: int = PHASE_25, rate: float = 80.0, seconds: float = 40.0, given: Rollout = GIVEN, deadline: float = 8.0) -> Setting:
    return Setting(given, deadline, PRICES, phase, rate, seconds)


@pytest.mark.parametrize(
    ("name", "gate", "within"),
    [("broken", "errors", 4.0), ("errors", "errors", 40.0), ("latency", "latency_mean", 60.0), ("cost", "cost", 90.0)],
)
def test_what_is_harmful_is_found_by_its_own_gate(name: str, gate: str, within: float) -> None:
    """A quarter of 80 requests a second: seconds until the rollback, in each of three releases."""
    for seed in range(3):
        run = simulate(setting(seconds=within), WORLDS[name], random.Random(seed))
        assert run.action is Action.ROLL_BACK, seed
        assert gate in run.gates or "latency_p95" in run.gates
        assert run.seconds is not None
        assert run.seconds <= within


@pytest.mark.parametrize("name", ["aa", "clustered", "slow", "ramp"])
def test_what_is_harmless_is_let_pass(name: str) -> None:
    """Two releases each; the counts of thousands are for the long proof."""
    given = gated("errors") if name == "slow" else GIVEN
    for seed in range(2):
        run = simulate(setting(rate=50.0, seconds=30.0, given=given), WORLDS[name], random.Random(seed))
        assert run.stop is None, (run.gates, seed)


def test_an_incident_holds_and_pages() -> None:
    """Both fail for half a minute: nobody is rolled back, somebody is woken."""
    run = simulate(setting(rate=60.0, seconds=60.0), WORLDS["incident"], random.Random(1))
    assert run.stop is None
    assert run.paged


def test_a_fault_after_a_quiet_time_is_found_within_seconds() -> None:
    """A minute and a half of quiet, then every canary request fails: 20 a second."""
    run = simulate(setting(rate=80.0, seconds=110.0), WORLDS["late"], random.Random(1))
    assert run.action is Action.ROLL_BACK
    assert run.seconds is not None
    assert run.seconds <= 5.0


def test_one_country_goes_back_alone() -> None:
    """Of three cohorts one meets a canary that fails there."""
    one = World("one-country", "the canary fails in one cohort", True, canary=replace(WORLDS["broken"].canary, errors=0.6), cohort="nz")
    given = gated("errors", cohorts=("de", "nz", "us"))
    given = replace(given, phases=tuple(replace(phase, ceilings=()) for phase in given.phases))
    run = simulate(setting(given=given), one, random.Random(1))
    assert (run.action, run.cohort) == (Action.ROLL_BACK_COHORT, "nz")


def test_a_table_has_ours_and_the_peers() -> None:
    """Rates, medians, the paths that a picture is made of; the same seeds give the same runs."""
    runs = [simulate(setting(), WORLDS["broken"], random.Random(seed)) for seed in range(2)]
    table = full_rows(WORLDS["broken"], runs)
    assert [one.rule for one in table] == [OURS, "z-test p<.05 each minute", "Flagger-like", "Kayenta-like"]
    assert (table[0].share, table[0].runs) == (1.0, 2)
    kept = simulate(setting(), WORLDS["broken"], random.Random(0), keep_path=True)
    assert (kept.stop, kept.seconds) == (runs[0].stop, runs[0].seconds)
    assert [second for second, _ in kept.path] == [float(second) for second in range(1, len(kept.path) + 1)]
    assert kept.path[-1][1] >= math.log(20) > kept.path[0][1]


def test_every_share_can_be_looked_at() -> None:
    """A rollout without a phase of 10 % gets one in place of the nearest."""
    given, phase = at_share(GIVEN, 0.10)
    assert (given.phases[phase].share, phase) == (0.10, PHASE_5)
    assert [one.share for one in given.phases] == [0.01, 0.10, 0.25, 0.5, 1.0]
    run = simulate(setting(phase, 200.0, 20.0, given), WORLDS["broken"], random.Random(1))
    assert run.action is Action.ROLL_BACK


def test_each_gate_and_each_ceiling_is_seen_to_block() -> None:
    """Every measure as a gate beside three others, and ceilings of each kind; a ceiling that cannot fire is told as such."""
    given = gated("errors", "latency_p99", "cost", "cached_tokens")
    ceilings = (Ceiling("errors", 0.05), Ceiling("latency_p95", 4.0), Ceiling("cost", 0.005), Ceiling("latency_mean", 60.0, "never"))
    given = replace(given, phases=tuple(replace(phase, ceilings=ceilings) for phase in given.phases))
    proofs = {one.gate: one for one in prove(setting(given=given, rate=100.0), random.Random)}
    assert len(proofs) == 8
    assert {name for name, one in proofs.items() if not one.blocked} == {"ceiling:never"}, "above the deadline no latency is seen"
    assert all(one.requests is not None and one.seconds is not None for one in proofs.values() if one.blocked)


def test_worlds_say_whether_a_rollback_is_right() -> None:
    """For the table of false rollbacks and misses."""
    assert {name for name, world in WORLDS.items() if not world.harmful} == {"aa", "incident", "clustered", "slow", "ramp"}
    assert all(world.sentence and world.name == name for name, world in WORLDS.items())
