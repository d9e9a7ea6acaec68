"""Looks at everything once, and at counters twice; every question has a short timeout, and all are asked at the same time."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from extproc import contract
from extproc import spec as spec_room
from extproc.cli.doctor.endpoints import look_at
from extproc.cli.doctor.seen import Asked, ControllerSeen, EnvoySeen, Failed, RouterSeen, Seen, SpecSeen
from extproc.cli.doctor.storefile import look_at_store
from extproc.controller.token import read_token, token_path
from extproc.errors import ExtprocError, SettingsError

TIMEOUT: Final = 2.0
"""Seconds for one answer."""
STATS: Final = r"\.ext_proc\.|^cluster\.extproc_|^access_logs\.grpc"


def gather(asked: Asked) -> Seen:
    """Everything the checks need."""
    return asyncio.run(_gather(asked))


async def _gather(asked: Asked) -> Seen:
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as http:
        first_controller = await _controller(http, asked)
        spec = _spec(asked, first_controller)
        admin = asked.envoy_admin
        if admin is None:
            port = spec.spec.listener.admin_port if spec is not None and spec.spec is not None else 9901
            admin = f"http://127.0.0.1:{port}"
        endpoints = contract.endpoints(asked.listen, asked.workers)
        began = time.monotonic()
        before = await _stats(http, admin) if admin else None
        looking = asyncio.gather(
            *(look_at(f"worker {number}", address) for number, address in enumerate(endpoints)), look_at("collector", asked.collector)
        )
        store = await asyncio.to_thread(look_at_store, asked.store)
        workers = await looking
        await asyncio.sleep(max(0.0, began + asked.sample - time.monotonic()))
        seconds = time.monotonic() - began
        envoy, controller, router = await asyncio.gather(
            _envoy(http, admin, before), _controller_again(http, asked, first_controller), _router(http, asked.metrics_port)
        )
    return Seen(asked, seconds, spec, envoy, controller, router, tuple(workers[:-1]), workers[-1], store)


def _spec(asked: Asked, controller: ControllerSeen | Failed) -> SpecSeen | None:
    path = asked.spec
    if path is None and isinstance(controller, ControllerSeen):
        named = Path(controller.status["spec_file"]["path"])
        path = named if named.exists() else None
    if path is None:
        return None
    try:
        return SpecSeen(str(path), spec_room.read(str(path)), ())
    except ExtprocError as error:
        return SpecSeen(str(path), None, error.problems)


async def _ask(http: httpx.AsyncClient, url: str, **headers: str) -> httpx.Response | Failed:
    try:
        answer = await http.get(url, headers=headers)
    except httpx.ConnectError as error:
        return Failed(str(error) or "no connection", url)
    except httpx.TimeoutException:
        return Failed(f"did not answer in {TIMEOUT:g} s", url, silent=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Failed(str(error) or type(error).__name__, url)
    if answer.status_code != 200:
        return Failed(f"answered {answer.status_code}", url, status=answer.status_code)
    return answer


async def _json(http: httpx.AsyncClient, url: str) -> Any:
    answer = await _ask(http, url)
    if isinstance(answer, Failed):
        return answer
    try:
        return answer.json()
    except ValueError:
        return Failed("answered with something else than JSON", url)


async def _stats(http: httpx.AsyncClient, admin: str) -> Mapping[str, int] | Failed:
    answer = await _ask(http, f"{admin.rstrip('/')}/stats?filter={STATS}")
    if isinstance(answer, Failed):
        return answer
    pairs = (line.rsplit(": ", 1) for line in answer.text.splitlines() if ": " in line)
    return {name: int(value) for name, value in pairs if value.isdecimal()}


async def _envoy(http: httpx.AsyncClient, admin: str, before: Mapping[str, int] | Failed | None) -> EnvoySeen | Failed | None:
    address = admin.rstrip("/")
    if before is None or isinstance(before, Failed):
        return before
    head = await _ask(http, f"{address}/ready")
    date = head.headers.get("date") if isinstance(head, httpx.Response) else None
    # The header names the second that has begun: its middle is the best guess.
    skew = parsedate_to_datetime(date).timestamp() + 0.5 - time.time() if date else None
    after = await _stats(http, admin)
    if isinstance(after, Failed):
        return after
    found = await asyncio.gather(
        *(_json(http, f"{address}/{path}") for path in ("server_info", "clusters?format=json", "config_dump", "runtime"))
    )
    for one in found:
        if isinstance(one, Failed):
            return one
    server, clusters, config, runtime = found
    return EnvoySeen(address, server, clusters, config, runtime, before, after, skew)


async def _controller(http: httpx.AsyncClient, asked: Asked) -> ControllerSeen | Failed:
    address = asked.api.rstrip("/")
    try:
        token = os.environ.get(contract.TOKEN_ENVIRONMENT) or read_token(asked.token_file or token_path(asked.store))
    except SettingsError as error:
        return Failed(f"its token: {error.problems[0].message}", address, status=401)
    asked_at = time.time()
    answer = await _ask(http, f"{address}/v1/status", authorization=f"Bearer {token}")
    here = (asked_at + time.time()) / 2
    if isinstance(answer, Failed):
        return answer
    metrics = await _ask(http, f"{address}/metrics")
    totals: dict[str, float] = {}
    if isinstance(metrics, httpx.Response):
        for family in text_string_to_metric_families(metrics.text):
            for sample in family.samples:
                totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    try:
        status = answer.json()
        return ControllerSeen(address, status, float(status["at"]) - here, totals, totals, status)
    except (ValueError, KeyError, TypeError):
        return Failed("is no API of extproc", address)


async def _controller_again(http: httpx.AsyncClient, asked: Asked, first: ControllerSeen | Failed) -> ControllerSeen | Failed:
    """With the metrics and the status of the first time; who did not answer then is not asked again."""
    if isinstance(first, Failed):
        return first
    again = await _controller(http, asked)
    return again if isinstance(again, Failed) else replace(again, before=first.after, earlier=first.status)


async def _router(http: httpx.AsyncClient, port: int) -> RouterSeen | Failed:
    url = f"http://127.0.0.1:{port}/metrics"
    answer = await _ask(http, url)
    if isinstance(answer, Failed):
        return answer
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    if not any(sample.name == contract.METRIC_WORKERS for sample in samples):
        return Failed("answers, and is no router of extproc", url)
    restarts: Counter[str] = Counter()
    for sample in samples:
        if sample.name == contract.METRIC_WORKER_RESTARTS:
            restarts[sample.labels["worker"]] += int(sample.value)
    workers = {sample.labels["state"]: int(sample.value) for sample in samples if sample.name == contract.METRIC_WORKERS}
    return RouterSeen(
        url,
        {sample.labels["worker"]: int(sample.value) for sample in samples if sample.name == contract.METRIC_GENERATION},
        {sample.labels["worker"]: sample.value for sample in samples if sample.name == contract.METRIC_SNAPSHOT_AGE},
        workers.get("serving", 0),
        workers.get("silent", 0),
        restarts,
        any(sample.name == contract.METRIC_SPEC_PROBLEM and sample.value for sample in samples),
    )
