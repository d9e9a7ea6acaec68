"""The list of exposures of a real controller that is fed as Envoy feeds it: equal to the sender's ledger; with its file locked, and on a
disk without room."""

from __future__ import annotations

import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from extproc.controller import scribe as scribe_room
from extproc.controller.scribe import Scribe
from extproc.store.exposures import Cause, Keep, Listing, Wanted
from tests.support.access_log import Sender, Sent, request
from tests.support.disks import can_mount, limited_files, no_room, small_disk
from tests.support.exposing import PATIENCE, Controller, running, sending, unlike, until
from tests.support.lateness import lateness
from tests.support.outcomes import outcome


@pytest.fixture
def controller() -> Iterator[Controller]:
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as made:
        yield made


def _seen(lost: Sent, controller: Controller) -> Sent:
    """A request without a decision, as the list shows it: it belongs to where State stands."""
    stands = controller.status()["rollouts"]["new"]
    where = {"phase": stands["phase"], "generation": stands["generation"]}
    return replace(lost, arm="", reason="undecided", cohort="", unit="", durable=False, **where)


def test_the_list_is_the_senders_ledger(controller: Controller) -> None:
    """Every request that met the canary, every field, nobody else; by the command, by the API, and in the counters."""
    sender = Sender(controller.collector)
    until(lambda: controller.status()["rollouts"]["new"]["status"] == "progressing")
    sending(sender, 40, 50, 0.02).join()
    special = [
        request(1, time.time(), arm="canary", answered_by="new", model="gpt-new", reason=reason)
        for reason in ("pinned", "override", "forced", "completed")
    ]
    special += [
        request(1, time.time(), arm="canary", answered_by="old", status=429),
        request(1, time.time(), arm="rest", answered_by="new", model="gpt-new"),
        request(1, time.time(), arm="rest"),
    ]
    lost = request(1, time.time(), arm="rest", answered_by="new", model="gpt-new", decided=False)
    sender.tell(*special, lost, request(1, time.time(), arm="rest", decided=False))
    sender.close()
    exposed = {one.request: one for one in (*sender.exposed, *special[:-1], _seen(lost, controller))}
    controller.written(len(exposed))
    shown, said = controller.list()
    assert sorted(one["request"] for one in shown) == sorted(exposed)
    assert {one["request"]: wrong for one in shown if (wrong := unlike(one, exposed[one["request"]]))} == {}
    assert {one["attempt"] for one in shown} == {1}
    units, failed = len({one.unit for one in exposed.values() if one.unit}), sum(one.failed for one in exposed.values())
    expected = f"new: {len(exposed):,} requests met the canary: {units:,} units, {failed:,} failed"
    assert said.splitlines()[0] == f"{expected}, 1 without a decision, and so without a unit"
    assert said.splitlines()[2] == "no gap is known"
    by_api = controller.get("/v1/exposures?rollout=new").text.splitlines()
    assert [orjson.loads(one) for one in by_api[:-1]] == shown
    text = controller.get("/metrics").text
    assert f"extproc_exposures_written_total {len(exposed):.1f}" in text
    assert "extproc_exposures_lost_total 0.0" in text
    controller.end(signal.SIGTERM)
    assert controller.list()[0] == shown, "read when nobody is left to write"
    assert "the controller was stopped" in controller.list()[1]


def test_a_locked_file_delays_no_decision(controller: Controller) -> None:
    """Somebody holds the file for four seconds: evaluations stay punctual, and afterwards everything is in the list."""
    sender = Sender(controller.collector)
    until(controller.path.exists)
    thread = sending(sender, 100, 50, 0.05)
    time.sleep(1.0)
    with lateness() as machine, closing(sqlite3.connect(controller.path, isolation_level=None, timeout=PATIENCE)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = controller.status()["loop"]["missed_ticks"]
        ticks = controller.status()["loop"]["ticks"]
        until(lambda: controller.status()["exposures"]["problem"] is not None)
        time.sleep(3.0)
        status = controller.status()
        assert status["exposures"]["waiting"] > 0
        assert status["loop"]["ticks"] >= ticks + 3 - int(machine.total)
        assert status["loop"]["missed_ticks"] - before <= 1 + int(machine.total), (
            "the machine may be late by itself; the lock lasts four ticks"
        )
        assert status["store"]["problem"] is None
        print(f"worst lag {status['loop']['worst_lag'] * 1000:.0f} ms")
    thread.join()
    controller.written(len(sender.exposed))
    shown, said = controller.list()
    assert sorted(one["request"] for one in shown) == sorted(one.request for one in sender.exposed)
    assert "no gap is known" in said
    errors = (controller.directory / "err").read_text()
    assert "exposures cannot be written, decisions go on" in errors
    assert "exposures can be written again" in errors


@pytest.mark.skipif(not can_mount(), reason="a disk of its own needs root's privileges; the test below fills one by a limit")
def test_a_full_disk_under_a_controller() -> None:
    """For three seconds there is no room; then everything that was heard meanwhile is written."""
    with small_disk("24m") as directory, running(directory) as controller:
        sender = Sender(controller.collector)
        thread = sending(sender, 60, 200, 0.1)
        time.sleep(1.5)
        with no_room(directory):
            until(lambda: "exposures.full" in (controller.status()["exposures"]["problem"] or ""))
            time.sleep(2.0)
            assert controller.status()["exposures"]["waiting"] > 0
        thread.join()
        controller.written(len(sender.exposed))
        shown, _ = controller.list()
        assert sorted(one["request"] for one in shown) == sorted(one.request for one in sender.exposed)
        assert controller.gaps() == []


def test_no_room_for_longer_than_memory_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not fit is counted exactly, and the gap says when; the rest is there as soon as there is room."""
    monkeypatch.setattr(scribe_room, "MOST_WAITING", 5_000)
    now = time.time()
    scribe = Scribe(f"sqlite:{tmp_path}/x.db", Keep(), now, 0.0)
    scribe.hand([outcome(0, now, duration=0.0)])
    scribe._flush()
    with limited_files(Path(f"{scribe.path}-wal").stat().st_size):
        for second in range(9):
            scribe.hand([outcome(number, now + second, duration=0.0) for number in range(1000)])
            scribe._flush()
        assert (scribe.waiting, scribe.lost) == (5_000, 4_000)
        assert scribe.problem is not None
        assert scribe.problem.id == "exposures.full"
    scribe._flush()
    assert (scribe.written, scribe.waiting) == (5_001, 0)
    with closing(Listing(scribe.path, Wanted("new"), now)) as listing:
        assert sum(map(len, listing.pages())) == 5_001
        (gap,) = listing.summary.gaps
    assert (gap.cause, gap.about) == (Cause.UNWRITTEN, 4_000)
    assert (gap.since, gap.until) == pytest.approx((now + 5, now + 8))
    scribe._file.close(now)
