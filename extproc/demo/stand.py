"""A whole extproc on this machine, made of its real parts: models, router or `extproc serve`, Envoy. Used by demo and load test.

The parts are started by the commands that people use (`extproc render envoy`, `extproc serve`, `extproc router`); only the models are
simulated. Everything listens on loopback, on ports chosen free, or on Unix sockets in the private directory.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from extproc import contract
from extproc.demo.envoy import Envoy
from extproc.demo.processes import Child, DemoError, Processes, free_port
from extproc.errors import Problem
from extproc.transport import TransportName

EXTPROC: Final = (sys.executable, "-m", "extproc")
JUDGE: Final = "judge"
"""What the simulated judge is called."""
START_TIMEOUT: Final = 90.0
"""Seconds; long, because the machine may do other things too. So are the others here."""
RENDER_TIMEOUT: Final = 90.0
CONTROL_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports and sockets of one stand."""

    listener: int
    admin: int
    api: int
    metrics: int
    router: str
    collector: str
    sampler: str
    feedback: str

    @classmethod
    def free(cls, directory: Path) -> Ports:
        """Ports nobody uses, sockets in the directory."""
        listener, admin, api, metrics, feedback = (free_port() for _ in range(5))
        sockets = (f"unix:{directory}/{name}.sock" for name in ("router", "collector", "sampler"))
        router, collector, sampler = sockets
        return cls(listener, admin, api, metrics, router, collector, sampler, f"127.0.0.1:{feedback}")


class ModelHandle:
    """A simulated model that runs: its address, its ledger, its knobs."""

    def __init__(self, name: str, child: Child, address: str, control: str) -> None:
        self.name = name
        self.child = child
        self.address = address
        self.control = control
        """Address of its controls."""

    @property
    def port(self) -> int:
        """Its loopback port."""
        return int(self.address.rpartition(":")[2])

    @classmethod
    async def start(cls, processes: Processes, name: str, seed: int, knobs: Mapping[str, float | str], port: int = 0) -> ModelHandle:
        """Start one and wait for its address (0: any free port). It counts requests in which a header of ours reached it."""
        command = [sys.executable, "-m", "extproc.demo.model", "--with-parent", "--name", name, "--seed", str(seed)]
        command += ["--foreign-prefix", contract.HEADER_PREFIX, "--port", str(port)]
        return await cls._started(processes, name, command, knobs)

    @classmethod
    async def judge(cls, processes: Processes, seed: int) -> ModelHandle:
        """Start a simulated judge."""
        command = [sys.executable, "-m", "extproc.demo.judge_model", "--with-parent", "--seed", str(seed)]
        return await cls._started(processes, JUDGE, command, {})

    @classmethod
    async def _started(cls, processes: Processes, name: str, command: list[str], knobs: Mapping[str, float | str]) -> ModelHandle:
        child = await processes.start(f"model {name}", command, speaks=True)
        said = await child.line(START_TIMEOUT)
        handle = cls(name, child, said["address"], said["control"])
        await handle.turn(knobs)
        return handle

    async def turn(self, knobs: Mapping[str, float | str]) -> float:
        """Turn knobs; returns the instant (Unix seconds) from which they hold."""
        async with httpx.AsyncClient(trust_env=False, timeout=CONTROL_TIMEOUT) as client:
            answer = await client.post(f"http://{self.control}/knobs", json=dict(knobs))
        if answer.status_code != 200:
            raise DemoError(Problem("demo.knobs", self.name, answer.json()["error"]["message"], "see extproc.demo.model.Knobs"))
        return float(answer.json()["at"])

    async def ledger(self) -> dict[str, Any]:
        """What it served: fields of demo.ledger.Ledger."""
        async with httpx.AsyncClient(trust_env=False, timeout=CONTROL_TIMEOUT) as client:
            answer: dict[str, Any] = (await client.get(f"http://{self.control}/ledger")).json()
            return answer


# ----------------------------------------------------------------------------------------------------------------------- Spec
def template(name: str = "release.yaml") -> dict[str, Any]:
    """A Spec of the demo's own, as its YAML says it."""
    text = resources.files("extproc.demo").joinpath(name).read_text()
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def fill(document: dict[str, Any], ports: Ports, endpoints: Mapping[str, int]) -> None:
    """Put loopback ports into the Spec: the listener's, Envoy's admin port, each model's (by its name in the Spec), and the
    judge's."""
    document["listener"] |= {"address": "127.0.0.1", "port": ports.listener, "admin_port": ports.admin}
    for name, port in endpoints.items():
        if name == JUDGE:
            document["judge"]["judges"][0]["url"] = f"http://127.0.0.1:{port}/v1"
        else:
            document["models"][name]["endpoint"] = {"host": "127.0.0.1", "port": port}


def write_spec(document: dict[str, Any], directory: Path) -> Path:
    """Write the Spec where the commands find it."""
    path = directory / "release.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


# ------------------------------------------------------------------------------------------------------------------- processes
async def start_envoy(processes: Processes, spec: Path, ports: Ports, workers: int, *, xds: str = "") -> Envoy:
    """Render the Spec's Envoy configuration with the command, and start the real Envoy with it. `xds`: where it is told everything."""
    return await Envoy.start(processes, await render_envoy(processes, spec, ports, workers, xds=xds), ports.admin)


async def render_envoy(processes: Processes, spec: Path, ports: Ports, workers: int, *, xds: str = "") -> Path:
    """The file that Envoy starts with, written by the command."""
    config = processes.directory / "envoy.yaml"
    what = ["bootstrap", str(spec), "--xds", xds, "--node", "edge-1"] if xds else ["envoy", str(spec)]
    addresses = ["--router", ports.router, "--workers", str(workers), "--collector", ports.collector]
    addresses += ["--sampler", ports.sampler, "--feedback", ports.feedback]
    process = await asyncio.create_subprocess_exec(
        *EXTPROC, "render", *what, *addresses, "-o", str(config), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), RENDER_TIMEOUT)
    if process.returncode:
        raise DemoError(Problem("demo.render", "extproc render", said.decode(errors="replace").strip(), "this is a defect: report it"))
    return config


async def start_serve(
    processes: Processes, spec: Path, ports: Ports, workers: int, transport: TransportName = TransportName.NATIVE, *, xds: str = ""
) -> Child:
    """`extproc serve`: router, controller and the embedded store; returns when router and API answer. `xds`: where Envoys are told."""
    flags = ["--store", f"sqlite:{processes.directory}/extproc.db", "--collector", ports.collector, "--api-port", str(ports.api)]
    flags += ["--sampler", ports.sampler, "--feedback-listen", ports.feedback, "--transport", transport]
    flags += ["--xds", xds] if xds else []
    child = await processes.start("extproc serve", [*EXTPROC, "serve", *_router_flags(spec, ports, workers), *flags])
    await _well(processes, child, ports.metrics, f"{workers} of {workers} ")
    await _well(processes, child, ports.api)
    return child


async def start_controller(processes: Processes, spec: Path, ports: Ports) -> Child:
    """`extproc controller` alone, with the embedded store; returns when its API answers."""
    flags = ["--spec", str(spec), "--store", f"sqlite:{processes.directory}/extproc.db"]
    flags += ["--collector", ports.collector, "--sampler", ports.sampler, "--api-port", str(ports.api), "--feedback-listen", ports.feedback]
    child = await processes.start("extproc controller", [*EXTPROC, "controller", *flags])
    await _well(processes, child, ports.api)
    return child


async def start_router(
    processes: Processes, spec: Path, ports: Ports, workers: int, phase: str, transport: TransportName = TransportName.NATIVE
) -> Child:
    """`extproc router` without a store: the Spec at one phase; returns when every worker serves."""
    child = await processes.start(
        "extproc router", [*EXTPROC, "router", *_router_flags(spec, ports, workers), "--phase", phase, "--transport", transport]
    )
    await _well(processes, child, ports.metrics, f"{workers} of {workers} ")
    return child


def _router_flags(spec: Path, ports: Ports, workers: int) -> list[str]:
    return ["--spec", str(spec), "--listen", ports.router, "--workers", str(workers), "--metrics-port", str(ports.metrics)]


async def _well(processes: Processes, child: Child, port: int, says: str = "") -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_TIMEOUT
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        while loop.time() < deadline:
            processes.check()
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/healthz")
                if answer.status_code == 200 and answer.text.startswith(says):
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise DemoError(child.problem("demo.not-ready", f"was not ready after {START_TIMEOUT:g} s"))
