"""Three etcd nodes, two controllers, four routers, two Envoys with their models: each on its own machine of a `Network`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from extproc import contract
from extproc.demo import stand
from extproc.demo.envoy import envoy_command
from extproc.demo.processes import Child, DemoError, Processes
from extproc.domain import State
from extproc.errors import ExtprocError, Problem
from extproc.render.envoy import envoy_yaml
from extproc.render.settings import EnvoySettings
from extproc.spec import read as read_spec
from extproc.store import Leadership, SharedStore, open_shared
from loadtest.fleet.network import Network

NODES: Final = ("etcd1", "etcd2", "etcd3")
CONTROLLERS: Final = ("c1", "c2")
EDGES: Final = {"edge1": ("r1", "r2"), "edge2": ("r3", "r4")}
ROLLOUT: Final = "gpt-5-mini"
PATIENCE: Final = 90.0
CLIENT_PORT, PEER_PORT, COLLECTOR_PORT, API_PORT, LISTENER_PORT, ADMIN_PORT, METRICS_PORT = 2379, 2380, 9001, 9002, 8080, 9901, 9003
MODEL_PORTS: Final = {"gpt-5": 9101, "gpt-5-mini": 9102}
LEASE: Final = 5


class Fleet:
    """All of it, started one after the other; every part can be killed, frozen, cut off and started again by its machine's name."""

    def __init__(self, processes: Processes, network: Network) -> None:
        self.network, self._processes = network, processes
        self.directory = processes.directory
        self.parts: dict[str, Child] = {}
        for name in (*NODES, *CONTROLLERS, *EDGES, *(router for routers in EDGES.values() for router in routers)):
            network.machine(name)
            (self.directory / name).mkdir()
        document = stand.template()
        document["listener"] |= {"address": "0.0.0.0", "port": LISTENER_PORT, "admin_port": ADMIN_PORT}
        for model, port in MODEL_PORTS.items():
            document["models"][model]["endpoint"] = {"host": "127.0.0.1", "port": port}
        (rollout,) = document["rollouts"].values()
        first = {**rollout["phases"][0], "share": "50%", "min_dwell": "1h", "max_dwell": "2h"}
        rollout["phases"] = [first, rollout["phases"][-1]]
        self.spec = stand.write_spec(document, self.directory)
        self._store: SharedStore | None = None
        self._leadership: Leadership | None = None

    def url(self, name: str) -> str:
        """The store as a machine knows it."""
        nodes = ",".join(f"{self.network.address(node)}:{CLIENT_PORT}" for node in NODES)
        return f"etcd://{nodes}/fleet?local={self.directory}/{name}"

    async def start(self) -> None:
        """Everything; returns when requests are answered through both Envoys."""
        for node in NODES:
            await self.start_node(node, "new")
        for name in CONTROLLERS:
            await self.start_controller(name)
        await self.until(lambda: self.state() is not None, "a controller that leads")
        for edge, routers in EDGES.items():
            for model, port in MODEL_PORTS.items():
                command = [sys.executable, "-m", "extproc.demo.model", "--with-parent", "--name", model, "--port", str(port)]
                await self._run(edge, command, f"{edge} {model}")
            for router in routers:
                await self.start_router(router)
            await self.start_envoy(edge)

    async def start_node(self, name: str, state: str) -> None:
        """One etcd node; `state`: new, or existing where it comes back."""
        here = self.network.address(name)
        peers = ",".join(f"{node}=http://{self.network.address(node)}:{PEER_PORT}" for node in NODES)
        command = ["etcd", "--name", name, "--data-dir", f"{self.directory}/{name}/data"]
        command += ["--listen-client-urls", f"http://{here}:{CLIENT_PORT}", "--advertise-client-urls", f"http://{here}:{CLIENT_PORT}"]
        command += ["--listen-peer-urls", f"http://{here}:{PEER_PORT}", "--initial-advertise-peer-urls", f"http://{here}:{PEER_PORT}"]
        command += ["--initial-cluster", peers, "--initial-cluster-state", state, "--log-level", "error"]
        await self._run(name, command)

    async def start_controller(self, name: str) -> None:
        """One controller."""
        flags = ["--spec", str(self.spec), "--store", self.url(name), "--name", name, "--lease", str(LEASE), "--plaintext"]
        flags += ["--collector", f"{self.network.address(name)}:{COLLECTOR_PORT}", "--api-port", str(API_PORT)]
        await self._run(name, [*stand.EXTPROC, "controller", *flags])

    async def start_router(self, name: str) -> None:
        """One router of one worker."""
        flags = ["--spec", str(self.spec), "--store", self.url(name), "--listen", f"unix:{self.socket(name)}", "--workers", "1"]
        await self._run(name, [*stand.EXTPROC, "router", *flags, "--metrics-port", str(METRICS_PORT)])
        await self.until(lambda: all(Path(one.removeprefix("unix:")).exists() for one in self._endpoints(name)), f"{name} to serve")

    async def start_envoy(self, name: str) -> None:
        """One Envoy, in front of its routers."""
        routers = tuple(one for router in EDGES[name] for one in self._endpoints(router))
        collectors = ",".join(f"{self.network.address(one)}:{COLLECTOR_PORT}" for one in CONTROLLERS)
        config = self.directory / name / "envoy.yaml"
        config.write_text(envoy_yaml(read_spec(str(self.spec)), EnvoySettings(routers, collectors), "the fleet"))
        await self._run(name, envoy_command(config))
        await self.until(lambda: self._serves(name), f"{name} to serve")

    def socket(self, router: str) -> Path:
        """Where a router listens."""
        return self.directory / router / "router.sock"

    def address(self, edge: str) -> str:
        """Where clients reach an Envoy."""
        return f"http://{self.network.address(edge)}:{LISTENER_PORT}"

    # ------------------------------------------------------------------------------------------------------------------ what happens
    def kill(self, name: str) -> None:
        """SIGKILL, for the part and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.parts[name].process.pid, signal.SIGKILL)

    async def killed(self, name: str) -> None:
        """The same, and it is not missed."""
        self.kill(name)
        await self._processes.stop(self.parts.pop(name))

    async def stop(self, name: str) -> None:
        """In order."""
        await self._processes.stop(self.parts.pop(name))

    def freeze(self, name: str) -> None:
        """SIGSTOP, for the part and all its children."""
        os.killpg(self.parts[name].process.pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        os.killpg(self.parts[name].process.pid, signal.SIGCONT)

    async def command(self, name: str, *arguments: str) -> str:
        """`extproc ARGUMENTS` on a controller's machine, against its API; raises DemoError where it fails."""
        environment = {**os.environ, contract.STORE_ENVIRONMENT: self.url(name), contract.API_ENVIRONMENT: f"http://127.0.0.1:{API_PORT}"}
        command = self.network.on(name, [*stand.EXTPROC, *arguments])
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        said, wrong = await asyncio.wait_for(process.communicate(), PATIENCE)
        if process.returncode:
            raise DemoError(Problem("fleet.command", " ".join(arguments), wrong.decode().strip(), f"on {name}"))
        return said.decode()

    async def act(self, *arguments: str) -> None:
        """A person's act, at the controller that leads."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                await self.command(self.leader() or CONTROLLERS[0], *arguments, "--why", "the fleet's test")
            except DemoError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    # ----------------------------------------------------------------------------------------------------------------- what is there
    @property
    def store(self) -> SharedStore:
        """The store as somebody who only looks sees it; opened when it is first needed."""
        if self._store is None:
            self._store = open_shared(self.url("c1"))
        return self._store

    def state(self) -> State | None:
        """The present State; None where there is none, or where it cannot be read."""
        with suppress(ExtprocError):
            return self.store.read_state()
        return None

    def leader(self) -> str | None:
        """The controller that leads."""
        with suppress(ExtprocError):
            if self._leadership is None:
                self._leadership = self.store.leadership("nobody")
            return self._leadership.leader()
        return None

    async def until(self, what: object, described: str, patience: float = PATIENCE) -> float:
        """Wait for `what()`; the seconds that it took. Raises DemoError where a part ends meanwhile, or it takes too long."""
        assert callable(what)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while not what():
            self._processes.check()
            if loop.time() - begin > patience:
                message = f"did not come to pass in {patience:g} s"
                raise DemoError(Problem("fleet.late", described, message, f"look at the logs in {self.directory}"))
            await asyncio.sleep(0.02)
        return loop.time() - begin

    def close(self) -> None:
        """Look no more."""
        if self._store is not None:
            self._store.close()

    def _endpoints(self, router: str) -> tuple[str, ...]:
        return contract.endpoints(f"unix:{self.socket(router)}", 1)

    def _serves(self, edge: str) -> bool:
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "?"}]}
        with suppress(httpx.TransportError):
            answer = httpx.post(f"{self.address(edge)}/v1/chat/completions", json=body, trust_env=False, timeout=30.0)
            return answer.status_code == 200
        return False

    async def _run(self, machine: str, command: Sequence[str | Path], name: str = "") -> None:
        child = await self._processes.start(name or machine, self.network.on(machine, command))
        self.parts[name or machine] = child
