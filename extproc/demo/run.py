"""The demo: a whole rollout on the real Envoy, watched through extproc's own API, and checked against the models' ledgers."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from extproc import contract
from extproc import spec as spec_room
from extproc.demo import books, crowd, family, stand
from extproc.demo.cable import Cable
from extproc.demo.crowd import Crowd
from extproc.demo.processes import Child, DemoError, Processes
from extproc.demo.story import Act, Fault, Scenario, Script, Turn
from extproc.demo.traffic import TrafficSettings
from extproc.errors import Problem

RATE: Final = 250.0
FAST_RATE: Final = 400.0
"""Requests per second that two cores carry with room to spare, the models and the clients included."""
FAST_DWELL: Final = "5s"
SHORTER: Final = 1 / 3
"""What --fast makes of dwells that a scenario has asked for."""
LOOK_EVERY: Final = 0.2
AFTERMATH: Final = 4.0
"""Seconds that the traffic goes on after the end: nobody may meet a rolled-back canary in them."""
LAST_ANSWERS: Final = 40.0
"""Seconds that the last open requests may take; a client gives up after 30."""
SETTLE: Final = 1.5
"""Seconds for the last access-log entries to arrive."""
LONGEST: Final = 840.0
PATIENCE: Final = 20.0
"""Seconds that the API may be silent; a controller that was killed is back in about one."""
WORKERS: Final = 2
CHAT: Final = "/v1/chat/completions"
KNOBS: Final = {"ttft": 0.06, "tokens_per_second": 800.0, "output_tokens": 60.0}

Show = Callable[[dict[str, Any], list[dict[str, Any]], str], None]
"""(status document, journal, what the script did last)."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `extproc demo` was asked to do."""

    scenario: Scenario
    fast: bool = False
    """Shorter dwells and more traffic; nothing else."""
    people: int = 0
    """0: as many as the scenario says."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """How a demo ended."""

    story: str
    problems: list[str]
    """Empty where extproc's books agree with the models' and the scenario ended as it should."""
    rollback_seconds: float | None
    seconds: float
    who: Crowd | None = None
    """Who got what, where the scenario is about that."""


class Demo:
    """One demo in a directory of its own."""

    def __init__(
        self,
        settings: DemoSettings,
        processes: Processes,
        show: Show,
        say: Callable[[str], None],
        serves: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._scenario = settings.scenario.shortened(SHORTER) if settings.fast else settings.scenario
        self._script = Script(self._scenario.script)
        self._paged: set[str] = set()
        self._held: dict[str, str] = {}
        self._processes = processes
        self._show = show
        self._say = say
        self._serves = serves
        self._models: dict[str, stand.ModelHandle] = {}
        self._news = ""
        self._rollout = self._stable = self._canary = ""
        self._rate = 0.0
        self._record = processes.directory / "answers.jsonl"
        self._serve: Child
        self._cable: Cable
        self._acts: dict[Act, float] = {}
        self._earlier: list[books.Belief] = []
        """What controllers counted that were killed since."""

    async def run(self) -> Result:
        """Start everything, watch it to its end, compare."""
        begun = time.monotonic()
        document, ports = await self._start()
        token = (self._processes.directory / "extproc.db.token").read_text().strip()
        address = f"http://127.0.0.1:{ports.api}/console/"
        self._say(f"the console: {address}#token={token}")
        self._serves(address)
        traffic = await self._start_traffic(document, ports)
        headers = {"authorization": f"Bearer {token}"}
        base = f"http://127.0.0.1:{ports.api}"
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=5.0) as api, _telling(traffic) as telling:
            status = await self._watch(api, traffic)
            traffic.close_input()
            clients, ended = await asyncio.wait_for(telling, LAST_ANSWERS), time.time()
            await asyncio.sleep(SETTLE)
            belief = books.Belief.together([*self._earlier, books.Belief.read((await api.get("/metrics")).text)])
            journal = await _journal(api)
        await self._cable.cut()
        stable, canary = [await self._models[name].ledger() for name in (self._stable, self._canary)]
        scenario = self._scenario
        problems = books.disagreements(belief, stable, canary, clients, scenario.unheard * self._rate)
        untold = tuple(turn.sentence for turn in self._script.untold)
        seen = books.Seen(status["status"], status["why"], frozenset(self._paged), tuple(status["cohorts_out"]), untold, self._held)
        problems += books.shortcomings(scenario, seen, belief, stable, canary, clients, self._acts)
        who = self._who(journal, ended) if scenario.who else None
        if who is not None:
            problems += [*who.problems(belief.undecided), *books.miscounted(who, stable, canary)]
        seconds = time.monotonic() - begun
        story = books.told(scenario, status, journal, canary, clients, belief, self._acts, seconds) + books.held(self._held)
        return Result(story, problems, books.rollback_seconds(canary, scenario.fault or Fault.FAILS), seconds, who)

    def _who(self, journal: list[dict[str, Any]], ended: float) -> Crowd:
        """Every answer that clients wrote down, beside what the Spec gives."""
        spec = spec_room.read(str(self._processes.directory / "release.yaml"))
        with self._record.open("rb") as lines:
            stood = crowd.stands(spec, self._rollout, journal, ended)
            return crowd.crowd(spec, self._rollout, stood, CHAT, crowd.read(lines), self._scenario.out)

    # ------------------------------------------------------------------------------------------------------------------ start
    async def _start(self) -> tuple[dict[str, Any], stand.Ports]:
        document = stand.template(self._scenario.spec)
        ports = stand.Ports.free(self._processes.directory)
        ((self._rollout, rollout),) = document["rollouts"].items()
        self._stable, self._canary = rollout["stable"], rollout["canary"]
        self._say("starting two simulated models")
        for index, name in enumerate(document["models"]):
            knobs = KNOBS | dict(self._scenario.knobs)
            self._models[name] = await stand.ModelHandle.start(self._processes, name, self._settings.seed + index, knobs)
        self._change(document)
        if document.get("judge", {}).get("judges"):
            self._say("starting a simulated judge")
            self._models[stand.JUDGE] = await stand.ModelHandle.judge(self._processes, self._settings.seed)
        stand.fill(document, ports, {name: model.port for name, model in self._models.items()})
        spec = stand.write_spec(document, self._processes.directory)
        self._say("starting extproc: two router workers, controller, embedded store")
        self._serve = await stand.start_serve(self._processes, spec, ports, WORKERS)
        self._say("starting the real Envoy with the configuration that `extproc render envoy` wrote")
        self._cable = Cable(self._processes.directory / "cable.sock", Path(ports.collector.removeprefix("unix:")))
        await stand.start_envoy(self._processes, spec, await self._through_cable(ports), WORKERS)
        return document, ports

    def _change(self, document: dict[str, Any]) -> None:
        """What speed and scenario make of the Spec."""
        scenario = self._scenario
        if scenario.change is not None:
            scenario.change(document)
        for phase in document["rollouts"][self._rollout]["phases"]:
            if self._settings.fast:
                phase["min_dwell"] = FAST_DWELL
            if phase["share"] in scenario.dwell:
                phase["min_dwell"] = f"{scenario.dwell[phase['share']]:g}s"
            if scenario.max_dwell:
                phase["max_dwell"] = f"{scenario.max_dwell:g}s"
        if scenario.lease:
            document["application"]["watch_lease"] = scenario.lease

    async def _through_cable(self, ports: stand.Ports) -> stand.Ports:
        """Envoy's access log takes the way that the script can cut, where it does; else it goes straight to the controller."""
        if not any(turn.act is Act.CUT_ACCESS_LOG for turn in self._scenario.script):
            return ports
        await self._cable.mend()
        return replace(ports, collector=f"unix:{self._processes.directory}/cable.sock")

    async def _start_traffic(self, document: dict[str, Any], ports: stand.Ports) -> Child:
        people = self._settings.people or self._scenario.people
        self._rate = (self._scenario.rate or RATE) * (FAST_RATE / RATE if self._settings.fast else 1.0)
        settings = TrafficSettings(
            url=f"http://127.0.0.1:{ports.listener}{CHAT}",
            rate=self._rate,
            canary_model=self._canary,
            model=self._stable,
            seed=self._settings.seed,
            people=people,
            timeout=self._scenario.patience,
            tier_header=document.get("identity", {}).get("tier_header", "x-user-tier"),
            feedback_url=f"http://127.0.0.1:{ports.listener}{contract.FEEDBACK_PATH}",
            reacts=self._scenario.reacts,
            record=str(self._record) if self._scenario.who else "",
        )
        self._say(f"starting traffic: {self._rate:.0f} requests/s from {settings.people:,} people")
        child = await self._processes.start("traffic", [sys.executable, "-m", "extproc.demo.traffic"], speaks=True)
        await child.tell(asdict(settings))
        return child

    # ------------------------------------------------------------------------------------------------------------------ watch
    async def _watch(self, api: httpx.AsyncClient, traffic: Child) -> dict[str, Any]:
        """Show and steer until the rollout has ended and a little longer; the rollout's last status."""
        loop = asyncio.get_running_loop()
        last, ended = loop.time(), 0.0
        deadline = last + LONGEST
        while True:
            self._processes.check()
            now = loop.time()
            try:
                status: dict[str, Any] = (await api.get("/v1/status")).raise_for_status().json()
                journal = await _journal(api)
            except httpx.HTTPError as error:
                # Whoever kills the controller waits for it to come back.
                if now - last > PATIENCE:
                    said = f"the API has not answered for {PATIENCE:g} s: {error}"
                    raise DemoError(self._serve.problem("demo.no-status", said)) from error
                await asyncio.sleep(LOOK_EVERY)
                continue
            last = now
            rollout: dict[str, Any] = status["rollouts"][self._rollout]
            self._show(status, journal, self._news)
            for pattern, reason in books.hold(self._scenario, rollout["now"]).items():
                self._held.setdefault(pattern, reason)
            if rollout["page"]:
                self._paged.add(rollout["now"])
            if rollout["status"] in ("progressing", "shadow"):
                for turn in self._script.due("shadow" if rollout["status"] == "shadow" else rollout["phase"], now):
                    await self._turn(turn, rollout, traffic, api)
            if rollout["status"] in ("completed", "rolled_back"):
                ended = ended or now
                if now - ended > AFTERMATH:
                    return rollout
            elif rollout["status"] == "awaiting_approval" or now > deadline:
                return rollout
            await asyncio.sleep(LOOK_EVERY)

    async def _turn(self, turn: Turn, rollout: dict[str, Any], traffic: Child, api: httpx.AsyncClient) -> None:
        self._news = turn.sentence
        if turn.canary_rate is not None:
            self._rate = min(self._rate, turn.canary_rate / rollout["share"])
            await traffic.tell({"rate": self._rate})
        if turn.arm:
            arms = {"canary": self._canary, "stable": self._stable, "judge": stand.JUDGE}
            whose = [self._canary, self._stable] if turn.arm == "both" else [arms[turn.arm]]
            await asyncio.gather(*(self._models[name].turn(turn.knobs) for name in whose))
        if turn.act is not None:
            await self._act(turn.act, api)

    async def _act(self, act: Act, api: httpx.AsyncClient) -> None:
        serve = self._serve.process.pid
        if act is Act.KILL_CONTROLLER:
            self._earlier.append(books.Belief.read((await api.get("/metrics")).text))
        self._acts[act] = time.time()
        match act:
            case Act.KILL_WORKERS:
                family.signal_all(family.workers(serve), signal.SIGKILL)
            case Act.KILL_CONTROLLER:
                family.signal_all([family.controller(serve)], signal.SIGKILL)
            case Act.FREEZE_CONTROLLER:
                family.signal_all([family.controller(serve)], signal.SIGSTOP)
            case Act.THAW_CONTROLLER:
                family.signal_all([family.controller(serve)], signal.SIGCONT)
            case Act.CUT_ACCESS_LOG:
                await self._cable.cut()
            case Act.MEND_ACCESS_LOG:
                await self._cable.mend()
            case Act.RESUME:
                await self._resume(str(api.base_url))

    async def _resume(self, address: str) -> None:
        """A person, by the command that people use."""
        token = self._processes.directory / "extproc.db.token"
        words = ["resume", self._rollout, "--why", "incident 4711 is over", "--api", address, "--token-file", str(token)]
        process = await asyncio.create_subprocess_exec(
            *stand.EXTPROC, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise DemoError(Problem("demo.refused", "extproc resume", said.decode(errors="replace").strip(), "this is a defect: report it"))


async def _journal(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (await api.get("/v1/journal")).raise_for_status().json()["entries"]
    return entries


@asynccontextmanager
async def _telling(traffic: Child) -> AsyncIterator[asyncio.Task[dict[str, Any]]]:
    """Traffic's last line, while the block lasts; a demo that is interrupted stops listening before it stops traffic."""
    task = asyncio.create_task(_last_line(traffic))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _last_line(traffic: Child) -> dict[str, Any]:
    """What traffic says at its end: demo.tally.Tally.total. Its lines are read as they come, or it would have to wait for us."""
    while True:
        line = await traffic.line(LONGEST)
        if line.get("final"):
            return line


async def run(settings: DemoSettings, show: Show, say: Callable[[str], None], serves: Callable[[str], object] = str) -> Result:
    """A demo from the first process to the last; raises DemoError with the cause where it cannot go on. `serves` is told the console's
    address, without the token, as soon as it is there."""
    async with Processes() as processes:
        return await Demo(settings, processes, show, say, serves).run()
