"""Past what workers can do: the circuit breaker and not a queue answers, and what was given up is not decided any more.

`python -m loadtest.overload` does it for minutes at the machine's limit.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc import contract
from extproc.render import Profile
from extproc.render.clusters import WAITING
from loadtest.open_loop import Line, Order, request
from loadtest.overload import run
from loadtest.overload_picture import picture
from loadtest.overload_report import BREAKER, COUNTERS, Plan, Sample, Seen, Stage, comfortable, told, verdict
from loadtest.steady import Second
from tests.support.envoy_stand import OLD_ENVOY, Stand, routing_stand, user_on
from tests.support.lateness import lateness

BEYOND = 72
"""Requests more than the breaker lets wait."""
TIMEOUT = 1.5
"""Seconds of message_timeout: long enough that nobody takes one who waited for one who did not, however busy the machine is."""
SOON = 60.0
OVERFLOWS = ("upstream_rq_active_overflow", "upstream_rq_pending_overflow")
"""What Envoy 1.40 and 1.36 call it."""


@dataclass(frozen=True)
class Answered:
    """One request of a burst."""

    status: int
    seconds: float


def burst(stand: Stand, count: int, while_waiting: Callable[[], None] = lambda: None) -> list[Answered]:
    """So many requests at once, each from a client of its own; `while_waiting` is called when BEYOND have been answered."""
    order = Order("", stand.client.base_url.port or 0, "/v1/chat", "old", 0.0, 0.0, 0.0, count, 1, 0)
    lines = {line.fileno(): line for line in (Line(order.port) for _ in range(count))}
    poll = select.epoll()
    for number in lines:
        poll.register(number, select.EPOLLIN)
    answers: list[Answered] = []
    with closing(poll):
        began = time.monotonic()
        for index, line in enumerate(lines.values()):
            line.send(index, request(order, index, index))
        while len(answers) < count and time.monotonic() - began < SOON:
            for number, _ in poll.poll(0.05):
                if status := lines[number].receive():
                    answers.append(Answered(status, time.monotonic() - began))
                    if len(answers) == BEYOND:
                        while_waiting()
    for line in lines.values():
        line.close()
    return answers


@pytest.fixture(params=[Profile.FULL, Profile.CORE])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    """The real Envoy, new and old, and a router of one worker, which has met its usual header block."""
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with routing_stand(tmp_path, request.param, envoy, TIMEOUT) as made:
        user_on(made, "new")
        yield made


def metric(stand: Stand, name: str) -> float:
    """Of the router."""
    log = (stand.directory / "router.log").read_text()
    found = re.search(r"metrics on (\S+)", log)
    assert found is not None, log
    text = httpx.get(f"http://{found[1]}/metrics", trust_env=False, timeout=SOON).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{"))


def test_beyond_the_breaker_nobody_waits(stand: Stand) -> None:
    """With a worker that stands still, as many as the breaker says wait for message_timeout, all others go to stable at once; every one
    is answered and counted. The worker then leaves undecided what was given up, the breaker is closed again, and so is the rollout."""
    breaker = f"{contract.ROUTER_CLUSTER}.circuit_breakers.default.rq_open"
    opened: list[int] = []
    user = user_on(stand, "new")
    failed, decided = stand.stat("ext_proc.failure_mode_allowed"), metric(stand, contract.METRIC_DECISIONS)
    (worker,) = stand.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        with lateness() as machine:
            answers = burst(stand, WAITING + BEYOND, lambda: opened.append(stand.stat(breaker)))
    finally:
        # The supervisor replaces a worker that stands still for longer.
        os.kill(worker, signal.SIGCONT)
    # Where the machine itself has paused, who did not wait looks like one who did.
    paused = machine.worst if machine.worst > TIMEOUT / 3 else 0.0
    assert [one.status for one in answers] == [200] * (WAITING + BEYOND)
    at_once = [one for one in answers if one.seconds < TIMEOUT + paused]
    assert len(at_once) >= BEYOND
    assert len(answers) - len(at_once) <= WAITING
    assert opened == [1] or paused
    assert 0 < sum(stand.stat(f"{contract.ROUTER_CLUSTER}.{name}") for name in OVERFLOWS) <= len(at_once)
    assert stand.stat("ext_proc.failure_mode_allowed") - failed == WAITING + BEYOND
    deadline = time.monotonic() + SOON
    while stand.answered(x_user_id=user) != "new":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert stand.stat(breaker) == 0
    shed = metric(stand, contract.METRIC_SHED)
    assert shed > WAITING // 2
    # The decisions of this test's own questions, and of those that were not left out; never of all.
    assert metric(stand, contract.METRIC_DECISIONS) - decided < WAITING + BEYOND - shed + 20


def test_the_run_itself_in_seconds() -> None:
    """Quiet, comfortable, twice, workers that stand still and slow ones: no client error, all of it counted and told, and it recovers."""
    plan = Plan(rate=200.0, step=1.0, comfortable=1.5, twice=1.0, after=1.0, stopped=1.5, stopped_rate=400.0, slow=0.5, connections=64)
    seen = asyncio.run(run(plan))
    assert [stage.name for stage in seen.stages if seen.whole(stage).errors] == []
    assert sum(one.sent for one in seen.seconds) == sum(len(one.taken) for one in seen.seconds)
    assert seen.whole(seen.stage("stopped")).counted["failure_mode_allowed"] > 50
    last = seen.samples[-1].counters["stream_msgs_received"]
    assert last > seen.counter("stream_msgs_received", seen.stage("at the end").begin)
    lines = told(seen)
    assert any(line.startswith("| stopped | ") for line in lines)
    assert picture(seen).count("<polyline") == 7


# ---------------------------------------------------------------------------------------------------------------------- verdict
def _stage(seen: Seen, name: str, rate: int, seconds: int, opened: int = 0, breaker: int = 0, taken: int = 2_000) -> None:
    """A stage in which every second is like the others; times are microseconds, counts are of each second."""
    begin = seen.stages[-1].end if seen.stages else 0.0
    seen.stages.append(Stage(name, float(rate), begin, begin + seconds))
    if not seen.samples:
        seen.samples.append(Sample(0.0, dict.fromkeys(COUNTERS, 0), MEMORY, {}, 0.01, blind=False, withdrawn=False))
    for number in range(1, seconds + 1):
        seen.seconds.append(Second(begin + number, rate, scheduled=[taken] * rate, taken=[taken] * rate))
        counters = {**seen.samples[-1].counters}
        counters["failure_mode_allowed"] += opened
        counters[BREAKER] += breaker
        seen.samples.append(replace(seen.samples[-1], at=begin + number, counters=counters))


MEMORY = {("Envoy", 7): 80 << 20}


def _well() -> Seen:
    """A run as it should be."""
    seen = Seen(Plan(), rate=4000.0)
    _stage(seen, "quiet", 100, 5)
    _stage(seen, "comfortable", 4000, 40)
    _stage(seen, "twice", 8000, 5, taken=200_000)
    _stage(seen, "after", 4000, 5)
    _stage(seen, "stopped", 8000, 5, opened=8000, breaker=3000)
    _stage(seen, "at the end", 4000, 5)
    return seen


def test_a_run_as_promised() -> None:
    """Nothing to complain about, and the figures are those of the stages."""
    seen = _well()
    assert verdict(seen) == []
    stopped = seen.whole(seen.stage("stopped"))
    assert (stopped.sent, stopped.counted[BREAKER], round(stopped.open_share, 6)) == (40_000, 15_000, 1.0)
    assert any(line.startswith("| twice | 5 | 8,000 | 8,000 | 200.0 |") for line in told(seen))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("twice", {"errors": 3}, "twice: 15 requests failed"),
        ("twice", {"taken": [3_000_000]}, "twice: p99 3000.0 ms"),
        ("comfortable", {"late": 200}, "the load generator sent 5.0% late"),
        ("at the end", {"taken": [90_000]}, "at the end: p99 90.0 ms"),
    ],
)
def test_what_clients_saw_is_looked_at(name: str, change: dict[str, Any], said: str) -> None:
    """Each by its own sentence."""
    seen = _well()
    stage = seen.stage(name)
    seen.seconds = [replace(one, **change) if stage.begin < one.at <= stage.end else one for one in seen.seconds]
    assert any(said in problem for problem in verdict(seen)), verdict(seen)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("twice", {"lag": 1.5}, "twice: the evaluate loop was 1.5 s late"),
        ("at the end", {"withdrawn": True}, "still withdrawn"),
        ("at the end", {"memory": {("Envoy", 7): 200 << 20}}, "had 120.0 MiB more than at first"),
    ],
)
def test_what_the_processes_told_is_looked_at(name: str, change: dict[str, Any], said: str) -> None:
    """Each by its own sentence."""
    seen = _well()
    stage = seen.stage(name)
    seen.samples = [replace(one, **change) if stage.begin < one.at <= stage.end else one for one in seen.samples]
    assert any(said in problem for problem in verdict(seen)), verdict(seen)


def test_a_breaker_that_does_not_open_is_noticed() -> None:
    """And memory that grows while nothing else does, and decisions that come from nowhere."""
    seen = _well()
    for index, sample in enumerate(seen.samples):
        seen.samples[index] = replace(
            sample, counters={**sample.counters, BREAKER: 0}, memory={("Envoy", 7): (80 << 20) + int(sample.at * (1 << 19))}
        )
    problems = verdict(seen)
    assert any("the circuit breaker did not open" in one for one in problems)
    assert any("in the comfortable minutes" in one for one in problems)
    for index, sample in enumerate(seen.samples):
        seen.samples[index] = replace(sample, counters={**sample.counters, "failure_mode_allowed": 0})
    assert any("only 0% failed open" in one for one in verdict(seen))


def test_what_is_not_comfortable() -> None:
    """A tail of more than five times that of the quiet machine, errors, requests that found no client, and what failed open."""
    seen = _well()
    quiet = seen.stage("quiet")
    assert comfortable(seen, quiet, seen.stage("comfortable")) == ""
    assert comfortable(seen, quiet, seen.stage("twice")) == "p99 200.0 ms, more than 10.0 ms"
    assert comfortable(seen, quiet, seen.stage("stopped")) == "100.00% failed open"
    seen.seconds = [replace(one, held=2) for one in seen.seconds]
    assert "found no client free" in comfortable(seen, quiet, seen.stage("after"))
