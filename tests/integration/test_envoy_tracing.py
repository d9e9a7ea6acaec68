"""Traces of the real Envoy: which release a request met, what a stranger cannot do, and that a collector which is away harms nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from extproc import contract
from extproc.render import Profile
from tests.support.envoy_stand import OLD_ENVOY, Model, Stand, a_rollout, document, standing, user_on
from tests.support.otlp import PATIENCE, Collector, Seen
from tests.support.xds_stand import telling, until

SERVER, CLIENT = 2, 3
"""Kinds of spans."""
TRACE, PARENT, CONTINUED = "a" * 32, "b" * 16, "d" * 32
QUERY = "/v1/chat?key=sk-secret"
"""Some clients write their key there."""


@dataclass
class Traced:
    """A stand whose requests are all traced, and who listens."""

    stand: Stand
    collector: Collector
    profile: Profile
    users: dict[str, str]
    """Model -> somebody who meets it."""

    def ask(self, model: str = "new", **headers: str) -> str:
        """The request id of a request that this model answers."""
        assert self.stand.answered(QUERY, x_user_id=self.users[model], **headers) == model
        request_id = self.stand.last(model).header("x-request-id")
        assert request_id is not None
        return request_id

    def settled(self, sampled: bool) -> str:
        """The id of the first request of which Envoy tells the model that it is traced, or is not: it has taken what it was told."""
        deadline = time.monotonic() + PATIENCE
        while True:
            request_id, told = self.ask(), self.stand.last("new").header("traceparent")
            if told is not None and told.endswith("-01" if sampled else "-00"):
                return request_id
            assert time.monotonic() < deadline, told

    def server_span(self, request_id: str) -> Seen:
        """The span of a request as a whole."""
        (found,) = self.collector.wait(lambda one: one.kind == SERVER and one.tags["guid:x-request-id"] == request_id)
        return found

    def spans(self, request_id: str, count: int) -> list[Seen]:
        """All spans of its trace, which are so many."""
        trace = self.server_span(request_id).trace
        found = self.collector.wait(lambda one: one.trace == trace, count)
        assert len(found) == count, found
        return found


@pytest.fixture(scope="module", params=[(Profile.FULL, None), (Profile.CORE, OLD_ENVOY)], ids=["full-1.40", "core-1.36"])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """An edge; every request is traced, unless a test says otherwise."""
    profile, envoy = request.param
    collector = Collector()
    models = {name: Model(name) for name in ("old", "new")}
    blocks = {name: {"endpoint": model.endpoint} for name, model in models.items()}
    blocks["new"]["send_model"] = "new-2026"
    listener = {
        "kind": "edge",
        "set_by": {"x-user-id": "the test"},
        "tracing": {"otlp": {"host": "127.0.0.1", "port": collector.port}, "share": "100%"},
    }
    rollouts = {"chat": a_rollout("50%", {"paths": ["/v1/"]})}
    directory = tmp_path_factory.mktemp("tracing")
    try:
        with standing(document(listener, blocks, rollouts), models, directory, profile=profile, envoy=envoy) as stand:
            # Otherwise Envoy keeps spans for up to five seconds.
            stand.admin.post("/runtime_modify", params={"tracing.opentelemetry.min_flush_spans": "1"})
            made = Traced(stand, collector, profile, {model: user_on(stand, model) for model in models})
            yield made
            # It may be another one by now.
            collector = made.collector
    finally:
        collector.close()


@pytest.mark.parametrize(("model", "arm", "asked_for"), [("new", "canary", "new-2026"), ("old", "control", "old")])
def test_a_trace_tells_which_release_a_request_met(traced: Traced, model: str, arm: str, asked_for: str) -> None:
    """Three spans: the request, the decision, and the model's answer; the first and the last say what was decided, and who answers."""
    spans = traced.spans(traced.ask(model), 3)
    whole = next(one for one in spans if one.kind == SERVER)
    answer = next(one for one in spans if one.tags.get("upstream_cluster") == model and one.kind == CLIENT)
    decision = next(one for one in spans if one.tags.get("upstream_cluster") == "extproc_router")
    assert whole.parent == ""
    assert {answer.parent, decision.parent} == {whole.span}
    assert whole.resource["service.name"] == "chat"
    said = {
        "extproc.rollout": "chat",
        "extproc.generation": "1",
        "extproc.phase": "now",
        "extproc.cohort": "everyone",
        "extproc.arm": arm,
        "extproc.reason": "ring",
        "extproc.model": model,
        "gen_ai.request.model": asked_for,
        "http.status_code": "200",
    }
    for span in (whole, answer):
        assert said.items() <= span.tags.items()


def test_no_tag_says_who_the_user_is(traced: Traced) -> None:
    """Neither the id nor the address, and no query, where a key may be; the path alone where Envoy can tell it apart."""
    request_id = traced.ask("new", authorization="Bearer sk-client", cookie="session=c00kie")
    spans = traced.spans(request_id, 3)
    for span in spans:
        said = repr(span.tags)
        for secret in (traced.users["new"], "sk-secret", "sk-client", "c00kie"):
            assert secret not in said
        assert span.tags.get("peer.address", "-") == "-"
    url = traced.server_span(request_id).tags["http.url"]
    assert url.endswith("/v1/chat") if traced.profile is Profile.FULL else "/v1" not in url


def test_tags_are_not_the_clients_to_set(traced: Traced) -> None:
    """A client of the control that says it is of the canary is in a trace of the control."""
    forged = {
        "x_llm_cluster": "new",
        "x_llm_arm": "canary",
        "x_envoy_downstream_service_cluster": "forged",
        "baggage": "extproc.arm=canary",
    }
    tags = traced.server_span(traced.ask("old", x_client_trace_id="forged", **forged)).tags
    assert (tags["extproc.arm"], tags["extproc.model"]) == ("control", "old")
    assert "forged" not in repr(tags)


FORCING = {
    "a sampled parent": {"traceparent": f"00-{TRACE}-{PARENT}-01"},
    "force": {"x_envoy_force_trace": "true"},
    "a client's own id": {"x_client_trace_id": "1"},
    "a request id that says so": {"x_request_id": "00000000-0000-a000-8000-000000000000"},
}


def test_a_stranger_cannot_have_itself_traced(traced: Traced) -> None:
    """The share alone decides: with none, no header of a client makes a span. The next request that is traced shows that none is late."""
    with traced.stand.runtime("tracing.random_sampling", 0):
        traced.settled(sampled=False)
        forced = [traced.ask(**headers) for headers in FORCING.values()]
    traced.server_span(traced.settled(sampled=True))
    seen = {one.tags.get("guid:x-request-id") for one in traced.collector.spans}
    assert not seen & set(forced)
    assert TRACE not in {one.trace for one in traced.collector.spans}


def test_a_strangers_trace_goes_on_where_it_cannot_decide(traced: Traced) -> None:
    """Envoy 1.40 continues it, and its own share decides; with 1.36 a new one begins. The model is told what Envoy made of it."""
    span = traced.server_span(traced.ask(traceparent=f"00-{CONTINUED}-{PARENT}-01", tracestate="them=1"))
    assert ((span.trace, span.parent) == (CONTINUED, PARENT)) == (traced.profile is Profile.FULL)
    sent = traced.stand.last("new").header("traceparent")
    assert sent is not None
    assert sent.startswith(f"00-{span.trace}-")
    assert sent.endswith("-01")


def test_a_stranger_may_stay_out_of_traces(traced: Traced) -> None:
    """A trace that its beginner does not sample has no spans here either, where it goes on."""
    unsampled = traced.ask(traceparent=f"00-{TRACE}-{PARENT}-00")
    traced.server_span(traced.ask())
    seen = {one.tags.get("guid:x-request-id") for one in traced.collector.spans}
    assert (unsampled in seen) == (traced.profile is Profile.CORE)


def test_health_checks_are_not_traced(traced: Traced) -> None:
    """A load balancer asks each second: that is no traffic."""
    for _ in range(3):
        traced.stand.client.get("/extproc/healthz")
    traced.server_span(traced.ask())
    assert "GET" not in {one.tags.get("http.method") for one in traced.collector.spans}


def test_a_collector_that_is_away_harms_no_request(traced: Traced) -> None:
    """Answers come as before; spans of that time are lost, and later ones are not."""
    port = traced.collector.port
    traced.collector.close()
    for _ in range(5):
        traced.ask()
    traced.collector = Collector(port)
    deadline = time.monotonic() + PATIENCE
    while not traced.collector.spans:
        traced.ask()
        assert time.monotonic() < deadline, "no span has come since"
        time.sleep(0.1)


class Router:
    """In the router's place: is well, remembers the headers of each question, and answers nothing."""

    def __init__(self, address: str) -> None:
        self.asked: list[set[str]] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        decide, well = grpc.stream_stream_rpc_method_handler(self._decide), grpc.unary_unary_rpc_method_handler(self._well)
        for path, handler in ((contract.PROCESS_METHOD, decide), (contract.HEALTH_CHECK_METHOD, well)):
            service, _, method = path.strip("/").partition("/")
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self._server.add_insecure_port(address)
        self._server.start()

    def _well(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        return b"\x08\x01"

    def _decide(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self.asked.append({str(key) for key, _ in context.invocation_metadata()})
        return iter(())

    def close(self) -> None:
        self._server.stop(None).wait()


def test_inside_whoever_began_a_trace_decides_and_the_router_does_not_hear_of_it(tmp_path: Path) -> None:
    """An internal listener, told over xDS: what its caller samples has spans here, whatever the share, and what it does not has none. The
    router knows questions by the bytes of their headers, so that none of it reaches it."""
    collector, model = Collector(), Model("old")
    router = Router(contract.endpoints(f"unix:{tmp_path}/r.sock", 1)[0])
    tracing = {"otlp": {"host": "127.0.0.1", "port": collector.port}, "share": "0.01%"}
    models = {name: {"endpoint": model.endpoint} for name in ("old", "new")}
    told = document({"kind": "internal", "tracing": tracing}, models, {"chat": a_rollout("50%", {"paths": ["/v1/"]})})
    try:
        with (
            telling(tmp_path, told, delta=True) as stand,
            httpx.Client(base_url=f"http://127.0.0.1:{stand.port}", trust_env=False) as client,
        ):
            until(lambda: stand.stat(f"{contract.ROUTER_CLUSTER}.membership_healthy"))
            stand.admin.post("/runtime_modify", params={"tracing.opentelemetry.min_flush_spans": "1"})
            for trace, flag in (("c" * 32, "00"), (TRACE, "01")):
                headers = {"traceparent": f"00-{trace}-{PARENT}-{flag}", "x-user-id": "u"}
                assert client.post("/v1/chat", json={"model": "old"}, headers=headers).status_code == 200
            (span,) = collector.wait(lambda one: one.kind == SERVER and one.trace == TRACE)
            assert span.parent == PARENT
            assert (span.tags["extproc.model"], span.tags["gen_ai.request.model"]) == ("old", "old")
            assert not {"extproc.arm", "extproc.rollout"} & set(span.tags)
            assert {one.trace for one in collector.spans} == {TRACE}
            assert router.asked
            assert not any({"traceparent", "tracestate"} & headers for headers in router.asked)
    finally:
        for one in (collector, model, router):
            one.close()
