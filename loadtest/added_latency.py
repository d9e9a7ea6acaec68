"""What the ext_proc filter adds to a request through the real Envoy: p50, p99 and p99.9, each with a 95 % interval.

    python -m loadtest.added_latency --transport native

One Envoy with the configuration that `extproc render envoy` makes of the demo's Spec, and beside its listener a second one that is the
same but for the ext_proc filter. Requests come open-loop at a fixed rate (loadtest/open_loop.py) and go to the one listener or to the
other, in turn; both blocks of a pair fire at the same instants for the same users, and every other pair begins with the filter (ABBA).
The difference of a quantile is taken within each pair; the interval is Student's t over the pairs. Envoy's counters say for each block
whether every request had a stream to the router, or none. Exit code 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from extproc import contract
from extproc import spec as spec_room
from extproc.demo import stand
from extproc.demo.envoy import Envoy
from extproc.demo.processes import Child, DemoError, Processes, free_port
from extproc.errors import ExtprocError, Problem
from extproc.render import EnvoySettings, envoy_yaml
from extproc.transport import TransportName
from loadtest import open_loop
from loadtest.occupancy import others_share, ticks
from loadtest.open_loop import Order, Seen
from loadtest.student import interval, quantile

ROOT: Final = Path(__file__).parents[1]
QUANTILES: Final = (0.5, 0.99, 0.999)
WARM: Final = 2.0
"""Seconds at the start of each block that are not measured: new connections, caches."""
CONNECTIONS: Final = 32
"""Far more than are ever busy: no request waits for a connection."""
WORKERS: Final = 2
PHASE: Final = "1%"
"""Few requests take the canary's route: rewriting the model's name in a body costs too, and is not the filter's."""
RATE: Final = 250.0
"""Requests per second that a machine of two cores holds with ease, Envoy, router, upstream and client on it."""
SECONDS: Final = 20.0
ALTERNATIONS: Final = 10
START: Final = 30.0
LIMIT_P99: Final = 0.001
"""Seconds that the filter may add to p99."""
LIMIT_SLA: Final = 0.001
"""Of the latency that the example Spec promises."""
LATE_SHARE: Final = 0.001
"""Of the requests; where more were sent late, the result says so."""
OTHERS: Final = 0.05
"""Share of the machine's CPU; where others used more, the result says so."""
_BARE: Final = "bare"


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch with the filter or without."""

    pair: int
    filter_on: bool
    sent: int
    """Requests, those of the warming up included."""
    measured: int
    errors: int
    late: int
    streams: int
    """That Envoy opened to the router."""
    answered: int
    """Messages that came back on them."""
    failed_open: int
    others: float
    """Share of the machine's CPU that processes used which have no part in this."""
    quantiles: tuple[float, ...]
    """QUANTILES of the latency, seconds."""


@dataclass(frozen=True, slots=True)
class Added:
    """What the filter adds to one quantile; seconds."""

    quantile: float
    off: float
    on: float
    """Means over the blocks."""
    mean: float
    low: float
    high: float
    """Of the differences within pairs: their mean, and its 95 % interval."""
    pairs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AddedLatency:
    """The whole result."""

    transport: TransportName
    rate: float
    seconds: float
    alternations: int
    requests: int
    """Measured, on both sides."""
    errors: int
    failed_open: int
    late: int
    """Requests that the client itself sent later than it should, by more than open_loop.LATE."""
    others: float
    """Share of the machine's CPU that other processes used, on average; above OTHERS the result says so."""
    sla: float
    """Seconds: the P99 that envoy/release.yaml promises."""
    added: tuple[Added, ...]
    blocks: tuple[Block, ...]

    def at(self, quantile: float) -> Added:
        """What is added to one of QUANTILES."""
        return next(one for one in self.added if one.quantile == quantile)

    @property
    def problems(self) -> list[str]:
        """What was promised and not seen; a block in which the filter was not what it should have been comes first."""
        found = [f"pair {block.pair + 1}, {said}" for block in self.blocks if (said := _not_as_meant(block))]
        if self.errors:
            found.append(f"{self.errors} requests failed")
        if self.failed_open:
            found.append(f"{self.failed_open} requests failed open")
        p99 = self.at(0.99)
        for limit, name in ((LIMIT_P99, "promised"), (self.sla * LIMIT_SLA, f"{LIMIT_SLA:.1%} of the example's SLA of {self.sla:g} s")):
            if p99.mean > limit:
                found.append(f"p99 added is {_us(p99.mean)} µs (at most {_us(p99.high)}), more than {_us(limit)} µs: {name}")
        return found


def _not_as_meant(block: Block) -> str:
    expected = block.sent if block.filter_on else 0
    if block.streams == expected:
        return ""
    return f"filter {'on' if block.filter_on else 'off'}: {block.streams} streams for {block.sent} requests, expected {expected}"


def added(blocks: Sequence[Block]) -> tuple[Added, ...]:
    """The differences on - off within pairs, for each of QUANTILES."""
    found = []
    for index, q in enumerate(QUANTILES):
        off, on = ({one.pair: one.quantiles[index] for one in blocks if one.filter_on is side} for side in (False, True))
        pairs = tuple(on[pair] - off[pair] for pair in sorted(on))
        found.append(Added(q, statistics.fmean(off.values()), statistics.fmean(on.values()), *interval(pairs), pairs))
    return tuple(found)


# ---------------------------------------------------------------------------------------------------------------- measurement
def measure(rate: float, seconds: float, alternations: int, transport: TransportName) -> AddedLatency:
    """Start everything, alternate, end everything. `seconds` are those of a block; there are two for each alternation (at least 2).

    Raises ExtprocError where a part does not start or ends unasked.
    """
    blocks = asyncio.run(_measure(rate, seconds, alternations, transport))
    totals = {name: sum(getattr(block, name) for block in blocks) for name in ("errors", "failed_open", "late")}
    sla = spec_room.read(str(ROOT / "envoy" / "release.yaml")).application.sla.latency_p99
    requests = sum(block.measured for block in blocks)
    others = statistics.fmean(block.others for block in blocks)
    settings = (transport, rate, seconds, alternations)
    return AddedLatency(*settings, requests, **totals, others=others, sla=sla, added=added(blocks), blocks=tuple(blocks))


async def _measure(rate: float, seconds: float, alternations: int, transport: TransportName) -> list[Block]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"), TimeRemainingColumn())
    # Drawn between blocks only: it shares the machine with what is measured.
    with Progress(*columns, auto_refresh=False) as progress:
        task = progress.add_task(f"filter on and off, {transport.value}", total=2 * alternations)
        async with Processes() as processes:
            bench = await _Bench.start(processes, transport)
            blocks: list[Block] = []
            for pair in range(alternations):
                for filter_on in (False, True) if pair % 2 == 0 else (True, False):
                    first = sum(block.sent for block in blocks)
                    blocks.append(await bench.block(pair, filter_on, rate, seconds, first))
                    progress.update(task, advance=1, refresh=True)
            return blocks


class _Bench:
    """Client, Envoy with two listeners, router, upstream; all of them children."""

    def __init__(self, processes: Processes, envoy: Envoy, client: Child, ports: tuple[int, int], path: str, model: str) -> None:
        self._processes, self._envoy, self._client = processes, envoy, client
        self._ports = ports
        """Without the filter, and with it."""
        self._path, self._model = path, model

    @classmethod
    async def start(cls, processes: Processes, transport: TransportName) -> _Bench:
        """All parts, ready."""
        ends = [sys.executable, open_loop.__file__]
        upstream = await processes.start("upstream", [*ends, "upstream"], speaks=True)
        port = int((await upstream.line(START))["port"])
        ports, document = stand.Ports.free(processes.directory), stand.template()
        stand.fill(document, ports, dict.fromkeys(document["models"], port))
        (rollout,) = document["rollouts"].values()
        spec = stand.write_spec(document, processes.directory)
        await stand.start_router(processes, spec, ports, WORKERS, PHASE, transport)
        bare, config = free_port(), processes.directory / "envoy.yaml"
        settings = EnvoySettings(contract.endpoints(ports.router, WORKERS), ports.collector)
        rendered = yaml.safe_load(envoy_yaml(spec_room.read(str(spec)), settings, "loadtest.added_latency"))
        config.write_text(yaml.safe_dump(with_bare_listener(rendered, bare), sort_keys=False))
        envoy = await Envoy.start(processes, config, ports.admin)
        client = await processes.start("client", [*ends, "client"], speaks=True)
        path, model = f"{rollout['match']['paths'][0]}chat/completions", rollout["match"]["models"][0]
        return cls(processes, envoy, client, (bare, ports.listener), path, model)

    async def block(self, pair: int, filter_on: bool, rate: float, seconds: float, first: int) -> Block:
        """Fire one block and read what the client saw and what Envoy counted."""
        file = self._processes.directory / f"block-{pair}-{'on' if filter_on else 'off'}.json"
        port = self._ports[filter_on]
        order = Order(str(file), port, self._path, self._model, rate, seconds, WARM, CONNECTIONS, seed=pair + 1, first=first)
        before, cpu = await self._counters(), ticks()
        await self._client.tell(asdict(order))
        await self._client.line(WARM + seconds + open_loop.PATIENCE + START)
        self._processes.check()
        others, after = others_share(cpu, ticks()), await self._counters()
        counted = [late - early for early, late in zip(before, after, strict=True)]
        return _block(pair, filter_on, open_loop.read(file), counted, others)

    async def _counters(self) -> list[int]:
        stats = await self._envoy.stats(r"\.ext_proc\.")
        names = ("streams_started", "stream_msgs_received", "failure_mode_allowed")
        return [sum(value for key, value in stats.items() if key.endswith(f".{name}")) for name in names]


def _block(pair: int, filter_on: bool, seen: Seen, counted: list[int], others: float) -> Block:
    ordered = sorted(seen.latencies)
    if not ordered:
        what = f"none of {seen.sent} requests was answered with 200"
        raise DemoError(Problem("added-latency.no-answer", f"pair {pair + 1}", what, "is the machine overloaded? lower --rate"))
    quantiles = tuple(quantile(ordered, q) for q in QUANTILES)
    streams, answered, failed_open = counted
    return Block(pair, filter_on, seen.sent, seen.measured, seen.errors, seen.late, streams, answered, failed_open, others, quantiles)


def with_bare_listener(config: dict[str, Any], port: int) -> dict[str, Any]:
    """The rendered configuration and a second listener on this port: the same in everything but the ext_proc filter."""
    listeners = config["static_resources"]["listeners"]
    bare = copy.deepcopy(listeners[0])
    bare["name"] = _BARE
    bare["address"]["socket_address"]["port_value"] = port
    manager = bare["filter_chains"][0]["filters"][0]["typed_config"]
    manager["stat_prefix"] = _BARE
    kept = [one for one in manager["http_filters"] if one["name"] != "envoy.filters.http.ext_proc"]
    assert len(kept) == len(manager["http_filters"]) - 1, "the rendered configuration has one ext_proc filter"
    manager["http_filters"] = kept
    listeners.append(bare)
    return config


# --------------------------------------------------------------------------------------------------------------------- report
def _us(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


def _name(q: float) -> str:
    return f"p{q * 100:g}"


def _method(result: AddedLatency) -> str:
    return (
        f"{result.transport.value}: {result.requests:,} requests at {result.rate:g}/s, open loop, filter on and off alternating "
        f"{result.alternations} times, {result.seconds:g} s each; {result.errors} errors, {result.failed_open} failed open."
    )


def _lateness(result: AddedLatency) -> str:
    share = result.late / max(1, result.requests)
    told = f"The client was more than {open_loop.LATE * 1000:g} ms late with {share:.2%} of its sends, on either side"
    told += ": that is in the figures, and the tail is partly its own." if share > LATE_SHARE else "; that is in the figures."
    if result.others > OTHERS:
        told += f" Other processes used {result.others:.0%} of the machine meanwhile: measure again when it is quiet."
    return told


def lines(result: AddedLatency) -> list[str]:
    """Markdown for docs: a sentence, the table, what to know about it."""
    rows = [
        f"| {_name(one.quantile)} | {_us(one.off)} | {_us(one.on)} | **{_us(one.mean)}** | {_us(one.low)} to {_us(one.high)} |"
        for one in result.added
    ]
    return [
        _method(result),
        "",
        "| latency, µs | without the filter | with it | added | 95 % interval |",
        "| --- | ---: | ---: | ---: | --- |",
        *rows,
        "",
        f"Latency counts from the scheduled instant of a request to the end of its answer. {_lateness(result)}",
        f"Added: mean of the differences within {result.alternations} pairs of blocks; interval: Student's t over the pairs.",
        f"Promised for p99: at most {_us(LIMIT_P99)} µs, and at most {LIMIT_SLA:.1%} of the example's SLA "
        f"({result.sla:g} s, so {_us(result.sla * LIMIT_SLA)} µs).",
    ]


def table(result: AddedLatency) -> Table:
    """For the terminal."""
    shown = Table("µs", title=f"Added by the filter, {result.transport.value}", title_justify="left")
    for heading in ("without", "with", "added", "95 % interval"):
        shown.add_column(heading, justify="right")
    for one in result.added:
        shown.add_row(_name(one.quantile), _us(one.off), _us(one.on), _us(one.mean), f"{_us(one.low)} to {_us(one.high)}")
    return shown


def report(result: AddedLatency) -> dict[str, Any]:
    """For JSON: everything, seconds throughout."""
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    return {**asdict(result), "problems": result.problems, **machine}


def main() -> int:
    """Entry point: exit code 1 where a promise is broken, 2 where nothing could be measured."""
    parser = argparse.ArgumentParser(description="What the ext_proc filter adds to a request through the real Envoy.")
    parser.add_argument("--rate", type=float, default=RATE, help="requests per second; choose what the machine holds with ease")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="measured in each block")
    parser.add_argument("--alternations", type=int, default=ALTERNATIONS, help="pairs of blocks, one with the filter and one without")
    names = [transport.value for transport in TransportName]
    parser.add_argument("--transport", choices=names, default=TransportName.NATIVE.value, help="how the router speaks gRPC")
    parser.add_argument("--output", type=Path, default=ROOT / "loadtest" / "reports" / "added_latency.json")
    given = parser.parse_args()
    if given.alternations < 2 or given.rate <= 0 or given.seconds <= 0:
        parser.error("an interval needs at least 2 alternations, a block requests")
    console = Console(highlight=False)
    try:
        result = measure(given.rate, given.seconds, given.alternations, TransportName(given.transport))
    except ExtprocError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    console.print(table(result))
    console.print(_method(result), _lateness(result), markup=False)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(report(result), indent=2) + "\n")
    console.print(f"written to {given.output}")
    for problem in result.problems:
        console.print(f"[red]✘[/red] {problem}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
