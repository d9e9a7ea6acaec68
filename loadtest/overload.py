"""More requests than this machine can answer, through the real Envoy, and workers that stand still. `python -m loadtest.overload`.

    python -m loadtest.overload --comfortable 600 --twice 60      (about 15 minutes)

`extproc serve` (two workers, native transport, controller, API), Envoy (two threads), a model that answers at once and an open-loop load
generator share this machine. First its comfortable limit is looked for: the highest rate at which p99 stays near that of a quiet machine.
Then: minutes at that rate, a minute at twice that, the first rate again; then every worker is stopped (SIGSTOP) under load, and after that
runs for a quarter of the time only. Promised: no client error, bounded latency and memory, the circuit breaker and not a queue, the
evaluate loop punctual, everything as before afterwards. Exit code 1 where that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import uvloop

from extproc import contract
from extproc.demo import stand
from extproc.demo.envoy import Envoy
from extproc.demo.family import children
from extproc.demo.processes import Child, Processes
from extproc.errors import ExtprocError
from extproc.render.clusters import WAITING
from loadtest import open_loop, steady
from loadtest.overload_picture import picture
from loadtest.overload_report import MESSAGE_TIMEOUT, SHORT, WORKERS, Plan, Sample, Seen, Stage, comfortable, told, verdict
from loadtest.steady import Course, Second
from loadtest.vitals import cpu_of, resident

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = ROOT / "docs" / "proof" / "overload.svg"
START: Final = 90.0
LAST_ANSWERS: Final = 40.0
STATS: Final = (
    r"(\.ext_proc\.(streams_started|stream_msgs_received|failure_mode_allowed|message_timeouts)$"
    rf"|^cluster\.{contract.ROUTER_CLUSTER}\.(upstream_rq_(active|pending)_overflow|upstream_rq_active|upstream_rq_retry)$"
    r"|grpc_access_log\.logs_dropped$)"
)
"""What is read of Envoy each second; the last part of each name is unique among them."""
SLOW: Final = (0.15, 0.05)
"""Seconds that a slow worker stands still, and then runs."""
ENOUGH: Final = 1.25 * WAITING * WORKERS / MESSAGE_TIMEOUT
"""Requests per second that fill the circuit breaker while nobody decides."""
WARM_UP: Final = 5.0
TRIES: Final = 3
"""Steps of the search at the same rate that must fail before it ends: a machine has its moments."""
CALM: Final = 0.8
PROMOTIONS: Final = 2
"""From 1 % to 25 %."""


class Overload:
    """One run in a directory of its own."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.seen = Seen(plan)
        self._plan, self._processes = plan, processes
        self._clock = asyncio.get_running_loop().time
        self._serve: Child
        self._client: Child
        self._envoy: Envoy
        self._api: httpx.AsyncClient

    async def run(self) -> Seen:
        """From the first process to the last answer; raises DemoError where a part ends by itself."""
        path, model = await self._start()
        token = (self._processes.directory / "extproc.db.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self._ports.api}", headers=headers, trust_env=False, timeout=30.0
        ) as self._api:
            await self._expose()
            course = Course(self._ports.listener, path, model, self._plan.quiet_rate, self._plan.connections, self._plan.seed)
            command, importing = [sys.executable, "-m", steady.__name__], {"PYTHONPATH": str(ROOT)}
            self._client = await self._processes.start("load generator", command, importing, speaks=True)
            await self._client.tell(asdict(course))
            tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._sample())]
            try:
                await self._stages(tasks)
                self._client.close_input()
                await asyncio.wait_for(tasks[0], LAST_ANSWERS)
                ended = self._clock()
                while not tasks[1].done() and self.seen.samples[-1].at < ended:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return self.seen

    # ------------------------------------------------------------------------------------------------------------------- stand
    async def _start(self) -> tuple[str, str]:
        processes = self._processes
        upstream = await processes.start("model", [sys.executable, open_loop.__file__, "upstream"], speaks=True)
        port = int((await upstream.line(START))["port"])
        document, self._ports = stand.template(), stand.Ports.free(processes.directory)
        stand.fill(document, self._ports, dict.fromkeys(document["models"], port))
        ((self._rollout, rollout),) = document["rollouts"].items()
        for phase in rollout["phases"]:
            # It is moved by hand, once: shares do not change while it is measured.
            phase |= {"min_dwell": "6h", "max_dwell": "12h"}
        spec = stand.write_spec(document, processes.directory)
        self._serve = await stand.start_serve(processes, spec, self._ports, WORKERS)
        self._envoy = await stand.start_envoy(processes, spec, self._ports, WORKERS)
        return f"{rollout['match']['paths'][0]}chat/completions", rollout["match"]["models"][0]

    async def _expose(self) -> None:
        """A quarter of the people meet the canary."""
        async with asyncio.timeout(START):
            while (await self._status())["rollouts"][self._rollout]["status"] != "progressing":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for _ in range(PROMOTIONS):
            answer = await self._api.post(f"/v1/rollouts/{self._rollout}/promote", json={"why": "overload", "actor": "proof"})
            answer.raise_for_status()

    async def _status(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self._api.get("/v1/status", timeout=10.0)).raise_for_status().json()
        return answer

    def _members(self) -> list[tuple[str, int]]:
        """(role, process id) of everything whose memory must be bounded."""
        found = [("Envoy", self._envoy.child.process.pid), ("supervisor", self._serve.process.pid)]
        for pid in children(self._serve.process.pid):
            role = "worker" if b"extproc.router.worker" in _command(pid) else "controller"
            found.append((role, pid))
            found += [("API", child) for child in children(pid)] if role == "controller" else []
        return found

    # -------------------------------------------------------------------------------------------------------------------- eyes
    async def _read(self) -> None:
        """The load generator's lines, until it has ended."""
        assert self._client.process.stdout is not None
        while not self._client.process.stdout.at_eof():
            line = await self._client.process.stdout.readline()
            if line:
                self.seen.seconds.append(Second(**orjson.loads(line)))

    async def _sample(self) -> None:
        while True:
            at = self._clock()
            stats = await self._envoy.stats(STATS)
            counters: dict[str, int] = {}
            for name, value in stats.items():
                last = name.rpartition(".")[2]
                counters[last] = counters.get(last, 0) + value
            status = await self._status()
            memory = {(role, pid): size for role, pid in self._members() if (size := resident(pid)) is not None}
            counters["shed"] = sum(router["shed"] for router in status["routers"])
            blind = self._rollout in status["watch"]["blind"]
            withdrawn = any(self._rollout in router["withdrawn"] for router in status["routers"])
            cpu = {(role, pid): used for role, pid in self._members() if (used := cpu_of(pid)) is not None}
            self.seen.samples.append(Sample(at, counters, memory, cpu, status["loop"]["lag"], blind, withdrawn))
            await asyncio.sleep(max(0.0, at + 1.0 - self._clock()))

    # ------------------------------------------------------------------------------------------------------------------ stages
    async def _stages(self, tasks: list[asyncio.Task[None]]) -> None:
        plan = self._plan
        await self._stage("warming up", plan.quiet_rate, min(plan.step, WARM_UP), tasks)
        quiet = await self._stage("quiet", plan.quiet_rate, plan.step, tasks)
        rate = plan.rate or await self._search(quiet, tasks)
        self.seen.rate = rate
        await self._stage("comfortable", rate, plan.comfortable, tasks)
        await self._stage("twice", 2 * rate, plan.twice, tasks)
        await self._stage("after", rate, plan.after, tasks)
        self._tell_workers(signal.SIGSTOP)
        try:
            await self._stage("stopped", plan.stopped_rate or max(2 * rate, ENOUGH), plan.stopped, tasks)
        finally:
            self._tell_workers(signal.SIGCONT)
        await self._stage("running again", rate, plan.after, tasks)
        slowing = asyncio.create_task(self._slow())
        try:
            await self._stage("slow", rate, plan.slow, tasks)
        finally:
            slowing.cancel()
            await asyncio.gather(slowing, return_exceptions=True)
            self._tell_workers(signal.SIGCONT)
        await self._stage("at the end", rate, plan.after, tasks)

    async def _search(self, quiet: Stage, tasks: list[asyncio.Task[None]]) -> float:
        """The highest rate that is comfortable, in steps of a quarter; a little less than that, since a step is short."""
        rate, best = self._plan.first_rate, self._plan.quiet_rate
        while True:
            for _ in range(TRIES):
                step = await self._stage(f"{rate:.0f}/s", rate, self._plan.step, tasks)
                if not (why := comfortable(self.seen, quiet, step)):
                    break
            if why:
                self.seen.limit = f"{rate:,.0f}/s is not: {why}"
                return CALM * best
            rate, best = rate * 1.25, rate

    async def _stage(self, name: str, rate: float, seconds: float, tasks: list[asyncio.Task[None]]) -> Stage:
        await self._client.tell({"rate": rate})
        stage = Stage(name, rate, self._clock(), self._clock() + seconds)
        while self._clock() < stage.end:
            self._processes.check()
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(min(0.2, max(0.0, stage.end - self._clock())))
        self.seen.stages.append(stage)
        print(self.seen.line(stage), flush=True)
        return stage

    # ----------------------------------------------------------------------------------------------------------------- workers
    def _tell_workers(self, number: int) -> None:
        """Those of now: the supervisor replaces one that stands still for three seconds."""
        for role, pid in self._members():
            if role == "worker":
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    async def _slow(self) -> None:
        """Every worker runs for a quarter of the time only, as on a machine that has none left."""
        still, runs = SLOW
        while True:
            self._tell_workers(signal.SIGSTOP)
            await asyncio.sleep(still)
            self._tell_workers(signal.SIGCONT)
            await asyncio.sleep(runs)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# ------------------------------------------------------------------------------------------------------------------------ entries
async def run(plan: Plan) -> Seen:
    """One run; raises ExtprocError with the cause where it cannot go on."""
    async with Processes() as processes:
        return await Overload(plan, processes).run()


def section(plan: Plan | None = None) -> tuple[list[str], list[str]]:
    """For `loadtest.proof`: lines of Markdown, and what was promised and not seen. The picture goes beside them."""
    seen = uvloop.run(run(plan or Plan()))
    PICTURE.write_text(picture(seen))
    return [*told(seen), "", "![timeline](overload.svg)"], verdict(seen)


def main() -> int:
    """Entry point."""
    plan = Plan()
    parser = argparse.ArgumentParser(description="More requests than this machine can answer, and workers that stand still.")
    parser.add_argument("--rate", type=float, default=0.0, help="the comfortable rate; 0: look for it")
    for name in ("step", "comfortable", "twice", "after", "stopped", "slow"):
        parser.add_argument(f"--{name}", type=float, default=getattr(plan, name), help="seconds")
    parser.add_argument("--short", action="store_true", help="a minute at the comfortable rate and 20 s at twice that")
    given = vars(parser.parse_args())
    plan = replace(SHORT, rate=given["rate"]) if given.pop("short") else Plan(**given)
    try:
        seen = uvloop.run(run(plan))
    except ExtprocError as error:
        print(error, file=sys.stderr)
        return 2
    problems = verdict(seen)
    print("\n".join(["", *told(seen), "", *(f"NOT as promised: {problem}" for problem in problems)]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
