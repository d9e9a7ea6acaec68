"""Open conversations on the real Envoy, with the real router and controller: they keep their model, until they must move."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from extproc.demo import stand
from tests.support.standing import Standing, standing

ROLLOUT = "gpt-5-mini"
TOKEN = "x-conversation-token"


def _conversations(document: dict[str, Any]) -> None:
    rollout = document["rollouts"][ROLLOUT]
    rollout["start"] = "manual"
    rollout["conversation"] = {"lifetime": "1h", "on_quality_rollback": "drain"}


@pytest.fixture
def served() -> Iterator[Standing]:
    """At its second-last phase but one: 25 %."""
    with standing(_conversations) as made:
        for action in ("start", "promote", "promote"):
            act(made, action)
        with httpx.Client(trust_env=False, timeout=60) as probe:
            eventually(lambda: TOKEN in answered(made, probe, "probe").headers)
        yield made


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=60) as made:
        yield made


def act(served: Standing, action: str, **more: str) -> None:
    served.api("POST", f"/v1/rollouts/{ROLLOUT}/{action}", json={"why": "a test", **more})


def eventually(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def at_rest(count: Callable[[], int]) -> int:
    """A count that has not changed for some seconds: ends of requests are told within a second, a busy machine takes longer."""
    found, since = count(), time.monotonic()
    while time.monotonic() - since < 3.0:
        time.sleep(0.2)
        if (now := count()) != found:
            found, since = now, time.monotonic()
    return found


def answered(served: Standing, client: httpx.Client, user: str, token: str = "") -> httpx.Response:
    headers = {"x_user_id": user} | ({TOKEN: token} if token else {})
    answer = served.ask(client, **headers)
    assert answer.status_code == 200, answer.text
    return answer


def model_of(served: Standing, client: httpx.Client, user: str, token: str = "") -> str:
    return str(answered(served, client, user, token).json()["model"])


def fates(served: Standing) -> dict[str, int]:
    """What became of tokens, as the router's metrics say."""
    text = httpx.get(f"http://127.0.0.1:{served.ports.metrics}/metrics", trust_env=False, timeout=60).text
    found = re.findall(r'extproc_conversation_tokens_total\{fate="(\w+)",rollout="[^"]+"\} ([0-9.e+]+)', text)
    return {fate: int(float(count)) for fate, count in found}


def moved_by_the_promotion(served: Standing, client: httpx.Client) -> dict[str, str]:
    """Users on stable at 25 % and on the canary at 50 %, with the tokens that they got at 25 %."""
    at_25 = {f"user-{number}": answered(served, client, f"user-{number}") for number in range(60)}
    stable = {user: answer.headers[TOKEN] for user, answer in at_25.items() if answer.json()["model"] == "gpt-5"}
    act(served, "promote")
    served.followed()
    moved = {user: token for user, token in stable.items() if model_of(served, client, user) == "gpt-5-mini"}
    assert len(moved) > 5
    return moved


def test_a_conversation_keeps_its_model_through_a_promotion_and_a_restart(served: Standing, client: httpx.Client) -> None:
    """Its token does that, the router needs no memory; a request without it, or with a forged one, goes where the ring says."""
    moved = moved_by_the_promotion(served, client)
    assert all(model_of(served, client, user, token) == "gpt-5" for user, token in moved.items())
    user, token = next(iter(moved.items()))
    assert TOKEN not in answered(served, client, user, token).headers, "a token that counts is not replaced"
    last = "0" if token[-1] != "0" else "1"
    assert model_of(served, client, user, token[:-1] + last) == "gpt-5-mini"
    other = next(one for one in moved if one != user)
    assert model_of(served, client, other, token) == "gpt-5-mini", "another user's token is foreign"
    found = fates(served)
    assert (found["forged"], found["foreign"]) == (1, 1)
    assert found["valid"] >= len(moved)
    served.run(_restarted(served))
    eventually(lambda: served.api("GET", "/v1/status")["rollouts"][ROLLOUT]["phase"] == "50%")
    eventually(lambda: model_of(served, client, user) == "gpt-5-mini")
    assert all(model_of(served, client, user, token) == "gpt-5" for user, token in moved.items())


async def _restarted(served: Standing) -> None:
    """`extproc serve` ends, and begins again on the same store."""
    child = served.serving
    assert child is not None
    await served.processes.stop(child)
    served.serving = await stand.start_serve(served.processes, served.spec, served.ports, 2)


def test_a_rollback_moves_conversations_and_draining_does_not(served: Standing, client: httpx.Client) -> None:
    """`rollback --drain` lets conversations on the canary end there while everybody else is on stable; `revoke` then ends them all, as
    every other rollback does at once."""
    users = [f"user-{number}" for number in range(60)]
    first = {user: answered(served, client, user) for user in users}
    canary = {user: answer.headers[TOKEN] for user, answer in first.items() if answer.json()["model"] == "gpt-5-mini"}
    assert len(canary) > 5
    act(served, "rollback", conversations="drain")
    eventually(lambda: all(model_of(served, client, user) == "gpt-5" for user in users))
    assert all(model_of(served, client, user, token) == "gpt-5-mini" for user, token in canary.items())
    act(served, "revoke")
    eventually(lambda: all(model_of(served, client, user, token) == "gpt-5" for user, token in canary.items()))
    assert fates(served)["revoked"] >= len(canary)
    for action in ("start", "promote", "promote"):
        act(served, action)
    eventually(lambda: sum(model_of(served, client, user) == "gpt-5-mini" for user in canary) == len(canary))
    again = {user: answered(served, client, user).headers[TOKEN] for user in canary}
    act(served, "rollback")
    eventually(lambda: all(model_of(served, client, user, token) == "gpt-5" for user, token in again.items()))


def test_pinned_requests_are_no_evidence(served: Standing, client: httpx.Client) -> None:
    """A request that its token keeps elsewhere than the ring says is in neither arm's counts; one that agrees with the ring is."""
    moved = moved_by_the_promotion(served, client)

    def counted() -> int:
        arms = served.api("GET", "/v1/status")["rollouts"][ROLLOUT]["arms"]
        return int(arms["canary"]["requests"] + arms["stable"]["requests"])

    eventually(lambda: counted() >= len(moved))
    settled = at_rest(counted)
    for user, token in moved.items():
        assert model_of(served, client, user, token) == "gpt-5"
    user = next(iter(moved))
    answer = answered(served, client, user)
    model_of(served, client, user, answer.headers[TOKEN])
    eventually(lambda: counted() >= settled + 2)
    assert at_rest(counted) == settled + 2
