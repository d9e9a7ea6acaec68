"""kill -9 of a controller that is fed as Envoy feeds it: its list of exposures is the sender's ledger, the stated gaps apart."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.store.exposures import Cause
from tests.support.access_log import Sender, request
from tests.support.exposing import Controller, running, sending, unlike, until


@pytest.fixture
def controller() -> Iterator[Controller]:
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as made:
        yield made


def test_kill_9_costs_what_is_stated(controller: Controller) -> None:
    """Twice, under a steady stream: whoever is missing ended inside of a stated gap, nobody is there twice, nobody was made up."""
    sender = Sender(controller.collector)
    thread = sending(sender, 240, 20, 0.05)
    for lived in (2.3, 2.0):
        time.sleep(lived)
        controller.end(signal.SIGKILL)
        controller.start()
    thread.join()
    controller.at_rest()
    shown, said = controller.list()
    ledger = {one.request: one for one in sender.exposed}
    names = [one["request"] for one in shown]
    assert len(names) == len(set(names))
    assert {one["request"]: wrong for one in shown if (wrong := unlike(one, ledger[one["request"]]))} == {}
    gaps = [gap for gap in controller.gaps() if gap["cause"] == Cause.KILLED]
    missing = [one for name, one in ledger.items() if name not in set(names)]
    outside = [one for one in missing if not any(gap["since"] <= one.end <= gap["until"] for gap in gaps)]
    lasted, about = sum(gap["until"] - gap["since"] for gap in gaps), sum(gap["about"] for gap in gaps)
    print(f"{len(ledger)} exposures sent, {len(missing)} missing, 2 gaps of {lasted:.1f} s together say about {about}")
    assert (outside, len(gaps)) == ([], 2)
    assert missing, "or nothing was seen"
    assert len(missing) <= about * 1.5 + 20
    assert said.count("the controller was killed") == 2


def test_requests_that_are_open_at_a_kill_stay_in_the_list(controller: Controller) -> None:
    """Two are open, the controller is killed: both are in the list. One ends at the next controller, of the other nobody hears again."""
    now = time.time()
    both = [request(4, now - 2.0, seconds=2.0, open=True), request(8, now - 1.0, seconds=1.0, open=True)]
    sender = Sender(controller.collector)
    sender.tell(*both)
    sender.tell(*both)
    controller.written(2)
    assert len(controller.list()[0]) == 2
    controller.end(signal.SIGKILL)
    assert "of 2 no end was heard of" in controller.list()[1]
    controller.start()
    ended = replace(both[0], seconds=9.0, open=False)
    sender.tell(ended)
    sender.close()
    until(lambda: any(one["ended"] for one in controller.list()[0]))
    shown, said = controller.list()
    assert {(one["request"], one["ended"], one["seconds"]) for one in shown} == {
        (both[0].request, True, 9.0),
        (both[1].request, False, None),
    }
    assert "of 1 no end was heard of" in said
