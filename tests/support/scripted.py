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

from extproc import contract, spec
from extproc.demo.processes import free_port
from extproc.domain import Spec
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.render import EnvoySettings, Profile, envoy_yaml
from tests.support.envoy_stand import Arrived, Document, Model, running_envoy

SERVING = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse{status: SERVING}."""
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
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further x-llm-* headers."""
    metadata: Metadata = field(default_factory=dict)
    """Namespace -> fields."""

    def encoded(self) -> bytes:
        """As `wire` writes it."""
        reply = ProcessingResponse(request_headers={})
        decided = {contract.CLUSTER_HEADER: self.cluster} if self.cluster else {}
        for name, value in {**decided, **self.headers}.items():
            option = reply.request_headers.response.header_mutation.set_headers.add()
            option.header.key, option.header.raw_value = name, value.encode()
        assigned = {contract.assignment_namespace(contract.MODEL_LAYER): {contract.FIELD_ROLLOUT: self.rollout}} if decided else {}
        for namespace, fields in {**assigned, **self.metadata}.items():
            reply.dynamic_metadata.fields[namespace].struct_value.update(dict(fields))
        return reply.SerializeToString()


class Answerer:
    """An ext_proc server on a Unix socket: gives every request the same decision, and remembers what it was told."""

    def __init__(self, socket: Path) -> None:
        self.decision = Decision()
        self.messages: list[ProcessingRequest] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        self._server.add_generic_rpc_handlers((_Handler(self._process),))
        assert self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def _process(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            self.messages.append(ProcessingRequest.FromString(message))
            yield self.decision.encoded()
            return

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


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc] - grpc-stubs leaves its bases untyped
    def __init__(self, process: Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]) -> None:
        self._process = process

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == contract.PROCESS_METHOD:
            return grpc.stream_stream_rpc_method_handler(self._process)
        return grpc.unary_unary_rpc_method_handler(lambda request, context: SERVING)


# --------------------------------------------------------------------------------------------------------------------- the stand
@dataclass
class Scripted:
    """Envoy between a client and recording models, with a scripted router beside it."""

    models: Mapping[str, Model]
    client: httpx.Client
    admin: httpx.Client
    answerer: Answerer

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
) -> Iterator[Scripted]:
    """Everything up. A decision may take longer than in production: a busy machine must not look like a wrong answer."""
    port, admin_port = free_port(), free_port()
    document["listener"] |= {"address": "127.0.0.1", "port": port, "admin_port": admin_port}
    socket = directory / "r.sock"
    settings = EnvoySettings((f"unix:{socket}",), f"unix:{directory}/c.sock", profile, message_timeout=2.0)
    if ca_bundle is not None:
        settings = EnvoySettings(settings.router, settings.collector, profile, str(ca_bundle), message_timeout=2.0)
    config = directory / "envoy.yaml"
    config.write_text(envoy_yaml(loaded(document, directory), settings, "a test"))
    with ExitStack() as stack:
        for model in {id(model): model for model in models.values()}.values():
            stack.callback(model.close)
        answerer = Answerer(socket)
        stack.callback(answerer.close)
        stack.enter_context(running_envoy(config, admin_port, envoy, environment))
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20.0))
        admin = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{admin_port}", trust_env=False))
        stand = Scripted(models, client, admin, answerer)
        deadline = time.monotonic() + 10
        while stand.stat(f"{contract.ROUTER_CLUSTER}.membership_healthy") < 1:
            assert time.monotonic() < deadline, "Envoy does not find the router healthy"
            time.sleep(0.02)
        yield stand
