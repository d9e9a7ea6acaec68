"""POST /v1/explain: by what is in force, beside the brain, whatever that does; and nothing of it in any log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from extproc.controller.answers import LONGEST_BODY
from extproc.controller.api import Api
from extproc.domain import Heartbeat
from tests.unit.test_api import NAME, TOKEN, Served

USER = {"headers": {"x-user-id": "u-very-private", "authorization": "Bearer sk-very-secret"}}


class Explaining(Served):
    """The API with what it opens to explain, given back at the end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.api = Api(self.client, self.journal, TOKEN)
        self._app = self.api.app()

    def close(self) -> None:
        self.api.close()
        super().close()

    def explain(self, question: Any = USER, **more: Any) -> httpx.Response:
        return self.ask("POST", "/v1/explain", json=question, **more)

    def taken(self, question: Any = USER) -> dict[str, Any]:
        answer = self.explain(question)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["layers"][0]["taken"]
        return found


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Explaining]:
    served = Explaining(tmp_path)
    served.tick()  # it starts by itself, and tells that it has been looked at
    yield served
    served.close()


def test_it_explains_what_is_in_force(api: Explaining) -> None:
    """Each act is seen in the very next answer."""
    first = api.taken()
    assert (first["phase"], first["status"], first["unit"]["id"]) == ("1%", "progressing", "u-very-private")
    for phase in ("5%", "25%", "50%", "100%"):
        assert api.act("promote").status_code == 200
        assert api.taken()["phase"] == phase
    assert api.taken()["arm"] == "canary"
    api.act("rollback")
    back = api.taken()
    assert (back["status"], back["reason"], back["arm"]) == ("rolled_back", "not_exposed", "rest")


def test_it_wants_the_token(api: Explaining) -> None:
    """Like everything that tells of people."""
    assert api.explain(token="wrong").status_code == 401


def test_there_is_no_get(api: Explaining) -> None:
    """Ids belong in no address."""
    assert api.ask("GET", "/v1/explain?x-user-id=u1").status_code == 405


@pytest.mark.parametrize("body", ["[]", '{"user": "u-very-private"}', '{"headers": "u-very-private"}', "no json: u-very-private"])
def test_what_is_no_question_is_refused(api: Explaining, body: str) -> None:
    """400, the shape that is expected, and nothing of what was given."""
    answer = api.ask("POST", "/v1/explain", content=body)
    assert answer.status_code == 400
    (problem,) = answer.json()["problems"]
    assert problem["id"] == "api.body"
    assert "u-very-private" not in answer.text
    long = api.ask("POST", "/v1/explain", content=b" " * (LONGEST_BODY + 1))
    assert (long.status_code, long.json()["problems"][0]["message"]) == (400, "the body is too long")


def test_it_answers_for_another_time(api: Explaining) -> None:
    """`now` is the asker's, or ours."""
    assert api.explain({**USER, "now": 1_900_000_000}).json()["at"] == 1_900_000_000
    assert abs(api.explain().json()["at"] - time.time()) < 60


def test_what_is_blind_is_withdrawn(api: Explaining) -> None:
    """As the last heartbeat told the routers."""
    api.act("promote")
    api.store.beat(Heartbeat(99, (NAME,)))
    answer = api.explain().json()
    assert (answer["withdrawn"], answer["layers"][0]["taken"]["reason"]) == ([NAME], "withdrawn")


def test_a_silent_brain_is_no_obstacle(api: Explaining) -> None:
    """Answered from the store; after the lease all that is exposed is withdrawn, as in every router, and it says how long it was silent."""
    api.act("promote")
    api.silence()
    soon = api.explain().json()
    assert (soon["withdrawn"], soon["layers"][0]["taken"]["phase"]) == ([], "5%")
    api.client._last_answer -= 20  # the lease is 15 s
    later = api.explain().json()
    assert later["withdrawn"] == [NAME]
    assert later["stale"] >= 20


def test_nothing_of_it_is_logged(api: Explaining, caplog: pytest.LogCaptureFixture) -> None:
    """Neither ids nor credentials, whether it is answered or refused."""
    caplog.set_level(logging.DEBUG)
    assert b"sk-very-secret" not in api.explain().content
    api.explain({"headers": {"x-user-id": 7, "u-very-private": "u-very-private"}})
    assert "very" not in caplog.text


def test_tokens_are_verified(api: Explaining) -> None:
    """The key lies in the store; the template's rollout keeps no conversations, and then there is nothing to say."""
    assert api.taken({"headers": {"x-user-id": "u1", "x-conversation-token": "1.x"}})["conversation"] is None


def test_the_same_spec_is_compiled_once(api: Explaining) -> None:
    """A Spec takes tens of milliseconds, an answer a few."""
    api.explain()
    took = []
    for _ in range(10):
        begin = time.perf_counter()
        api.taken()
        took.append(time.perf_counter() - begin)
    assert median(took) < 0.1


def test_an_empty_store_has_nothing_to_explain(tmp_path: Path) -> None:
    """503 with the next step: the controller is just starting."""
    from extproc.controller.explainer import StoredExplainer
    from extproc.store import open_store

    open_store(f"sqlite:{tmp_path}/y.db", writer=True).close()
    served = Explaining(tmp_path)
    try:
        served.api._explainer = StoredExplainer(f"sqlite:{tmp_path}/y.db")
        answer = served.explain()
        assert (answer.status_code, answer.json()["problems"][0]["id"]) == (503, "explain.no-state")
    finally:
        served.close()
