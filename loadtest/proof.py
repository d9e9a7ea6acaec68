"""The long evidence, one section at a time or all of them; figures go to docs/proof. `make proof`.

    python -m loadtest.proof                      everything (about six hours)
    python -m loadtest.proof statistics state     some of it

statistics: the e-processes by themselves, against the published table. simulation: the full design in simulated worlds. judge: the judge's
gate, by the thousand. state: from a person's act to every worker. rollback: from the first failing response to the last canary request, on
the real Envoy, ten times. reaction: the same for five kinds of fault, twenty times each, one of them after ten quiet minutes (45 minutes:
`python -m loadtest.reaction` has shorter forms). gates: every gate, every ceiling and a Prometheus metric alone, against a canary that is
bad in that one quality. collector: what an outcome costs the controller, and whether its memory stays. load: locust for 60 s at every
phase. bench: what a decision costs. latency: what the filter adds through Envoy. sampling: whether clients wait for copies that nobody
takes. watchers: how long until a State change has reached five hundred of them through etcd, a node of which is killed. soak: ten minutes
of load with handovers, kills and freezes. kills: kill -9 of the controller, fifty times. crashes: the demo's scenarios in which extproc is
the one that fails. scenarios: those in which a model or the traffic is. answers: those in which answers are worse, and a judge, rules or
users find out. faults: eleven more, each with every answer looked at. overload: what the machine holds for ten minutes, twice that for one,
and workers that stand still. fuzz: atheris for half an hour. Bench, collector, latency, sampling and overload want a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
from rich.console import Console
from rich.progress import track

from extproc import contract
from extproc.cli.write import filled_template
from extproc.demo.processes import free_port
from extproc.demo.run import DemoSettings, run
from extproc.demo.scenarios import scenario_named
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.transport import TransportName
from loadtest import (
    added_latency,
    bench,
    collecting,
    console,
    copied,
    crashes,
    faults,
    firing,
    judged,
    kills,
    overload,
    reaction,
    scale,
    simulations,
    soak,
    watchers,
)
from loadtest.fleet import faults as fleet
from loadtest.report import verdict
from tests.fuzz import run as fuzz

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "proof"
CONSOLE = Console(highlight=False)


def main() -> int:
    """Entry point: exit code 1 if a figure is not what was promised."""
    parser = argparse.ArgumentParser(description="The long evidence; writes docs/proof.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    sections = parser.parse_args().sections or list(SECTIONS)
    if unknown := set(sections) - set(SECTIONS):
        parser.error(f"no section {' '.join(sorted(unknown))}; there are {' '.join(SECTIONS)}")
    DOCS.mkdir(parents=True, exist_ok=True)
    broken: list[str] = []
    for name in sections:
        CONSOLE.rule(name)
        lines, problems = SECTIONS[name]()
        stamp = f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {platform.machine()}"
        text = "\n".join([f"# Proof: {name}", "", f"Written by `make proof` on {stamp}.", "", *lines, ""])
        (DOCS / f"{name}.md").write_text(text)
        CONSOLE.print(text, markup=False)
        broken += [f"{name}: {problem}" for problem in problems]
    return verdict(broken, CONSOLE)


Section = tuple[list[str], list[str]]
"""Lines of Markdown, and what was promised and not seen."""


# ----------------------------------------------------------------------------------------------------------------------- state
ACTS = 40
WORKERS = 4


def _state() -> Section:
    """From an act's answer (committed) to the last worker that decides by it."""
    with _serving() as (endpoints, api):
        took = [_propagation(endpoints, api) for _ in track(range(ACTS), "acts", console=CONSOLE)]
    took.sort()
    figures = f"median {statistics.median(took) * 1000:.0f} ms, p95 {took[int(0.95 * ACTS)] * 1000:.0f} ms, worst {took[-1] * 1000:.0f} ms"
    lines = [
        f"`extproc serve` with {WORKERS} workers; every worker is asked all the time. From the answer of a person's rollback, or start",
        f"and promotes, to the first decision of the last worker that follows it, over {ACTS} acts: {figures}. Promised: under 100 ms.",
    ]
    return lines, [f"worst {took[-1] * 1000:.0f} ms"] if took[-1] > 0.1 else []


@contextmanager
def _serving() -> Iterator[tuple[tuple[str, ...], httpx.Client]]:
    with tempfile.TemporaryDirectory() as directory:
        spec = Path(directory) / "release.yaml"
        spec.write_text(filled_template("proof", "old", "new").replace("stable: old", "start: manual\n    stable: old"))
        port = free_port()
        command = [sys.executable, "-m", "extproc", "serve", "--spec", str(spec), "--store", f"sqlite:{directory}/x.db"]
        command += ["--listen", f"unix:{directory}/r.sock", "--collector", f"unix:{directory}/c.sock", "--workers", str(WORKERS)]
        command += ["--api-port", str(port), "--metrics-port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                assert process.stdout is not None
                ready = {process.stdout.readline().partition(":")[0] for _ in range(2)}
                assert ready == {"router ready", "controller ready"}, ready
                token = Path(f"{directory}/x.db.token").read_text().strip()
                headers = {"authorization": f"Bearer {token}"}
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as api:
                    yield contract.endpoints(f"unix:{directory}/r.sock", WORKERS), api
            finally:
                process.terminate()
                process.wait(20)


def _propagation(endpoints: tuple[str, ...], api: httpx.Client) -> float:
    """One act to and fro; seconds to the last worker."""
    status = api.get("/v1/status").json()["rollouts"]["new"]["status"]
    up = status != "progressing"
    for action in ("start", "promote", "promote", "promote", "promote") if up else ():
        api.post(f"/v1/rollouts/new/{action}", json={"why": "proof"}).raise_for_status()
    if not up:
        api.post("/v1/rollouts/new/rollback", json={"why": "proof"}).raise_for_status()
    begin = time.monotonic()
    wanted = b"new" if up else b"old"
    asyncio.run(_all(endpoints, wanted))
    return time.monotonic() - begin


async def _all(endpoints: tuple[str, ...], wanted: bytes) -> None:
    await asyncio.gather(*(_until(endpoint, wanted) for endpoint in endpoints))


async def _until(endpoint: str, wanted: bytes) -> None:
    message = ProcessingRequest()
    for name, value in {":path": b"/v1/chat/completions", "x-user-id": b"somebody"}.items():
        message.request_headers.headers.headers.add(key=name, raw_value=value)
    message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "old"})
    async with grpc.aio.insecure_channel(endpoint) as channel:
        while True:
            call = channel.stream_stream(contract.PROCESS_METHOD)()
            await call.write(message.SerializeToString())
            reply = ProcessingResponse.FromString(await call.read())
            call.cancel()
            if reply.request_headers.response.header_mutation.set_headers[0].header.raw_value == wanted:
                return


# -------------------------------------------------------------------------------------------------------------------- rollback
RUNS = 10


def _rollback() -> Section:
    """The demo's scenario `errors`, other people each time."""
    took: list[float] = []
    problems: list[str] = []
    for seed in track(range(1, RUNS + 1), "rollbacks", console=CONSOLE):
        settings = DemoSettings(scenario_named("errors"), fast=True, seed=seed)
        result = asyncio.run(run(settings, lambda *_: None, lambda _: None))
        problems += [f"seed {seed}: {problem}" for problem in result.problems]
        took.append(result.rollback_seconds if result.rollback_seconds is not None else math.inf)
    lines = [
        "`extproc demo --scenario errors --fast`: the real Envoy, 25 % share, 20 canary requests per second, then every answer of the",
        "canary is a 500. Seconds from the first failing response to the last canary request, by the model's own ledger:",
        "",
        f"{', '.join(f'{one:.1f}' for one in sorted(took))}; median {statistics.median(took):.1f}. Promised: at most 5.",
        "",
        f"In all {RUNS} runs extproc's counts of requests, failures and tokens were equal to the models' ledgers."
        if not problems
        else "Not all runs were as promised; see above.",
    ]
    return lines, problems


# ------------------------------------------------------------------------------------------------------------------------ load
def _load() -> Section:
    """Locust for a minute at every phase."""
    lines = ["`loadtest/run.py --users 200 --time 60s`, through the real Envoy with a real geoip database.", ""]
    lines += ["| phase | requests | errors | splits (cohort: met the canary, standard deviations) | p99 canary / stable |"]
    lines += ["| ---: | ---: | ---: | --- | --- |"]
    problems: list[str] = []
    for phase in ("1%", "5%", "25%", "50%", "100%"):
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, str(ROOT / "loadtest" / "run.py"), "--users", "200", "--time", "60s", "--phase", phase]
            done = subprocess.run([*command, "--report", directory], capture_output=True, text=True, timeout=300)
            reports = list(Path(directory).glob("*.json"))
            if not reports:
                problems.append(f"{phase}: {done.stderr[-300:]}")
                continue
            results: dict[str, Any] = json.loads(reports[0].read_text())
        problems += [f"{phase}: {problem}" for problem in results["problems"]]
        splits = "; ".join(_split(one) for one in results["splits"])
        canary, stable = results["latency"]["canary"]["p99"], results["latency"]["stable"]["p99"]
        lines.append(f"| {phase} | {results['requests']:,} | {sum(results['errors'].values())} | {splits} | {canary} s / {stable} s |")
    return lines, problems


def _split(split: dict[str, Any]) -> str:
    deviations = "exact" if split["deviations"] is None else f"{split['deviations']:.1f}"
    return f"{split['cohort']}: {split['canary']:,} of {split['people']:,}, {deviations}"


# --------------------------------------------------------------------------------------------------------------------- latency
def _added_latency() -> Section:
    """What the filter adds, on the native transport."""
    measured = added_latency.measure(added_latency.RATE, added_latency.SECONDS, added_latency.ALTERNATIONS, TransportName.NATIVE)
    return added_latency.lines(measured), measured.problems


SECTIONS: dict[str, Callable[[], Section]] = {
    "statistics": simulations.statistics_section,
    "simulation": simulations.simulation_section,
    "judge": judged.section,
    "state": _state,
    "rollback": _rollback,
    "reaction": reaction.section,
    "gates": firing.section,
    "collector": collecting.section,
    "load": _load,
    "bench": bench.section,
    "latency": _added_latency,
    "sampling": copied.section,
    "console": console.section,
    "watchers": watchers.section,
    "fleet": fleet.section,
    "scale": scale.section,
    "soak": soak.section,
    "kills": kills.section,
    "crashes": crashes.section,
    "scenarios": crashes.faults,
    "answers": crashes.answers,
    "faults": faults.section,
    "overload": overload.section,
    "fuzz": fuzz.section,
}

if __name__ == "__main__":
    sys.exit(main())
