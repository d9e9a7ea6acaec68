"""A whole extproc with the real Envoy, models and traffic, that runs beside a test and does what it is told.

python -m tests.support.console_stand      keeps one running, prints its address and token, and takes knobs as lines of JSON
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import uuid
from collections.abc import Coroutine, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

from extproc import contract
from extproc.demo import family, stand
from extproc.demo.changes import judged
from extproc.demo.processes import Child, Processes
from extproc.demo.traffic import TrafficSettings

T = TypeVar("T")
RATE = 200.0
PEOPLE = 5_000
KNOBS = {"ttft": 0.03, "tokens_per_second": 1500.0, "output_tokens": 30.0, "quality": 0.85}
SHADOW = {"share": "20%", "min_dwell": "1h", "max_dwell": "2h", "min_pairs": 60, "min_judged": 10, "per_release": "$5"}
"""It goes on until somebody promotes."""
READS = "20%"
"""Share of answers that the simulated judge reads."""


class ConsoleStand:
    """Started and stopped by `with`; its event loop turns in a thread."""

    rollout = "gpt-5-mini"
    canary = "gpt-5-mini"

    def __init__(self, dwell: str = "3s") -> None:
        self._dwell = dwell
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand")
        self._processes = Processes()
        self._models: dict[str, stand.ModelHandle] = {}
        self._serve: Child
        self._traffic: Child
        self._taking: asyncio.Task[None]
        self._ports: stand.Ports

    def __enter__(self) -> ConsoleStand:
        self._thread.start()
        try:
            self._run(self._start())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---------------------------------------------------------------------------------------------------------------- what it is
    @property
    def address(self) -> str:
        """Of the console."""
        return f"http://127.0.0.1:{self._ports.api}/console/"

    @property
    def api(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self._ports.api}"

    @property
    def port(self) -> int:
        """The API's."""
        return self._ports.api

    @property
    def token(self) -> str:
        """The API's."""
        return (self._processes.directory / "extproc.db.token").read_text().strip()

    def status(self) -> dict[str, Any]:
        """Of the rollout."""
        document: dict[str, Any] = self.ask("GET", "/v1/status").json()["rollouts"][self.rollout]
        return document

    def journal(self) -> list[dict[str, Any]]:
        """Newest first."""
        entries: list[dict[str, Any]] = self.ask("GET", "/v1/journal").json()["entries"]
        return entries

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """As a script asks the API."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.request(method, self.api + path, headers=headers, trust_env=False, timeout=60, **arguments)

    def act(self, action: str, why: str, actor: str = "test", **options: str) -> dict[str, Any]:
        """As a script acts."""
        body = {"why": why, "actor": actor, "request": uuid.uuid4().hex, **options}
        for _ in range(30):
            answer = self.ask("POST", f"/v1/rollouts/{self.rollout}/{action}", json=body)
            # A controller that was late has missed its second, and is asked again under the same name.
            if answer.status_code not in (503, 504):
                break
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    # ------------------------------------------------------------------------------------------------------------- what it does
    def turn(self, knobs: Mapping[str, float | str]) -> None:
        """Turn knobs of the canary's model."""
        self._run(self._models[self.canary].turn(knobs))

    @property
    def samples(self) -> Path:
        """The file of sampled answers."""
        return Path(contract.samples_path(f"sqlite:{self._processes.directory}/extproc.db"))

    def kill_controller(self) -> None:
        """It is started again by `serve`."""
        family.signal_all([family.controller(self._serve.process.pid)], signal.SIGKILL)

    def freeze_controller(self) -> None:
        """Until it is thawed."""
        family.signal_all([family.controller(self._serve.process.pid)], signal.SIGSTOP)

    def thaw_controller(self) -> None:
        """It goes on where it stood."""
        family.signal_all([family.controller(self._serve.process.pid)], signal.SIGCONT)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(90)

    async def _start(self) -> None:
        await self._processes.__aenter__()
        document = stand.template()
        judged(document)
        document["judge"]["sample"] = READS
        document["rollouts"][self.rollout] |= {"start": "manual", "shadow": SHADOW}
        del document["rollouts"][self.rollout]["phases"][0]  # a tenth of few people takes long to tell
        for phase in document["rollouts"][self.rollout]["phases"]:
            phase["min_dwell"] = self._dwell
            # The judge is there to be looked at: to wait for its evidence would take minutes.
            phase.get("gates", {}).pop("judge", None)
            if (
                "gates" in phase
            ):  # what is shown is the page: a wide margin needs few requests, and what depends on the machine is waited for by nobody
                only = {name: {"guardrail": False} for name in ("latency_mean", "cost")}
                phase["gates"] |= {"errors": {"margin": "10%"}, **only}
        ports = self._ports = stand.Ports.free(self._processes.directory)
        for index, name in enumerate(document["models"]):
            self._models[name] = await stand.ModelHandle.start(self._processes, name, index, KNOBS)
        self._models[stand.JUDGE] = await stand.ModelHandle.judge(self._processes, 1)
        stand.fill(document, ports, {name: model.port for name, model in self._models.items()})
        spec = stand.write_spec(document, self._processes.directory)
        self._serve = await stand.start_serve(self._processes, spec, ports, 2)
        await stand.start_envoy(self._processes, spec, ports, 2)
        settings = TrafficSettings(
            url=f"http://127.0.0.1:{ports.listener}/v1/chat/completions", rate=RATE, canary_model=self.canary, model="gpt-5", people=PEOPLE
        )
        self._traffic = await self._processes.start("traffic", [sys.executable, "-m", "extproc.demo.traffic"], speaks=True)
        await self._traffic.tell(asdict(settings))
        self._taking = asyncio.create_task(self._take())

    async def _take(self) -> None:
        """What traffic says each second is for a demo."""
        while await self._traffic.process.stdout.readline():  # type: ignore[union-attr]
            pass

    async def _stop(self) -> None:
        if hasattr(self, "_taking"):
            self._taking.cancel()
        await self._processes.__aexit__(None, None, None)


def main() -> None:
    """For eyes: until standard input ends."""
    import orjson

    with ConsoleStand(*sys.argv[1:]) as made:
        sys.stdout.write(f"{made.address}\n{made.token}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            given = orjson.loads(line)
            if "act" in given:
                sys.stdout.write(f"{made.act(**given['act'])}\n")
            else:
                made.turn(given)


if __name__ == "__main__":
    main()
