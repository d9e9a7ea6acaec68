"""Presence: every router tells once a second, by a datagram, what its workers use and what they have decided.

A datagram and not a request: a router never waits for the controller, and a controller that comes back is told again within a second.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from extproc.controller.decision_times import DecisionTimes
from extproc.errors import Problem, SettingsError
from extproc.transport.place import Place

SILENT_AFTER: Final = 3.0
"""Seconds without a datagram after which a router counts as silent."""
FORGOTTEN_AFTER: Final = 300.0
"""Seconds after which a silent router is not shown any more."""
ROUTERS_KEPT: Final = 1000
LONGEST_DATAGRAM: Final = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Count:
    """What a worker told last."""

    life: str
    decisions: Mapping[str, int]
    """Of its present life, by rollout."""
    times: Sequence[int]
    """Of its present life: those that were timed, by bucket."""
    at: float
    """When it was so, by our monotonic clock."""


@dataclass(slots=True)
class _Router:
    """One router as it was last told."""

    document: Mapping[str, Any]
    at: float
    """Our monotonic clock."""
    skew: float
    """Seconds by which its clock is ahead of ours."""
    rate: float = 0.0
    """Decisions per second between its last two datagrams."""
    counts: dict[int, _Count] = field(default_factory=dict)
    """By worker."""
    times: DecisionTimes = field(default_factory=DecisionTimes)


class Routers:
    """All routers that have been heard of."""

    def __init__(self, decided: Callable[[str, int, float, float], None]) -> None:
        """`decided` is told how many decisions more a rollout has, and between which instants (Unix seconds) they were made."""
        self._decided = decided
        self._routers: dict[str, _Router] = {}
        self.bad = 0
        """Datagrams that could not be understood."""

    def receive(self, datagram: bytes, now: float, wall: float) -> None:
        """One Presence; `now` is monotonic, `wall` Unix seconds."""
        try:
            document = orjson.loads(datagram)
            counts = {
                one["worker"]: _Count(one["life"], one["decisions"], one.get("time_buckets", ()), now - (document["at"] - one["at"]))
                for one in document["workers"]
                if one["life"]
            }
            new = _Router(document, now, document["at"] - wall, counts=counts)
            name = str(document["router"])
            before = self._routers.get(name)
            more = list(_more(before, counts)) if before is not None else []
            if before is not None:
                new.times = before.times
                for timed in _timed(before, counts):
                    new.times.add(document["bounds"], timed, now)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.bad += 1
            if self.bad == 1:
                log.error("a router's Presence could not be understood (%s): do router and controller have the same version?", error)
            return
        if before is not None:
            new.rate = sum(count / max(until - since, 0.1) for _, count, since, until in more)
            # Who did not answer this time is not gone: what it had decided is not counted again.
            new.counts = {**before.counts, **counts}
        for rollout, count, since, until in more:
            self._decided(rollout, count, wall - (now - since), wall - (now - until))
        if before is not None or len(self._routers) < ROUTERS_KEPT:
            self._routers[name] = new

    def documents(self, now: float) -> list[dict[str, Any]]:
        """What `extproc status` shows of routers; those of long ago are forgotten."""
        self._routers = {name: one for name, one in self._routers.items() if now - one.at < FORGOTTEN_AFTER}
        return [_document(name, one, now) for name, one in sorted(self._routers.items())]

    def counted(self, now: float) -> dict[str, int]:
        """How many routers tell, and how many have stopped."""
        silent = sum(now - one.at >= SILENT_AFTER for one in self._routers.values())
        return {"present": len(self._routers) - silent, "silent": silent}


def _more(before: _Router, after: Mapping[int, _Count]) -> Iterator[tuple[str, int, float, float]]:
    """(rollout, decisions, since, until) since each worker told last; a life that was not there before began at zero."""
    for worker, told in after.items():
        known = before.counts.get(worker, _Count("", {}, (), before.at))
        for rollout, count in told.decisions.items():
            if grown := count - (known.decisions.get(rollout, 0) if told.life == known.life else 0):
                yield rollout, grown, known.at, told.at


def _timed(before: _Router, after: Mapping[int, _Count]) -> Iterator[list[int]]:
    """By bucket, the decisions of each worker that were timed since it told last."""
    for worker, told in after.items():
        known = before.counts.get(worker)
        same = known is not None and known.life == told.life and len(known.times) == len(told.times)
        if told.times:
            yield [now - was for now, was in zip(told.times, known.times, strict=True)] if known is not None and same else list(told.times)


def _document(name: str, router: _Router, now: float) -> dict[str, Any]:
    workers = router.document["workers"]
    serving = [worker for worker in workers if worker["life"]]
    age = now - router.at
    since = router.document.get("since")
    return {
        "router": name,
        "version": router.document.get("version", ""),
        "up": router.document["at"] - since + age if since is not None else None,
        "silent": age if age >= SILENT_AFTER else None,
        "workers": len(workers),
        "serving": len(serving),
        "generations": sorted({worker["generation"] for worker in serving}),
        "age": max((worker["age"] for worker in serving), default=None),
        "heartbeat_age": max((worker["heartbeat_age"] or 0.0 for worker in serving), default=None),
        "withdrawn": sorted({rollout for worker in serving for rollout in worker["withdrawn"]}),
        "skew": router.skew,
        "decisions_per_second": router.rate if age < SILENT_AFTER else 0.0,
        "decision_seconds": router.times.document(),
        "errors": sum(worker["errors"] for worker in serving),
        "shed": sum(worker.get("shed", 0) for worker in serving),
        "restarts": router.document["restarts"],
    }


class PresenceSocket:
    """The Unix datagram socket that routers tell their Presence to; owner only."""

    def __init__(self, path: Path, receive: Callable[[bytes], None]) -> None:
        self._path = path
        self._place = Place(str(path))
        self._receive = receive
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Listen on the running loop; raises SettingsError where that is not possible."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._place.clear()
            made.bind(str(self._place.temporary))
            self._place.temporary.chmod(0o600)
            self._place.take()
        except OSError as error:
            made.close()
            hint = "a Unix socket's path has at most 107 bytes, and its directory must be ours to write: name another store"
            raise SettingsError(Problem("settings.presence", str(self._path), f"cannot listen for routers: {error}", hint)) from error
        self._socket = made
        asyncio.get_running_loop().add_reader(made.fileno(), self._readable, made)

    def _readable(self, made: socket.socket) -> None:
        with suppress(BlockingIOError):
            self._receive(made.recv(LONGEST_DATAGRAM))

    def stop(self) -> None:
        """Close, and remove our own socket."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._place.leave()
