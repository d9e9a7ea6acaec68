"""What faults are done to: two models, `extproc serve`, the real Envoy, a student in front; and how to look at each of them."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from extproc import contract
from extproc.demo import family, stand
from extproc.demo.cable import Cable
from extproc.demo.envoy import Envoy, find_envoy
from extproc.demo.processes import Child, DemoError, Processes
from extproc.errors import Problem
from loadtest.fault_student import StudentSettings
from loadtest.faults_report import LEASE, Answer, Plan
from tests.support.disks import can_mount, no_room, small_disk

ROOT: Final = Path(__file__).parents[1]
WORKERS: Final = 2
KNOBS: Final = {"ttft": 0.02, "tokens_per_second": 4000.0, "output_tokens": 20.0}
DISK: Final = "16m"
FILE_LIMIT: Final = 4096
"""Bytes beyond which no file of the controller may be written, where no disk can be mounted: a full disk by its second name."""
READY: Final = 30.0
DRAIN: Final = 2
HANDOVER: Final = 5
"""Seconds that an Envoy which is replaced has for its open requests, and until it ends."""
WIDE: Final = "400"
"""Columns of the terminal in which `extproc status` writes: no line is broken."""


class Ground:
    """All of it, running."""

    def __init__(self, plan: Plan, processes: Processes, disk: Path | None) -> None:
        self._plan, self._processes = plan, processes
        self._disk = disk
        directory = processes.directory
        self.ports = stand.Ports.free(directory)
        self.document = stand.template()
        ((self.rollout, rollout),) = self.document["rollouts"].items()
        self.canary, self.stable = rollout["canary"], rollout["stable"]
        self.store = (disk or directory) / "extproc.db"
        self.answers: list[Answer] = []
        """Every answer of the student, in the order in which they ended."""
        self.cable = Cable(directory / "cable.sock", Path(self.ports.collector.removeprefix("unix:")))
        self.envoy: Envoy
        self._spec = directory / "release.yaml"
        self._serve: Child
        self._student: Child
        self._listening: asyncio.Task[None]
        self._epoch = 0
        self._http = httpx.AsyncClient(trust_env=False, timeout=30.0)

    # ------------------------------------------------------------------------------------------------------------------- start
    async def start(self) -> None:
        """Everything up, the rollout at half, paused by a person; the student asks."""
        models = [await stand.ModelHandle.start(self._processes, name, index, KNOBS) for index, name in enumerate(self.document["models"])]
        stand.fill(self.document, self.ports, {model.name: model.port for model in models})
        self.document["application"]["watch_lease"] = f"{LEASE:g}s"
        self.document["rollouts"][self.rollout]["start"] = "manual"
        self.write_spec()
        await self.start_serve()
        await self.cable.mend()
        await self._render()
        self.envoy = await self._start_envoy()
        for action in ("start", "promote", "promote", "promote", "pause"):
            await self.act(action)
        url = f"http://127.0.0.1:{self.ports.listener}/v1/chat/completions"
        settings = StudentSettings(url, self.stable, self._plan.rate, self._plan.people, self._plan.streaming, self._plan.seed)
        self._student = await start_student(self._processes, settings)
        self._listening = asyncio.create_task(listen(self._student, self.answers))

    async def stop(self) -> None:
        """No more questions; every answer is there. Then the cable is cut for good, and nothing listens any more."""
        self._student.close_input()
        await asyncio.wait_for(self._listening, READY)
        await self._processes.stop(self._student)
        await self.cable.cut()
        await self._http.aclose()

    def write_spec(self, text: str = "") -> None:
        """The Spec's file: the document, or any text."""
        if text:
            self._spec.write_text(text)
        else:
            stand.write_spec(self.document, self._processes.directory)

    async def start_serve(self) -> None:
        """`extproc serve`; returns when it serves."""
        words = ["--spec", str(self._spec), "--listen", self.ports.router, "--workers", str(WORKERS), "--store", f"sqlite:{self.store}"]
        words += ["--metrics-port", str(self.ports.metrics), "--collector", self.ports.collector, "--api-port", str(self.ports.api)]
        self._serve = await self._processes.start("extproc serve", [*stand.EXTPROC, "serve", *words])
        deadline = asyncio.get_running_loop().time() + READY
        while not (await self.serving() == WORKERS and await self.status() is not None):
            if asyncio.get_running_loop().time() > deadline or self._serve.process.returncode is not None:
                raise DemoError(self._serve.problem("faults.not-ready", f"did not serve within {READY:g} s"))
            await asyncio.sleep(0.05)

    async def bury_serve(self) -> None:
        """After it was killed: nothing of its family is left."""
        await self._processes.stop(self._serve)

    async def _render(self) -> None:
        words = ["--router", self.ports.router, "--workers", str(WORKERS), "--collector", f"unix:{self._processes.directory}/cable.sock"]
        command = [*stand.EXTPROC, "render", "envoy", str(self._spec), *words, "-o", str(self._config)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await process.communicate()
        if process.returncode:
            raise DemoError(Problem("faults.render", "extproc render envoy", said.decode(errors="replace"), "this is a defect"))

    @property
    def _config(self) -> Path:
        return self._processes.directory / "envoy.yaml"

    # ------------------------------------------------------------------------------------------------------------------- Envoy
    async def _start_envoy(self) -> Envoy:
        """The next epoch: an Envoy that takes the listeners of the one before, if there is one."""
        base = self._processes.directory / "base-id"
        words = ["--config-path", str(self._config), "--concurrency", "2", "--log-level", "warning", "--drain-time-s", str(DRAIN)]
        words += ["--parent-shutdown-time-s", str(HANDOVER), "--restart-epoch", str(self._epoch)]
        words += ["--base-id", base.read_text().strip()] if self._epoch else ["--use-dynamic-base-id", "--base-id-path", str(base)]
        child = await self._processes.start(f"envoy {self._epoch}", [find_envoy(), *words])
        deadline = asyncio.get_running_loop().time() + READY
        while not await self._is_live(self._epoch):
            if asyncio.get_running_loop().time() > deadline or child.process.returncode is not None:
                raise DemoError(child.problem("faults.envoy", f"was not ready within {READY:g} s"))
            await asyncio.sleep(0.05)
        self._epoch += 1
        return Envoy(child, self.ports.admin)

    async def _is_live(self, epoch: int) -> bool:
        with suppress(httpx.TransportError):
            found = (await self._http.get(f"http://127.0.0.1:{self.ports.admin}/server_info")).json()
            return bool(found["state"] == "LIVE" and found["command_line_options"]["restart_epoch"] == epoch)
        return False

    async def replace_envoy(self) -> None:
        """Envoy's own hot restart; returns when the old process has ended by itself."""
        old, self.envoy = self.envoy, await self._start_envoy()
        await asyncio.wait_for(old.child.process.wait(), READY)
        await self._processes.stop(old.child)

    async def envoy_stat(self, name: str) -> tuple[str, int]:
        """The counter or gauge whose name ends like this, and its value; ("", 0) where there is none."""
        found = await self.envoy.stats(rf"{re.escape(name)}$")
        return max(found.items(), key=lambda pair: pair[1], default=("", 0))

    # ----------------------------------------------------------------------------------------------------------------- extproc
    @property
    def supervisor(self) -> int:
        """Process id of `extproc serve`."""
        return self._serve.process.pid

    def check(self) -> None:
        """Raise DemoError if a process has ended that nobody has killed."""
        self._processes.check()

    def workers(self) -> list[int]:
        """Process ids."""
        return family.workers(self.supervisor)

    def controller(self) -> int:
        """Process id; raises DemoError where there is none."""
        return family.controller(self.supervisor)

    async def act(self, action: str) -> None:
        """What a person does over the API."""
        answer = await self._ask("POST", f"/v1/rollouts/{self.rollout}/{action}", json={"why": "table of faults"})
        answer.raise_for_status()

    async def status(self) -> dict[str, Any] | None:
        """As JSON; None where nobody answers."""
        with suppress(httpx.TransportError, FileNotFoundError):
            answer = await self._ask("GET", "/v1/status")
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        return None

    async def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        token = self.store.with_name(self.store.name + ".token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        return await self._http.request(method, f"http://127.0.0.1:{self.ports.api}{path}", headers=headers, **arguments)

    async def told(self, mark: str) -> str:
        """The line of `extproc status` that has `mark` in it, with a table's heads above it, names of this machine left out; else ""."""
        words = ["status", "--api", f"http://127.0.0.1:{self.ports.api}", "--token-file", f"{self.store}.token"]
        process = await asyncio.create_subprocess_exec(
            *stand.EXTPROC, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "COLUMNS": WIDE},
        )  # fmt: skip
        said, _ = await process.communicate()
        lines = (" ".join(line.strip(" │╭╮╰╯─").split()) for line in said.decode().splitlines())
        before = ""
        for line in lines:
            if mark in line:
                heads = before if before.startswith("workers generation") else ""
                return self._neutral(f"{heads}\n{line}".strip())
            before = line
        return ""

    def _neutral(self, line: str) -> str:
        for found, instead in (
            (str(self.store.parent), "/var/lib/extproc"),
            (str(self._processes.directory), "/run/extproc"),
            (socket.gethostname(), "host"),
            (f"127.0.0.1:{self.ports.api}", f"127.0.0.1:{contract.DEFAULT_API_PORT}"),
        ):
            line = line.replace(found, instead)
        return line

    async def metric(self, name: str, *having: str, least: float = 1.0) -> str:
        """The line of the router's or the controller's exposition that begins with `name`, has these words and at least this value."""
        best, most = "", least
        for port in (self.ports.metrics, self.ports.api):
            with suppress(httpx.TransportError):
                for line in (await self._http.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines():
                    if line.startswith(name) and all(word in line for word in having) and float(line.rsplit(" ", 1)[1]) >= most:
                        best, most = line, float(line.rsplit(" ", 1)[1])
        return best

    async def serving(self) -> int:
        """Workers that answer the supervisor; 0 where that is dead."""
        line = await self.metric(f'{contract.METRIC_WORKERS}{{state="serving"}}', least=0.0)
        return int(float(line.rsplit(" ", 1)[1])) if line else 0

    # -------------------------------------------------------------------------------------------------------------------- disk
    @contextmanager
    def full_disk(self) -> Iterator[str]:
        """No room for the store; says how that was done."""
        if self._disk is not None:
            with no_room(self._disk):
                yield f"the store's disk (a tmpfs of {DISK}) is filled to the last byte"
            return
        controller = self.controller()
        before = resource.prlimit(controller, resource.RLIMIT_FSIZE)
        resource.prlimit(controller, resource.RLIMIT_FSIZE, (FILE_LIMIT, before[1]))
        try:
            yield f"the controller's files may not be written beyond {FILE_LIMIT} bytes (RLIMIT_FSIZE)"
        finally:
            resource.prlimit(controller, resource.RLIMIT_FSIZE, before)

    async def lock_store(self) -> Child:
        """Another process holds a transaction open, until it is stopped."""
        code = (
            "import sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n"
            "db.execute('BEGIN EXCLUSIVE')\n"
            "print('{}', flush=True)\n"
            "sys.stdin.read()\n"
        )
        child = await self._processes.start("lock", [sys.executable, "-c", code, self.store], speaks=True)
        await child.line(READY)
        return child

    async def unlock_store(self, child: Child) -> None:
        """It is gone."""
        await self._processes.stop(child)

    # ----------------------------------------------------------------------------------------------------------------- student


async def start_student(processes: Processes, settings: StudentSettings) -> Child:
    """Somebody who asks from now on, and tells of every answer."""
    command = [sys.executable, "-m", "loadtest.fault_student"]
    # loadtest is no installed package, and children run elsewhere.
    student = await processes.start("student", command, {"PYTHONPATH": str(ROOT)}, speaks=True)
    await student.tell(asdict(settings))
    return student


async def listen(student: Child, answers: list[Answer]) -> None:
    """Keep what a student tells, until it has asked its last."""
    assert student.process.stdout is not None
    while line := await student.process.stdout.readline():
        answers += [Answer(*one) for one in orjson.loads(line)]


@asynccontextmanager
async def ground(plan: Plan) -> AsyncIterator[Ground]:
    """Everything started; nothing of it is left afterwards."""
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(DISK)) if can_mount() else None
        async with Processes() as processes:
            made = Ground(plan, processes, disk)
            await made.start()
            try:
                yield made
            finally:
                await made.stop()


async def until(what: Callable[[], Any], seconds: float) -> bool:
    """Wait for it; False where it did not come in time."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while not await what():
        if clock() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
