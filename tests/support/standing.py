"""A whole extproc beside the test: real Envoy, `extproc serve` or router, simulated models; the tests speak to it in plain calls."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from extproc import contract
from extproc.demo import stand
from extproc.demo.envoy import Envoy
from extproc.demo.processes import Child, Processes
from tests.support.envoy_stand import PATIENCE, PATIENT_MESSAGE, patient

T = TypeVar("T")
KNOBS = {"ttft": 0.01, "tokens_per_second": 5000.0, "output_tokens": 20.0}
CHAT = "/v1/chat/completions"


@dataclass
class Standing:
    """What runs, and how to reach it."""

    directory: Path
    ports: stand.Ports
    models: dict[str, stand.ModelHandle]
    envoy: Envoy
    processes: Processes
    spec: Path
    serving: Child | None
    """`extproc serve`, where it is that."""
    workers: int
    _loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Any], timeout: float = 120.0) -> Any:
        """Wait for something on the loop of the children."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def ask(self, client: httpx.Client, model: str = "gpt-5", stream: bool = False, **headers: str) -> httpx.Response:
        """One chat completion through Envoy."""
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "why?"}]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(f"http://127.0.0.1:{self.ports.listener}{CHAT}", json=body, headers=named)

    def api(self, method: str, path: str, **arguments: Any) -> Any:
        """The controller's API, with its token; until it answers as of now. A starved machine's controller may miss its second: the API
        says 503 then, or what it knew last, and is asked again (for an act under the same name)."""
        if method == "POST" and "/rollouts/" in path:
            arguments["json"] = {"request": uuid.uuid4().hex, **arguments["json"]}
        return in_time(lambda: self._answer(method, path, **arguments), lambda found: found is not None)

    def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        """None where it is not as of now."""
        token = (self.directory / "extproc.db.token").read_text().strip()
        url = f"http://127.0.0.1:{self.ports.api}{path}"
        answer = httpx.request(method, url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=PATIENCE, **arguments)
        if answer.status_code in (503, 504):
            return None
        found = answer.raise_for_status().json()
        return None if isinstance(found, dict) and found.get("stale") else found

    def router_generations(self) -> list[float]:
        """Of the State that each of the router's workers has."""
        text = httpx.get(f"http://127.0.0.1:{self.ports.metrics}/metrics", trust_env=False, timeout=PATIENCE).text
        return [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(contract.METRIC_GENERATION + "{")]

    def followed(self) -> None:
        """Wait until every worker has the State that the controller has."""
        generation = float(self.api("GET", "/v1/status")["generation"])
        in_time(self.router_generations, lambda found: len(found) == self.workers and min(found) >= generation)

    def ledger(self, model: str) -> dict[str, Any]:
        """What a model served."""
        found: dict[str, Any] = self.run(self.models[model].ledger())
        return found


def in_time(ask: Callable[[], T], holds: Callable[[T], bool]) -> T:
    """The first answer that is as it has to be; fails with the last one."""
    deadline = time.monotonic() + PATIENCE
    while not holds(found := ask()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def typed(run: Callable[[], subprocess.CompletedProcess[str]]) -> subprocess.CompletedProcess[str]:
    """A command, typed again where a controller that was late has done nothing: on a starved machine it misses its second."""
    return in_time(run, lambda done: done.returncode == 0 or "was not carried out" not in " ".join(done.stderr.split()))


@contextmanager
def standing(
    change: Callable[[dict[str, Any]], None] = lambda _: None, phase: str | None = None, workers: int = 2, rendered: bool = False
) -> Iterator[Standing]:
    """Start the demo's Spec, changed; `phase`: a router fixed there, else `extproc serve`. Envoy waits longer for its router than in
    production, unless its configuration has to be as `rendered`: a busy machine must not look like a wrong answer."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(170)

    processes = Processes()
    try:
        run(processes.__aenter__())
        try:
            yield run(_start(processes, change, phase, workers, rendered, loop))
        finally:
            run(processes.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(
    processes: Processes,
    change: Callable[[dict[str, Any]], None],
    phase: str | None,
    workers: int,
    rendered: bool,
    loop: asyncio.AbstractEventLoop,
) -> Standing:
    document, ports = stand.template(), stand.Ports.free(processes.directory)
    models = {name: await stand.ModelHandle.start(processes, name, index, KNOBS) for index, name in enumerate(document["models"])}
    stand.fill(document, ports, {name: model.port for name, model in models.items()})
    change(document)
    spec = stand.write_spec(document, processes.directory)
    serving = None
    if phase is None:
        serving = await stand.start_serve(processes, spec, ports, workers)
    else:
        await stand.start_router(processes, spec, ports, workers, phase)
    config = await stand.render_envoy(processes, spec, ports, workers)
    if not rendered:
        config.write_text(patient(config.read_text(), PATIENT_MESSAGE))
    envoy = await Envoy.start(processes, config, ports.admin)
    return Standing(processes.directory, ports, models, envoy, processes, spec, serving, workers, loop)
