"""Metric gates in the controller: asked for each visit of a phase, never older than it, and acted upon by the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from extproc import spec
from extproc.controller.metric_gates import MetricGates
from extproc.domain import Action
from tests.unit.test_loop import NAME, TEXT, World


def spec_text(port: int, on_fail: str = "hold") -> str:
    metrics = f"    metrics: {{lost: {{query: sum(lost), max: 3, on_fail: {on_fail}}}}}\n"
    text = TEXT.replace("rollouts:\n", f"prometheus: {{url: 'http://127.0.0.1:{port}'}}\nrollouts:\n", 1)
    return text.replace("    phases:\n", f"{metrics}    phases:\n")


class Prometheus:
    """Answers every query with one number."""

    def __init__(self) -> None:
        self.value = 1.0
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        self.asked.append(parse_qs((await reader.readexactly(length)).decode())["query"][0])
        body = b'{"status":"success","data":{"resultType":"scalar","result":[1,"%g"]}}' % self.value
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def prometheus() -> AsyncIterator[Prometheus]:
    made = Prometheus()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_value_is_of_the_present_visit(tmp_path: Path) -> None:
    """The first tick has none, which is no pass; a phase that is entered begins without one, and asks at once."""

    async def work() -> None:
        async with prometheus() as server:
            world = World(tmp_path, spec_text(server.port))
            gates = MetricGates(world.loop)
            keeping = asyncio.create_task(gates.keep())
            world.second()
            world.second()
            assert [one.verdict.value for one in world.loop.desks[NAME].findings if one.gate == "metric:lost"] == ["no_data"]
            assert "data for metric:lost" in world.loop.desks[NAME].decision.why
            first = world.loop.state.rollouts[NAME].generation
            await until(lambda: gates.values(NAME, first).get("lost") == 1.0)
            world.second()
            (finding,) = [one for one in world.loop.desks[NAME].findings if one.gate == "metric:lost"]
            assert finding.sentence == "metric lost: 1, at most 3 is asked for"
            world.loop.act(NAME, Action.ADVANCE, "me", "on", world.now)
            second = world.loop.state.rollouts[NAME].generation
            assert gates.values(NAME, second) == {}
            await until(lambda: gates.values(NAME, second).get("lost") == 1.0)
            assert server.asked == ["sum(lost)"] * 2
            assert gates.values(NAME, first) == {}
            keeping.cancel()
            world.store.close()

    asyncio.run(work())


@pytest.mark.parametrize(("on_fail", "status"), [("hold", "progressing"), ("roll_back", "rolled_back")])
def test_a_broken_bound_does_what_the_spec_says(tmp_path: Path, on_fail: str, status: str) -> None:
    """It holds and pages, or goes back; `status` has the value, and its age."""

    async def work() -> None:
        async with prometheus() as server:
            server.value = 7.0
            world = World(tmp_path, spec_text(server.port, on_fail))
            gates = MetricGates(world.loop)
            keeping = asyncio.create_task(gates.keep())
            world.second()
            await until(lambda: gates.values(NAME, world.loop.state.rollouts[NAME].generation).get("lost") == 7.0)
            document = gates.document(NAME)["lost"]
            assert (document["value"], document["reason"]) == (7.0, "")
            assert 0 <= document["age"] < 60
            world.second()
            assert world.status.value == status
            if on_fail == "hold":
                decision = world.loop.desks[NAME].decision
                assert decision.page
                assert decision.why == "held: metric lost: 7, at most 3 is asked for"
            else:
                await until(lambda: gates.document(NAME) == {})
            keeping.cancel()
            world.store.close()

    asyncio.run(work())


def test_a_prometheus_that_is_away_holds_and_says_why(tmp_path: Path) -> None:
    """No evidence is no pass."""

    async def work() -> None:
        world = World(tmp_path, spec_text(1))
        gates = MetricGates(world.loop)
        keeping = asyncio.create_task(gates.keep())
        world.second()
        await until(lambda: "does not answer" in gates.document(NAME).get("lost", {}).get("reason", ""))
        world.second()
        assert "data for metric:lost" in world.loop.desks[NAME].decision.why
        keeping.cancel()
        world.store.close()

    asyncio.run(work())


def test_an_edited_calendar_keeps_the_evidence(tmp_path: Path) -> None:
    """A freeze that is declared while a release runs takes effect at once, and nothing that was seen is lost."""
    world = World(tmp_path)
    for _ in range(5):
        world.second()
    evidence, units = world.loop.desks[NAME].evidence, len(world.loop.desks[NAME].evidence.canary_units)
    freeze = "    freezes: [{from: 1970-01-01T00:00Z, to: 2100-01-01T00:00Z, why: incident 4711}]\n"
    edited = TEXT.replace("    phases:\n", f"{freeze}    phases:\n")
    assert world.loop.adopt(edited, spec.load(edited), world.now)
    assert world.loop.desks[NAME].evidence is evidence
    assert len(evidence.canary_units) == units > 50
    assert world.loop.desks[NAME].rollout.freezes[0].why == "incident 4711"
    for _ in range(40):
        world.second()
    assert "incident 4711" in world.loop.desks[NAME].decision.why
    assert world.phase == 0
    world.store.close()


def test_other_prices_read_the_evidence_again(tmp_path: Path) -> None:
    """Prices may change while a release runs; what was not compared yet is compared at the new ones."""
    world = World(tmp_path)
    world.second()
    before = world.loop.desks[NAME].evidence
    edited = TEXT.replace("output: $2.00", "output: $3.00")
    assert edited != TEXT
    world.loop.adopt(edited, spec.load(edited), world.now)
    after = world.loop.desks[NAME].evidence
    assert after is not before
    assert after.generation == before.generation
    world.store.close()
