"""Clusters: one for each of a model's backends, the router, the collector, the keys of tokens."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import AffinityPolicy, Backend, Model, Spec, Tracing
from extproc.render.failover import failing_over
from extproc.render.identity import JWKS_CLUSTER, jwks_address
from extproc.render.peers import controller_socket, is_address, router_socket, upstream_tls
from extproc.render.sampling import MOST_COPIED, samples
from extproc.render.settings import EnvoySettings, routed_models
from extproc.render.tracing import told_of_model, without_context
from extproc.render.upstream import upstream_filters
from extproc.render.yamltext import Block, typed

MANY: Final = 10_000
"""Requests to a model that may be open at once: answers take seconds, and Envoy's default of 1,024 would refuse the next (503). As many
may be second attempts, where stable answers for the canary: the default of 3 would let an outage through."""
WAITING: Final = 128
"""Decisions that may be waited for at once, for each worker; the next request goes to stable without waiting (seen on 1.40). A worker makes
that many in 2 ms, so they are a burst; more are a queue, and whoever stands at its end would wait for `message_timeout` and get nothing."""
_BALANCERS: Final = {AffinityPolicy.RING_HASH: "RING_HASH", AffinityPolicy.MAGLEV: "MAGLEV"}


def clusters(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """All clusters, with comments between them."""
    backends = [(model, backend) for model in routed_models(spec) for backend in model.backends if backend.ours]
    found = [
        "# One cluster per model, or several where it is a pool. Keys are read by Envoy from a file or its environment; they are not here.",
        *(model_cluster(spec, model, backend, settings) for model, backend in backends),
        "# extproc's workers, one endpoint each. A dead or frozen worker costs no decision while another one lives.",
        router_cluster(spec, settings),
        "# extproc's collector: what became of each request.",
        _collector_cluster(settings),
    ]
    if samples(spec):
        found += ["# extproc's sampler: copies for the judge. What it does not take in time is not copied.", _sampler_cluster(settings)]
    if spec.feedback is not None:
        said = "# extproc's feedback service: what users say of answers."
        cluster = {**_of_controllers(contract.FEEDBACK_CLUSTER, settings.feedback), "connect_timeout": "1s"}
        found += [said, {**cluster, **controller_socket(settings, settings.feedback, ["http/1.1"])}]
    if spec.listener.tracing is not None:
        found += [
            "# The OpenTelemetry collector. Spans that it does not take are lost, and nothing else.",
            _traces_cluster(spec.listener.tracing, settings),
        ]
    address = jwks_address(spec.listener.jwt) if spec.listener.jwt is not None else None
    if address is not None:
        found += ["# The keys that tokens are verified with.", _jwks_cluster(*address, settings)]
    return found


def router_cluster(spec: Spec, settings: EnvoySettings) -> Block:
    """Every value is needed: without one of them, requests fail open while a worker still lives (seen on 1.40)."""
    outlier = {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 1,
        "enforcing_consecutive_local_origin_failure": 100,
        "interval": "0.5s",
        "base_ejection_time": "3s",
        "max_ejection_percent": 100,
    }
    health = {
        "timeout": f"{settings.health_timeout:g}s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }
    waiting = WAITING * len(settings.router)
    limits = {"max_connections": 1024, "max_pending_requests": waiting, "max_requests": waiting, "max_retries": waiting}
    return {
        **gathered(contract.ROUTER_CLUSTER, [placed(one) for one in settings.router]),
        "connect_timeout": "0.05s",
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [limits]},
        "health_checks": [health],
        "outlier_detection": outlier,
        **http_options({**_http2(), **without_context(spec)}),
        **router_socket(settings),
    }


def _collector_cluster(settings: EnvoySettings) -> Block:
    """Any controller takes the access log, and passes it on to the one that leads. One of several that is frozen would go on holding its
    stream, and what is sent to it is lost: asked each second whether it lives, it is left."""
    addresses = several(settings.collector)
    asked: Block = {"connection_keepalive": {"interval": "1s", "timeout": "1s"}} if len(addresses) > 1 else {}
    return {
        **gathered(contract.COLLECTOR_CLUSTER, addresses),
        "connect_timeout": "1s",
        **http_options({"explicit_http_config": {"http2_protocol_options": asked}}),
        **controller_socket(settings, settings.collector, ["h2"]),
    }


def _of_controllers(name: str, addresses: str) -> Block:
    """A service of whichever controller leads: the others do not listen."""
    found = several(addresses)
    cluster = gathered(name, found)
    if len(found) > 1:
        health = {"timeout": "1s", "interval": "1s", "no_traffic_interval": "1s", "unhealthy_threshold": 1, "healthy_threshold": 1}
        cluster["health_checks"] = [{**health, "tcp_health_check": {}}]
    return cluster


def _sampler_cluster(settings: EnvoySettings) -> Block:
    limits = {"max_connections": 64, "max_pending_requests": MOST_COPIED, "max_requests": MOST_COPIED, "max_retries": 0}
    return {
        **_of_controllers(contract.SAMPLER_CLUSTER, settings.sampler),
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        **http_options(_http2()),
        **controller_socket(settings, settings.sampler, ["h2"]),
    }


def model_cluster(spec: Spec, model: Model, backend: Backend, settings: EnvoySettings) -> Block:
    """The way to a model: addresses, TLS, and the last look at a request before it leaves."""
    tls = backend.endpoints[0].tls if backend.endpoints else backend.slices.tls if backend.slices is not None else None
    protocol: Block = {"auto_config": {}} if tls is not None else {"explicit_http_config": {"http_protocol_options": {}}}
    limits = {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}
    if model.name in failing_over(spec):
        limits["max_retries"] = MANY
    cluster = {
        **_places(backend),
        "connect_timeout": "5s",
        "lb_policy": _BALANCERS[model.affinity.policy] if model.affinity is not None else "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        **told_of_model(spec, model, backend),
        **http_options({**protocol, "http_filters": upstream_filters(spec, model, backend, settings)}),
    }
    if tls is not None:
        cluster["transport_socket"] = _tls(tls.sni, tls.ca_file or settings.ca_bundle)
    return cluster


def _places(backend: Backend) -> Block:
    """Where its endpoints are in a file, xDS has to tell them."""
    if backend.slices is not None:
        return {"name": backend.cluster, "type": "EDS"}
    return gathered(backend.cluster, [_socket(one.host, one.port) for one in backend.endpoints])


def _jwks_cluster(host: str, port: int, settings: EnvoySettings) -> Block:
    return {
        **gathered(JWKS_CLUSTER, [_socket(host, port)]),
        "connect_timeout": "5s",
        "transport_socket": _tls(host, settings.ca_bundle),
    }


def _traces_cluster(wanted: Tracing, settings: EnvoySettings) -> Block:
    cluster = {
        **gathered(contract.TRACES_CLUSTER, [_socket(wanted.host, wanted.port)]),
        "connect_timeout": "1s",
        **http_options(_http2()),
    }
    if wanted.tls is not None:
        trusted = {"trusted_ca": {"filename": wanted.tls.ca_file or settings.ca_bundle}}
        cluster["transport_socket"] = upstream_tls(wanted.tls.sni, trusted, {"alpn_protocols": ["h2"]})
    return cluster


def _tls(name: str, ca_file: str) -> Block:
    return upstream_tls(name, {"trusted_ca": {"filename": ca_file}}, {})


def gathered(name: str, addresses: list[Block]) -> Block:
    """A cluster of these addresses: as they are, or looked up where one of them is a name."""
    hosts = [one["socket_address"]["address"] for one in addresses if "socket_address" in one]
    names = not all(is_address(host) for host in hosts)
    kind: Block = {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"} if names else {"type": "STATIC"}
    endpoints = [{"endpoint": {"address": address}} for address in addresses]
    return {"name": name, **kind, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}}


def several(addresses: str) -> list[Block]:
    """The same for one or more, with commas between them."""
    return [placed(one) for one in addresses.split(",")]


def placed(address: str) -> Block:
    """`unix:PATH` or `HOST:PORT`, as Envoy writes an address; raises ValueError where the port is no number."""
    if address.startswith("unix:"):
        return {"pipe": {"path": address.removeprefix("unix:")}}
    host, _, port = address.rpartition(":")
    return _socket(host.strip("[]"), int(port))


def _socket(host: str, port: int) -> Block:
    return {"socket_address": {"address": host, "port_value": port}}


def http_options(options: Block) -> Block:
    """A cluster's own HTTP options."""
    name = "upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {f"envoy.extensions.{name}": typed(name, **options)}}


def _http2() -> Block:
    return {"explicit_http_config": {"http2_protocol_options": {}}}
