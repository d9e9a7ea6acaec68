"""No watcher, no canary: what a worker makes of heartbeats, with a clock that is an argument, and on a real store."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc.assign import Snapshot
from extproc.cli.write import filled_template
from extproc.controller.loop import Loop
from extproc.domain import Action, Arm, Heartbeat, Reason
from extproc.router.source import StoreSource
from extproc.router.watch import Watch
from extproc.store import open_store
from tests.support.lateness import lateness
from tests.unit.test_loop import NAME

EXPOSED = frozenset({"a", "b"})
LEASE = 15.0
TEXT = filled_template("chat", "old", NAME).replace("application:\n", "application:\n  watch_lease: 3s\n")


# ------------------------------------------------------------------------------------------------------------------------ rules
def test_what_is_found_at_the_start_tells_nothing() -> None:
    """Its age is unknown: only a change is a sign of life."""
    watch = Watch()
    assert watch.withdrawn(EXPOSED, LEASE, 100.0) == EXPOSED
    watch.see(Heartbeat(7, ()), 100.0)
    assert watch.withdrawn(EXPOSED, LEASE, 100.0) == EXPOSED
    assert watch.age(100.0) == math.inf
    watch.see(Heartbeat(8, ()), 101.0)
    assert watch.withdrawn(EXPOSED, LEASE, 101.0) == frozenset()


def test_the_first_heartbeat_of_a_store_is_a_change() -> None:
    """Where there was none when we looked, somebody has written it since."""
    watch = Watch()
    watch.see(None, 100.0)
    assert watch.withdrawn(EXPOSED, LEASE, 100.0) == EXPOSED
    watch.see(Heartbeat(1, ()), 100.1)
    assert watch.withdrawn(EXPOSED, LEASE, 100.1) == frozenset()


def test_the_lease_runs_out_and_the_next_change_ends_that() -> None:
    """The same heartbeat seen again is no change; a smaller number is one: the store was restored, and somebody watches."""
    watch = Watch()
    for number, now in ((1, 0.0), (2, 1.0), (2, 15.9)):
        watch.see(Heartbeat(number, ()), now)
    assert watch.withdrawn(EXPOSED, LEASE, 15.99) == frozenset()
    assert watch.withdrawn(EXPOSED, LEASE, 16.0) == EXPOSED
    watch.see(None, 16.5)
    assert watch.withdrawn(EXPOSED, LEASE, 16.5) == EXPOSED
    watch.see(Heartbeat(1, ()), 17.0)
    assert watch.withdrawn(EXPOSED, LEASE, 17.0) == frozenset()


def test_a_blind_rollout_is_withdrawn_at_once_and_alone() -> None:
    """Rollouts that expose nobody are nobody's business."""
    watch = Watch()
    watch.see(Heartbeat(1, ()), 0.0)
    watch.see(Heartbeat(2, ("b", "rolled-back")), 1.0)
    assert watch.withdrawn(EXPOSED, LEASE, 1.0) == {"b"}
    watch.see(Heartbeat(3, ()), 2.0)
    assert watch.withdrawn(EXPOSED, LEASE, 2.0) == frozenset()


# ------------------------------------------------------------------------------------------------------------------- real store
class Follower:
    """A worker's source on a store that a real loop writes; `seen` has every Snapshot that it was given."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:{path / 'x.db'}"
        self.store = open_store(self.url, writer=True)
        self.loop = Loop(TEXT, self.store, time.time())
        self.source = StoreSource(self.url)
        self.seen: list[Snapshot] = []

    def beat(self) -> None:
        self.loop.tick(time.time(), 1.0)

    async def until(self, exposed: bool, seconds: float = 60.0) -> float:
        """Wait until the canary's share is met, or not; how long that took."""
        begun = time.monotonic()
        async with asyncio.timeout(seconds):
            while not self.seen or (canary_share(self.seen[-1]) > 0) != exposed:
                await asyncio.sleep(0.01)
        return time.monotonic() - begun


def canary_share(snapshot: Snapshot) -> float:
    return round(snapshot.layers[0][0].cohorts[0].canary_below / 2**32, 6)


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    made = Follower(tmp_path)
    made.loop.act(NAME, Action.START, "ada", "begin", time.time()) if made.loop.state.rollouts[NAME].status.value == "pending" else None
    made.loop.act(NAME, Action.ADVANCE, "ada", "further", time.time())
    yield made
    made.store.close()


def test_a_worker_exposes_while_the_loop_ticks_and_only_then(follower: Follower) -> None:
    """Not before the first change, not after the lease; back with the next tick, although nothing else has changed."""

    async def work() -> None:
        first, _ = await follower.source.open()
        assert canary_share(first) == 0.0
        assert {choice.assignment.reason for choice in first.choices if choice.assignment.arm is Arm.REST} >= {Reason.WITHDRAWN}
        assert {choice.assignment.cohort for choice in first.choices} == {""}, "outside of every cohort is outside of Evidence"
        following = asyncio.create_task(follower.source.follow(follower.seen.append))
        follower.beat()
        await asyncio.sleep(0.2)
        beaten = time.monotonic()
        follower.beat()
        with lateness() as machine:
            await follower.until(exposed=True)
            assert follower.source.withdrawn == frozenset()
            await follower.until(exposed=False)
        assert 2.9 < time.monotonic() - beaten < 6.0 + machine.total, "the lease is 3 s"
        assert follower.source.withdrawn == {NAME}
        follower.beat()
        with lateness() as machine:
            took = await follower.until(exposed=True)
        assert took < 2.0 + machine.total
        generation = follower.seen[-1].generation
        assert {snapshot.generation for snapshot in follower.seen} == {generation}, "State has not moved"
        following.cancel()

    asyncio.run(work())


def test_the_lease_runs_out_where_the_store_cannot_be_read(follower: Follower) -> None:
    """Another reason, the same result: nobody is seen to watch."""

    async def work() -> None:
        await follower.source.open()
        following = asyncio.create_task(follower.source.follow(follower.seen.append))
        for _ in range(2):
            follower.beat()
            await asyncio.sleep(0.2)
        await follower.until(exposed=True)
        path = Path(follower.url.partition(":")[2])
        follower.store.close()
        for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            name.unlink(missing_ok=True)
        await follower.until(exposed=False)
        following.cancel()

    asyncio.run(work())


def test_a_completed_rollout_needs_no_watcher(follower: Follower) -> None:
    """The canary is the default then: sending everyone back to a pool that may be gone would be the incident."""
    while follower.loop.state.rollouts[NAME].status.exposes:
        follower.loop.act(NAME, Action.ADVANCE, "ada", "further", time.time())
    assert follower.loop.state.rollouts[NAME].status.value == "completed"

    async def work() -> None:
        snapshot, _ = await follower.source.open()
        assert canary_share(snapshot) == 1.0
        assert follower.source.withdrawn == frozenset()

    asyncio.run(work())
