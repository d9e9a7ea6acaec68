"""What `extproc explain` says of a running controller is what the real Envoy does, and nobody's id gets into a log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.support.standing import Standing, standing

ROLLOUT = "gpt-5-mini"
TOKEN = "x-conversation-token"
PEOPLE = [
    ({"x-user-id": f"person-{number}", "x-user-tier": tier, "x-geo-country": country})
    for number in range(12)
    for tier, country in (("internal", "US"), ("free", "NZ"), ("paid", "DE"))
]


def _changed(document: dict[str, Any]) -> None:
    rollout = document["rollouts"][ROLLOUT]
    rollout |= {"start": "manual", "conversation": {"lifetime": "1h"}, "holdback": "10%"}
    rollout["overrides"] = {"stable": ["person-1"], "canary": ["person-2"]}
    rollout["cohorts"] = [
        {"name": "staff", "tier": "internal", "share": "80%"},
        {"name": "new-zealand", "country": ["NZ"], "from": "50%"},
        {"name": "everyone", "exclude": {"ids": ["person-3"]}},
    ]


@pytest.fixture(scope="module")
def served() -> Iterator[Standing]:
    with standing(_changed) as made:
        for action in ("start", "promote", "promote"):
            made.api("POST", f"/v1/rollouts/{ROLLOUT}/{action}", json={"why": "a test"})
        made.followed()
        yield made


def explained(served: Standing, headers: dict[str, str]) -> dict[str, Any]:
    """By the API, as the command asks it."""
    (layer,) = served.api("POST", "/v1/explain", json={"headers": headers, "path": "/v1/chat/completions", "model": "gpt-5"})["layers"]
    taken: dict[str, Any] = layer["taken"]
    return taken


def test_envoy_does_what_is_explained(served: Standing) -> None:
    """Model and token of 36 people at 25 %, a third of them staff, a third in a cohort before its phase; some forced, some excluded."""
    reasons = set()
    with httpx.Client(trust_env=False, timeout=60) as client:
        for headers in PEOPLE:
            answer = served.ask(client, **headers)
            taken = explained(served, headers)
            assert answer.json()["model"] == taken["model"], taken["sentence"]
            assert (TOKEN in answer.headers) == taken["conversation"]["issued"], taken["conversation"]["sentence"]
            if TOKEN in answer.headers:
                again = explained(served, {**headers, TOKEN: answer.headers[TOKEN]})
                assert (again["conversation"]["fate"], again["model"]) == ("valid", taken["model"])
            reasons.add(taken["reason"])
    assert reasons == {"ring", "not_yet", "forced", "excluded"}


def test_the_command_asks_the_running_controller(served: Standing) -> None:
    """Without a file; for people, and for scripts."""
    command = [sys.executable, "-m", "extproc", "explain", "-H", "x-user-id: person-3", "--api", f"http://127.0.0.1:{served.ports.api}"]
    command += ["--token-file", str(served.directory / "extproc.db.token")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "cohort everyone excludes it: id is in a list (1 ids)" in " ".join(shown.replace("│", " ").split())
    document = orjson.loads(subprocess.run([*command, "--json"], capture_output=True, check=True, timeout=120).stdout)
    assert document["layers"][0]["taken"]["entry"]["sentence"] == "never: cohort everyone excludes it"
    of_file = subprocess.run([*command[:4], str(served.spec), *command[4:], "--json"], capture_output=True, check=True, timeout=120).stdout
    assert not any("not the one in force" in note for note in orjson.loads(of_file)["notes"])
    asked = [*command[:6], "--state", f"sqlite:{served.directory}/extproc.db", "--json"]
    by_store = orjson.loads(subprocess.run(asked, capture_output=True, check=True, timeout=120).stdout)
    assert by_store["layers"] == document["layers"]


def test_nobodys_id_is_in_a_log(served: Standing) -> None:
    """Of extproc's processes: neither from requests nor from questions. (Envoy's own log is the operator's.)"""
    explained(served, {"x-user-id": "person-3", "authorization": "Bearer sk-secret"})
    for path in served.directory.glob("*.log"):
        text = path.read_text(errors="replace")
        assert "person-" not in text, path
        assert "sk-secret" not in text, path
