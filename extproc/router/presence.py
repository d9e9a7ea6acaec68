"""Presence: what this router tells the controller once a second, by a datagram that never waits.

Nobody listens while the controller is away; that costs a router nothing, and the controller knows by the outcomes that routers are there.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

import extproc
from extproc.router.metrics import WorkerView
from extproc.router.processor import DECISION_BUCKETS

EVERY: Final = 1.0
"""Seconds between two datagrams."""


class Presence:
    """One router's voice."""

    def __init__(self, path: Path, listen: str) -> None:
        """`path`: the controller's datagram socket. `listen`: where this router's workers are, which no other router of a machine has."""
        self._path = str(path)
        self._name = f"{socket.gethostname()} {listen}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._since: float | None = None
        self.untold = 0
        """Datagrams that nobody took."""

    def tell(self, views: Sequence[WorkerView], at: float) -> None:
        """One datagram; `at` is Unix seconds."""
        self._since = at if self._since is None else self._since
        restarts: Counter[str] = Counter()
        for view in views:
            restarts.update(view.restarts)
        document = {
            "router": self._name,
            "version": extproc.__version__,
            "since": self._since,
            "at": at,
            "workers": [_worker(view) for view in views],
            "restarts": restarts,
            "bounds": DECISION_BUCKETS,
        }
        try:
            self._socket.sendto(orjson.dumps(document), self._path)
        except OSError:
            self.untold += 1

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _worker(view: WorkerView) -> dict[str, Any]:
    report = view.report
    if report is None:
        return {"worker": view.index, "life": ""}
    decisions: Counter[str] = Counter()
    for rollout, _, _, _, count in report["decisions"]:
        decisions[rollout] += count
    told = ("life", "generation", "age", "heartbeat_age", "at", "withdrawn", "errors", "shed", "time_buckets")
    return {"worker": view.index, "decisions": decisions, **{name: report[name] for name in told}}
