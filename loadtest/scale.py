"""How far it goes: what 1, 10, 100 and 1,000 Envoys ask of routers, leader and etcd, from unit costs that are measured here.

    python -m loadtest.scale [--requests 50]

Measured: CPU of a decision, CPU of an outcome at the leader (the real controller, over gRPC), bytes of a real access-log entry, what a
real etcd of one node takes of writes, and how it does with so many routers that tell of themselves once a second, each as a router does
(simulated: one process is all of them). The rest is arithmetic. A section of `make proof` (scale).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import orjson
from rich.console import Console

from extproc.demo.processes import DemoError
from extproc.pb.etcd_pb2 import EtcdTxnRequest
from extproc.store.etcd.address import parse_address
from extproc.store.etcd.client import Client
from extproc.store.etcd.requests import TXN, put
from loadtest import bench, collecting
from loadtest.student import quantile
from tests.support.etcd import Etcd, etcd

REQUESTS: Final = 50.0
"""Per second through one Envoy: 50 answers of 3 s are 150 streams at once, a large LLM edge."""
WORKERS: Final = 2
"""Of one router beside each Envoy: one that is replaced leaves no gap."""
CONTROLLERS: Final = 2
ENVOYS: Final = (1, 10, 100, 1_000)
TICK_WRITES: Final = 2.0
"""Transactions of a leader each second: Evidence, and the heartbeat."""
WRITERS: Final = 32
"""Transactions under way at once, where etcd's most is measured."""
SECONDS: Final = 5.0
ROUTERS: Final = (10, 100, 1_000)
CORES: Final = 16.0
"""Of which a router may take no more than a half: the rest is Envoy's."""
CONSOLE: Final = Console(highlight=False)
Section = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Told:
    """etcd while so many routers tell of themselves once a second."""

    routers: int
    writes: float
    """That it acknowledged, a second."""
    p50: float
    """Seconds."""
    p99: float
    cores: float
    """CPU seconds of etcd, a second."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Unit costs of this machine."""

    decision: float
    """Seconds of CPU."""
    outcome: float
    """Seconds of CPU of the leader."""
    entry: int
    """Bytes of one access-log entry."""
    presence: int
    """Bytes of what a router says of itself."""
    most_writes: float
    """Transactions a second that one etcd node takes."""
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Fleet:
    """What so many Envoys ask of everybody."""

    envoys: int
    decisions: float
    """A second, of all routers."""
    router_cores: float
    """Of one router."""
    watchers: int
    writes: float
    """Of etcd, a second."""
    log: float
    """Bytes a second to the leader."""
    leader_cores: float
    etcd_share: float
    """Of the writes that it takes at most."""


def fleet(envoys: int, requests: float, costs: Costs) -> Fleet:
    """Arithmetic: each Envoy has a router of WORKERS workers beside it, which tells of itself once a second."""
    outcomes = envoys * requests
    writes = envoys + CONTROLLERS + TICK_WRITES
    return Fleet(
        envoys=envoys,
        decisions=outcomes,
        router_cores=requests * costs.decision,
        watchers=envoys * (WORKERS + 1) + 2 * CONTROLLERS,
        writes=writes,
        log=outcomes * costs.entry,
        leader_cores=outcomes * costs.outcome,
        etcd_share=writes / costs.most_writes,
    )


def limits(requests: float, costs: Costs) -> list[tuple[float, str]]:
    """(Envoys, what is at its end by then), the first one first."""
    found = [
        (1 / (requests * costs.outcome), "the leader hears no more than one core takes"),
        (costs.most_writes - CONTROLLERS - TICK_WRITES, "etcd takes no more writes: routers tell of themselves once a second"),
        (CORES / 2 / (requests * costs.decision) if requests * costs.decision > CORES / 2 else float("inf"), "a router's cores"),
    ]
    return sorted(one for one in found if one[0] < float("inf"))


# ----------------------------------------------------------------------------------------------------------------------- measured
def measure() -> Costs:
    """Of this machine; about a minute and a half."""
    decision = bench.decision()
    run = asyncio.run(collecting.run("25%", 40.0))
    entry = len(bytes.fromhex(Path(__file__).with_name("recorded_entry.hex").read_text()))
    document = _presence(0)
    with tempfile.TemporaryDirectory() as directory, etcd(Path(directory)) as server:
        url, pid = server.url("scale", Path(directory)), _pid(server)
        most = asyncio.run(_most_writes(url, document))
        told = tuple(asyncio.run(_told(url, pid, count, document)) for count in ROUTERS)
    return Costs(decision, run.cores / run.rate, entry, len(document), most, told)


def _pid(server: Etcd) -> int:
    process = server.nodes[0].process
    assert process is not None
    return process.pid


def _presence(number: int) -> bytes:
    """As a router of two workers says it."""
    worker = {"worker": 0, "decisions": {"gpt-5-mini": 123_456}, "life": "0123456789abcdef", "generation": 12, "age": 0.01}
    worker |= {"heartbeat_age": 0.5, "at": 1.8e9, "withdrawn": [], "errors": 0, "shed": 0, "time_buckets": [1000] * 12}
    said = {
        "router": f"edge-{number} unix:/run/extproc/router.sock",
        "version": "0.1.0",
        "since": 1.8e9,
        "at": 1.8e9,
        "bounds": [1e-6] * 12,
    }
    return orjson.dumps({**said, "bounds": [1e-6] * 12, "workers": [worker] * WORKERS, "restarts": {"died": 0, "hung": 0}})


async def _most_writes(url: str, document: bytes) -> float:
    client = Client(parse_address(url))
    done, end = 0, time.monotonic() + SECONDS

    async def write(number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            await client.call(TXN, EtcdTxnRequest(success=[put(b"/scale/%d" % number, document)]), end + SECONDS)
            done += 1

    await asyncio.gather(*map(write, range(WRITERS)))
    await client.close()
    return done / SECONDS


async def _told(url: str, pid: int, routers: int, document: bytes) -> Told:
    client, taken = Client(parse_address(url)), list[float]()
    begin, cpu = time.monotonic(), _cpu(pid)

    async def tell(number: int) -> None:
        for second in range(int(SECONDS)):
            await asyncio.sleep(max(0.0, begin + second + number / routers - time.monotonic()))
            sent = time.monotonic()
            with suppress(grpc.RpcError, TimeoutError):
                await client.call(TXN, EtcdTxnRequest(success=[put(b"/scale/%d" % number, document)]), sent + SECONDS)
                taken.append(time.monotonic() - sent)

    await asyncio.gather(*map(tell, range(routers)))
    passed = time.monotonic() - begin
    await client.close()
    taken.sort()
    return Told(routers, len(taken) / passed, statistics.median(taken), quantile(taken, 0.99), (_cpu(pid) - cpu) / passed)


def _cpu(pid: int) -> float:
    """Seconds of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------------------------------------------- report
def report(costs: Costs, requests: float) -> Section:
    """The tables, and where it ends."""
    unit = [
        ("a decision, CPU of a worker", f"{costs.decision * 1e6:.1f} us"),
        ("an outcome, CPU of the leader (gates on errors, latency, cost)", f"{costs.outcome * 1e6:.1f} us"),
        ("an access-log entry", f"{costs.entry:,} bytes"),
        ("what a router says of itself", f"{costs.presence:,} bytes"),
        (f"transactions that one etcd node takes, {WRITERS} at once", f"{costs.most_writes:,.0f} a second"),
    ]
    lines = ["| measured here | |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in unit), ""]
    lines += ["| routers that tell of themselves | writes/s | p50 | p99 | cores of etcd |", "| ---: | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {one.routers:,} | {one.writes:,.0f} | {one.p50 * 1e3:.1f} ms | {one.p99 * 1e3:.1f} ms | {one.cores:.2f} |" for one in costs.told
    ]
    lines += ["", f"At {requests:g} requests/s through each Envoy, with a router of {WORKERS} workers beside it:", ""]
    lines += [
        "| Envoys | decisions/s | cores of a router | watchers | etcd writes/s | of etcd's most | access log | cores of the leader |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in (fleet(envoys, requests, costs) for envoys in ENVOYS):
        log = f"{one.log / 1e6:,.1f} MB/s"
        numbers = f"{one.decisions:,.0f} | {one.router_cores:.3f} | {one.watchers:,} | {one.writes:,.0f} | {one.etcd_share:.1%}"
        lines.append(f"| {one.envoys:,} | {numbers} | {log} | {one.leader_cores:.2f} |")
    lines += ["", "Where it ends, the first first:", ""]
    lines += [f"* {envoys:,.0f} Envoys: {what}." for envoys, what in limits(requests, costs)]
    problems = [f"etcd took {one.writes:,.0f} of {one.routers:,} writes a second" for one in costs.told if one.writes < 0.9 * one.routers]
    return lines, problems


def section(requests: float = REQUESTS) -> Section:
    """Measured and told."""
    return report(measure(), requests)


def main() -> int:
    """Entry point: exit code 1 where etcd does not take what it is told."""
    parser = argparse.ArgumentParser(description="How far it goes.")
    parser.add_argument("--requests", type=float, default=REQUESTS, help="per second through each Envoy")
    given = parser.parse_args()
    try:
        lines, problems = section(given.requests)
    except DemoError as error:
        CONSOLE.print(f"[red]{error}[/red]")
        return 1
    print("\n".join([*lines, *problems]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
