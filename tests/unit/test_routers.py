"""Presence from a supervisor's words to what `status` shows, over a real datagram socket."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from extproc import __version__, contract
from extproc.controller.decision_times import MINUTE, DecisionTimes
from extproc.controller.router_metrics import RouterMetrics
from extproc.controller.routers import FORGOTTEN_AFTER, SILENT_AFTER, PresenceSocket, Routers
from extproc.errors import SettingsError
from extproc.router.metrics import WorkerView
from extproc.router.presence import SocketPresence, _Words
from extproc.router.processor import DECISION_BUCKETS

WALL = 1_700_000_000.0


def view(index: int, life: str = "1", count: int = 0, **changes: Any) -> WorkerView:
    decisions = [["new", "everyone", "canary", "ring", count // 10], ["new", "everyone", "rest", "ring", count - count // 10]]
    report = {
        "life": life,
        "generation": 4,
        "age": 0.01,
        "heartbeat_age": 0.5,
        "at": 0.0,
        "withdrawn": [],
        "errors": 0,
        "shed": 3,
        "decisions": decisions,
        "time_buckets": [0] * (len(DECISION_BUCKETS) + 1),
    }
    return WorkerView(index, {"died": 0, "hung": 0}, {**report, **changes})


class Heard:
    """A Presence, its socket, and Routers that count."""

    def __init__(self, path: Path) -> None:
        self.decided: Counter[str] = Counter()
        self.between: set[tuple[int, int]] = set()
        """Seconds since WALL: of each count the time in which it was made."""
        self.routers = Routers(self._count)
        self.now = 100.0
        self.socket = PresenceSocket(path, lambda data: self.routers.receive(data, self.now, WALL + self.now))
        self.presence = SocketPresence(path, f"{socket.gethostname()} unix:/run/router.sock")

    def _count(self, rollout: str, count: int, begin: float, end: float) -> None:
        self.decided[rollout] += count
        self.between.add((round(begin - WALL), round(end - WALL)))

    async def tell(self, *views: WorkerView, skew: float = 0.0) -> None:
        self.now += 1.0
        for one in views:
            if one.report is not None:
                one.report["at"] += WALL + self.now + skew
        before = [router.at for router in self.routers._routers.values()]
        self.presence.tell(views, WALL + self.now + skew)
        async with asyncio.timeout(60):
            while [router.at for router in self.routers._routers.values()] == before:
                await asyncio.sleep(0.005)

    @property
    def document(self) -> dict[str, Any]:
        (one,) = self.routers.documents(self.now)
        return one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p"


def run(path: Path, work: Any) -> None:
    async def whole() -> None:
        heard = Heard(path)
        heard.socket.start()
        try:
            await work(heard)
        finally:
            heard.socket.stop()
            heard.presence.close()

    asyncio.run(whole())


def test_decisions_are_counted_once_whatever_happens_to_workers(path: Path) -> None:
    """What was decided before we listened does not count; a restart begins at zero; who misses a question is not counted twice."""

    async def work(heard: Heard) -> None:
        await heard.tell(view(0, count=1000), view(1, count=500))
        assert heard.decided == {}
        await heard.tell(view(0, count=1100), view(1, count=550))
        assert heard.decided == {"new": 150}
        await heard.tell(view(0, count=1200), WorkerView(1, {"died": 0, "hung": 0}, None))
        assert heard.between == {(101, 102), (102, 103)}
        await heard.tell(view(0, count=1200), view(1, count=580))
        assert heard.decided == {"new": 280}
        assert heard.between == {(101, 102), (102, 103), (102, 104)}, "who was away for a second has decided in two"
        await heard.tell(view(0, count=1200), view(1, life="2", count=20))
        assert heard.decided == {"new": 300}

    run(path, work)


def test_what_was_read_early_and_told_late_counts_when_it_was_read(path: Path) -> None:
    """A supervisor waits three seconds for a worker that hangs before it tells what the other had said at once."""

    async def work(heard: Heard) -> None:
        await heard.tell(view(0, count=100))
        heard.now += 3.0
        await heard.tell(view(0, count=200, at=-3.0))
        await heard.tell(view(0, count=600))
        assert heard.between == {(101, 102), (102, 106)}
        assert heard.document["decisions_per_second"] == pytest.approx(100.0)

    run(path, work)


def test_what_a_person_sees_of_a_router(path: Path) -> None:
    """Workers, generations, ages, rate, clock; a router that has stopped is silent, and forgotten in the end."""

    async def work(heard: Heard) -> None:
        await heard.tell(view(0, count=0), view(1, count=0))
        away = WorkerView(1, {"died": 2, "hung": 1}, None)
        await heard.tell(view(0, count=240, generation=5, withdrawn=["new"], heartbeat_age=20.0), away, skew=-3.0)
        seen = heard.document
        assert seen["router"].endswith(" unix:/run/router.sock")
        assert (seen["workers"], seen["serving"], seen["generations"], seen["silent"]) == (2, 1, [5], None)
        assert (seen["decisions_per_second"], seen["withdrawn"], seen["heartbeat_age"]) == (240.0, ["new"], 20.0)
        assert seen["skew"] == pytest.approx(-3.0)
        assert seen["restarts"] == {"died": 2, "hung": 1}
        assert heard.routers.counted(heard.now) == {"present": 1, "silent": 0}
        heard.now += SILENT_AFTER
        assert (heard.document["silent"], heard.document["decisions_per_second"]) == (SILENT_AFTER, 0.0)
        assert heard.routers.counted(heard.now) == {"present": 0, "silent": 1}
        heard.now += FORGOTTEN_AFTER
        assert heard.routers.documents(heard.now) == []

    run(path, work)


def test_clocks_and_versions_are_series(path: Path) -> None:
    """How far a clock is off, whichever way; one version more for each that differs from ours. Who is silent, or gone, has neither."""

    def series(heard: Heard) -> dict[tuple[str, str], float]:
        text = metrics.exposition(heard.routers.documents(heard.now)).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(sample.name, sample.labels.get("router", "").rpartition("/")[2]): sample.value for sample in samples}

    metrics = RouterMetrics()
    versions, skew = (contract.METRIC_ROUTER_VERSIONS, ""), (contract.METRIC_ROUTER_SKEW, "router.sock")

    async def work(heard: Heard) -> None:
        assert series(heard) == {versions: 1}
        await heard.tell(view(0), skew=-3.0)
        assert series(heard) == {versions: 1, skew: pytest.approx(3.0)}
        other = orjson.loads(_Words("there router.sock").said([view(0)], WALL + heard.now + 0.5)) | {"version": "0.0.1", "router": "/other"}
        heard.routers.receive(orjson.dumps(other), heard.now, WALL + heard.now)
        assert series(heard) == {versions: 2, skew: pytest.approx(3.0), (skew[0], "other"): pytest.approx(0.5)}
        heard.now += SILENT_AFTER
        assert series(heard) == {versions: 1}

    run(path, work)


def test_version_age_and_how_long_decisions_take(path: Path) -> None:
    """Of what was decided since we listen; a life that is new begins at zero, so nothing is counted twice, or below zero."""

    def times(*counts: int) -> list[int]:
        return [*counts, *[0] * (len(DECISION_BUCKETS) + 1 - len(counts))]

    async def work(heard: Heard) -> None:
        await heard.tell(view(0, time_buckets=times(1000)))
        assert (heard.document["version"], heard.document["up"], heard.document["decision_seconds"]) == (__version__, 0.0, None)
        await heard.tell(view(0, time_buckets=times(1000, 0, 90, 10)))
        assert heard.document["up"] == 1.0
        seen = heard.document["decision_seconds"]
        assert (seen["of"], seen["p50"], seen["p95"]) == (100, pytest.approx(4e-6 + 2e-6 * 50 / 90), pytest.approx(6e-6 + 2e-6 * 0.5))
        await heard.tell(view(0, life="2", time_buckets=times(0, 0, 20)))
        assert heard.document["decision_seconds"]["of"] == 120
        older = view(0, life="2")
        assert older.report is not None
        del older.report["time_buckets"]
        older.report["time_buckets"] = []
        await heard.tell(older)
        assert heard.document["decision_seconds"]["of"] == 120, "a router that does not tell is no fault"

    run(path, work)


def test_decision_times_are_of_the_last_two_minutes() -> None:
    """Yesterday's calm does not hide that decisions are slow now; what is above the last bound is told as that."""
    times = DecisionTimes()
    assert times.document() is None
    times.add((1.0, 2.0), (100, 0, 0), 0.0)
    times.add((1.0, 2.0), (0, 0, 1), MINUTE)
    assert times.document() == {"of": 101, "p50": pytest.approx(0.505), "p95": pytest.approx(0.9595), "p99": pytest.approx(0.9999)}
    times.add((1.0, 2.0), (0, 0, 1), 2 * MINUTE)
    assert times.document() == {"of": 2, "p50": 2.0, "p95": 2.0, "p99": 2.0}


@pytest.mark.parametrize("datagram", [b"", b"{", b"[]", b"7", b'{"router": "x"}', orjson.dumps({"router": "x", "at": "y", "workers": []})])
def test_what_is_no_presence_is_counted_and_changes_nothing(datagram: bytes) -> None:
    """The socket is the owner's alone; still, a router of another version must not end the controller."""
    routers = Routers(lambda *_: None)
    routers.receive(datagram, 1.0, 1.0)
    assert (routers.bad, routers.documents(1.0)) == (1, [])


def test_the_socket_is_its_owners_alone_and_goes_with_it(path: Path) -> None:
    """Mode 0600; a successor takes the name and keeps it; nobody who listens costs a router nothing."""

    async def work(heard: Heard) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        successor = Heard(path)
        successor.socket.start()
        heard.socket.stop()
        assert path.exists()
        await successor.tell(view(0))
        successor.socket.stop()
        assert not path.exists()
        successor.presence.tell([view(0)], WALL)
        assert successor.presence.untold == 1
        successor.presence.close()

    run(path, work)


def test_a_path_that_is_too_long_is_explained(tmp_path: Path) -> None:
    """107 bytes are all that the kernel takes."""

    async def work() -> None:
        with pytest.raises(SettingsError) as caught:
            PresenceSocket(tmp_path / ("x" * 120), lambda _: None).start()
        assert caught.value.problems[0].id == "settings.presence"

    asyncio.run(work())
