"""A whole extproc beside the test: real Envoy, `extproc serve` or router, simulated models; the tests speak to it in plain calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from extproc.demo import stand
from extproc.demo.envoy import Envoy
from extproc.demo.processes import Child, Processes

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
    _loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Any], timeout: float = 60.0) -> Any:
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
        """The controller's API, with its token."""
        token = (self.directory / "extproc.db.token").read_text().strip()
        url = f"http://127.0.0.1:{self.ports.api}{path}"
        answer = httpx.request(method, url, headers={"authorization": f"Bearer {token}"}, trust_env=False, **arguments)
        answer.raise_for_status()
        return answer.json()

    def ledger(self, model: str) -> dict[str, Any]:
        """What a model served."""
        found: dict[str, Any] = self.run(self.models[model].ledger())
        return found


@contextmanager
def standing(change: Callable[[dict[str, Any]], None] = lambda _: None, phase: str | None = None, workers: int = 2) -> Iterator[Standing]:
    """Start the demo's Spec, changed; `phase`: a router fixed there, else `extproc serve`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(90)

    processes = Processes()
    try:
        run(processes.__aenter__())
        try:
            yield run(_start(processes, change, phase, workers, loop))
        finally:
            run(processes.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(
    processes: Processes, change: Callable[[dict[str, Any]], None], phase: str | None, workers: int, loop: asyncio.AbstractEventLoop
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
    envoy = await stand.start_envoy(processes, spec, ports, workers)
    return Standing(processes.directory, ports, models, envoy, processes, spec, serving, loop)
