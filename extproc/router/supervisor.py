"""The router's supervisor: N workers, one endpoint each, one port for all their metrics; without a store it reads the Spec for them.

N endpoints and not SO_REUSEPORT: behind one endpoint Envoy keeps one connection, and all of it goes to one process (seen).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import sys
from time import time

import orjson
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from extproc import contract
from extproc import spec as spec_room
from extproc.errors import SettingsError
from extproc.router.metrics import WorkerView, exposition
from extproc.router.presence import EVERY, presence
from extproc.router.reload import SpecFile
from extproc.router.settings import RouterSettings, WorkerSettings
from extproc.runtime import FileState, hangup_asks, stop_on_signals
from extproc.runtime.child import ASK_TIMEOUT, QUESTION, Child
from extproc.runtime.http import HttpServer
from extproc.transport import parse_address, problems

STOP_TIMEOUT = 10.0
READY_TIMEOUT = 30.0

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps the workers of one router alive and speaks for them."""

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self.endpoints = contract.endpoints(settings.listen, settings.workers)
        self._key = secrets.token_hex(32)
        self._spec = SpecFile(settings.spec_path, settings.phase, self._tell) if settings.store is None else None
        self._file = self._spec.followed.state if self._spec is not None else FileState(settings.spec_path)
        self._children = [Child(f"worker {index}", _worker_command(index), self._orders(index)) for index in range(len(self.endpoints))]

    def _orders(self, index: int) -> bytes:
        given, spec, listen = self._settings, self._spec, self.endpoints[index]
        name = f"{socket.gethostname()}/{index}"
        text, generation, phase = (spec.text, spec.generation, given.phase) if spec is not None else ("", 0, None)
        return WorkerSettings(text, generation, listen, given.transport, phase, given.store, self._key, given.security, name).write()

    def reload(self) -> None:
        """Read the Spec's file again, changed or not. With a store nothing is to be done: the controller publishes what it has read."""
        if self._spec is not None:
            self._spec.followed.look()

    def _tell(self) -> None:
        """Every worker uses the Spec that was just found good, and so does each one that is restarted."""
        assert self._spec is not None
        line = b"spec " + orjson.dumps({"text": self._spec.text, "generation": self._spec.generation})
        for index, child in enumerate(self._children):
            child.first_line = self._orders(index)
            child.tell(line)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain."""
        following = asyncio.create_task(self._spec.followed.follow()) if self._spec is not None else None
        keepers = [asyncio.create_task(child.keep()) for child in self._children]
        telling = asyncio.create_task(self._tell_presence(self._settings.store)) if self._settings.store is not None else None
        server = HttpServer(self._app(), self._settings.metrics_host, self._settings.metrics_port)
        announcing: asyncio.Task[None] | None = None
        try:
            await server.start()
            announcing = asyncio.create_task(self._announce(server.address))
            await _first_of(stop.wait(), *keepers)
        finally:
            for task in (announcing, following, telling):
                if task is not None:
                    task.cancel()
            await asyncio.gather(*(child.stop(STOP_TIMEOUT) for child in self._children))
            await server.stop()
            await asyncio.gather(*keepers)

    async def views(self) -> list[WorkerView]:
        """What each worker says of itself; None where one does not answer."""
        answers = await asyncio.gather(*(child.ask(QUESTION, ASK_TIMEOUT) for child in self._children))
        return [
            WorkerView(index, dict(child.restarts), orjson.loads(answer) if answer else None)
            for index, (child, answer) in enumerate(zip(self._children, answers, strict=True))
        ]

    async def _tell_presence(self, store: str) -> None:
        """Once a second, until cancelled."""
        voice = presence(store, self._settings.listen)
        try:
            while True:
                voice.tell(await self.views(), time())
                await asyncio.sleep(EVERY)
        finally:
            voice.close()

    async def _announce(self, metrics: str) -> None:
        """One line on standard output when every worker serves: scripts wait for it."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while any(view.report is None for view in await self.views()):
            if loop.time() - begin > READY_TIMEOUT:
                log.error("not every worker is ready after %.0f s: look at their lines above, then at `extproc doctor`", READY_TIMEOUT)
                begin = loop.time()
            await asyncio.sleep(0.1)
        print(f"router ready: {' '.join(self.endpoints)}, metrics on {metrics}", flush=True)

    def _app(self) -> Starlette:
        async def metrics(_: Request) -> Response:
            return Response(exposition(await self.views(), self._file), media_type="text/plain; version=0.0.4; charset=utf-8")

        async def health(_: Request) -> Response:
            alive = sum(view.report is not None for view in await self.views())
            text = f"{alive} of {len(self._children)} workers\n{self._file.told()}"
            return PlainTextResponse(text, status_code=200 if alive else 503)

        return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", health)])


def _worker_command(index: int) -> tuple[str, ...]:
    return sys.executable, "-m", "extproc.router.worker", str(index)


async def _first_of(*what: object) -> None:
    tasks = [asyncio.ensure_future(one) for one in what]  # type: ignore[call-overload]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def check(settings: RouterSettings) -> None:
    """Raise SpecError or SettingsError for what a router would trip over, before anything is started."""
    if found := problems(parse_address(settings.listen), settings.security):
        raise SettingsError(found)
    if settings.store is not None:
        spec_room.read(settings.spec_path)


def main(settings: RouterSettings) -> None:
    """Run a router until it is told to stop."""
    check(settings)

    async def run() -> None:
        supervisor = Supervisor(settings)
        hangup_asks(supervisor.reload)
        await supervisor.run(stop_on_signals())

    uvloop.run(run())
