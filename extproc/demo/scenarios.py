"""What happens in a demo: a table of scenarios, each with its script and the end it must come to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from extproc.demo.changes import GERMANY, germany, one_in_ten, same_prices, watch_p95
from extproc.demo.opinions import ABOUT_ANSWERS
from extproc.demo.processes import DemoError
from extproc.demo.story import BREAKING_PHASE, Act, Fault, Scenario, Turn, Withdrawal
from extproc.domain import Status
from extproc.errors import Problem

_ABOUT_REQUESTS: Final = (
    Scenario(
        name="healthy",
        sentence="the canary is as good as stable, and ends as the default",
        script=(),
        ends=Status.COMPLETED,
    ),
    Scenario(
        name="errors",
        sentence="the canary fails totally while a quarter of the people meet it, and is rolled back within seconds",
        script=(
            Turn(BREAKING_PHASE, 0.0, "the traffic slows down: 20 requests per second meet the canary", canary_rate=20.0),
            Turn(BREAKING_PHASE, 4.0, "the canary breaks: every answer is a 500", arm="canary", knobs={"error_rate": 1.0}, breaks=True),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.FAILS,
        promise=5.0,
    ),
    Scenario(
        name="crash-router",
        sentence="every router worker is killed, twice: stable answers until they are back, and no client sees an error",
        script=(
            Turn(BREAKING_PHASE, 3.0, f"{Act.KILL_WORKERS}: Envoy serves stable", act=Act.KILL_WORKERS),
            Turn("50%", 3.0, f"{Act.KILL_WORKERS}, once more", act=Act.KILL_WORKERS),
        ),
        ends=Status.COMPLETED,
    ),
    Scenario(
        name="crash-controller",
        sentence="the controller is killed, and comes back with all it knew; then it is frozen: no watcher, no canary",
        script=(
            Turn(BREAKING_PHASE, 3.0, f"{Act.KILL_CONTROLLER}: it is started again, with the same evidence", act=Act.KILL_CONTROLLER),
            Turn("50%", 3.0, f"{Act.FREEZE_CONTROLLER}: the canary is withdrawn after the lease", act=Act.FREEZE_CONTROLLER),
            Turn("50%", 13.0, f"{Act.THAW_CONTROLLER}: the canary is back", act=Act.THAW_CONTROLLER),
        ),
        ends=Status.COMPLETED,
        lease="4s",
        unheard=5.0,
        withdrawal=Withdrawal(Act.FREEZE_CONTROLLER, Act.THAW_CONTROLLER, 6.0),
    ),
    Scenario(
        name="blind",
        sentence="Envoy's access log no longer arrives: no outcomes, no canary, until it does again",
        script=(
            Turn(BREAKING_PHASE, 3.0, f"{Act.CUT_ACCESS_LOG}: the canary is withdrawn", act=Act.CUT_ACCESS_LOG),
            Turn(
                BREAKING_PHASE,
                18.0,
                f"{Act.MEND_ACCESS_LOG}: the canary is back after ten seconds of nothing lost",
                act=Act.MEND_ACCESS_LOG,
            ),
        ),
        ends=Status.COMPLETED,
        lease="4s",
        unheard=20.0,
        withdrawal=Withdrawal(Act.CUT_ACCESS_LOG, Act.MEND_ACCESS_LOG, 9.0),
    ),
    Scenario(
        name="cohorts",
        sentence="staff meet the canary first, then two countries, then those who pay, then everyone; who got what, and why",
        script=(),
        ends=Status.COMPLETED,
        spec="cohorts.yaml",
        who=True,
    ),
    Scenario(
        name="slow",
        sentence="the canary becomes half again as slow, without an error, and is rolled back for that",
        script=(
            Turn(
                BREAKING_PHASE,
                4.0,
                "the canary becomes slow: first token and every further one take half again as long",
                arm="canary",
                knobs={"ttft": 0.09, "tokens_per_second": 533.0},
                breaks=True,
            ),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=30.0,
        change=watch_p95,
        says=("latency_",),
    ),
    Scenario(
        name="costly",
        sentence="the canary writes twice as many tokens at the same price, and is rolled back for its cost",
        script=(
            Turn(
                BREAKING_PHASE,
                4.0,
                "the canary becomes wordy: answers are twice as long, and cost twice as much",
                arm="canary",
                knobs={"output_tokens": 120.0},
                breaks=True,
            ),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=60.0,
        change=same_prices,
        says=("cost",),
    ),
    Scenario(
        name="hang",
        sentence="some requests to the canary never get an answer: open past the deadline is failed, and it is rolled back",
        script=(
            Turn(BREAKING_PHASE, 0.0, "the traffic slows down: 20 requests per second meet the canary", canary_rate=20.0),
            Turn(
                BREAKING_PHASE,
                4.0,
                "three of ten requests to the canary hang: no answer, no error, nothing",
                arm="canary",
                knobs={"hang_rate": 0.3},
                breaks=True,
            ),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.WORSE,
        promise=12.0,
        patience=12.0,
        says=("errors",),
    ),
    Scenario(
        name="one-country",
        sentence="the canary fails in Germany alone: Germans go back to stable, and nobody else notices",
        script=(
            Turn(
                BREAKING_PHASE,
                4.0,
                "the canary breaks for Germans: every answer to them is a 500",
                arm="canary",
                knobs={"error_rate": 1.0, "country": "DE"},
                breaks=True,
            ),
        ),
        ends=Status.COMPLETED,
        fault=Fault.FAILS,
        promise=8.0,
        change=germany,
        who=True,
        out=GERMANY,
    ),
    Scenario(
        name="incident",
        sentence="both models fail together: that is no fault of the canary; held, somebody is called, and it goes on afterwards",
        script=(
            Turn(
                BREAKING_PHASE,
                3.0,
                "both models fail: what they share is broken",
                arm="both",
                knobs={"error_rate": 0.6},
            ),
            Turn(
                BREAKING_PHASE,
                11.0,
                "both models are well again; nothing moves before somebody has looked",
                arm="both",
                knobs={"error_rate": 0.0},
            ),
            Turn(BREAKING_PHASE, 16.0, f'a person has looked: {Act.RESUME} --why "incident 4711 is over"', act=Act.RESUME),
        ),
        ends=Status.COMPLETED,
        page="incident in both arms",
    ),
    Scenario(
        name="late-fault",
        sentence="the canary is good for a long quiet time, and then fails: what was good before does not hide it",
        script=(
            Turn(BREAKING_PHASE, 0.0, "the traffic slows down: 20 requests per second meet the canary", quiet=60.0, canary_rate=20.0),
            Turn(
                BREAKING_PHASE,
                4.0,
                "after all that time the canary breaks: every answer is a 500",
                quiet=60.0,
                arm="canary",
                knobs={"error_rate": 1.0},
                breaks=True,
            ),
        ),
        ends=Status.ROLLED_BACK,
        fault=Fault.FAILS,
        promise=5.0,
        dwell={BREAKING_PHASE: 90.0},
    ),
    Scenario(
        name="low-traffic",
        sentence="too few people for the evidence that is asked for: held, then a person is asked, and told what is missing",
        script=(),
        ends=Status.AWAITING_APPROVAL,
        people=400,
        rate=8.0,
        max_dwell=60.0,
        change=one_in_ten,
        says=("max dwell is over", "more distinct canary units", "evidence that errors stays within"),
    ),
)
_ALL: Final = (*_ABOUT_REQUESTS, *ABOUT_ANSWERS)
SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
"""All scenarios by name."""


def scenario_named(name: str) -> Scenario:
    """The scenario of this name; raises DemoError with the names there are."""
    if name not in SCENARIOS:
        known = "; ".join(f"{one.name}: {one.sentence}" for one in _ALL)
        raise DemoError(Problem("demo.unknown-scenario", "--scenario", f"there is no scenario {name!r}", known))
    return SCENARIOS[name]
