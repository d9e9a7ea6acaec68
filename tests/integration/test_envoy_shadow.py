"""The shadow on the real Envoy: what is marked is copied to the canary, as the canary's own request; the client never notices."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc import contract, wire
from extproc.demo.envoy import find_envoy
from extproc.domain import Arm, Assignment, Reason
from extproc.render import Profile, envoy_snippet
from tests.integration.test_envoy_snippet import foreign_envoy
from tests.support.envoy_stand import OLD_ENVOY, PATIENCE, Model, a_rollout, document, merged
from tests.support.scripted import Decision, Scripted, scripted

ENVIRONMENT = {"EXTPROC_TEST_OLD_KEY": "sk-of-stable", "EXTPROC_TEST_NEW_KEY": "sk-of-the-canary"}
MARKED = Decision("old", arm=Arm.REST, headers={contract.MIRROR_HEADER: contract.SHADOW_CLUSTER.format(rollout="chat")})
CLIENT = {
    "authorization": "Bearer sk-of-the-client",
    "cookie": "llm_uid=abc",
    "openai_organization": "org-of-the-client",
    "x_user_id": "somebody",
    "x_harmless": "stays",
}


@pytest.fixture(scope="module", params=[(Profile.FULL, None), (Profile.CORE, OLD_ENVOY)], ids=["full-1.40", "core-1.36"])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    profile, envoy = request.param
    directory: Path = tmp_path_factory.mktemp("shadow")
    models = {"old": Model("old"), "new": Model("new")}
    blocks: dict[str, Any] = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    blocks["old"]["credential"] = {"env": "EXTPROC_TEST_OLD_KEY"}
    blocks["new"] |= {"credential": {"env": "EXTPROC_TEST_NEW_KEY"}, "send_model": "new-5"}
    blocks["new"] |= {"path_rewrite": {"prefix": "/v1", "to": "/deep/v1"}}
    listener = {"kind": "edge", "set_by": {"x-user-id": "the test"}}
    rollouts = {"chat": a_rollout("5%", {"paths": ["/v1/"]}, shadow={"share": "10%"})}
    with scripted(document(listener, blocks, rollouts), models, directory, profile=profile, envoy=envoy, environment=ENVIRONMENT) as made:
        yield made


def arrived(stand: Scripted, count: int) -> None:
    """Wait until the canary has got so many requests in all."""
    deadline = time.monotonic() + PATIENCE
    while len(stand.models["new"].requests) < count:
        assert time.monotonic() < deadline, len(stand.models["new"].requests)
        time.sleep(0.02)


def test_what_is_marked_is_copied_as_the_canarys_own_request(stand: Scripted) -> None:
    """Its name for the model, its path, its key; no key, cookie, identity or bill of the client; and nothing else of the body changes."""
    before = len(stand.models["new"].requests)
    body = b'{"seed": 12345678901234567, "model": "old", "messages": [{"role": "user", "content": "a \\"model\\""}]}'
    answer = stand.ask(MARKED, "/v1/chat", body, **CLIENT)
    assert answer.json()["model"] == "old"
    arrived(stand, before + 1)
    copy = stand.last("new")
    assert copy.path == "/deep/v1/chat"
    assert b'"new-5"' in copy.body
    assert b'"old"' not in copy.body
    assert copy.header("authorization") == "Bearer sk-of-the-canary"
    assert copy.header("x-harmless") == "stays"
    said = " ".join(value for _, value in copy.headers)
    assert "of-the-client" not in said
    assert "of-stable" not in said
    assert not {"cookie", "x-user-id", "openai-organization"} & copy.names
    assert not {name for name in copy.names if name.startswith((contract.HEADER_PREFIX, "x-envoy-", "x-forwarded-"))}
    mine = stand.last("old")
    assert mine.body == body
    assert mine.header("authorization") == "Bearer sk-of-stable"
    assert contract.MIRROR_HEADER not in mine.names


@pytest.mark.parametrize("body", [b'{"model": "old"}', b'{"model":"old","stream":true}'], ids=["json", "sse"])
def test_both_answers_are_told_under_the_requests_name(stand: Scripted, body: bytes) -> None:
    """Two entries of the access log, joined by the request's id: the copy is no client's request, and is nobody's outcome."""
    answer = stand.ask(MARKED, "/v1/chat", body)
    assert answer.status_code == 200
    # Envoy names requests itself where it is an edge, and tells the models.
    name = stand.last("old").header("x-request-id") or ""
    mine, copy = stand.answerer.outcome(name), stand.answerer.copy(name)
    assert (mine.rollout, mine.answered_by, mine.status) == ("chat", "old", 200)
    assert (copy.rollout, copy.answered_by, copy.status, copy.failed) == ("chat", "new", 200, False)
    streamed_in_core = b"stream" in body and stand.settings.profile is Profile.CORE
    assert (copy.input_tokens, copy.output_tokens) == ((None, None) if streamed_in_core else (7, 11))
    assert [one for one in stand.answerer.outcomes if one.stream_id == name and one.answered_by == "new"] == []
    assert [one for one in stand.answerer.undecided if one.stream_id == name] == []


def test_what_is_not_marked_is_not_copied(stand: Scripted) -> None:
    """Nor where a client marks it itself; nor while the runtime key says so; nor where the mark names what is not there."""
    before = len(stand.models["new"].requests)
    cluster = contract.SHADOW_CLUSTER.format(rollout="chat")
    assert stand.answered("old") == "old"
    assert stand.answered("old", x_llm_mirror=cluster) == "old"
    assert stand.answered(Decision("old", headers={contract.MIRROR_HEADER: "nobody"})) == "old"
    assert stand.answered(Decision()) == "old"
    with stand.runtime(contract.RUNTIME_SHADOW.format(rollout="chat"), 0):
        assert stand.answered(MARKED) == "old"
    time.sleep(0.3)
    assert len(stand.models["new"].requests) == before


def test_nobody_waits_for_the_canary(stand: Scripted) -> None:
    """A canary that streams for longer, and a client that has gone: the copy goes on to its end."""
    before = len(stand.models["new"].requests)
    began = time.monotonic()
    stand.ask(MARKED, "/v1/chat", b'{"model":"old","stream":true}')
    arrived(stand, before + 1)
    name = stand.last("old").header("x-request-id") or ""
    assert stand.answerer.copy(name).duration < time.monotonic() - began + 1.0
    with stand.client.stream("POST", "/v1/chat", content=b'{"model":"old","stream":true,"long":true}') as answer:
        next(answer.iter_raw())
    arrived(stand, before + 2)
    left = stand.last("new").header("x-request-id") or ""
    assert stand.answerer.copy(left).status == 200


def test_doctor_finds_what_was_rendered(stand: Scripted) -> None:
    """Envoy's own account of routes, clusters and listeners is what the Spec asks for."""
    assert stand.drift() == []


def test_the_snippet_brings_what_a_shadow_needs(stand: Scripted, tmp_path: Path) -> None:
    """Merged into somebody's Envoy, it is accepted: the listener, its cluster, and the extension of the bootstrap."""
    snippet = yaml.safe_load(envoy_snippet(stand.spec, stand.settings, "a test"))
    theirs = foreign_envoy({**stand.models, "shop": stand.models["old"]})
    clusters = theirs["static_resources"]["clusters"]
    theirs["static_resources"]["clusters"] = [one for one in clusters if one["name"] not in stand.models]
    config = tmp_path / "theirs.yaml"
    config.write_text(yaml.safe_dump(merged(theirs, snippet, 1, 2)))
    envoy = OLD_ENVOY if stand.settings.profile is Profile.CORE else find_envoy()
    words = [str(envoy), "--mode", "validate", "-c", str(config)]
    said = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}, timeout=60, check=False)
    assert said.returncode == 0, said.stderr


def test_a_reply_of_the_router_marks() -> None:
    """What Assignment.mirrored becomes on the wire is what Envoy follows."""
    assignment = Assignment("model", "chat", 7, "now", "everyone", Arm.REST, Reason.SHADOW, "old", "old", mirrored=True)
    reply = wire.encode_reply(assignment, durable=True)
    marks = (contract.CLUSTER_HEADER, "old"), (contract.MIRROR_HEADER, contract.SHADOW_CLUSTER.format(rollout="chat"))
    assert wire.set_headers(reply + b"0" * wire.HASH_DIGITS) == marks
