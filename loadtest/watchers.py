"""Five hundred watchers of one store: how long until a State change has reached all of them, in calm, and while an etcd node is killed.

    python -m loadtest.watchers [--watchers 500] [--changes 100]

Three etcd nodes and a leading controller's store on this machine. Four processes hold the watchers; each watcher is the code that a worker
runs (`store.etcd.watch`), with a connection and a stream of its own, and understands the State that it is told. The time runs from
before the commit is sent to when the State is understood; both are on the machine's one clock. A heartbeat is written each second, as a
controller does. In the second part the node that leads the others is killed (SIGKILL) in the middle. A section of `make proof` (watchers).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from rich.console import Console
from rich.progress import track

from extproc.domain import Action, Heartbeat, JournalEntry, RolloutState, State, Status
from extproc.errors import StoreError
from extproc.store import SharedStore, open_shared
from extproc.store.codec import decode_state
from extproc.store.etcd.address import parse_address
from extproc.store.etcd.layout import Layout
from extproc.store.etcd.watch import Kept, Watch
from loadtest.report import verdict
from loadtest.student import quantile
from tests.support.etcd import etcd

WATCHERS: Final = 500
PROCESSES: Final = 4
CHANGES: Final = 100
EVERY: Final = 0.5
"""Seconds between changes: people and gates move a release far less often."""
LIMIT: Final = 1.0
"""Seconds, p99 over changes of the last watcher."""
PATIENCE: Final = 60.0
CONSOLE: Final = Console(highlight=False)
Section = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One part's times, in seconds."""

    name: str
    commits: list[float]
    """Until the commit was acknowledged."""
    watchers: list[float]
    """Of every change and every watcher."""
    last: list[float]
    """Of every change: its last watcher."""
    missed: int
    """Changes that a watcher was not told of; one after the other, in order, or it counts."""


def measure(watchers: int, changes: int) -> list[Seen]:
    """In calm, then with the leading node killed."""
    with tempfile.TemporaryDirectory() as directory, etcd(Path(directory) / "etcd", nodes=3) as server, ExitStack() as undo:
        url = server.url("watched", Path(directory))
        store = undo.enter_context(closing(open_shared(url, writer=True)))
        assert store.leadership("proof").campaign(PATIENCE)
        store.commit(_state(1), 0, [], {})
        last = 1 + 2 * changes
        children = [
            undo.enter_context(_child(url, watchers // PROCESSES, last, Path(directory) / f"{number}.json")) for number in range(PROCESSES)
        ]
        for child in children:
            assert _line(child.stdout) == "ready"
        sent: dict[int, float] = {}
        acknowledged: dict[int, float] = {}
        for part in ("calm", "killed"):
            for number in track(range(changes), f"changes, {part}", console=CONSOLE):
                if part == "killed" and number == changes // 2:
                    server.leader().kill()
                _change(store, max(sent, default=1) + 1, sent, acknowledged)
                time.sleep(EVERY)
        for child in children:
            assert _line(child.stdout) == "done"
        told: list[list[tuple[int, float]]] = [
            one for number in range(PROCESSES) for one in json.loads((Path(directory) / f"{number}.json").read_text())
        ]
        names = ("nothing else happens", "the leading node is killed")
        starts = range(2, last + 1, changes)
        return [_seen(name, range(first, first + changes), sent, acknowledged, told) for name, first in zip(names, starts, strict=True)]


def _seen(
    name: str, generations: range, sent: dict[int, float], acknowledged: dict[int, float], told: list[list[tuple[int, float]]]
) -> Seen:
    heard: dict[int, list[float]] = {generation: [] for generation in generations}
    for watcher in told:
        for generation, at in watcher:
            if generation in heard:
                heard[generation].append(at - sent[generation])
    commits = [acknowledged[generation] - sent[generation] for generation in generations]
    missed = sum(len(told) - len(times) for times in heard.values())
    return Seen(name, commits, [one for times in heard.values() for one in times], [max(times) for times in heard.values()], missed)


def _change(store: SharedStore, generation: int, sent: dict[int, float], acknowledged: dict[int, float]) -> None:
    """One decision; again until it is written, as a controller does. The time runs from the first attempt."""
    entry = JournalEntry(0, time.time(), "new", "extproc", Action.ADVANCE, "why", generation, {})
    state, deadline = _state(generation), time.monotonic() + PATIENCE
    sent[generation] = time.monotonic()
    while True:
        try:
            store.commit(state, generation - 1, [entry], {"new#1": "{}"})
            acknowledged[generation] = time.monotonic()
            if generation % round(1 / EVERY) == 0:
                store.beat(Heartbeat(generation, ()))
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _state(generation: int) -> State:
    one = RolloutState(Status.PROGRESSING, 0, 0.0, generation, 1, "because", "print")
    return State(generation, "digest", {f"rollout-{number}": one for number in range(10)})


def _child(url: str, count: int, last: int, path: Path) -> subprocess.Popen[str]:
    words = ["--child", url, "--watchers", str(count), "--last", str(last), "--file", str(path)]
    return subprocess.Popen([sys.executable, "-m", "loadtest.watchers", *words], stdout=subprocess.PIPE, text=True)


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


# ----------------------------------------------------------------------------------------------------------------------- child
async def watch(url: str, count: int, last: int, path: Path) -> None:
    """Watch until all have been told of generation `last`; what each was told, and when, goes into the file."""
    address = parse_address(url)
    layout = Layout(address.prefix)
    ranges = [(layout.key(name), b"") for name in ("state", "heartbeat", "leader")]
    told: list[list[tuple[int, float]]] = [[] for _ in range(count)]
    left, done = set(range(count)), asyncio.Event()

    def changed(number: int, key: bytes, kept: Kept | None) -> None:
        if key == ranges[0][0] and kept is not None:
            told[number].append((decode_state(kept.value).generation, time.monotonic()))
            if told[number][-1][0] >= last:
                left.discard(number)
                if not left:
                    done.set()

    watches = [Watch(address, ranges, lambda key, kept, _, number=number: changed(number, key, kept)) for number in range(count)]
    for one in watches:
        one.start()
        await one.ready.wait()
    print("ready", flush=True)
    async with asyncio.timeout(3600):
        await done.wait()
    path.write_text(json.dumps(told))
    print("done", flush=True)
    for one in watches:
        await one.stop()


# ---------------------------------------------------------------------------------------------------------------------- report
def report(parts: Sequence[Seen], watchers: int) -> Section:
    """The table, and what was promised and not seen."""
    changes = len(parts[0].commits)
    lines = [
        f"Three etcd nodes, {watchers} watchers with a connection each in {PROCESSES} processes, {changes} changes of State in each part,",
        f"one each {EVERY * 1000:.0f} ms, all on one machine. From before the commit is sent:",
        "",
        "| | commit p50 | commit p99 | a watcher p50 | a watcher p99 | last watcher p50 | last watcher p99 | worst |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    problems: list[str] = []
    for part in parts:
        columns = [quantile(sorted(times), q) for times in (part.commits, part.watchers, part.last) for q in (0.5, 0.99)]
        figures = " | ".join(f"{one * 1000:,.0f} ms" for one in (*columns, max(part.last)))
        lines.append(f"| {part.name} | {figures} |")
        if part.missed:
            problems.append(f"{part.name}: {part.missed} changes did not reach a watcher")
    missed = sum(part.missed for part in parts)
    lines += [
        "",
        f"The machine has {os.cpu_count()} cores and had a load of {os.getloadavg()[1]:.0f}: nodes, watchers, and whatever else ran.",
        f"{watchers * changes * len(parts):,} tidings, {missed} missed. A change in the moment of the kill waits for etcd's own election",
        "(one to two seconds), and watchers of the killed node go to another one.",
        f"Promised in calm: the last watcher's p99 below {LIMIT:g} s.",
    ]
    calm = quantile(sorted(parts[0].last), 0.99)
    if calm >= LIMIT:
        problems.append(f"p99 of the last watcher: {calm:.2f} s")
    return lines, problems


def section(watchers: int = WATCHERS, changes: int = CHANGES) -> Section:
    """For `make proof`."""
    return report(measure(watchers, changes), watchers)


def main() -> int:
    """Entry point: exit code 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description="How long until a State change has reached all watchers.")
    parser.add_argument("--watchers", type=int, default=WATCHERS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.child:
        asyncio.run(watch(given.child, given.watchers, given.last, given.file))
        return 0
    lines, wrong = section(given.watchers, given.changes)
    CONSOLE.print("\n".join(lines), markup=False)
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
