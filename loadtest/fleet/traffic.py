"""Clients of both Envoys: so many requests a second to each, and what became of every one of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import httpx

from loadtest.fleet.stand import ROLLOUT

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. Instants are Unix seconds, by the clock that the whole fleet has."""

    edge: str
    sent: float
    status: int
    """0 where there was no answer."""
    canary: bool


class Traffic:
    """Sends until it is stopped."""

    def __init__(self, addresses: dict[str, str], rate: float) -> None:
        """`rate`: requests per second through each of them."""
        self._addresses = addresses
        self._rate = rate
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._users = itertools.count()
        self.answers: list[Answer] = []

    def begin(self, edge: str) -> None:
        """Through this Envoy too."""
        self._tasks[edge] = asyncio.create_task(self._send(edge))

    async def end(self, edge: str) -> None:
        """No more through this one, as a load balancer does before somebody is restarted; returns when all its answers are there."""
        task = self._tasks.pop(edge)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """All of them."""
        for edge in list(self._tasks):
            await self.end(edge)

    @property
    def errors(self) -> list[Answer]:
        """Requests that ended badly."""
        return [one for one in self.answers if one.status != 200]

    def last_canary(self, edge: str, since: float) -> float:
        """When the last request was sent that met the canary, in seconds after `since`; 0 where none was."""
        return max([0.0, *(one.sent - since for one in self.answers if one.edge == edge and one.canary)])

    async def _send(self, edge: str) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=5.0)
        async with httpx.AsyncClient(base_url=self._addresses[edge], trust_env=False, timeout=PATIENCE, limits=limits) as client:
            loop = asyncio.get_running_loop()
            due, waiting = loop.time(), set[asyncio.Task[None]]()
            try:
                while True:
                    due = max(due + 1 / self._rate, loop.time() - 1.0)
                    await asyncio.sleep(max(0.0, due - loop.time()))
                    task = asyncio.create_task(self._ask(client, edge))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
            finally:
                # Only after the last answer is the client closed.
                await asyncio.gather(*waiting)

    async def _ask(self, client: httpx.AsyncClient, edge: str) -> None:
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Is it even?"}]}
        headers = {"x-user-id": f"user-{next(self._users) % 2000}", "x-user-tier": "free", "x-geo-country": "DE"}
        sent, status, model = time.time(), 0, ""
        try:
            answer = await client.post("/v1/chat/completions", json=body, headers=headers)
            status, model = answer.status_code, str(answer.json().get("model", ""))
        except (httpx.TransportError, ValueError):
            pass
        self.answers.append(Answer(edge, sent, status, model == ROLLOUT))
