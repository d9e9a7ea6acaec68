"""Gates from the real Prometheus: it scrapes a page of this test, and the source asks it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from extproc.controller import promql
from extproc.controller.promql import STALE_AFTER, PrometheusSource
from loadtest import scraping
from tests.support.lateness import lateness

PATIENCE = 90.0
QUERIES = [
    ("conversion", 'checkouts_total{arm="canary"} / ignoring(arm) checkouts_total{arm="stable"}'),
    ("all", "sum(checkouts_total)"),
    ("scalar", 'scalar(checkouts_total{arm="canary"}) * 2'),
    ("negative", "vector(-1.5)"),
    ("nobody", "no_such_metric"),
    ("several", "checkouts_total"),
    ("nothing by nothing", "sum(zero) / sum(zero)"),
    ("one by nothing", "sum(checkouts_total) / sum(zero)"),
    ("range", "checkouts_total[1m]"),
    ("text", '"a text"'),
    ("broken", "sum(checkouts_total"),
]
VALUES = {"conversion": 0.25, "all": 50.0, "scalar": 20.0, "negative": -1.5}
REASONS = {
    "nobody": "with nothing",
    "several": "with 2 series",
    "nothing by nothing": "with NaN",
    "one by nothing": "divided by zero",
    "range": "with a matrix",
    "text": "with a string",
    "broken": "refuses the query: bad_data",
}


@dataclass
class Stand:
    """A Prometheus, and the page that it scrapes."""

    url: str
    process: subprocess.Popen[bytes]
    page: dict[str, float] = field(default_factory=dict)

    def ask(self, query: str) -> list[Any]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, trust_env=False).json()
        found: list[Any] = answer["data"]["result"]
        return found


@contextmanager
def _page(lines: dict[str, float]) -> Iterator[int]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(f"{name} {value}\n" for name, value in lines.items()).encode()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Debian's; `make tools` installs it."""
    program = shutil.which("prometheus")
    if program is None:
        missing = "Prometheus is missing: apt-get install prometheus"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    directory: Path = tmp_path_factory.mktemp("prometheus")
    lines = {'checkouts_total{arm="canary"}': 10.0, 'checkouts_total{arm="stable"}': 40.0, "zero": 0.0}
    with _page(lines) as port:
        words, url = scraping.command(program, directory, f"127.0.0.1:{port}")
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        stand = Stand(url, process, lines)
        try:
            _until(lambda: len(stand.ask("checkouts_total")) == 2)
            yield stand
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def _until(what: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if what():
                return
        except (httpx.TransportError, ValueError, KeyError):
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_every_kind_of_answer(prometheus: Stand) -> None:
    """A number is a value; everything else is none, with its reason; all in one round."""

    async def run() -> PrometheusSource:
        source = PrometheusSource(QUERIES, prometheus.url)
        async with httpx.AsyncClient(trust_env=False) as client:
            await source.look(client)
        return source

    source = asyncio.run(run())
    assert {name: value for name, value in source.values().items() if value is not None} == VALUES
    reasons = source.reasons()
    assert reasons.keys() == REASONS.keys()
    for name, said in REASONS.items():
        assert said in reasons[name]


def test_a_value_follows_what_is_measured(prometheus: Stand) -> None:
    """From the page over Prometheus to the gate, by `keep` alone."""

    async def run() -> list[float | None]:
        source = PrometheusSource([("all", "sum(checkouts_total)")], prometheus.url, every=1.0)
        keeping = asyncio.create_task(source.keep())
        seen: list[float | None] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while source.values()["all"] != 50.0:
                    await asyncio.sleep(0.05)
                prometheus.page['checkouts_total{arm="canary"}'] = 60.0
                while source.values()["all"] != 100.0:
                    seen.append(source.values()["all"])
                    await asyncio.sleep(0.05)
        finally:
            keeping.cancel()
            prometheus.page['checkouts_total{arm="canary"}'] = 10.0
        return seen

    assert set(asyncio.run(run())) == {50.0}


def test_a_prometheus_that_hangs_and_comes_back(prometheus: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped (SIGSTOP) it accepts and does not answer: the value counts for three intervals, then there is none, until it is back."""
    monkeypatch.setattr(promql, "TIMEOUT", 0.3)
    every = 0.5

    async def run() -> None:
        source = PrometheusSource([("negative", "vector(-1.5)")], prometheus.url, every=every)
        keeping = asyncio.create_task(source.keep())
        try:
            async with asyncio.timeout(PATIENCE):
                while source.values()["negative"] is None:
                    await asyncio.sleep(0.02)
                with lateness() as machine:
                    prometheus.process.send_signal(signal.SIGSTOP)
                    began = asyncio.get_running_loop().time()
                    while source.values()["negative"] is not None:
                        await asyncio.sleep(0.02)
                    lasted = asyncio.get_running_loop().time() - began
                assert every * (STALE_AFTER - 1) - 0.2 - machine.total < lasted < every * (STALE_AFTER + 4) + machine.total
                assert "has not answered within 0.3 s; the last value is" in source.reasons()["negative"]
                prometheus.process.send_signal(signal.SIGCONT)
                while source.values()["negative"] != -1.5:
                    await asyncio.sleep(0.02)
                assert source.reasons() == {}
        finally:
            keeping.cancel()

    asyncio.run(run())
