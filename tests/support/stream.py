"""A steady stream of requests through a stand's Envoy while a test does something to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.support.standing import Standing


@dataclass(frozen=True, slots=True)
class Seen:
    """One response."""

    at: float
    """Monotonic seconds at its end."""
    status: int
    """0 where the connection broke."""
    model: str


class Stream:
    """Users 0 to 199, one after the other, from a few threads; every response is kept."""

    def __init__(self, stand: Standing, threads: int = 3, pause: float = 0.02) -> None:
        self._stand = stand
        self._pause = pause
        self._ending = threading.Event()
        self.seen: list[Seen] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def _run(self, number: int) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not self._ending.is_set():
                number += len(self._threads)
                try:
                    answer = self._stand.ask(client, x_user_id=f"user-{number % 200}")
                    seen = Seen(time.monotonic(), answer.status_code, str(answer.json().get("model", "")))
                except httpx.TransportError:
                    seen = Seen(time.monotonic(), 0, "")
                self.seen.append(seen)
                time.sleep(self._pause)

    def since(self, begin: float) -> list[Seen]:
        """Responses that ended after `begin`."""
        return [one for one in self.seen if one.at > begin]

    def share(self, model: str, seconds: float = 1.0) -> float | None:
        """Share of one model in the last seconds; None where nothing was answered."""
        last = self.since(time.monotonic() - seconds)
        return sum(one.model.startswith(model) for one in last) / len(last) if last else None

    @contextmanager
    def running(self) -> Iterator[Stream]:
        """Send until the block ends."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._ending.set()
            for thread in self._threads:
                thread.join()


def eventually(what: Callable[[], object], seconds: float = 60.0) -> float:
    """Wait until it is so; returns how long that took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - begun
