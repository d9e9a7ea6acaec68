"""Past what workers can do: the circuit breaker and not a queue answers, and what was given up is not decided any more.

`python -m loadtest.overload` does it for minutes at the machine's limit.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx
import pytest

from extproc import contract
from extproc.render import Profile
from extproc.render.clusters import WAITING
from loadtest.open_loop import Line, Order, request
from tests.support.envoy_stand import Stand, routing_stand, user_on

BEYOND = 72
"""Requests more than the breaker lets wait."""
TIMEOUT = 1.5
"""Seconds of message_timeout: long enough that nobody takes one who waited for one who did not, however busy the machine is."""
SOON = 30.0
OVERFLOWS = ("upstream_rq_active_overflow", "upstream_rq_pending_overflow")
"""What Envoy 1.40 and 1.36 call it."""


@dataclass(frozen=True)
class Answered:
    """One request of a burst."""

    status: int
    seconds: float


def burst(stand: Stand, count: int, while_waiting: Callable[[], None] = lambda: None) -> list[Answered]:
    """So many requests at once, each from a client of its own; `while_waiting` is called when those beyond the breaker have been answered."""
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


@pytest.fixture
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The real Envoy and a router of one worker, which has met its usual header block."""
    with routing_stand(tmp_path_factory.mktemp("overload"), Profile.FULL, message_timeout=TIMEOUT) as made:
        user_on(made, "new")
        yield made


def metric(stand: Stand, name: str) -> float:
    """Of the router."""
    log = (stand.directory / "router.log").read_text()
    found = re.search(r"metrics on (\S+)", log)
    assert found is not None, log
    text = httpx.get(f"{found[1] if '://' in found[1] else 'http://' + found[1]}/metrics", trust_env=False).text
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
        answers = burst(stand, WAITING + BEYOND, lambda: opened.append(stand.stat(breaker)))
    finally:
        # The supervisor replaces a worker that stands still for longer.
        os.kill(worker, signal.SIGCONT)
    assert [one.status for one in answers] == [200] * (WAITING + BEYOND)
    at_once = [one for one in answers if one.seconds < TIMEOUT]
    assert len(at_once) >= BEYOND
    assert len(answers) - len(at_once) <= WAITING
    assert opened == [1]
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
