"""Where one release after the other is tried: models, the real Envoy and a student that stay, an `extproc serve` that begins anew.

A quarter of the people meet the canary, 20 requests per second; hardly anybody asks twice. What clients saw is what counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from extproc.demo import stand
from extproc.demo.changes import by_hand
from extproc.demo.processes import Child, DemoError, Processes
from extproc.errors import Problem
from loadtest.fault_stand import listen, start_student
from loadtest.fault_student import PATIENCE, StudentSettings
from loadtest.faults_report import Answer

QUIET: Final = 8.0
"""Seconds at 25 % before a fault: enough for stable's quantiles, too few to be called quiet."""
SHARE: Final = 0.25
RATE: Final = 20.0 / SHARE
PEOPLE: Final = 20_000
"""They ask in turn: in a release hardly anybody asks twice."""
STREAMING: Final = 0.1
WELL: Final = {"ttft": 0.06, "tokens_per_second": 800.0, "output_tokens": 60.0, "error_rate": 0.0, "hang_rate": 0.0}
WORKERS: Final = 2
GIVEN_UP: Final = 90.0
"""Seconds after which a fault has not been seen."""
LAST_ANSWERS: Final = 20.0
"""Seconds until a request that hangs is given up by its client, and told."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who asks, and how a model answers them that is well."""

    streaming: float = STREAMING
    """Share of requests that want a stream."""
    patience: float = PATIENCE
    """Seconds after which a client gives its request up."""
    knobs: Mapping[str, float] = field(default_factory=lambda: WELL)
    """Of extproc.demo.model.Knobs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout stands."""

    status: str
    phase: str
    page: bool
    """True where a person is asked for."""
    why: str
    """What brought it there."""
    now: str
    """What it does, and waits for."""

    @property
    def said(self) -> str:
        """Why it was rolled back; else what it does now."""
        return self.why if self.status == "rolled_back" else self.now


class Field:
    """Models, Envoy and a student that stay; `extproc serve` begins anew, with an empty store, for each release."""

    def __init__(self, processes: Processes, document: dict[str, Any], crowd: Crowd) -> None:
        """`document`: a Spec as its YAML says it, of the demo's shape; ports are filled in."""
        self.processes = processes
        self.document = document
        self._ports = stand.Ports.free(processes.directory)
        self._crowd = crowd
        ((self.rollout, rollout),) = document["rollouts"].items()
        self.stable, self.canary = rollout["stable"], rollout["canary"]
        by_hand(document)
        self.models: dict[str, stand.ModelHandle] = {}
        self.answers: list[Answer] = []
        self._http = httpx.AsyncClient(trust_env=False, timeout=5.0)
        self._student: Child
        self._listening: asyncio.Task[None]

    async def start(self) -> None:
        """All that stays."""
        for seed, name in enumerate((self.stable, self.canary)):
            self.models[name] = await stand.ModelHandle.start(self.processes, name, seed, self._crowd.knobs)
        stand.fill(self.document, self._ports, {name: model.port for name, model in self.models.items()})
        spec = stand.write_spec(self.document, self.processes.directory)
        await stand.start_envoy(self.processes, spec, self._ports, WORKERS)
        url = f"http://127.0.0.1:{self._ports.listener}/v1/chat/completions"
        settings = StudentSettings(url, self.stable, RATE, PEOPLE, self._crowd.streaming, 1, self._crowd.patience)
        self._student = await start_student(self.processes, settings)
        self._listening = asyncio.create_task(listen(self._student, self.answers))

    async def stop(self) -> None:
        """Every answer is there."""
        self._student.close_input()
        await asyncio.wait_for(self._listening, LAST_ANSWERS)
        await self._http.aclose()

    @property
    def envoy_admin(self) -> str:
        """Where Envoy tells of itself: host and port."""
        return f"127.0.0.1:{self._ports.admin}"

    @asynccontextmanager
    async def release(self, why: str) -> AsyncIterator[None]:
        """A release at 25 % of what `document` says now, somebody meets its canary; nothing of it is left afterwards."""
        spec = stand.write_spec(self.document, self.processes.directory)
        serve = await stand.start_serve(self.processes, spec, self._ports, WORKERS)
        try:
            for action in ("start", "promote", "promote"):
                (await self._ask("POST", f"/v1/rollouts/{self.rollout}/{action}", json={"why": why})).raise_for_status()
            await self._meets_canary(asyncio.get_running_loop().time())
            yield
        finally:
            await self.processes.stop(serve)
            for path in self.processes.directory.glob("extproc.db*"):
                path.unlink()

    async def stands(self) -> Standing:
        """Where the rollout stands now."""
        found: dict[str, Any] = (await self._ask("GET", "/v1/status")).raise_for_status().json()["rollouts"][self.rollout]
        return Standing(found["status"], found["phase"], found["page"], found["why"], found["now"])

    async def until(self, over: Callable[[Standing], bool], seconds: float = GIVEN_UP) -> Standing:
        """Wait until it stands like this, or for so many seconds; returns how it stands then."""
        clock = asyncio.get_running_loop().time
        end, standing = clock() + seconds, await self.stands()
        while not over(standing) and clock() < end:
            await asyncio.sleep(0.1)
            with suppress(httpx.TransportError):
                standing = await self.stands()
        return standing

    def met(self, begin: float, end: float) -> tuple[float, int]:
        """(seconds from `begin` to the last, number) of the requests that were sent between these and met the canary, or failed."""
        found = [one.sent for one in self.answers if begin <= one.sent < end and (one.model == self.canary or one.problem)]
        return max(found, default=begin) - begin, len(found)

    async def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        token = (self.processes.directory / "extproc.db.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        return await self._http.request(method, f"http://127.0.0.1:{self._ports.api}{path}", headers=headers, **arguments)

    async def _meets_canary(self, since: float) -> None:
        """Wait until somebody does; raises DemoError where nobody does in time."""
        clock = asyncio.get_running_loop().time
        while not any(one.model == self.canary and one.sent > since for one in self.answers[-200:]):
            if clock() > since + LAST_ANSWERS:
                raise DemoError(Problem("field.nobody", self.canary, "nobody meets the canary", "look at `extproc doctor`"))
            await asyncio.sleep(0.05)

    async def turn(self, knobs: Mapping[str, float], models: tuple[str, ...] = ()) -> None:
        """From now on these models (the canary where none is named) behave so."""
        for name in models or (self.canary,):
            await self.models[name].turn(knobs)

    async def mend(self) -> None:
        """Both models are well, as in the beginning."""
        await self.turn(self._crowd.knobs, (self.stable, self.canary))

    def kill_canary(self) -> None:
        """kill -9."""
        self.models[self.canary].child.process.kill()

    async def revive_canary(self) -> None:
        """After it was killed, on the same port."""
        model = self.models[self.canary]
        await self.processes.stop(model.child)
        self.models[self.canary] = await stand.ModelHandle.start(self.processes, self.canary, 1, self._crowd.knobs, model.port)
