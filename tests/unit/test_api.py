"""The controller's API over its ASGI application, with a real store behind it."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from extproc.cli.write import filled_template
from extproc.controller.api import LONGEST_BODY, Api
from extproc.controller.collector import Collector
from extproc.controller.loop import Loop
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.routers import Routers
from extproc.domain import Status
from extproc.store import open_store
from extproc.transport import parse_address
from tests.unit.test_loop import outcome

TOKEN = "a-token-of-the-test"
NAME = "new"


class Served:
    """An API and the loop behind it."""

    def __init__(self, path: Path) -> None:
        self.store = open_store(f"sqlite:{path / 'x.db'}", writer=True)
        self.loop = Loop(filled_template("chat", "old", "new"), self.store, 1000.0)
        self.metrics = ControllerMetrics()
        collector = Collector(parse_address(f"unix:{path}/c.sock"), lambda *_: None)
        self._app = Api(self.loop, self.store, collector, Routers(lambda *_: None), self.metrics, TOKEN).app()

    def ask(self, method: str, path: str, token: str = TOKEN, **arguments: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, headers={"authorization": f"Bearer {token}"}, **arguments)

        return asyncio.run(ask())

    def act(self, action: str, body: Any = None) -> httpx.Response:
        return self.ask("POST", f"/v1/rollouts/{NAME}/{action}", json=body or {"why": "because", "actor": "ann"})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.store.close()


@pytest.mark.parametrize("path", ["/v1/status", "/v1/journal"])
def test_reading_wants_the_token(api: Served, path: str) -> None:
    """401 with a Problem that says where the token lies; no hint of what was wrong with it."""
    for token in ("", "wrong", TOKEN + "x", "ü"):
        answer = asyncio.run(_raw(api, path, token))
        assert answer.status_code == 401
        assert answer.json()["problems"][0]["id"] == "api.token"
    assert api.ask("GET", path).status_code == 200


async def _raw(api: Served, path: str, token: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api._app), base_url="http://api") as client:
        return await client.get(path, headers=[(b"authorization", f"Bearer {token}".encode())])


def test_acting_wants_the_token_and_changes_nothing_without(api: Served) -> None:
    """The rollout stays pending."""
    assert api.ask("POST", f"/v1/rollouts/{NAME}/start", token="wrong", json={"why": "x"}).status_code == 401
    assert api.loop.state.rollouts[NAME].status is Status.PENDING


def test_an_act_is_answered_when_it_is_committed(api: Served) -> None:
    """The answer carries the generation, which the store has by then."""
    answer = api.act("start")
    assert answer.status_code == 200
    stored = api.store.read_state()
    assert stored is not None
    assert answer.json() == {"generation": stored.generation, "status": "progressing", "why": "because"}
    entries = api.ask("GET", "/v1/journal", params={"rollout": NAME, "limit": "1"}).json()["entries"]
    assert [(entry["action"], entry["actor"], entry["why"]) for entry in entries] == [("start", "ann", "because")]


@pytest.mark.parametrize(
    ("action", "body", "status", "problem"),
    [
        ("resume", {"why": "x"}, 409, "act.refused"),
        ("start", {"why": ""}, 409, "act.why"),
        ("start", {"actor": "ann"}, 400, "api.body"),
        ("start", {"why": 1}, 400, "api.body"),
        ("start", {"why": "x" * 1001}, 400, "api.body"),
        ("start", {"why": "x" * LONGEST_BODY}, 400, "api.body"),
        ("start", {"why": "x", "actor": "extproc"}, 400, "api.actor"),
        ("explode", {"why": "x"}, 404, "api.action"),
    ],
)
def test_what_cannot_be_done_is_a_problem(api: Served, action: str, body: dict[str, Any], status: int, problem: str) -> None:
    """Each refusal has an id and a next step, and changes nothing."""
    answer = api.act(action, body)
    assert (answer.status_code, answer.json()["problems"][0]["id"]) == (status, problem)
    assert answer.json()["problems"][0]["hint"]
    assert api.loop.state.rollouts[NAME].status is Status.PENDING


def test_bodies_and_queries_that_are_no_text_are_refused(api: Served) -> None:
    """Never a 500."""
    for content in (b"", b"\xff", b"[]", b"null", b'{"why": null}', b'{"why": "\xed\xa0\x80"}'):
        assert api.ask("POST", f"/v1/rollouts/{NAME}/start", content=content).status_code == 400
    for query in ("limit=x", "before=-1", "limit=" + "9" * 40, "limit=١"):
        assert api.ask("GET", f"/v1/journal?{query}").status_code == 400


def test_status_says_what_is_waited_for(api: Served) -> None:
    """The document has everything that the picture shows."""
    api.act("start")
    api.loop.receive([outcome(1, 1010.0, True, False)], 1010.0)
    api.loop.tick(1015.0, 1.0)
    rollout = api.ask("GET", "/v1/status").json()["rollouts"][NAME]
    assert rollout["status"] == "progressing"
    assert rollout["share"] == 0.01
    assert rollout["now"].startswith("needs ")
    assert rollout["arms"]["canary"]["requests"] == 1
    assert {finding["gate"] for finding in rollout["findings"]} == {"errors", "ceiling:errors"}


def test_metrics_and_health_need_no_token(api: Served) -> None:
    """Prometheus text; health says when the loop is frozen."""
    api.metrics.count([outcome(1, 1.0, True, True), outcome(2, 1.0, False, False)])
    api.act("start")
    text = api.ask("GET", "/metrics", token="").text
    assert 'extproc_outcomes_total{arm="canary",cohort="everyone",result="failed",rollout="new"} 1.0' in text
    assert 'extproc_tokens_total{arm="rest",cohort="everyone",model="old",rollout="new",type="output"} 20.0' in text
    assert 'extproc_status{rollout="new",status="progressing"} 1.0' in text
    assert api.ask("GET", "/healthz", token="").status_code == 503, "last evaluated long ago"
    api.loop.tick(time.time(), 1.0)
    assert api.ask("GET", "/healthz", token="").status_code == 200


def test_a_spec_that_is_not_in_force_is_told_everywhere(api: Served) -> None:
    """In status, in its picture, in /healthz (which stays well) and as a metric."""
    from rich.console import Console

    from extproc.cli.picture import picture
    from extproc.errors import Problem

    def shown() -> str:
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(picture(api.ask("GET", "/v1/status").json(), []))
        return console.export_text()

    api.loop.tick(time.time(), 1.0)
    assert "Spec " not in shown()
    assert "extproc_spec_problem 0.0" in api.ask("GET", "/metrics").text
    file = api.loop.spec_file
    file.path, file.failures = "release.yaml", 2
    file.problems = (Problem("spec.choice", "a.b", "'dog' is no unit", "did you mean user?", 7), Problem("spec.value", "c", "is bad"))
    for text in (shown(), api.ask("GET", "/healthz").text):
        for said in (
            "is not in force, the last good one stays",
            "a.b (line 7): 'dog' is no unit [spec.choice]",
            "did you mean",
            "c: is bad",
        ):
            assert said in text
    assert api.ask("GET", "/healthz").status_code == 200
    document = api.ask("GET", "/v1/status").json()["spec_file"]
    assert (document["path"], document["failures"], [one["id"] for one in document["problems"]]) == (
        "release.yaml",
        2,
        ["spec.choice", "spec.value"],
    )
    text = api.ask("GET", "/metrics").text
    assert "extproc_spec_problem 1.0" in text
    assert "extproc_reload_failures_total 2.0" in text
