"""What users see of a fault in extproc: nothing. And what an operator can do without it. On the real Envoy with a real router."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from extproc import contract
from extproc.render import Profile
from tests.support.envoy_stand import OLD_ENVOY, PATIENCE, Stand, routing_stand, user_on

CANARY = contract.RUNTIME_CANARY.format(rollout="chat")
COMPLETED = contract.RUNTIME_COMPLETED.format(rollout="chat")
USERS = [f"user-{number}" for number in range(20)]
TIMEOUT = 1.0
"""Seconds of message_timeout: nobody who is decided waits so long, on a busy machine either."""


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with routing_stand(tmp_path_factory.mktemp("alive"), request.param, envoy, TIMEOUT) as made:
        yield made


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def orphan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A stand whose router was killed after it had worked."""
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with routing_stand(tmp_path_factory.mktemp("orphan"), request.param, envoy) as made:
        assert {made.answered(x_user_id=user) for user in USERS} == {"old", "new"}
        for process in (made.router.pid, *made.workers()):
            os.kill(process, signal.SIGKILL)
        yield made


def test_an_operator_rolls_back_by_one_runtime_key(stand: Stand) -> None:
    """With canary=0 the next request already meets stable, decided or not; other rollouts stay as they are."""
    user = user_on(stand, "new")
    with stand.runtime(CANARY, 0):
        assert {stand.answered(x_user_id=one) for one in (user, *USERS)} == {"old"}
        assert stand.answered(body={"model": "other"}, x_user_id=user) == "other-new"
    assert stand.answered(x_user_id=user) == "new"


def test_completion_by_runtime_leaves_decided_requests_alone(stand: Stand) -> None:
    """completed=100 is about requests without a decision: who was kept on stable stays there."""
    user = user_on(stand, "old")
    with stand.runtime(COMPLETED, 100):
        assert stand.answered(x_user_id=user) == "old"


def test_a_frozen_router_costs_no_request(stand: Stand) -> None:
    """Requests wait for one message_timeout at most and go to stable; when the router runs again, so does the rollout."""
    user = user_on(stand, "new")
    # The supervisor as well: it would replace a worker that does not answer.
    frozen = [stand.router.pid, *stand.workers()]
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    took = []
    for _ in range(3):
        started = time.monotonic()
        assert stand.answered(x_user_id=user) == "old"
        took.append(time.monotonic() - started)
    # The machine may be late by itself, but not each time.
    assert min(took) < TIMEOUT * 1.5, took
    for process in frozen:
        os.kill(process, signal.SIGCONT)
    deadline = time.monotonic() + PATIENCE
    while stand.answered(x_user_id=user) != "new":
        assert time.monotonic() < deadline


def test_without_a_router_everybody_is_on_stable(orphan: Stand) -> None:
    """No client sees an error, and bodies are those of stable."""
    assert {orphan.answered(x_user_id=user) for user in USERS} == {"old"}
    assert orphan.last("old").body == b'{"model":"old"}'


def test_without_a_router_each_model_keeps_its_own_stable(orphan: Stand) -> None:
    """The requested model still tells rollouts apart that share a path: nobody is sent to another model than was asked for."""
    assert orphan.answered(body={"model": "other"}, x_user_id="anyone") == "other"
    assert orphan.ask(body={"model": "third"}, x_user_id="anyone").status_code == 404


def test_without_a_router_no_client_chooses_for_itself(orphan: Stand) -> None:
    """The door strips x-llm-cluster whether or not anybody sets it again."""
    assert orphan.answered(x_user_id="anyone", x_llm_cluster="new") == "old"


def test_after_completion_the_canary_is_envoys_own_default(orphan: Stand) -> None:
    """completed=100: requests without a decision meet the canary, with its own name in the body; other rollouts do not."""
    with orphan.runtime(COMPLETED, 100):
        assert {orphan.answered(x_user_id=user) for user in USERS} == {"new"}
        assert b'"model":"new ' in orphan.last("new").body.replace(b'": "', b'":"')
        assert orphan.answered(body={"model": "other"}, x_user_id="anyone") == "other"
    assert orphan.answered(x_user_id="anyone") == "old"
