"""Presence: what this router tells the controller once a second, and never waits: by a datagram, or beyond one machine by the store.

Nobody listens while the controller is away; that costs a router nothing, and the controller knows by the outcomes that routers are there.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

import extproc
from extproc import contract
from extproc.errors import StoreError
from extproc.router.metrics import WorkerView
from extproc.router.processor import DECISION_BUCKETS
from extproc.store import SharedStore, is_shared, open_shared

EVERY: Final = 1.0
"""Seconds between two words."""

log = logging.getLogger(__name__)


class Presence(Protocol):
    """One router's voice."""

    untold: int
    """Words that nobody took."""

    def tell(self, views: Sequence[WorkerView], at: float) -> None:
        """One word; `at` is Unix seconds."""

    def close(self) -> None:
        """Give back what it needed."""


def presence(store: str, listen: str) -> Presence:
    """The voice towards the controllers of a store. `listen`: where this router's workers are, which no other router of a machine has."""
    name = f"{socket.gethostname()} {listen}"
    return StorePresence(store, name) if is_shared(store) else SocketPresence(Path(contract.presence_path(store)), name)


class SocketPresence:
    """By the controller's datagram socket."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._words = str(path), _Words(name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.untold = 0

    def tell(self, views: Sequence[WorkerView], at: float) -> None:
        """One datagram."""
        try:
            self._socket.sendto(self._words.said(views, at), self._path)
        except OSError:
            self.untold += 1

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class StorePresence:
    """By a store of many machines, where a word is kept for as long as we live."""

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name, self._words = url, name, _Words(name)
        self._store: SharedStore | None = None
        self._opening: Future[SharedStore] | None = None
        self._opener = ThreadPoolExecutor(1, "presence")
        self.untold = 0

    def tell(self, views: Sequence[WorkerView], at: float) -> None:
        """What is said until the next word; lost where the store has not been reached yet."""
        if self._store is None:
            self._open()
        if self._store is not None:
            self._store.present(self._name, self._words.said(views, at))
        else:
            self.untold += 1

    def _open(self) -> None:
        """Beside the loop: the store may be away."""
        if self._opening is None:
            self._opening = self._opener.submit(open_shared, self._url)
        elif self._opening.done():
            opened, self._opening = self._opening, None
            try:
                self._store = opened.result()
            except StoreError as error:
                log.debug("nobody hears of this router yet: %s", error.problems[0])

    def close(self) -> None:
        """We are gone, and nobody has to wait until that is certain."""
        self._opener.shutdown()
        if self._opening is not None and self._opening.exception() is None:
            self._store = self._opening.result()
        if self._store is not None:
            self._store.close()


class _Words:
    """What one router says of itself."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._since: float | None = None

    def said(self, views: Sequence[WorkerView], at: float) -> bytes:
        """One document of JSON."""
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
        return orjson.dumps(document)


def _worker(view: WorkerView) -> dict[str, Any]:
    report = view.report
    if report is None:
        return {"worker": view.index, "life": ""}
    decisions: Counter[str] = Counter()
    for rollout, _, _, _, count in report["decisions"]:
        decisions[rollout] += count
    told = ("life", "generation", "age", "heartbeat_age", "at", "withdrawn", "errors", "shed", "time_buckets")
    return {"worker": view.index, "decisions": decisions, **{name: report[name] for name in told}}
