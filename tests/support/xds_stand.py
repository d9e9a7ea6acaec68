"""A controller's xDS server beside the test, the real Envoy that asks it, and clients that never stop asking."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from extproc import contract, spec
from extproc.controller.xds.server import XdsServer
from extproc.demo.processes import free_port
from extproc.domain import Spec
from extproc.render import EnvoySettings, RouterTls
from extproc.render.bootstrap import XdsSettings, bootstrap_secrets, bootstrap_yaml
from extproc.transport import PRIVATE, Security, parse_address
from tests.support.envoy_stand import Document, running_envoy

PATIENCE = 90.0


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What the condition says as soon as it says anything; fails when time is over."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.02)
    return found


@dataclass
class Load:
    """Requests without a pause."""

    counts: Counter[str] = field(default_factory=Counter)
    """By the model that answered."""
    failed: list[str] = field(default_factory=list)


@dataclass
class Told:
    """Server and Envoy."""

    directory: Path
    port: int
    admin: httpx.Client
    address: str
    node: str
    _loop: asyncio.AbstractEventLoop
    server: XdsServer
    spec: Spec
    security: Security

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Something of the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def serve(self, document: Document, off: bool = False, ready: dict[str, tuple[tuple[str, int], ...]] | None = None) -> Spec:
        """Another Spec."""
        self.spec = spec.load(orjson.dumps(document).decode())

        async def work() -> None:
            self.server.serve(self.spec, off, ready or {})

        self.run(work())
        return self.spec

    def told(self) -> Document:
        """What the server knows of this Envoy."""

        async def work() -> Document:
            return self.server.fleet.nodes[self.node].document(time.time()) if self.node in self.server.fleet.nodes else {}

        found: Document = self.run(work())
        return found

    def has_all(self) -> Document:
        """Wait until Envoy has accepted all of the present Spec."""
        found: Document = until(lambda: (told := self.told()) and told["spec_digest"] == self.spec.digest and told)
        return found

    def restart(self) -> None:
        """Another server on the same address, which knows nothing of what was before."""
        self.run(self.server.stop())
        self.server = XdsServer(parse_address(self.address), self.spec, self.security)
        self.run(self.server.start())

    def ask(self, path: str) -> str:
        """The name of the model that answers there, or the status."""
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}{path}", json={"model": "old"}, headers={"x-user-id": "u"}, trust_env=False, timeout=PATIENCE
        )
        return str(answer.json()["model"]) if answer.status_code == 200 else str(answer.status_code)

    def stat(self, name: str) -> int:
        """The sum of all counters and gauges whose names end like this."""
        lines = self.admin.get("/stats", params={"filter": name}).text.splitlines()
        return sum(int(line.rsplit(": ", 1)[1]) for line in lines if line.rsplit(": ", 1)[0].endswith(name))

    @contextmanager
    def load(self, *paths: str) -> Iterator[Load]:
        """Four clients that ask these paths in turn, until the block ends."""
        load, stop = Load(), threading.Event()

        def client(number: int) -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=PATIENCE) as http:
                while not stop.is_set():
                    for path in paths:
                        try:
                            answer = http.post(path, json={"model": "old"}, headers={"x-user-id": f"user-{number}"})
                        except httpx.TransportError as error:
                            load.failed.append(f"{path}: {error!r}")
                            continue
                        if answer.status_code == 200:
                            load.counts[answer.json()["model"]] += 1
                        else:
                            load.failed.append(f"{path}: {answer.status_code} {answer.text}")

        threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)


@contextmanager
def telling(directory: Path, document: Document, delta: bool, security: Security = PRIVATE, tls: RouterTls | None = None) -> Iterator[Told]:
    """All up, and the Spec in force."""
    port, admin_port = free_port(), free_port()
    document["listener"] |= {"address": "127.0.0.1", "port": port, "admin_port": admin_port}
    loaded = spec.load(orjson.dumps(document).decode())
    address = f"127.0.0.1:{free_port()}" if tls is not None else f"unix:{directory}/x.sock"
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)

        async def made() -> XdsServer:
            server = XdsServer(parse_address(address), loaded, security)
            await server.start()
            return server

        server = asyncio.run_coroutine_threadsafe(made(), loop).result(PATIENCE)
        settings = EnvoySettings(contract.endpoints(f"unix:{directory}/r.sock", 1), f"unix:{directory}/c.sock")
        config = directory / "bootstrap.yaml"
        way = XdsSettings(address, "edge-1", delta, tls, str(directory) if tls is not None else "")
        config.write_text(bootstrap_yaml(loaded, settings, way, "a test"))
        for name, text in bootstrap_secrets(way, "a test").items():
            (directory / name).write_text(text)
        admin = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{admin_port}", trust_env=False))
        told = Told(directory, port, admin, address, "edge-1", loop, server, loaded, security)
        stack.callback(lambda: told.run(told.server.stop()))
        stack.enter_context(running_envoy(config, admin_port))
        told.has_all()
        yield told
