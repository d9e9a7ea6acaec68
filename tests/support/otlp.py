"""An OpenTelemetry collector: takes spans over OTLP/gRPC, and keeps them.

The messages are those that xds-protos brings. They are of an older OTLP, which called a scope an instrumentation library; what travels is
the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

METHOD = "opentelemetry.proto.collector.trace.v1.TraceService", "Export"
PATIENCE = 30.0
"""Seconds to wait for a span; Envoy sends what it has each five seconds, or at once where it is told so."""


@dataclass(frozen=True)
class Seen:
    """One span."""

    name: str
    kind: int
    trace: str
    span: str
    parent: str
    tags: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """Listens on loopback, by default on a free port."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Seen] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        service, method = METHOD
        handler = grpc.unary_unary_rpc_method_handler(self._take)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def _take(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(message)
        for of_resource in request.resource_spans:
            resource = _read(of_resource.resource.attributes)
            for of_scope in of_resource.instrumentation_library_spans:
                for one in of_scope.spans:
                    ids = one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()
                    self.spans.append(Seen(one.name, one.kind, *ids, _read(one.attributes), resource))
        return b""

    def wait(self, wanted: Callable[[Seen], bool], count: int = 1) -> list[Seen]:
        """At least so many spans of which this is so, in the order of their arrival."""
        deadline = time.monotonic() + PATIENCE
        while len(found := [one for one in self.spans if wanted(one)]) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} spans; {len(self.spans)} in all"
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self._server.stop(None).wait()


def _read(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}
