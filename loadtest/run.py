"""The load test with everything it needs: simulated models, the router at one phase, the real Envoy with a real geoip database, locust.

    python loadtest/run.py --users 200 --time 60s --phase 25%

Exit code 0: no request failed, every cohort's split is within 4 standard deviations, nobody met both models, and clients, Envoy and the
models count the same requests. Reports go to loadtest/reports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from geography import write_country_database

from extproc import contract
from extproc.demo import stand
from extproc.demo.envoy import Envoy
from extproc.demo.processes import Processes
from extproc.errors import ExtprocError
from extproc.runtime import stop_on_signals
from extproc.transport import TransportName

HERE = Path(__file__).parent
KNOBS = {"ttft": 0.06, "tokens_per_second": 800.0, "output_tokens": 60.0}


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Load test through the real Envoy, with simulated models; ends by itself.")
    parser.add_argument("--users", type=int, default=200, help="seats that are taken at the same time")
    parser.add_argument("--spawn-rate", type=float, default=100, help="seats taken per second at the beginning")
    parser.add_argument("--time", default="60s", help="how long, such as 60s or 10m")
    parser.add_argument("--phase", default="25%", help="the phase of loadtest's Spec (the demo's) that is served")
    parser.add_argument("--people", type=int, default=20_000, help="how many people there are to take seats")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another crowd")
    parser.add_argument("--workers", type=int, default=2, help="router workers")
    transports = [transport.value for transport in TransportName]
    parser.add_argument("--transport", choices=transports, default=TransportName.NATIVE.value, help="how the router speaks gRPC")
    parser.add_argument("--report", type=Path, default=HERE / "reports", help="directory of the reports")
    parser.add_argument("--web", type=int, default=0, metavar="PORT", help="locust's web page on this loopback port instead of headless")
    given = parser.parse_args()
    try:
        return asyncio.run(_run(given))
    except ExtprocError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before locust began
        return 130


async def _run(given: argparse.Namespace) -> int:
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{given.phase.rstrip('%')}pc-{given.users}users"
    async with Processes() as processes:
        document, models, spec, ports = await _stand(processes, given.seed)
        await stand.start_router(processes, spec, ports, given.workers, given.phase, TransportName(given.transport))
        envoy = await stand.start_envoy(processes, spec, ports, given.workers)
        begun = time.monotonic()
        code = await _locust(given, spec, ports.listener, name)
        seconds = time.monotonic() - begun
        path = given.report / f"{name}.json"
        if not path.exists():
            print("locust wrote no report: see its lines above", file=sys.stderr)
            return 2
        results = json.loads(path.read_text())
        problems = await _books(results, models, envoy, document)
    results["problems"] += problems
    results["settings"] |= {
        "transport": given.transport,
        "seats": given.users,
        "seconds": round(seconds),
        "requests per second": round(results["requests"] / seconds),
    }
    _rewrite(given.report, name, results)
    return 1 if results["problems"] or code else 0


async def _stand(processes: Processes, seed: int) -> tuple[dict[str, Any], dict[str, stand.ModelHandle], Path, stand.Ports]:
    """Models and the demo's Spec, with a geoip database instead of a header from a CDN."""
    document = stand.template()
    ports = stand.Ports.free(processes.directory)
    models = {name: await stand.ModelHandle.start(processes, name, seed + index, KNOBS) for index, name in enumerate(document["models"])}
    stand.fill(document, ports, {name: model.port for name, model in models.items()})
    document["listener"]["geoip"] = {"database": str(write_country_database(processes.directory / "country.mmdb"))}
    del document["listener"]["set_by"]["x-geo-country"]
    return document, models, stand.write_spec(document, processes.directory), ports


async def _locust(given: argparse.Namespace, spec: Path, port: int, name: str) -> int:
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--host", f"http://127.0.0.1:{port}"]
    command += ["--spec", str(spec), "--phase", given.phase, "--people", str(given.people), "--people-seed", str(given.seed)]
    command += ["--report", str(given.report), "--report-name", name, "--loglevel", "WARNING", "--stop-timeout", "10s"]
    if given.web:
        print(f"locust's page: http://127.0.0.1:{given.web} (the load begins there; Ctrl-C ends it)")
        command += ["--web-host", "127.0.0.1", "--web-port", str(given.web)]
    else:
        command += ["--headless", "--only-summary", "--users", str(given.users), "--spawn-rate", str(given.spawn_rate)]
        command += ["--run-time", given.time]
    # In a session of its own: Ctrl-C reaches it as one SIGTERM from here, after which it writes its report.
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    ended, asked = asyncio.create_task(process.wait()), asyncio.create_task(stop_on_signals().wait())
    await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        process.terminate()
    asked.cancel()
    return await ended


async def _books(results: dict[str, Any], models: dict[str, stand.ModelHandle], envoy: Envoy, document: dict[str, Any]) -> list[str]:
    """What clients, Envoy and models count differently."""
    (rollout,) = document["rollouts"].values()
    problems = []
    for name, model in models.items():
        ledger = await model.ledger()
        told = results["answered_by"].get(name, 0)
        if ledger["ok"] != told:
            problems.append(f"{name} served {ledger['ok']} good answers, clients got {told} from it")
        if ledger["errors"] or ledger["aborted"]:
            problems.append(f"{name} failed {ledger['errors']} and lost {ledger['aborted']} requests")
        if ledger["foreign_headers"]:
            problems.append(f"{ledger['foreign_headers']} requests reached {name} with a header {contract.HEADER_PREFIX}*")
        if name == rollout["canary"] and set(ledger["asked_for"]) - {name}:
            problems.append(f"the canary was asked for {ledger['asked_for']}")
    allowed = sum((await envoy.stats(r"ext_proc.*failure_mode_allowed$")).values())
    results["settings"]["failed open"] = allowed
    return problems


def _rewrite(directory: Path, name: str, results: dict[str, Any]) -> None:
    from report import markdown, write

    path = write(directory, name, results)
    print(markdown(name, results) + f"\nwritten to {path}")


if __name__ == "__main__":
    sys.exit(main())
