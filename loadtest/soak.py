"""Load through the real Envoy for minutes, while workers are drained, killed and stopped, and State changes. `python -m loadtest.soak`.

    python -m loadtest.soak --minutes 10

Two simulated models, controller, router (two workers, native transport), Envoy (two threads): processes of their own, started by the
commands that people use. Traffic is open-loop, from 20,000 people. Every 20 s one act from a seeded deck: `state` is what a person
does to the rollout, `freeze` is SIGSTOP of a worker for 300 ms, `kill` is kill -9 of one, `handover` is a new router on the same
sockets, then SIGTERM to the old one. Promised: no client error, every request decided or failed open, none failed open but
around kills and freezes, memory flat. Exit code 1 where that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
import uvloop

from extproc import contract
from extproc.demo import stand
from extproc.demo.envoy import Envoy
from extproc.demo.family import children
from extproc.demo.processes import Child, DemoError, Processes, free_port
from extproc.demo.traffic import TrafficSettings
from extproc.errors import ExtprocError, Problem
from extproc.transport import TransportName
from loadtest.soak_report import WORKERS, Act, Plan, Seen, told, verdict
from loadtest.vitals import Sample, Window, counters, watch

KNOBS: Final = {"ttft": 0.02, "tokens_per_second": 2000.0, "output_tokens": 20.0}
FREEZE: Final = 0.3
"""Seconds of SIGSTOP."""
AFTERMATH: Final = 5.0
"""Seconds after a kill or a freeze that are its window: restart, health check (0.5 s) and the ejection (3 s) are over."""
PROPAGATION: Final = 1.0
"""Seconds from a committed act to the last worker; .1 promised by itself, here the machine is busy."""
MISSED: Final = 30
"""Times that an act is asked for again, under the same name, where the controller has missed its second."""
READY: Final = 90.0
LAST_ANSWERS: Final = 40.0
_PERSON: Final = {
    "pending": ("start",),
    "rolled_back": ("start",),
    "progressing": ("promote", "promote", "promote", "pause", "rollback"),
    "paused": ("resume", "resume", "promote", "rollback"),
    "awaiting_approval": ("resume", "promote"),
    "completed": ("rollback",),
}
"""What a person may do to a rollout of this status; more often what goes on than what ends."""


class Soak:
    """One soak in a directory of its own."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.seen = Seen(plan)
        self._plan = plan
        self._processes = processes
        self._random = Random(plan.seed)
        self._models: list[stand.ModelHandle] = []
        self._ports: stand.Ports
        self._spec: Path
        self._rollout = ""
        self._router: Child
        self._routers = 0
        self._controller: Child
        self._envoy: Envoy
        self._api: httpx.AsyncClient

    async def run(self) -> Seen:
        """From the first process to the last answer; raises DemoError where a part ends by itself."""
        traffic_settings = await self._start()
        token = (self._processes.directory / "extproc.db.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._ports.api}", headers=headers, trust_env=False, timeout=30.0
        ) as self._api:
            traffic = await self._processes.start("traffic", [sys.executable, "-m", "extproc.demo.traffic"], speaks=True)
            await traffic.tell(asdict(traffic_settings))
            reading = asyncio.create_task(self._read(traffic))
            watching = asyncio.create_task(watch(self._envoy, self._members, self.seen.samples))
            try:
                await self._act_and_wait(reading)
                traffic.close_input()
                self.seen.clients = await asyncio.wait_for(reading, LAST_ANSWERS)
            finally:
                for task in (reading, watching):
                    task.cancel()
        await asyncio.sleep(0.5)
        memory = self.seen.samples[-1].memory
        self.seen.samples.append(Sample(asyncio.get_running_loop().time(), await counters(self._envoy), memory))
        self.seen.served = sum([int((await model.ledger())["ok"]) for model in self._models])
        return self.seen

    # ------------------------------------------------------------------------------------------------------------------- stand
    async def _start(self) -> TrafficSettings:
        processes = self._processes
        document, self._ports = stand.template(), stand.Ports.free(processes.directory)
        for index, name in enumerate(document["models"]):
            self._models.append(await stand.ModelHandle.start(processes, name, self._plan.seed + index, KNOBS))
        stand.fill(document, self._ports, {model.name: model.port for model in self._models})
        ((self._rollout, rollout),) = document["rollouts"].items()
        for phase in rollout["phases"]:
            # People move it here, the seed says when: it does not move by itself.
            phase |= {"min_dwell": "6h", "max_dwell": "12h"}
        self._spec = stand.write_spec(document, processes.directory)
        arguments = ["--spec", str(self._spec), "--store", self._store, "--collector", self._ports.collector]
        self._controller = await processes.start(
            "extproc controller", [*stand.EXTPROC, "controller", *arguments, "--api-port", str(self._ports.api)]
        )
        await self._well(self._controller, self._ports.api)
        self._router = await self._start_router()
        self._envoy = await stand.start_envoy(processes, self._spec, self._ports, WORKERS)
        url = f"http://127.0.0.1:{self._ports.listener}/v1/chat/completions"
        longest = self._plan.seconds * 2
        return TrafficSettings(url, self._plan.rate, rollout["canary"], rollout["stable"], self._plan.seed, seconds=longest)

    @property
    def _store(self) -> str:
        return f"sqlite:{self._processes.directory}/extproc.db"

    async def _start_router(self) -> Child:
        """A router that follows the store, on the sockets that Envoy knows; each has a metrics port of its own."""
        self._routers += 1
        self._metrics = free_port()
        arguments = ["--spec", str(self._spec), "--store", self._store, "--listen", self._ports.router, "--workers", str(WORKERS)]
        arguments += ["--metrics-port", str(self._metrics), "--transport", TransportName.NATIVE]
        router = await self._processes.start(f"extproc router {self._routers}", [*stand.EXTPROC, "router", *arguments])
        await self._well(router, self._metrics, f"{WORKERS} of {WORKERS} ")
        return router

    async def _well(self, child: Child, port: int, says: str = "") -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
            for _ in range(int(READY / 0.1)):
                self._processes.check()
                try:
                    answer = await client.get(f"http://127.0.0.1:{port}/healthz")
                    if answer.status_code == 200 and answer.text.startswith(says):
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        raise DemoError(child.problem("soak.not-ready", f"was not ready after {READY:g} s"))

    def _members(self) -> list[tuple[str, int]]:
        workers = [("worker", pid) for pid in children(self._router.process.pid)]
        envoy, controller = self._envoy.child.process.pid, self._controller.process.pid
        return [("Envoy", envoy), ("controller", controller), ("supervisor", self._router.process.pid), *workers]

    async def _read(self, traffic: Child) -> dict[str, Any]:
        while True:
            line = await traffic.line(LAST_ANSWERS)
            if line.get("final"):
                return line
            self.seen.seconds.append(line)

    # -------------------------------------------------------------------------------------------------------------------- acts
    async def _act_and_wait(self, reading: asyncio.Task[dict[str, Any]]) -> None:
        loop = asyncio.get_running_loop()
        end, due = loop.time() + self._plan.seconds, loop.time() + self._plan.every
        acts = self._plan.deck()
        while loop.time() < end:
            self._processes.check()
            if reading.done():
                reading.result()
                raise DemoError(Problem("soak.traffic", "traffic", "ended by itself", "see its log"))
            if loop.time() >= due and loop.time() + AFTERMATH < end and (act := next(acts, None)) is not None:
                begin = loop.time()
                await self._do(act)
                self.seen.windows.append(Window(act, begin, loop.time() + AFTERMATH))
                self._tell(act, end - loop.time())
                due = max(due + self._plan.every, loop.time())
            await asyncio.sleep(0.1)

    async def _do(self, act: Act) -> None:
        if act is Act.STATE:
            await self._person()
        elif act is Act.HANDOVER:
            await self._hand_over()
        else:
            victim = self._random.choice(children(self._router.process.pid))
            if act is Act.KILL:
                os.kill(victim, signal.SIGKILL)
                return
            os.kill(victim, signal.SIGSTOP)
            try:
                await asyncio.sleep(FREEZE)
            finally:
                os.kill(victim, signal.SIGCONT)

    async def _person(self) -> None:
        """What somebody on call would do next; then every worker has to decide by it."""
        status = (await self._api.get("/v1/status")).raise_for_status().json()["rollouts"][self._rollout]["status"]
        action = self._random.choice(_PERSON[status])
        name = f"soak {len(self.seen.shown) + len(self.seen.problems)}"
        for _ in range(MISSED):
            answer = await self._api.post(f"/v1/rollouts/{self._rollout}/{action}", json={"why": "soak", "request": name})
            if answer.status_code not in (503, 504):
                break
        generation = answer.raise_for_status().json()["generation"]
        clock = asyncio.get_running_loop().time
        begin = clock()
        while set(await self._generations()) != {generation}:
            if clock() - begin > PROPAGATION + self._plan.lateness:
                self.seen.problems.append(f"{action}: not every worker had generation {generation} after {clock() - begin:.1f} s")
                return
            await asyncio.sleep(0.02)
        self.seen.shown.append(clock() - begin)

    async def _generations(self) -> list[int]:
        """Of each worker, by the router's metrics."""
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
            text = (await client.get(f"http://127.0.0.1:{self._metrics}/metrics")).text
        return [int(float(value)) for value in re.findall(rf"^{contract.METRIC_GENERATION}{{.*}} (\S+)$", text, re.MULTILINE)]

    async def _hand_over(self) -> None:
        """As a deployment does it: the new router takes the sockets, the old one is told to end, and does so in order."""
        old, self._router = self._router, await self._start_router()
        await self._processes.stop(old)
        if old.process.returncode != 0:
            self.seen.problems.append(f"a router that was told to end did so with code {old.process.returncode}")

    def _tell(self, act: Act, left: float) -> None:
        last = self.seen.seconds[-5:]
        rate = statistics.mean(line["sent"] for line in last) if last else 0.0
        errors = sum(line["errors"] for line in self.seen.seconds)
        opened = self.seen.samples[-1].counters["failure_mode_allowed"] if self.seen.samples else 0
        print(f"{act:9}  {rate:4.0f} requests/s, {errors} errors, {opened} failed open so far, {left:3.0f} s to go", flush=True)


# ------------------------------------------------------------------------------------------------------------------------ entries
async def run(plan: Plan) -> Seen:
    """One soak; raises DemoError with the cause where it cannot go on."""
    async with Processes() as processes:
        return await Soak(plan, processes).run()


def section(minutes: float = 10) -> tuple[list[str], list[str]]:
    """For `loadtest.proof`: lines of Markdown, and what was promised and not seen."""
    seen = uvloop.run(run(Plan(seconds=minutes * 60)))
    return told(seen), verdict(seen)


def main() -> int:
    """Entry point."""
    plan = Plan()
    parser = argparse.ArgumentParser(description="Load through the real Envoy while workers are drained, killed and stopped.")
    parser.add_argument("--minutes", type=float, default=plan.seconds / 60)
    parser.add_argument("--rate", type=float, default=plan.rate, help="requests per second, open loop")
    parser.add_argument("--every", type=float, default=plan.every, help="seconds between acts")
    parser.add_argument("--seed", type=int, default=plan.seed, help="another seed is another order of acts")
    parser.add_argument("--warm", type=float, default=plan.warm, help="seconds of a process's life that do not count for its memory")
    given = parser.parse_args()
    try:
        seen = uvloop.run(run(Plan(given.minutes * 60, given.rate, given.every, given.seed, given.warm)))
    except ExtprocError as error:
        print(error, file=sys.stderr)
        return 2
    problems = verdict(seen)
    print("\n".join(["", *told(seen), "", *(f"NOT as promised: {problem}" for problem in problems)]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
