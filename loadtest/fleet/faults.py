"""What happens to a fleet under load, one fault after the other: `python -m loadtest.fleet.faults`. A section of `make proof` (fleet).

After each fault a person rolls back and starts anew. Promised: no client sees an error; no canary request is sent later than 1 s after
the decision is in the Journal (through routers that are cut off: than their watch lease); nothing is missing from the Journal, and
nothing in it twice; a controller that was frozen decides nothing when it comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.progress import Progress

from extproc.demo.processes import Processes
from extproc.domain import Action, JournalEntry, Status
from extproc.release import AUTOMATION
from loadtest.fleet.network import Network
from loadtest.fleet.stand import CONTROLLERS, EDGES, LEASE, NODES, ROLLOUT, Fleet
from loadtest.fleet.traffic import Traffic
from loadtest.report import verdict

RATE: Final = 25.0
QUIET: Final = 2.0
"""Seconds between a fault and the act of a person, and after it."""
PROMISE: Final = 1.0
"""Seconds from a decision in the Journal to the last canary request that is sent."""
WATCH_LEASE: Final = 15.0
CONSOLE: Final = Console(highlight=False)
Section = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one fault did."""

    what: str
    led: float
    """Seconds until somebody led; 0 where nobody had to."""
    last_canary: float
    """Seconds from the decision to the last canary request through routers that could hear of it."""
    cut_off: float
    """The same through an Envoy with a router that could not."""
    errors: int


class Trial:
    """One fleet, and what is done to it."""

    def __init__(self, fleet: Fleet, traffic: Traffic) -> None:
        self.fleet, self.traffic = fleet, traffic
        self.seen: list[Seen] = []
        self.acts = 0

    async def begin(self) -> None:
        """A release at 50 %, which has started by itself, under load."""
        for edge in EDGES:
            self.traffic.begin(edge)
        await self.fleet.until(lambda: any(one.canary for one in self.traffic.answers), "a canary request")

    async def suffer(self, what: str, happens: Callable[[], Awaitable[float]], cut_off: str = "") -> None:
        """A fault, a rollback by a person, and a new start. `happens` returns how long nobody led; `cut_off`: an Envoy of whose routers
        one cannot hear."""
        errors = len(self.traffic.errors)
        led = await happens()
        await asyncio.sleep(QUIET)
        decided = await self._act("rollback", ROLLOUT)
        await asyncio.sleep(WATCH_LEASE + PROMISE if cut_off else QUIET)
        last = {edge: self.traffic.last_canary(edge, decided) for edge in EDGES}
        heard = max(seconds for edge, seconds in last.items() if edge != cut_off)
        self.seen.append(Seen(what, led, heard, last.get(cut_off, 0.0), len(self.traffic.errors) - errors))
        await self._act("start", ROLLOUT, "--retry")
        await asyncio.sleep(QUIET)

    async def _act(self, *arguments: str) -> float:
        """A person's act; when it was in the Journal (Unix seconds)."""
        await self.fleet.act(*arguments)
        self.acts += 1
        wanted = {"start": Action.START, "rollback": Action.ROLL_BACK}[arguments[0]]
        entry = next(one for one in self.fleet.store.journal(limit=10) if one.action is wanted)
        return entry.at

    # ----------------------------------------------------------------------------------------------------------------------- faults
    async def kill_the_leader(self) -> float:
        """SIGKILL; it is started again when another one leads."""
        fleet, old = self.fleet, self._leader()
        await fleet.killed(old)
        led = await self._another(old)
        await fleet.start_controller(old)
        return led

    async def freeze_the_leader(self) -> float:
        """SIGSTOP until another one leads, and a while longer; then it goes on, and must not lead."""
        fleet, old = self.fleet, self._leader()
        fleet.freeze(old)
        led = await self._another(old)
        fleet.thaw(old)
        await asyncio.sleep(QUIET)
        assert fleet.leader() != old, f"{old} was frozen, and leads again"
        return led

    async def kill_a_node(self) -> float:
        """SIGKILL of one etcd node of three."""
        await self.fleet.killed(NODES[0])
        await asyncio.sleep(QUIET)
        return 0.0

    async def node_comes_back(self) -> float:
        """With the data that it had."""
        await self.fleet.start_node(NODES[0], "existing")
        return 0.0

    async def cut_a_router_off(self) -> float:
        """It serves its Envoy, and hears of nothing."""
        self.fleet.network.cut("r1")
        return 0.0

    async def router_comes_back(self) -> float:
        """It follows again."""
        self.fleet.network.mend("r1")
        await asyncio.sleep(2 * QUIET)
        return 0.0

    async def restart_everything(self) -> float:
        """One part after the other, in order."""
        fleet = self.fleet
        for node in NODES:
            await fleet.stop(node)
            await fleet.start_node(node, "existing")
            await asyncio.sleep(2 * QUIET)
        led = 0.0
        for name in CONTROLLERS:
            leads = fleet.leader() == name
            await fleet.stop(name)
            if leads:
                led = max(led, await self._another(name))
            await fleet.start_controller(name)
            await asyncio.sleep(QUIET)
        for edge, routers in EDGES.items():
            for router in routers:
                await fleet.stop(router)
                await fleet.start_router(router)
                await asyncio.sleep(QUIET)
            await self.traffic.end(edge)
            await fleet.stop(edge)
            await fleet.start_envoy(edge)
            self.traffic.begin(edge)
        return led

    def _leader(self) -> str:
        name = self.fleet.leader()
        assert name is not None, "nobody leads"
        return name

    async def _another(self, old: str) -> float:
        """Until another one leads and evaluates."""
        begin = time.monotonic()
        before = self.fleet.store.read_heartbeat()
        await self.fleet.until(lambda: self.fleet.leader() not in (None, old), f"somebody else than {old} to lead")
        await self.fleet.until(lambda: self.fleet.store.read_heartbeat() != before, "a heartbeat of the one who leads")
        return time.monotonic() - begin

    # ------------------------------------------------------------------------------------------------------------------------ at the end
    def problems(self, late: float) -> list[str]:
        """What was promised and not seen; `late`: seconds by which the machine itself was late."""
        promised = PROMISE + late
        found = [f"{one.what}: {one.errors} requests failed" for one in self.seen if one.errors]
        found += [f"{one.what}: a canary request {one.last_canary:.2f} s later" for one in self.seen if one.last_canary > promised]
        found += [
            f"{one.what}: a router that was cut off sent one {one.cut_off:.2f} s later"
            for one in self.seen
            if one.cut_off > WATCH_LEASE + promised
        ]
        return found + _journal_problems(self.fleet.store.journal(limit=1000), self.acts, self.fleet)


def _journal_problems(journal: Sequence[JournalEntry], acts: int, fleet: Fleet) -> list[str]:
    entries = sorted(journal, key=lambda one: one.sequence)
    found = []
    if [one.sequence for one in entries] != list(range(1, len(entries) + 1)):
        found.append("the Journal has gaps")
    of_people = [one for one in entries if one.action in (Action.START, Action.ROLL_BACK) and one.actor != AUTOMATION]
    if len(of_people) != acts:
        found.append(f"{acts} acts were acknowledged, the Journal has {len(of_people)}")
    if len({one.generation for one in of_people}) != len(of_people):
        found.append("two acts have one generation: one was decided on a State that was gone")
    state = fleet.state()
    if state is None or state.rollouts[ROLLOUT].status is not Status.PROGRESSING:
        found.append("the rollout does not stand where it was left")
    return found


FAULTS: Final[dict[str, tuple[str, ...]]] = {
    "kill_the_leader": ("kill -9 of the leader",),
    "kill_a_node": ("kill -9 of an etcd node",),
    "node_comes_back": ("it comes back",),
    "cut_a_router_off": ("a router is cut off", "edge1"),
    "router_comes_back": ("it is reached again",),
    "freeze_the_leader": ("the leader is frozen, and goes on when another one leads",),
    "restart_everything": ("everything is restarted, one after the other",),
}


async def measure(
    rate: float = RATE, faults: Sequence[str] = tuple(FAULTS), late: Callable[[], float] = lambda: 0.0
) -> tuple[list[Seen], list[str], int]:
    """What was seen of each fault, what was promised and not seen, and how many requests there were. `late`: asked at the end for the
    seconds by which the machine itself was late."""
    with Network() as network, Progress(console=CONSOLE) as progress:
        async with Processes() as processes:
            task = progress.add_task("starting the fleet", total=len(faults))
            fleet = Fleet(processes, network)
            try:
                await fleet.start()
                traffic = Traffic({edge: fleet.address(edge) for edge in EDGES}, rate)
                trial = Trial(fleet, traffic)
                await trial.begin()
                for name in faults:
                    progress.update(task, description=FAULTS[name][0])
                    await trial.suffer(FAULTS[name][0], getattr(trial, name), *FAULTS[name][1:])
                    progress.advance(task)
                await traffic.stop()
                return trial.seen, trial.problems(late()), len(traffic.answers)
            finally:
                fleet.close()


def section(rate: float = RATE, faults: Sequence[str] = tuple(FAULTS)) -> Section:
    """The table, and what was promised and not seen."""
    seen, problems, requests = asyncio.run(measure(rate, faults))
    lines = [
        f"3 etcd nodes, 2 controllers (lease {LEASE} s), 4 routers and 2 Envoys, each a process in a network namespace of its own, under",
        f"{2 * rate:g} requests/s ({requests:,} in all), half of them for the canary; no TLS between them. After each fault a person",
        f"rolls back, and starts anew. 0.00 s: of the canary's requests, one in about {1 / rate:.2g} s, none came after the decision.",
        "",
        "| what happens | until somebody leads | last canary request after the decision | failed requests |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one in seen:
        led = f"{one.led:.1f} s" if one.led else "-"
        cut = f" ({one.cut_off:.1f} s through the Envoy of the router that is cut off)" if one.cut_off else ""
        lines.append(f"| {one.what} | {led} | {one.last_canary:.2f} s{cut} | {one.errors} |")
    return [*lines, "", f"Promised: {PROMISE:g} s; routers that are cut off: their watch lease, {WATCH_LEASE:g} s."], problems


def main() -> int:
    """Entry point: exit code 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description="A fleet under faults.")
    parser.add_argument("--rate", type=float, default=RATE, help="requests per second through each Envoy")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=tuple(FAULTS))
    given = parser.parse_args()
    lines, problems = section(given.rate, given.faults)
    print("\n".join(lines))
    return verdict(problems, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
