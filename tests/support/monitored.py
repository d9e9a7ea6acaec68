"""A demo stand that a real Prometheus watches with the files that `plan.monitoring` wrote for it: one run for all tests that ask it.

Its Envoy is told over xDS, so that every series there is can be seen.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from extproc import contract
from extproc import spec as spec_room
from extproc.demo import changes, stand
from extproc.demo.processes import Processes, free_port
from extproc.demo.readers import Reacts
from extproc.demo.traffic import TrafficSettings
from extproc.domain import Spec
from extproc.plan import monitoring

RATE = 80.0
SECONDS = 22.0
"""Of traffic: ratings are looked at after 4 s, feedback after 12."""
PATIENCE = 60.0
KNOBS = {"ttft": 0.03, "tokens_per_second": 4000.0, "quality": 0.85, "error_rate": 0.02}
WORKERS = 2


@dataclass
class Watched:
    """What was seen, after the stand has ended; its Prometheus goes on."""

    spec: Spec
    files: Mapping[str, str]
    begin: float
    end: float
    ledgers: Mapping[str, Mapping[str, Any]]
    expositions: Mapping[str, str]
    """What controller and router said last, by job."""
    client: httpx.Client

    def ask(self, query: str, at: float | None = None) -> list[dict[str, Any]]:
        """An instant query, by default at the end of the run."""
        return self._get("query", query=query, time=self.end if at is None else at)

    def ask_range(self, query: str) -> list[dict[str, Any]]:
        """Over the whole run."""
        return self._get("query_range", query=query, start=self.begin, end=self.end, step=1)

    def get(self, path: str, **parameters: Any) -> Any:
        """Another endpoint of its API."""
        answer = self.client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def _get(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(path, **parameters)["result"]
        return found


def document() -> dict[str, Any]:
    """The demo's Spec with judge and feedback, and one phase in which all is compared for as long as the run."""
    made = stand.template()
    changes.judged(made)
    made["judge"]["within"] = "4s"
    made["feedback"] = {"window": "2s", "tokens": True}
    for rollout in made["rollouts"].values():
        first, *rest = rollout["phases"]
        gates = {**first["gates"], "ttft_mean": {"margin": "50%"}, "thumbs": {}}
        rollout["phases"] = [{**first, "share": "25%", "min_dwell": "10m", "gates": gates}, *rest[1:]]
        for phase in rollout["phases"]:
            phase["max_dwell"] = "1h"
    return made


@contextmanager
def watched(program: str, directory: Path) -> Iterator[Watched]:
    """One run; `program` is Prometheus."""
    own = f"127.0.0.1:{free_port()}"
    started: list[subprocess.Popen[bytes]] = []
    try:
        with httpx.Client(base_url=f"http://{own}", trust_env=False, timeout=20.0) as client:
            yield asyncio.run(_run(program, directory, own, started, client))
    finally:
        for process in started:
            process.kill()
            process.wait()


async def _run(program: str, directory: Path, own: str, started: list[subprocess.Popen[bytes]], seen: httpx.Client) -> Watched:
    async with Processes() as processes:
        made, ports = document(), stand.Ports.free(processes.directory)
        models = {name: await stand.ModelHandle.start(processes, name, seed, KNOBS) for seed, name in enumerate(made["models"])}
        judge = await stand.ModelHandle.judge(processes, 1)
        stand.fill(made, ports, {name: model.port for name, model in {**models, stand.JUDGE: judge}.items()})
        path = stand.write_spec(made, processes.directory)
        spec = spec_room.read(str(path))
        files = monitoring.files(spec)
        xds = f"unix:{processes.directory}/xds.sock"
        serve = await stand.start_serve(processes, path, ports, WORKERS, xds=xds)
        started.append(_prometheus(program, directory, own, files, ports))
        await stand.start_envoy(processes, path, ports, WORKERS, xds=xds)
        begin = time.time()
        total = await _traffic(processes, made, ports)
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            await _until_scraped(client, own, total)
            pages = {"controller": ports.api, "router": ports.metrics}
            said = {job: (await client.get(f"http://127.0.0.1:{port}/metrics")).text for job, port in pages.items()}
        processes.check()
        assert serve.process.returncode is None
        ledgers = {name: await model.ledger() for name, model in models.items()}
        return Watched(spec, files, begin, time.time(), ledgers, said, seen)


def _prometheus(program: str, directory: Path, own: str, files: Mapping[str, str], ports: stand.Ports) -> subprocess.Popen[bytes]:
    """With the shipped configuration; only times are shorter, and ports are this stand's."""
    config = yaml.safe_load(files["monitoring/prometheus/scrape.yaml"])
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job, port in zip(config["scrape_configs"], (ports.api, ports.metrics), strict=True):
        job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    (directory / "rules.yaml").write_text(files["monitoring/prometheus/rules.yaml"])
    words = [program, f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data", f"--web.listen-address={own}"]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(words, stdout=log, stderr=log)


async def _traffic(processes: Processes, made: Mapping[str, Any], ports: stand.Ports) -> dict[str, Any]:
    """Some seconds of people who read and say what they think; what they counted."""
    ((_, rollout),) = made["rollouts"].items()
    base = f"http://127.0.0.1:{ports.listener}"
    settings = TrafficSettings(
        url=f"{base}/v1/chat/completions",
        rate=RATE,
        canary_model=rollout["canary"],
        model=rollout["stable"],
        people=2_000,
        seconds=SECONDS,
        feedback_url=f"{base}{contract.FEEDBACK_PATH}",
        reacts=Reacts.SAYS,
    )
    child = await processes.start("traffic", [*stand.EXTPROC[:2], "extproc.demo.traffic"], speaks=True)
    await child.tell(asdict(settings))
    while not (line := await child.line(PATIENCE)).get("final"):
        pass
    await processes.stop(child)
    return line


async def _until_scraped(client: httpx.AsyncClient, own: str, total: Mapping[str, Any]) -> None:
    """Until Prometheus knows of every request that was sent, or no more come."""
    query = f"sum({contract.METRIC_OUTCOMES}) + sum({contract.METRIC_UNDECIDED})"
    deadline = time.monotonic() + PATIENCE
    while True:
        result = (await client.get(f"http://{own}/api/v1/query", params={"query": query})).json()["data"]["result"]
        if result and float(result[0]["value"][1]) >= total["sent"]:
            return
        assert time.monotonic() < deadline, f"of {total['sent']} requests Prometheus knows {result}"
        await asyncio.sleep(0.5)
