"""What a copy costs the request that is copied, and which part of it: one request after another, each with the next part or without any.

    python -m loadtest.copy_cost [--rounds 3000]

One Envoy with a listener for each part of what the rendered filter does, from nothing to all of it, before one constant upstream. In each
round every listener is asked once, in random order, a few milliseconds apart; so whatever else the machine does meets all alike, and
differences of a few microseconds show that P99 under load cannot show (`loadtest.copied`). The peer takes all that Envoy sends it, at
once, and says nothing: what is measured is Envoy's own work.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from extproc import contract
from extproc.demo.envoy import Envoy
from extproc.demo.processes import DemoError, Processes, free_port
from extproc.render.clusters import gathered, http_options, placed
from extproc.render.sampling import copying
from extproc.render.yamltext import Block, dump, typed
from loadtest import open_loop
from loadtest.open_loop import ANSWER, Order
from loadtest.student import interval

ROUNDS: Final = 3000
GAP: Final = 0.003
"""Seconds between two requests: caches are as cold as at a few hundred requests a second."""
TENTHS: Final = 10
"""The interval is over the differences of medians in so many parts of the run, one after the other."""
START: Final = 30.0
ROOT: Final = Path(__file__).parents[1]
NAMESPACE: Final = contract.assignment_namespace(contract.MODEL_LAYER)
ASSIGNMENT: Final = {
    contract.FIELD_ROLLOUT: "gpt-5-mini",
    contract.FIELD_GENERATION: 1,
    contract.FIELD_PHASE: "50%",
    contract.FIELD_COHORT: "new-zealand",
    contract.FIELD_ARM: "control",
    contract.FIELD_REASON: "ring",
    contract.FIELD_DURABLE: True,
    contract.FIELD_ROUTER: "host-1/0",
    contract.FIELD_UNIT: "bb73a6440fff1196",
}
CONSOLE: Final = Console(highlight=False)
PREFACE: Final = bytes.fromhex("00000c04000000000000047fffffff0003001000000000040800000000007fff0000000000040100000000")
"""HTTP/2 from a server that lets its peer send whatever it wants (RFC 9113): SETTINGS with the largest window of a stream and a million
streams, WINDOW_UPDATE of the connection to as much, and an acknowledgement of the peer's SETTINGS."""


def parts() -> dict[str, Block | None]:
    """Filters, each with more of what the rendered one does; None: no filter."""
    whole = copying([NAMESPACE])
    modes = whole["processing_mode"]
    untold = {key: value for key, value in whole.items() if key != "metadata_options"}
    asking = {**modes, "response_header_mode": "SKIP", "request_body_mode": "NONE", "response_body_mode": "NONE"}
    return {
        "nothing": None,
        "the filter, which sends nothing": {**untold, "processing_mode": {**asking, "request_header_mode": "SKIP"}},
        "a stream of its own with the request's headers": {**untold, "processing_mode": asking},
        "bodies and the answer's headers": untold,
        "the assignment in each message (as rendered)": whole,
    }


def configuration(ports: Sequence[int], admin: int, upstream: int, peer: Path) -> Block:
    """A listener for each part."""
    options = http_options({"explicit_http_config": {"http2_protocol_options": {}}})
    limits = {"max_connections": 16, "max_pending_requests": 10_000, "max_requests": 100_000}
    sampler = gathered(contract.SAMPLER_CLUSTER, [placed(f"unix:{peer}")])
    return {
        "admin": {"address": placed(f"127.0.0.1:{admin}")},
        "static_resources": {
            "listeners": [_listener(port, part) for port, part in zip(ports, parts().values(), strict=True)],
            "clusters": [
                gathered("upstream", [placed(f"127.0.0.1:{upstream}")]),
                {**sampler, **options, "circuit_breakers": {"thresholds": [limits]}},
            ],
        },
    }


def _listener(port: int, part: Block | None) -> Block:
    told = typed("filters.http.set_metadata.v3.Config", metadata=[{"metadata_namespace": NAMESPACE, "value": ASSIGNMENT}])
    filters: list[Block] = [{"name": "assignment", "typed_config": told}]
    filters += [{"name": "copies", "typed_config": part}] if part is not None else []
    filters.append({"name": "router", "typed_config": typed("filters.http.router.v3.Router")})
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=f"at-{port}",
        route_config={"virtual_hosts": [host]},
        http_filters=filters,
    )
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": f"at-{port}", "address": placed(f"127.0.0.1:{port}"), "filter_chains": [chain]}


async def measure(rounds: int) -> list[list[float]]:
    """Latencies (us) of each part, in the order of asking."""
    async with Processes() as processes:
        upstream = await processes.start("upstream", [sys.executable, open_loop.__file__, "upstream"], speaks=True)
        peer = processes.directory / "peer.sock"
        taker = await processes.start(
            "peer", [sys.executable, "-m", "loadtest.copy_cost", "--peer", peer], {"PYTHONPATH": str(ROOT)}, speaks=True
        )
        port = int((await upstream.line(START))["port"])
        await taker.line(START)
        ports, admin = [free_port() for _ in parts()], free_port()
        file = processes.directory / "envoy.yaml"
        file.write_text(dump(configuration(ports, admin, port, peer), "Made by loadtest.copy_cost."))
        envoy = await Envoy.start(processes, file, admin, concurrency=1)
        found = await asyncio.to_thread(_ask, ports, rounds)
        begun = await envoy.stats(r"ext_proc\.sample\.streams_started")
        seen = [sum(value for key, value in begun.items() if f"at-{port}." in key) for port in ports]
        if seen != [0, 0, rounds, rounds, rounds]:
            raise DemoError(envoy.child.problem("loadtest.not-copied", f"of {rounds} requests each it has begun to copy {seen}"))
        return found


def _ask(ports: Sequence[int], rounds: int) -> list[list[float]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rounds"), TimeRemainingColumn())
    order = Order("", ports[0], "/v1/chat/completions", "gpt-5", 0, 0, 0, 1, 0, 0)
    message = open_loop.request(order, 0, 7)
    found: list[list[float]] = [[] for _ in ports]
    turns = list(range(len(ports)))
    with ExitStack() as open_, Progress(*columns, auto_refresh=False, console=CONSOLE) as progress:
        sockets = [open_.enter_context(socket.create_connection(("127.0.0.1", port), START)) for port in ports]
        for one in sockets:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = progress.add_task("one request after another", total=rounds)
        for number in range(rounds):
            random.shuffle(turns)
            for turn in turns:
                found[turn].append(_once(sockets[turn], message))
                time.sleep(GAP)
            progress.update(task, completed=number + 1, refresh=number % 20 == 19)
    return found


def _once(connection: socket.socket, message: bytes) -> float:
    begun = time.perf_counter_ns()
    connection.sendall(message)
    heard = b""
    while not heard.endswith(ANSWER):
        heard += (piece := connection.recv(1 << 16))
        if not piece:
            raise ConnectionError("Envoy has closed the connection")
    return (time.perf_counter_ns() - begun) / 1e3


def report(found: Sequence[Sequence[float]]) -> list[str]:
    """A table: medians, and what each part adds to having no copy at all."""
    size = len(found[0]) // TENTHS
    slices = [[statistics.median(each[at * size : (at + 1) * size]) for at in range(TENTHS)] for each in found]
    lines = ["| of the copy there is | p50 | more than without | 95 % interval |", "| --- | ---: | ---: | --- |"]
    for name, each, medians in zip(parts(), found, slices, strict=True):
        mean, low, high = interval([with_ - without for with_, without in zip(medians, slices[0], strict=True)])
        more = f"{mean:+.0f} us | {low:+.0f} to {high:+.0f} us" if medians is not slices[0] else "|"
        lines.append(f"| {name} | {statistics.median(each):.0f} us | {more} |")
    return lines


class _Peer(asyncio.Protocol):
    """Takes everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(PREFACE)


async def _serve(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(_Peer, path)
    print("{}", flush=True)
    await server.serve_forever()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="What a copy costs the request that is copied.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.peer is not None:
        asyncio.run(_serve(given.peer))
        return 0
    if given.rounds < 2 * TENTHS:
        parser.error(f"--rounds: at least {2 * TENTHS}")
    print("\n".join(report(asyncio.run(measure(given.rounds)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
