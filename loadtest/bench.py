"""What a decision costs, in one run on one machine: piece by piece, and served by each transport. `make bench`; docs/performance.md.

Compare the ratios, not the absolutes: transports take turns, and of each the best round counts, since noise only ever adds. Messages
are the recorded one of the real Envoy (loadtest/record.py) and the same with 14 headers, for 10,000 distinct users and request ids: a
cache by message or unit would show. One case more has everything at once (loadtest/everything.py), through the native transport alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from extproc import contract, wire
from extproc import spec as spec_room
from extproc.assign import decide, derive, point, prepare
from extproc.transport import TransportName
from loadtest import everything
from loadtest.messages import EXAMPLE, MORE, example_processor, example_state, message
from loadtest.replay import Spent, cpu, replay

ROOT = Path(__file__).parents[1]
ROUNDS = 7
USERS = 10_000
TURNS = 5
"""Times that each server is measured."""
MESSAGES: dict[str, Callable[[int], bytes]] = {"recorded": message, "14 headers": partial(message, more=len(MORE))}
EVERYTHING = "everything"
BARE = "bare grpc.aio"
SERVERS = (TransportName.NATIVE.value, TransportName.GRPCIO.value, BARE)
STREAMS = {TransportName.NATIVE.value: 400_000, TransportName.GRPCIO.value: 20_000, BARE: 20_000}
"""Enough for seconds of load each."""
NATIVE, GRPCIO = TransportName.NATIVE.value, TransportName.GRPCIO.value
MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Server:
    """One worker that listens on a Unix socket."""

    pid: int
    path: str


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure, and the bound that it must keep."""

    what: str
    figure: float
    bound: float
    at_least: bool

    @property
    def kept(self) -> bool:
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{'✔' if self.kept else '✘'} {self.what}: {self.figure:,.4g} ({sign} {self.bound:,.4g})"


def main() -> int:
    """Entry point: exit code 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description="What a decision costs, piece by piece and served.")
    parser.add_argument("--output", type=Path, default=ROOT / "loadtest" / "reports" / "bench.json")
    output = parser.parse_args().output
    console = Console(highlight=False)
    if shutil.which("h2load") is None:
        console.print("h2load is missing: apt-get install nghttp2-client", style="red")
        return 2
    result = measure(console)
    for table in (_pieces_table(result.pieces), _latency_table(result.latency), _served_table(result)):
        console.print(table)
    for promise in result.promises:
        console.print(str(promise), style=None if promise.kept else "red")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(_report(result), indent=2) + "\n")
    console.print(f"written to {output}")
    return 0 if all(promise.kept for promise in result.promises) else 1


def measure(console: Console) -> Result:
    """Everything; about five minutes."""
    pieces = {name: measured() for name, measured in track(list(_pieces().items()), "measuring", console=console)}
    with tempfile.TemporaryDirectory() as directory:
        processors = {name: (example_processor(), make) for name, make in MESSAGES.items()}
        processors[EVERYTHING] = everything.processor(Path(directory)), everything.message
        latency = {name: _latency(processor.process, make) for name, (processor, make) in processors.items()}
        return Result(pieces, latency, *_served(console, everything.write(Path(directory))))


def section() -> tuple[list[str], list[str]]:
    """For `make proof`: lines of Markdown, and the promises that were not kept."""
    result = measure(Console(highlight=False))
    lines = ["`make bench` on one machine; transports took turns. How it is measured: [performance](../performance.md).", ""]
    lines += [
        "| served, one worker | message | replay: µs of CPU | decisions/s | h2load: µs of CPU | decisions/s |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [f"| {' | '.join(row)} |" for row in _served_rows(result)]
    lines += ["", "| in process, bytes in to bytes out, µs | p50 | p99 | p99.9 |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for row in _latency_rows(result.latency)]
    lines += ["", "| piece, in process | µs of CPU |", "| --- | ---: |"]
    lines += [f"| {name} | {seconds * MICRO:,.2f} |" for name, seconds in result.pieces.items()]
    lines += ["", *(f"* {promise}" for promise in result.promises)]
    return lines, [str(promise) for promise in result.promises if not promise.kept]


Found = dict[str, dict[str, Spent]]
"""Server -> message -> what its worker spent."""


@dataclass(frozen=True, slots=True)
class Result:
    """Figures in seconds."""

    pieces: dict[str, float]
    latency: dict[str, dict[str, float]]
    replayed: Found
    loaded: Found
    ratio: float
    """CPU of grpcio over CPU of native, recorded message: the median of the turns, each of which measured both."""
    overhead: float
    """The same of grpcio over bare grpc.aio."""

    @property
    def promises(self) -> list[Promise]:
        """What the project says of its speed."""
        native, loaded = self.replayed[NATIVE], self.loaded[NATIVE]
        rates = {name: max(native[name].rate, loaded[name].rate) for name in MESSAGES}
        return [
            Promise("native, recorded message, decisions/s", rates["recorded"], 120_000, True),
            Promise("native, recorded message, µs of CPU", native["recorded"].seconds * MICRO, 8, False),
            Promise("native, 14 headers, decisions/s", rates["14 headers"], 100_000, True),
            Promise("native, 14 headers, µs of CPU", native["14 headers"].seconds * MICRO, 10, False),
            Promise("CPU of grpcio / CPU of native", self.ratio, 30, True),
            Promise("CPU of grpcio / CPU of bare grpc.aio with the same decision", self.overhead, 1.1, False),
            Promise("in process, recorded message, p99 in µs", self.latency["recorded"]["p99"] * MICRO, 10, False),
            Promise("native, everything at once, decisions/s", max(native[EVERYTHING].rate, loaded[EVERYTHING].rate), 60_000, True),
        ]


def _report(result: Result) -> dict[str, Any]:
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    promises = [asdict(promise) | {"kept": promise.kept} for promise in result.promises]
    return {"machine": machine, **asdict(result), "promises": promises}


# ------------------------------------------------------------------------------------------------------------------ in process
def _pieces() -> dict[str, Callable[[], float]]:
    spec = spec_room.read(str(EXAMPLE))
    prepared, state, processor = prepare(spec), example_state(spec), example_processor()
    snapshot = processor.snapshot
    short, long = ([make(user) for user in range(USERS)] for make in MESSAGES.values())
    subjects = [subject for one in short if (subject := wire.read_subject(one)) is not None]
    ids = [f"user-{user}".encode() for user in range(USERS)]
    return {
        "whole decision, recorded message": lambda: _each(processor.process, short),
        "whole decision, 14 headers": lambda: _each(processor.process, long),
        "reading the recorded message": lambda: _each(wire.read_subject, short),
        "reading 14 headers": lambda: _each(wire.read_subject, long),
        "assign": lambda: _each(lambda subject: decide(snapshot.layers[0], subject, subject[contract.REQUEST_ID_HEADER], 0.0), subjects),
        "hashing a unit": lambda: _each(lambda unit: point(b"model/gpt-5-mini/", unit), ids),
        "State -> Snapshot": lambda: _each(lambda _: derive(prepared, state, wire.encode_reply), list(range(200))),
    }


def _each(work: Callable[[Any], object], items: list[Any]) -> float:
    """Seconds of CPU per item: the best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - begin)
    return best / len(items)


def _latency(process: Callable[[bytes], object], make: Callable[[int], bytes]) -> dict[str, float]:
    """Seconds from bytes in to bytes out, each decision timed by itself: p50, p99, p99.9 of 20 rounds over all users.

    What another process takes from this core is in it, so of each quantile the median over the rounds is given.
    """
    messages, clock = [make(user) for user in range(USERS)], time.perf_counter_ns
    for one in messages:
        process(one)
    gc.collect()
    gc.freeze()
    gc.disable()  # a worker collects after 100,000 objects that stay, and a decision leaves none
    rounds = []
    for _ in range(20):
        taken = []
        for one in messages:
            begin = clock()
            process(one)
            taken.append(clock() - begin)
        rounds.append(sorted(taken))
    gc.enable()
    gc.unfreeze()
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {name: statistics.median(taken[int(share * USERS)] for taken in rounds) / 1e9 for name, share in at.items()}


# ---------------------------------------------------------------------------------------------------------------------- served
def _served(console: Console, spec: Path) -> tuple[Found, Found, float, float]:
    """(replayed, loaded by h2load: the best turns; grpcio over native; grpcio over bare). `spec`: the one of everything."""
    replayed: Found = {server: {} for server in SERVERS}
    loaded: Found = {server: {} for server in SERVERS}
    seconds: dict[str, list[float]] = {server: [] for server in SERVERS}
    round_of_turns = [(server, name, make, EXAMPLE) for name, make in MESSAGES.items() for server in SERVERS]
    round_of_turns.append((NATIVE, EVERYTHING, everything.message, spec))
    for server, name, make, path in track(round_of_turns * TURNS, "serving", console=console):
        with _running(server, path) as running:
            transport = TransportName.NATIVE if server == NATIVE else TransportName.GRPCIO
            streams = STREAMS[server]
            replay(running.path, running.pid, transport, make, streams // 10)
            spent = replay(running.path, running.pid, transport, make, streams)
            _keep(replayed[server], name, spent)
            _keep(loaded[server], name, _load(running, make(7), streams))
            if name == "recorded":
                seconds[server].append(spent.seconds)
    ratio, overhead = (
        statistics.median(one / other for one, other in zip(seconds[GRPCIO], seconds[server], strict=True)) for server in (NATIVE, BARE)
    )
    return replayed, loaded, ratio, overhead


def _keep(found: dict[str, Spent], name: str, spent: Spent) -> None:
    before = found.get(name, spent)
    found[name] = Spent(spent.streams, min(before.seconds, spent.seconds), max(before.rate, spent.rate))


def decision(streams: int = 100_000) -> float:
    """Seconds of a worker's CPU for one decision, from bytes to bytes: the recorded message with 14 headers more."""
    with _running(NATIVE, EXAMPLE) as running:
        make = MESSAGES["14 headers"]
        replay(running.path, running.pid, TransportName.NATIVE, make, streams // 10)
        return replay(running.path, running.pid, TransportName.NATIVE, make, streams).seconds


@contextmanager
def _running(server: str, spec: Path) -> Iterator[Server]:
    """One worker of a real router at 25 %, or the bare server."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "extproc", "router", "--spec", str(spec), "--phase", "25%", "--workers", "1"]
        command += ["--listen", f"unix:{directory}/r.sock", "--metrics-port", "0", "--transport", server]
        path = f"{directory}/r-0.sock"
        if server == BARE:
            command = [sys.executable, "-m", "loadtest.bare", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                yield Server(process.pid if server == BARE else int(children[0]), path)
            finally:
                process.terminate()
                process.wait(20)


def _load(server: Server, payload: bytes, streams: int) -> Spent:
    """The same by h2load, which knows one message only and ends each stream itself; raises where a stream fails."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\0" + len(payload).to_bytes(4, "big") + payload)
        file.flush()
        command = ["h2load", "-n", str(streams), "-c", "2", "-m", "64", "-d", file.name, "-H", "content-type: application/grpc"]
        command += ["-H", "te: trailers", "--base-uri", f"unix:{server.path}", f"http://router{contract.PROCESS_METHOD}"]
        before = cpu(server.pid)
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    succeeded = re.search(r"(\d+) succeeded", said)
    rate = re.search(r"([0-9.]+) req/s", said)
    if succeeded is None or rate is None or int(succeeded[1]) != streams:
        raise RuntimeError(f"h2load did not finish:\n{said}")
    return Spent(streams, (cpu(server.pid) - before) / streams, float(rate[1]))


# ---------------------------------------------------------------------------------------------------------------------- tables
def _pieces_table(pieces: dict[str, float]) -> Table:
    table = Table("piece, in process", "µs of CPU", "per second", title="Cost of a decision", title_justify="left")
    for name, seconds in pieces.items():
        table.add_row(name, f"{seconds * MICRO:,.2f}", f"{1 / seconds:,.0f}")
    return table


def _latency_table(latency: dict[str, dict[str, float]]) -> Table:
    table = Table("bytes in to bytes out, µs", "p50", "p99", "p99.9", title="Latency of a decision, in process", title_justify="left")
    for row in _latency_rows(latency):
        table.add_row(*row)
    return table


def _latency_rows(latency: dict[str, dict[str, float]]) -> list[list[str]]:
    return [[name, *(f"{seconds * MICRO:,.1f}" for seconds in quantiles.values())] for name, quantiles in latency.items()]


def _served_table(result: Result) -> Table:
    table = Table("one worker, one core", "message", title="Transports: replay of Envoy, and h2load", title_justify="left")
    for column in ("replay: µs", "decisions/s", "h2load: µs", "decisions/s"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in _served_rows(result):
        table.add_row(*row)
    return table


def _served_rows(result: Result) -> list[list[str]]:
    rows = []
    for server in SERVERS:
        for name in result.replayed[server]:
            both = result.replayed[server][name], result.loaded[server][name]
            rows.append([server, name, *(cell for spent in both for cell in (f"{spent.seconds * MICRO:,.1f}", f"{spent.rate:,.0f}"))])
    return rows


if __name__ == "__main__":
    sys.exit(main())
