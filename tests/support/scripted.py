"""A router that answers what a test tells it, behind the real Envoy with a rendered configuration: what Envoy does with a decision, whoever
made it. The messages are those of `extproc.pb`; the transport is grpcio's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import orjson

from extproc import contract, spec, wire
from extproc.cli.doctor.compare import differences, dumped
from extproc.demo.processes import free_port
from extproc.domain import Arm, Assignment, Mirrored, Outcome, Reason, Spec, Undecided
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.render import EnvoySettings, Profile, envoy_yaml
from extproc.render.settings import CA_BUNDLE
from tests.support.envoy_stand import PATIENCE, PATIENT_HEALTH, PATIENT_MESSAGE, Arrived, Document, Model, running_envoy

SERVING = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse{status: SERVING}."""
UNIT = b"0123456789abcdef"
"""The keyed hash of everybody here."""
Metadata = Mapping[str, Mapping[str, Any]]


def loaded(document: Document, directory: Path) -> Spec:
    """The Spec of a document. JSON is YAML, without aliases (which a Spec refuses)."""
    path = directory / "release.yaml"
    path.write_bytes(orjson.dumps(document))
    return spec.read(str(path))


# ------------------------------------------------------------------------------------------------------------------ the decision
@dataclass
class Decision:
    """What the scripted router answers; nothing by default: the request keeps its own route."""

    cluster: str = ""
    rollout: str = "chat"
    arm: Arm = Arm.CANARY
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further x-llm-* headers."""
    metadata: Metadata = field(default_factory=dict)
    """Further namespaces and their fields."""

    def encoded(self) -> bytes:
        """As the router writes it: the assignment, and behind it what else there is."""
        more = ProcessingResponse(request_headers={})
        for name, value in self.headers.items():
            option = more.request_headers.response.header_mutation.set_headers.add()
            option.header.key, option.header.raw_value = name, value.encode()
        for namespace, fields in self.metadata.items():
            more.dynamic_metadata.fields[namespace].struct_value.update(dict(fields))
        return (self._assigned() if self.cluster else b"") + more.SerializeToString()

    def _assigned(self) -> bytes:
        layer = contract.MODEL_LAYER
        assignment = Assignment(layer, self.rollout, 7, "now", "everyone", self.arm, Reason.RING, self.cluster, self.cluster)
        return wire.encode_reply(assignment, durable=True) + UNIT


STREAMS = 64
"""Threads: an access log holds one for ever; decisions and health need others."""


class Answerer:
    """An ext_proc server on a Unix socket: every request gets the same decision; it remembers what it was told. Access logs end here."""

    def __init__(self, socket: Path) -> None:
        self.decision = Decision()
        self.messages: list[ProcessingRequest] = []
        self.outcomes: list[Outcome] = []
        self.mirrored: list[Mirrored] = []
        self.undecided: list[Undecided] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=STREAMS))
        methods = {
            contract.PROCESS_METHOD: grpc.stream_stream_rpc_method_handler(self._process),
            contract.ACCESS_LOG_METHOD: grpc.stream_unary_rpc_method_handler(self._take),
            contract.HEALTH_CHECK_METHOD: grpc.unary_unary_rpc_method_handler(lambda request, context: SERVING),
        }
        for path, method in methods.items():
            service, _, name = path.strip("/").partition("/")
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
        assert self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def _process(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            self.messages.append(ProcessingRequest.FromString(message))
            yield self.decision.encoded()
            return

    def _take(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        for message in messages:
            heard = wire.read_outcomes(message)
            self.outcomes += heard.outcomes
            self.mirrored += heard.mirrored
            self.undecided += heard.undecided
        return b""

    def outcome(self, request_id: str) -> Outcome:
        """What the access log says of a request in the layer `model`, once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [one for one in self.outcomes if one.stream_id == request_id and one.final and one.layer == contract.MODEL_LAYER]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no entry for {request_id}")

    def copy(self, request_id: str) -> Mirrored:
        """What the access log says of a request's copy, once it has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [one for one in self.mirrored if one.stream_id == request_id and one.final]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"no copy of {request_id}")

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the last request, as Envoy forwarded them."""
        return {one.key: one.raw_value.decode() for one in self.messages[-1].request_headers.headers.headers}

    def told(self, namespace: str) -> dict[str, Any]:
        """What the last message said in a namespace of metadata; empty where it was not there."""
        found = self.messages[-1].metadata_context.filter_metadata
        return dict(found[namespace]) if namespace in found else {}

    def close(self) -> None:
        self._server.stop(None).wait()


# --------------------------------------------------------------------------------------------------------------------- the stand
@dataclass
class Scripted:
    """Envoy between a client and recording models, with a scripted router beside it."""

    models: Mapping[str, Model]
    client: httpx.Client
    admin: httpx.Client
    answerer: Answerer
    spec: Spec
    settings: EnvoySettings

    def ask(self, decision: Decision | str, path: str = "/v1/chat", body: Document | bytes | None = None, **headers: str) -> httpx.Response:
        """POST a JSON body while this is decided (a word: this cluster); `x_user_id` stands for the header x-user-id."""
        self.answerer.decision = Decision(decision) if isinstance(decision, str) else decision
        content = body if isinstance(body, bytes) else orjson.dumps(body if body is not None else {"model": "old"})
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.post(path, content=content, headers={"content-type": "application/json", **named})

    def answered(self, decision: Decision | str, path: str = "/v1/chat", body: Document | bytes | None = None, **headers: str) -> str:
        """The name of the model that answered; fails on anything but 200."""
        answer = self.ask(decision, path, body, **headers)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return str(answer.json()["model"])

    def last(self, model: str) -> Arrived:
        """The last request that a model got."""
        return self.models[model].requests[-1]

    @contextmanager
    def runtime(self, key: str, value: int) -> Iterator[None]:
        """A runtime key has this value, set as an operator would; afterwards it has its default again."""
        assert self.admin.post("/runtime_modify", params={key: str(value)}).status_code == 200
        try:
            yield
        finally:
            assert self.admin.post("/runtime_modify", params={key: ""}).status_code == 200

    def drift(self) -> list[str]:
        """In what Envoy's own account of its configuration is not what was rendered, as `extproc doctor` finds it."""
        there = dumped(self.admin.get("/config_dump").json(), tuple(self.spec.rollouts))
        return [str(difference) for difference in differences(self.spec, self.settings, there)]

    def stat(self, name: str) -> int:
        """The sum of all counters and gauges whose names end like this."""
        lines = self.admin.get("/stats", params={"filter": name}).text.splitlines()
        return sum(int(line.rsplit(": ", 1)[1]) for line in lines if line.rsplit(": ", 1)[0].endswith(name))


@contextmanager
def scripted(
    document: Document,
    models: Mapping[str, Model],
    directory: Path,
    *,
    profile: Profile = Profile.FULL,
    envoy: Path | None = None,
    environment: Mapping[str, str] | None = None,
    ca_bundle: Path | None = None,
    change: Callable[[Spec], Spec] = lambda given: given,
) -> Iterator[Scripted]:
    """Everything up. A decision, or a word of health, may take longer than in production: a busy machine must not look like a wrong answer.

    `change` makes another Spec of the one that was read, where it shall say what no document can.
    """
    port, admin_port = free_port(), free_port()
    document["listener"] |= {"address": "127.0.0.1", "port": port, "admin_port": admin_port}
    socket = directory / "r.sock"
    bundle = str(ca_bundle) if ca_bundle is not None else CA_BUNDLE
    # The one worker lives in the test's own process: on a busy machine it is late, and nobody else could decide meanwhile.
    settings = EnvoySettings(
        (f"unix:{socket}",), f"unix:{socket}", profile, bundle, message_timeout=PATIENT_MESSAGE, health_timeout=PATIENT_HEALTH
    )
    config = directory / "envoy.yaml"
    given = change(loaded(document, directory))
    config.write_text(envoy_yaml(given, settings, "a test"))
    with ExitStack() as stack:
        for model in {id(model): model for model in models.values()}.values():
            stack.callback(model.close)
        answerer = Answerer(socket)
        stack.callback(answerer.close)
        stack.enter_context(running_envoy(config, admin_port, envoy, environment))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE))
        admin = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{admin_port}", trust_env=False, timeout=PATIENCE))
        stand = Scripted(models, client, admin, answerer, given, settings)
        deadline = time.monotonic() + PATIENCE
        while stand.stat(f"{contract.ROUTER_CLUSTER}.membership_healthy") < 1:
            assert time.monotonic() < deadline, "Envoy does not find the router healthy"
            time.sleep(0.02)
        yield stand
