"""The verdict for other people's delivery: its JSON, its three questions and the codes of their answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc.controller.verdict import verdict_document
from extproc.domain import Status
from tests.unit.test_api import NAME, Served

PATH = f"/v1/rollouts/{NAME}/verdict"
FLAGGER = {"name": "chat", "namespace": "ai", "phase": "Progressing", "metadata": {"some": "message"}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.close()


def answers(api: Served) -> dict[str, int]:
    """Move -> code, as Flagger asks."""
    return {move: api.ask("POST", f"{PATH}?ask={move}", json=FLAGGER).status_code for move in ("advance", "promote", "rollback")}


def test_the_verdict_wants_the_token(api: Served) -> None:
    """401 for every method."""
    for method in ("GET", "POST"):
        assert api.ask(method, PATH, token="wrong").status_code == 401


def test_a_get_is_always_answered_with_the_json(api: Served) -> None:
    """Argo Rollouts takes any other code for an error of the measurement: 200 even where nothing may move."""
    answer = api.ask("GET", PATH)
    document = answer.json()
    assert answer.status_code == 200
    assert (document["rollout"], document["status"], document["phase"], document["share"]) == (NAME, "pending", "1%", 0.0)
    assert document["why"] == "has not been evaluated yet"
    assert [document[move] for move in ("advance", "promote", "rollback")] == [False, False, False]


def test_nothing_advances_before_there_is_evidence(api: Served) -> None:
    """Pending, and begun without one outcome: 409, which Flagger's confirm hooks take for a halt."""
    assert answers(api) == {"advance": 409, "promote": 409, "rollback": 409}
    api.act("start")
    api.tick()
    time.sleep(0.25)
    assert api.fresh(PATH).json()["status"] == "progressing"
    assert answers(api) == {"advance": 409, "promote": 409, "rollback": 409}


def test_a_post_that_asks_nothing_asks_whether_to_advance(api: Served) -> None:
    """The plain webhook is the most careful one, and its answer has the same JSON."""
    answer = api.ask("POST", PATH, json=FLAGGER)
    assert answer.status_code == 409
    assert answer.json() == api.ask("GET", PATH).json()


def test_a_completed_rollout_is_promoted_and_a_rolled_back_one_rolled_back(api: Served) -> None:
    """The codes follow the committed act at once."""
    api.act("start")
    for _ in range(5):
        api.act("promote")
    assert answers(api) == {"advance": 200, "promote": 200, "rollback": 409}
    assert api.ask("GET", PATH).json()["why"] == "because"
    api.act("rollback")
    assert answers(api) == {"advance": 409, "promote": 409, "rollback": 200}


def test_a_person_who_pauses_halts_others_too(api: Served) -> None:
    """Paused is neither a go nor a rollback."""
    api.act("start")
    api.act("pause")
    assert answers(api) == {"advance": 409, "promote": 409, "rollback": 409}


@pytest.mark.parametrize(
    ("changes", "advance"),
    [
        ({"verdict": "pass"}, True),
        ({"verdict": "inconclusive"}, True),
        ({"verdict": "no_data"}, False),
        ({"verdict": None}, False),
        ({"verdict": "fail"}, False),
        ({"verdict": "pass", "page": True}, False),
        ({"verdict": "pass", "status": "awaiting_approval"}, False),
        ({"verdict": "pass", "status": "shadow"}, False),
    ],
)
def test_advance_needs_evidence_and_nothing_that_fails(api: Served, changes: dict[str, Any], advance: bool) -> None:
    """No data is no yes; a held release halts others as it halts itself."""
    api.act("start")
    rollout = api.fresh("/v1/status").json()["rollouts"][NAME] | changes
    document = verdict_document(NAME, rollout)
    assert document["advance"] is advance
    assert Status(document["status"]) is Status(rollout["status"])


@pytest.mark.parametrize(("path", "status", "problem"), [("x/verdict", 404, "api.rollout"), (f"{NAME}/verdict?ask=go", 400, "api.query")])
def test_what_cannot_be_asked_is_a_problem(api: Served, path: str, status: int, problem: str) -> None:
    """An unknown rollout, and a word that is no question."""
    answer = api.ask("GET", f"/v1/rollouts/{path}")
    assert answer.status_code == status
    assert answer.json()["problems"][0]["id"] == problem


def test_a_silent_controller_is_no_verdict(api: Served) -> None:
    """503 for every question, whatever was last known: Argo counts an error, Flagger halts."""
    api.act("start")
    api.act("rollback")
    assert answers(api)["rollback"] == 200
    api.silence()
    time.sleep(0.25)
    assert answers(api) == {"advance": 503, "promote": 503, "rollback": 503}
    assert api.ask("GET", PATH).json()["problems"][0]["id"] == "api.no-answer"


def test_the_guide_shows_the_json_as_it_is(api: Served) -> None:
    """Every key of docs/pipeline.md, in its order, and no other."""
    guide = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text(encoding="utf-8")
    shown = orjson.loads(guide.partition("```json\n")[2].partition("```")[0])
    assert list(shown) == list(api.ask("GET", PATH).json())
