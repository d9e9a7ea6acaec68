"""The controller's API over its ASGI application, with a real store, loop, brain and socket behind it."""

from __future__ import annotations

import asyncio
import io
import re
import sqlite3
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import httpx
import pytest
import uvloop
from rich.console import Console

from extproc import contract
from extproc.cli.picture import picture
from extproc.cli.write import filled_template
from extproc.controller import ask
from extproc.controller.answers import LONGEST_BODY
from extproc.controller.api import LONGEST_REQUEST, Api
from extproc.controller.ask import BrainClient
from extproc.controller.brain import FROZEN_AFTER, Brain
from extproc.controller.candidate import Alone
from extproc.controller.collector import Collector
from extproc.controller.exposures import Exposures
from extproc.controller.hearing import FeedbackKeeper
from extproc.controller.journal import JournalReader
from extproc.controller.listen import BrainSocket
from extproc.controller.loop import Loop
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.polling import Poller
from extproc.controller.readiness import Readiness
from extproc.controller.routers import Routers
from extproc.controller.scores import Scores
from extproc.controller.talk import Question
from extproc.controller.users import Users
from extproc.controller.vitals import VitalMetrics, Vitals
from extproc.domain import Arm, Status
from extproc.errors import Problem
from extproc.store import open_store
from extproc.store.exposures import Keep
from extproc.transport import parse_address
from tests.unit.test_loop import outcome

TOKEN = "a-token-of-the-test"
NAME = "new"
T = TypeVar("T")


class Served:
    """An API and the brain behind it, joined by their socket, on one event loop that turns while something is asked."""

    def __init__(self, path: Path) -> None:
        url = f"sqlite:{path / 'x.db'}"
        self.store = open_store(url, writer=True)
        self.loop = Loop(filled_template("chat", "old", "new"), self.store, 1000.0)
        self.metrics = ControllerMetrics()
        self.vitals = Vitals(time.monotonic())
        self.vital_metrics = VitalMetrics(self.vitals, {"died": 0, "hung": 0})
        collector = Collector(parse_address(f"unix:{path}/c.sock"), lambda *_: None)
        routers = Routers(lambda *_: None)
        users = Users(self.loop, FeedbackKeeper(self.loop, self.store, "127.0.0.1:0"))
        beside = Poller(self.loop), Exposures(self.loop, Keep(), 1000.0), Scores(self.loop), users, Readiness(self.loop), None
        brain = Brain(self.loop, self.store, collector, routers, self.metrics, self.vitals, self.vital_metrics, Alone("me"), *beside)
        self.loses_acts = False
        """Its connection breaks between an act and the answer to it."""

        def answer(line: bytes) -> bytes:
            said = brain.answer(line)
            if self.loses_acts and Question.read(line).act is not None:
                raise ConnectionResetError
            return said

        self.socket = BrainSocket(Path(contract.brain_path(url)), answer)
        self.client = BrainClient(Path(contract.brain_path(url)))
        self.journal = JournalReader(url)
        self._app = Api(self.client, self.journal, TOKEN).app()
        # Everybody is on one loop: where the machine stands still for a second, the brain must not look silent.
        self._within = {name: getattr(ask, name) for name in ("ANSWER_WITHIN", "ACT_WITHIN", "ACT_ANSWERED_WITHIN")}
        for name in self._within:
            setattr(ask, name, 60.0)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.run(self.socket.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def ask(
        self, method: str, path: str, token: str | None = TOKEN, headers_more: Mapping[str, str] = MappingProxyType({}), **arguments: Any
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            headers = [
                *([(b"authorization", f"Bearer {token}".encode())] if token is not None else []),
                *((key.encode(), value.encode()) for key, value in headers_more.items()),
            ]
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, headers=headers, **arguments)

        return self.run(ask())

    def fresh(self, path: str, token: str = TOKEN) -> httpx.Response:
        """An answer that is newer than now."""
        time.sleep(ask.FRESH + 0.01)
        return self.ask("GET", path, token)

    def act(self, action: str, body: Any = None) -> httpx.Response:
        return self.ask("POST", f"/v1/rollouts/{NAME}/{action}", json=body or {"why": "because", "actor": "ann"})

    def tick(self) -> None:
        """One evaluation, as the controller does it."""
        began = time.monotonic()
        self.loop.tick(time.time(), 1.0)
        self.vitals.ticked(began, time.monotonic())

    def silence(self) -> None:
        """The brain is gone, and its socket with it."""
        self.run(self.socket.stop())

    def close(self) -> None:
        self.silence()
        self.journal.close()
        self._runner.close()
        self.store.close()
        for name, seconds in self._within.items():
            setattr(ask, name, seconds)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.close()


@pytest.mark.parametrize("path", ["/v1/status", "/v1/journal"])
def test_reading_wants_the_token(api: Served, path: str) -> None:
    """401 with a Problem that says where the token lies; no hint of what was wrong with it."""
    for token in ("", "wrong", TOKEN + "x", "ü"):
        answer = api.ask("GET", path, token)
        assert answer.status_code == 401
        assert answer.json()["problems"][0]["id"] == "api.token"
    assert api.ask("GET", path).status_code == 200


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
    assert answer.json() == {
        "generation": stored.generation,
        "status": "progressing",
        "phase": "1%",
        "attempt": 1,
        "why": "because",
    }
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


def test_the_same_request_is_done_once(api: Served) -> None:
    """Asked again, it is answered as before, and says so; the name is in the Journal. Another action under that name is another act."""
    body = {"why": "because", "actor": "ann", "request": "ci-17"}
    first, again = api.act("start", body), api.act("start", body)
    assert again.json() == {**first.json(), "repeated": True}
    assert api.act("start", {**body, "request": "ci-18"}).status_code == 409
    assert api.act("rollback", body).json()["status"] == "rolled_back"
    assert api.act("rollback", body).json()["repeated"]
    entries = api.store.journal(NAME, 10)
    assert [entry.numbers.get("request") for entry in entries] == ["rollback ci-17", "start ci-17", None]
    assert api.act("start", {**body, "request": "x" * (LONGEST_REQUEST + 1)}).status_code == 400


def test_a_look_after_an_act_shows_it(api: Served) -> None:
    """An answer that is kept for many lookers is not kept beyond an act."""
    assert api.ask("GET", "/v1/status").json()["rollouts"][NAME]["status"] == "pending"
    api.act("start")
    assert api.ask("GET", "/v1/status").json()["rollouts"][NAME]["status"] == "progressing"


def test_status_says_what_is_waited_for(api: Served) -> None:
    """The document has everything that the picture shows."""
    api.act("start")
    api.loop.receive([outcome(1, 1010.0, True, False)], 1010.0)
    api.loop.tick(1015.0, 1.0)
    document = api.ask("GET", "/v1/status").json()
    rollout = document["rollouts"][NAME]
    assert rollout["status"] == "progressing"
    assert rollout["share"] == 0.01
    assert rollout["now"].startswith("needs ")
    assert rollout["arms"]["canary"]["requests"] == 1
    findings = {finding["gate"]: finding for finding in rollout["findings"]}
    phase = api.loop.spec.rollouts[NAME].phases[0]
    ceilings = {f"ceiling:{ceiling.measure}" for ceiling in phase.ceilings}
    assert findings.keys() == {gate.measure for gate in phase.gates} | ceilings | {"together"}
    told = {"verdict", "sentence", "estimate", "interval", "margin", "canary_samples", "stable_samples"}
    assert all(told <= finding.keys() for finding in findings.values())
    assert rollout["metrics"] == {}
    assert document["stale"] == 0
    assert document["loop"].keys() == {"lag", "worst_lag", "tick_seconds", "ticks", "missed_ticks"}


def exposed(api: Served) -> None:
    """At 5 %, with requests of both arms looked at."""
    api.act("start")
    api.act("promote")
    generation = api.loop.state.generation
    for second in range(1, 31):
        now = 1000.0 + second
        numbers = range(second * 40, second * 40 + 40)
        arms = {0: Arm.CANARY, 1: Arm.CONTROL}
        made = [
            outcome(n, now - 1 + n % 40 / 50, n % 20 == 0, False, generation=generation, phase="5%", arm=arms.get(n % 20, Arm.REST))
            for n in numbers
        ]
        api.loop.receive(made, now)
        api.loop.tick(now, 1.0)


def test_status_says_everything_of_the_evidence(api: Served) -> None:
    """All comparisons together against their limit, the worst verdict, what is missing, cohorts that are out, an override and its end."""
    exposed(api)
    rollout = api.fresh("/v1/status").json()["rollouts"][NAME]
    assert rollout["verdict"] == "inconclusive"
    assert rollout["together"].keys() == {"log_e", "log_e_limit", "verdict", "cohort"}
    assert rollout["together"]["log_e_limit"] == pytest.approx(rollout["harm_limit"])
    assert any(one.startswith("evidence that errors stays within") for one in rollout["waiting_for"])
    assert (rollout["cohorts"], rollout["cohorts_out"], rollout["override"]) == (["staff", "germany", "everyone"], [], None)
    assert api.act("override", {"why": "reviewed", "for": "2h"}).status_code == 200
    rollout = api.fresh("/v1/status").json()["rollouts"][NAME]
    assert 7_000 < rollout["override"]["seconds"] <= 7_200
    assert rollout["waiting_for"], "dwell and minimums are still asked for"
    assert not any(one.startswith("evidence") for one in rollout["waiting_for"])
    text = shown(api)
    for said in (
        "all together",
        "E 1 of 20",
        "waits for",
        "more of watched time",
    ):
        assert said in text
    assert re.search(r"a person answers for missing evidence, for 11\d min \d+ s more", text)
    assert text.index("all together") < text.index("… errors") < text.index("; all of them with --json"), "the worst first, few lines"


def test_a_cohort_that_is_out_is_told(api: Served) -> None:
    """In status, its picture and a metric."""
    exposed(api)
    name = api.loop.desks[NAME].rollout.cohorts[0].name
    state = api.loop.state
    api.loop.state = replace(state, rollouts={NAME: replace(state.rollouts[NAME], cohorts_out=(name,))})
    assert f"on stable, rolled back by themselves: {name}" in shown(api)
    assert api.fresh("/v1/status").json()["rollouts"][NAME]["cohorts_out"] == [name]
    assert f'extproc_cohort_out{{cohort="{name}",rollout="{NAME}"}} 1.0' in api.fresh("/metrics").text


def test_metrics_have_evidence_and_verdict_of_each_gate(api: Served) -> None:
    """And whether somebody has to look; a gate of a phase that was left is not shown."""
    exposed(api)
    lines = api.fresh("/metrics").text.splitlines()
    for line in (
        f'extproc_gate_verdict{{gate="errors",rollout="{NAME}",verdict="inconclusive"}} 1.0',
        f'extproc_gate_verdict{{gate="errors",rollout="{NAME}",verdict="fail"}} 0.0',
        f'extproc_gate_verdict{{gate="together",rollout="{NAME}",verdict="pass"}} 1.0',
        f'extproc_page{{rollout="{NAME}"}} 0.0',
        f'extproc_override_seconds{{rollout="{NAME}"}} 0.0',
    ):
        assert line in lines
    assert any(line.startswith(f'extproc_e_value{{gate="ceiling:errors",null="harm",rollout="{NAME}"}}') for line in lines)
    api.act("rollback")
    assert "extproc_gate_verdict{" not in api.fresh("/metrics").text
    assert "extproc start new --retry (attempt 2, with half of this one's alpha)" in shown(api)


def test_metrics_and_health_need_no_token(api: Served) -> None:
    """Prometheus text of outcomes, rollouts and the loop; health says when the loop is frozen."""
    api.metrics.count([outcome(1, 1.0, True, True), outcome(2, 1.0, False, False)])
    api.act("start")
    api.tick()
    answer = api.ask("GET", "/metrics", token="")
    for line in (
        'extproc_outcomes_total{arm="canary",cohort="everyone",phase="10%",result="failed",rollout="new"} 1.0',
        'extproc_tokens_total{arm="rest",cohort="everyone",model="old",rollout="new",type="output"} 20.0',
        'extproc_status{rollout="new",status="progressing"} 1.0',
        f"{contract.METRIC_TICKS} 1.0",
        f'{contract.METRIC_QUESTIONS}{{ask="act"}} 1.0',
        f'{contract.METRIC_API_RESTARTS}{{reason="died"}} 0.0',
        f"{contract.METRIC_CONTROLLER_UP} 1.0",
    ):
        assert line in answer.text.splitlines()
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert api.ask("GET", "/healthz", token="").status_code == 200
    api.vitals.last -= FROZEN_AFTER + 1
    frozen = api.fresh("/healthz", token="")
    assert frozen.status_code == 503
    assert re.fullmatch(r"controller: has not evaluated for \d+ s\n", frozen.text)
    api.tick()
    assert api.fresh("/healthz", token="").status_code == 200


def test_a_spec_that_is_not_in_force_is_told_everywhere(api: Served) -> None:
    """In status, in its picture, in /healthz (which stays well) and as a metric."""
    api.tick()
    assert "Spec " not in shown(api)
    assert "extproc_spec_problem 0.0" in api.ask("GET", "/metrics").text
    file = api.loop.spec_file
    file.path, file.failures = "release.yaml", 2
    file.problems = (Problem("spec.choice", "a.b", "'dog' is no unit", "did you mean user?", 7), Problem("spec.value", "c", "is bad"))
    health = api.fresh("/healthz")
    for text in (shown(api), health.text):
        for said in (
            "is not in force, the last good one stays",
            "a.b (line 7): 'dog' is no unit [spec.choice]",
            "did you mean",
            "c: is bad",
        ):
            assert said in text
    assert health.status_code == 200
    document = api.ask("GET", "/v1/status").json()["spec_file"]
    assert (document["path"], document["failures"], [one["id"] for one in document["problems"]]) == (
        "release.yaml",
        2,
        ["spec.choice", "spec.value"],
    )
    text = api.fresh("/metrics").text
    assert "extproc_spec_problem 1.0" in text
    assert "extproc_reload_failures_total 2.0" in text


def shown(api: Served) -> str:
    """The picture of `extproc status`."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(picture(api.fresh("/v1/status").json(), []))
    return console.export_text()


# ------------------------------------------------------------------------------------------------------ where the brain is silent
def test_a_silent_brain_is_told_everywhere(api: Served) -> None:
    """Status is the last that is known, and says so, loudly; metrics have nothing old; health is not well; the Journal can be read."""
    api.act("start")
    assert "has not answered" not in shown(api)
    api.silence()
    time.sleep(1.0)
    status = api.fresh("/v1/status").json()
    assert status["rollouts"][NAME]["status"] == "progressing"
    assert 1.0 < status["stale"] < 60.0
    assert "the controller has not answered for" in shown(api)
    lines = api.fresh("/metrics").text.splitlines()
    assert f"{contract.METRIC_CONTROLLER_UP} 0.0" in lines
    assert not any(line.startswith("extproc_status") for line in lines)
    (age,) = (float(line.split()[1]) for line in lines if line.startswith(f"{contract.METRIC_ANSWER_AGE} "))
    assert age > 1.0
    health = api.fresh("/healthz")
    assert health.status_code == 503
    assert "has not answered" in health.text
    assert [entry["action"] for entry in api.ask("GET", "/v1/journal").json()["entries"]] == ["start", "adopt"]
    api.run(api.socket.start())
    assert api.fresh("/v1/status").json()["stale"] == 0
    assert f"{contract.METRIC_CONTROLLER_UP} 1.0" in api.fresh("/metrics").text


def test_a_brain_that_never_answered_is_a_problem(api: Served) -> None:
    """Nothing is known that could be shown."""
    api.silence()
    answer = api.ask("GET", "/v1/status")
    assert (answer.status_code, answer.json()["problems"][0]["id"]) == (504, "api.no-answer")
    assert "nor before, since the API has started" in answer.json()["problems"][0]["message"]
    assert api.ask("GET", "/healthz").status_code == 503
    assert f"{contract.METRIC_CONTROLLER_UP} 0.0" in api.ask("GET", "/metrics").text


def test_an_act_without_a_brain_is_refused_and_says_what_a_person_can_do(api: Served) -> None:
    """It was not carried out, which is certain; the rollback that needs no controller is named, with Envoy's own port."""
    api.ask("GET", "/v1/status")
    api.silence()
    answer = api.act("rollback")
    (problem,) = answer.json()["problems"]
    assert (answer.status_code, problem["id"]) == (503, "api.no-answer")
    assert problem["message"].endswith("rollback was not carried out")
    port = api.loop.spec.listener.admin_port
    assert f"http://127.0.0.1:{port}/runtime_modify?{contract.RUNTIME_CANARY.format(rollout=NAME)}=0" in problem["hint"]


def test_an_act_that_is_met_late_is_not_carried_out(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked was told so: a brain that stood still does not do it afterwards."""
    monkeypatch.setattr(ask, "ACT_WITHIN", -0.5)
    answer = api.act("start")
    assert answer.status_code == 503
    assert "it stood still" in answer.json()["problems"][0]["message"]
    assert "start was not carried out" in answer.json()["problems"][0]["message"]
    assert api.loop.state.rollouts[NAME].status is Status.PENDING


def test_an_act_whose_answer_is_lost_may_have_been_done(api: Served) -> None:
    """504, and where to look; asked again under the same name it is done once."""
    body = {"why": "because", "request": "17"}
    api.loses_acts = True
    answer = api.act("start", body)
    assert answer.status_code == 504
    assert "may have begun" in answer.json()["problems"][0]["message"]
    api.loses_acts = False
    again = api.act("start", body).json()
    assert (again["status"], again["repeated"]) == ("progressing", True)
    assert [entry.action.value for entry in api.store.journal(NAME, 10)] == ["start", "adopt"]


def test_a_store_that_refuses_is_told_as_such(api: Served) -> None:
    """Not as a silent brain: the controller answers, and says what is wrong with its store."""
    with closing(sqlite3.connect(api.store.url.partition(":")[2])) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = api.act("start")
    assert answer.status_code == 503
    assert answer.json()["problems"][0]["id"].startswith("store.")
    assert api.act("start").status_code == 200
