"""What the collector learns of a request, from the real Envoy's access log: who was assigned what, how it went, how many tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from extproc import contract, wire
from extproc.domain import Arm, Outcome
from extproc.render import Profile
from tests.support.envoy_stand import ADDRESSES, OLD_ENVOY, PATIENCE, PAUSE, Stand, routing_stand, user_on


class Collector:
    """The access-log service, keeping what `wire` reads from it."""

    def __init__(self, address: str) -> None:
        self.outcomes: list[Outcome] = []
        self.undecided = 0
        self._server = grpc.server(ThreadPoolExecutor(4))
        service, _, method = contract.ACCESS_LOG_METHOD.strip("/").partition("/")
        handler = grpc.stream_unary_rpc_method_handler(self._take)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self._server.add_insecure_port(address)
        self._server.start()

    def _take(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        for message in messages:
            outcomes, undecided, _ = wire.read_outcomes(message)
            self.outcomes += outcomes
            self.undecided += len(undecided)
        return b""

    def final(self, request_id: str) -> Outcome:
        """The outcome of one request, once it has ended; the entry comes within a second."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [one for one in self.outcomes if one.stream_id == request_id and one.final]
            if found:
                assert len(found) == 1
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no entry for {request_id}")

    def close(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, Collector, Profile]]:
    directory = tmp_path_factory.mktemp("log")
    collector = Collector(f"unix:{directory}/c.sock")
    try:
        with routing_stand(directory, request.param, OLD_ENVOY if request.param is Profile.CORE else None) as stand:
            yield stand, collector, request.param
    finally:
        collector.close()


def asked(stand: Stand, model: str, body: bytes, path: str = "/v1/chat", **headers: str) -> str:
    """The x-request-id of a request that this model answered."""
    assert stand.ask(path, body, **headers).status_code == 200
    request_id = stand.last(model).header("x-request-id")
    assert request_id is not None
    return request_id


@pytest.mark.parametrize("model", ["old", "new"])
def test_an_outcome_names_arm_cluster_and_tokens(seen: tuple[Stand, Collector, Profile], model: str) -> None:
    """The assignment travels past the model to the log, with the tokens of a JSON answer."""
    stand, collector, profile = seen
    outcome = collector.final(asked(stand, model, b'{"model":"old"}', x_user_id=user_on(stand, model)))
    assert (outcome.layer, outcome.rollout, outcome.phase, outcome.cohort) == ("model", "chat", "now", "everyone")
    assert (outcome.arm is Arm.CANARY) == (model == "new")
    assert (outcome.answered_by, outcome.model) == (model, model)
    assert (outcome.status, outcome.failed, outcome.attempts, outcome.durable) == (200, False, 1, True)
    assert (outcome.input_tokens, outcome.output_tokens) == (7, 11)
    assert len(outcome.unit) == 16
    assert (outcome.ttft is not None) == (profile is Profile.FULL)


def test_a_streamed_answer_is_timed_to_its_first_token(seen: tuple[Stand, Collector, Profile]) -> None:
    """Full profile: the time to the first event and the tokens of the last one. Core: the outcome alone, as its file says."""
    stand, collector, profile = seen
    # A long one: where this machine stands still for a moment, the first token is still long before the last.
    outcome = collector.final(asked(stand, "new", b'{"model":"old","stream":true,"long":true}', x_user_id=user_on(stand, "new")))
    assert outcome.duration > 9 * PAUSE
    assert not outcome.failed
    if profile is Profile.FULL:
        assert outcome.ttft is not None
        assert outcome.ttft < outcome.duration - 3 * PAUSE
        assert (outcome.input_tokens, outcome.output_tokens) == (7, 11)
    else:
        assert (outcome.ttft, outcome.output_tokens) == (None, None)


def test_a_request_that_hangs_is_seen_before_it_ends(seen: tuple[Stand, Collector, Profile]) -> None:
    """Each second an open request is reported, so that a canary that answers nobody is noticed in time."""
    stand, collector, _ = seen
    user = user_on(stand, "new")
    request_id = asked(stand, "new", b'{"model":"old","stream":true,"long":true}', x_user_id=user)
    collector.final(request_id)
    periodic = [one for one in collector.outcomes if one.stream_id == request_id and not one.final]
    assert periodic
    assert all(one.arm is Arm.CANARY and not one.failed for one in periodic)


def test_who_is_in_no_cohort_is_an_outcome_of_none(seen: tuple[Stand, Collector, Profile]) -> None:
    """Stable without a cohort; the anonymous are not durable."""
    stand, collector, _ = seen
    outcome = collector.final(asked(stand, "old", b"{}", "/geo/chat", x_forwarded_for=ADDRESSES["US"]))
    stand.client.cookies.clear()
    assert (outcome.rollout, outcome.cohort, outcome.durable) == ("geo", "", False)


def test_health_checks_are_not_logged(seen: tuple[Stand, Collector, Profile]) -> None:
    """A load balancer's probes are no undecided requests; what matches no rollout is one."""
    stand, collector, _ = seen
    collector.final(asked(stand, "old", b'{"model":"old"}', x_user_id=user_on(stand, "old")))
    before = collector.undecided
    for _ in range(20):
        stand.client.get("/extproc/healthz")
    stand.ask("/v9/none", b"{}")
    collector.final(asked(stand, "old", b'{"model":"old"}', x_user_id=user_on(stand, "old")))
    deadline = time.monotonic() + PATIENCE
    while collector.undecided == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert collector.undecided == before + 1
