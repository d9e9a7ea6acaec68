"""The traffic generator: a finite set of people, honest counts, bounded, and gone with its parent."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web

from extproc.demo.population import COUNTRY_NETWORKS, INTERNAL_TIER, answering_model, population, request_body
from extproc.demo.tally import Tally, quantiles
from extproc.demo.traffic import Traffic, TrafficSettings


@pytest.fixture
def model() -> Iterator[dict[str, str]]:
    """A simulated model that fails 1 in 20."""
    knobs = json.dumps({"ttft": 0.01, "tokens_per_second": 10_000, "error_rate": 0.05})
    command = [sys.executable, "-m", "extproc.demo.model", "--name", "gpt-sim", "--knobs", knobs, "--with-parent"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.stdin.close()
    process.stdout.close()
    assert process.wait(60) == 0


def _traffic(model: dict[str, str], **settings: Any) -> subprocess.Popen[str]:
    given = {"url": f"http://{model['address']}/v1/chat/completions", "canary_model": "other", "model": "m", "people": 500, **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "extproc.demo.traffic"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given) + "\n")
    process.stdin.flush()
    return process


def _ended(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    said, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    return [json.loads(line) for line in said.splitlines()]


def test_what_the_clients_saw_is_what_the_model_served(model: dict[str, str]) -> None:
    """After the traffic has ended by its bound of count, sent, good and failed answers equal the model's ledger exactly."""
    lines = _ended_by_itself(_traffic(model, rate=400, most_requests=600))
    final = lines[-1]
    ledger = httpx.get(f"http://{model['control']}/ledger", trust_env=False, timeout=60).json()
    assert final["sent"] == ledger["requests"] == 600
    assert final["ok"] == ledger["ok"] == final["answered_by"]["gpt-sim"]
    assert final["errors"] == {"500": ledger["errors"]}
    assert ledger["errors"] > 0
    assert (final["open"], final["held"]) == (0, 0)
    assert 0.05 < ledger["streams"] / ledger["requests"] < 0.15
    assert sum(line["sent"] for line in lines[:-1]) <= final["sent"]
    assert 0 < final["p50"] <= final["p95"] <= final["p99"]


def _ended_by_itself(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1].get("final"):
            break
    _ended(process)
    return lines


def test_the_rate_is_kept_and_can_be_changed(model: dict[str, str]) -> None:
    """300 requests/s, then 50: the seconds' lines show both; closing the input ends it after what is open."""
    process = _traffic(model, rate=300)
    assert process.stdin is not None
    assert process.stdout is not None
    said = process.stdout

    def second(least: int, most: int) -> list[int]:
        """What was sent in each second up to one in which it was so much: what is late in one is sent in the next."""
        seen: list[int] = []
        while len(seen) < 30 and not (seen and least < seen[-1] < most):
            seen.append(json.loads(said.readline())["sent"])
        return seen

    first = second(220, 380)
    process.stdin.write('{"rate": 50}\n')
    process.stdin.flush()
    slower = second(20, 90)
    lines = _ended(process)
    assert 220 < first[-1] < 380, first
    assert 20 < slower[-1] < 90, slower
    assert lines[-1]["open"] == 0


def test_it_is_bounded_in_time(model: dict[str, str]) -> None:
    """`seconds` ends it, though nobody tells it to."""
    begin = time.monotonic()
    final = _ended_by_itself(_traffic(model, rate=50, seconds=0.5))[-1]
    assert time.monotonic() - begin < 60
    assert 5 <= final["sent"] <= 60


def test_nothing_is_lost_when_nobody_listens() -> None:
    """Connections that are refused are errors, not silence."""
    final = _ended_by_itself(_traffic({"address": "127.0.0.1:9"}, rate=100, most_requests=20))[-1]
    assert final["ok"] == 0
    assert sum(final["errors"].values()) == final["sent"] == 20
    assert all(kind.startswith("connection") for kind in final["errors"])


def test_too_many_open_requests_are_held_and_told(model: dict[str, str]) -> None:
    """Arrivals beyond `most_open` are not sent, and their number is told."""
    httpx.post(f"http://{model['control']}/knobs", json={"hang_rate": 1.0}, trust_env=False, timeout=60)
    final = _ended_by_itself(_traffic(model, rate=200, seconds=0.5, most_open=10, timeout=1.0))[-1]
    assert final["sent"] == 10
    assert final["held"] > 20
    assert final["errors"] == {"timeout": 10}


def test_people_are_the_same_for_the_same_seed() -> None:
    """A population is a function of its size, seed and share; its shares are near those asked for."""
    people = population(5_000, 7, 0.02)
    assert people == population(5_000, 7, 0.02)
    assert people != population(5_000, 8, 0.02)
    assert sum(person.anonymous for person in people) == 100
    known = [person.id for person in people if not person.anonymous]
    assert len(set(known)) == 4_900
    tiers = Counter(person.tier for person in people)
    assert 100 < tiers[INTERNAL_TIER] < 200
    countries = Counter(person.country for person in people)
    assert set(countries) == set(COUNTRY_NETWORKS)


def test_addresses_are_in_their_countrys_network() -> None:
    """A database written from COUNTRY_NETWORKS sees every person in their country."""
    from ipaddress import IPv4Address

    for person in population(500, 3):
        assert IPv4Address(person.address) in COUNTRY_NETWORKS[person.country]


def test_a_tally_keeps_what_it_is_told() -> None:
    """Open is what has no end yet; a second's line holds that second only."""
    tally = Tally(sent=3)
    tally.good(0.1, "a")
    tally.errors["500"] += 1
    assert (tally.open, tally.failed) == (1, 1)
    assert tally.second() == {"sent": 3, "ok": 1, "errors": 1, "open": 1, "p50": 0.1, "p95": 0.1, "p99": 0.1}
    assert tally.second() == {"sent": 0, "ok": 0, "errors": 0, "open": 1, "p50": None, "p95": None, "p99": None}
    total = tally.total()
    assert (total["answered_by"], total["errors"], total["flips"]) == ({"a": 1}, {"500": 1}, 0)


class Gateway:
    """Answers with a model name that the test chooses; gives visitors without a cookie one, and remembers what it was sent."""

    def __init__(self) -> None:
        self.model = "stable"
        self.seen: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        answer = web.json_response({"model": self.model, "choices": []}, dumps=lambda content: orjson.dumps(content).decode())
        if "cookie" not in request.headers:
            answer.headers["set-cookie"] = f"uid={len(self.seen)}; Path=/; HttpOnly"
        return answer


def _sent(models: list[str], **settings: Any) -> tuple[Tally, Gateway]:
    """Traffic of one person to a gateway that answers with one model after the other, 40 requests each."""

    async def run() -> tuple[Tally, Gateway]:
        gateway = Gateway()
        runner = web.AppRunner(web.Application())
        runner.app.router.add_post("/", gateway.answer)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        traffic = Traffic(TrafficSettings(url=url, rate=400, canary_model="canary", model="m", people=1, **settings))
        for index, model in enumerate(models):
            gateway.model = model
            traffic.limit = 40 * (index + 1)
            await traffic.run(asyncio.Event())
        await runner.cleanup()
        return traffic.tally, gateway

    return asyncio.run(run())


def test_going_to_the_canary_is_no_flip_and_going_back_is_one() -> None:
    """A person who has met the canary and is answered by another model afterwards is counted with every such answer."""
    assert _sent(["stable", "canary"], anonymous=0.0)[0].flips == 0
    assert _sent(["canary", "stable"], anonymous=0.0)[0].flips == 40


def test_a_visitor_keeps_the_cookie_and_waits_for_the_first() -> None:
    """An anonymous visitor sends no id; after the first answer every request has the cookie that was set, without its attributes."""
    tally, gateway = _sent(["stable"], anonymous=1.0)
    assert tally.ok == len(gateway.seen) == 40
    assert not any("x-user-id" in headers for headers in gateway.seen)
    assert ["cookie" in headers for headers in gateway.seen] == [False] + [True] * 39
    assert {headers["cookie"] for headers in gateway.seen[1:]} == {"uid=1"}


def test_quantiles_are_order_statistics() -> None:
    """1..100: p50 is the 51st value, p99 the 100th."""
    assert quantiles([float(i) for i in range(100, 0, -1)]) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}


def test_bodies_and_answers_are_read_as_they_are_written() -> None:
    """The body asks for what was asked; the answering model is found in JSON and in SSE, and is empty in an error."""
    asked = json.loads(request_body("gpt-5", True, 8))
    assert (asked["model"], asked["stream"], asked["stream_options"]) == ("gpt-5", True, {"include_usage": True})
    assert "stream" not in json.loads(request_body("gpt-5", False, 8))
    assert json.loads(request_body("gpt-5", False, 8, "DE"))["metadata"] == {"country": "DE"}
    assert "metadata" not in asked
    assert answering_model(b'{"id":"x","model":"gpt-5-mini","choices":[]}') == "gpt-5-mini"
    assert answering_model(b'data: {"id":"x","model":"gpt-5-mini"}\n\n') == "gpt-5-mini"
    assert answering_model(b'{"error":{}}') == ""
