"""Envoy's configuration in the manifests: what `extproc render envoy` writes, and around it what only a cluster needs (TLS of clients,
series for Prometheus)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.kubernetes.documents import Document, heading
from extproc.render import EnvoySettings, envoy_document
from extproc.render.yamltext import dump, typed

METRICS_PORT: Final = 9464
"""Series of every container of a pod: their own ports are on loopback. The port of OpenTelemetry's Prometheus exporter."""
CONFIG: Final = "envoy.yaml"
METRICS_CONFIG: Final = "metrics.yaml"
SDS: Final = "tls.yaml"
TLS_MOUNT: Final = "/etc/envoy-tls"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - a pod's address is not known before
_SERIES: Final = {"controller": contract.DEFAULT_API_PORT, "router": contract.DEFAULT_METRICS_PORT}


def for_pod(spec: Spec, settings: EnvoySettings, *, address: str = _EVERYWHERE, tls: bool = False, alone: bool = False) -> str:
    """A whole configuration: the listener on `address`, behind clients' TLS where asked for, and a listener for Prometheus, with the series
    of router and controller unless Envoy is alone in its pod. Raises RenderError as `envoy_yaml` does."""
    spec = replace(spec, listener=replace(spec.listener, address=address))
    made = envoy_document(spec, settings)
    resources = made["static_resources"]
    if tls:
        resources["listeners"][0]["filter_chains"][0]["transport_socket"] = _clients_tls()
    roles = {**({} if alone else _SERIES), "envoy": spec.listener.admin_port}
    resources["listeners"].append(_series_listener(roles))
    resources["clusters"] += [_series_cluster(role, port) for role, port in roles.items()]
    what = f"Envoy of {spec.application.name}: its whole configuration, port {spec.listener.port}, metrics at {METRICS_PORT}"
    return dump(made, heading(spec, what))


def for_series(spec: Spec) -> str:
    """A configuration that does nothing but show the series of router and controller: for pods whose Envoy is not ours, or elsewhere."""
    resources = {
        "listeners": [_series_listener(_SERIES)],
        "clusters": [_series_cluster(role, port) for role, port in _SERIES.items()],
    }
    made = {"node": {"id": f"series-{spec.application.name}", "cluster": spec.application.name}, "static_resources": resources}
    what = f"An Envoy that shows metrics of router and controller at {METRICS_PORT}, and does nothing else"
    return dump(made, heading(spec, what))


def sds(spec: Spec) -> str:
    """The certificate of clients' TLS, read again when the Secret's files move."""
    files = {"certificate_chain": {"filename": f"{TLS_MOUNT}/tls.crt"}, "private_key": {"filename": f"{TLS_MOUNT}/tls.key"}}
    certificate = {**files, "watched_directory": {"path": TLS_MOUNT}}
    secret = {**typed("transport_sockets.tls.v3.Secret", tls_certificate=certificate), "name": "clients"}
    return dump({"resources": [secret]}, heading(spec, "Where Envoy finds the certificate that clients see, and reads it again"))


def _clients_tls() -> Document:
    source = {"path_config_source": {"path": f"/etc/envoy/{SDS}"}, "resource_api_version": "V3"}
    certificates = [{"name": "clients", "sds_config": source}]
    common = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": certificates}
    context = typed("transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _series_listener(roles: dict[str, int]) -> Document:
    routes = [_series_route(role) for role in roles]
    hosts = [{"name": "series", "domains": ["*"], "routes": routes}]
    router = {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="series",
        route_config={"name": "series", "virtual_hosts": hosts},
        http_filters=[router],
    )
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    address = {"socket_address": {"address": _EVERYWHERE, "port_value": METRICS_PORT}}
    return {"name": "series", "address": address, "filter_chains": [{"filters": filters}]}


def _series_route(role: str) -> Document:
    path = "/stats/prometheus" if role == "envoy" else "/metrics"
    # They look at the name by which they are asked.
    to = {"cluster": f"series_{role}", "prefix_rewrite": path, "host_rewrite_literal": "127.0.0.1"}
    only: list[Any] = [{"name": ":method", "string_match": {"exact": "GET"}}]
    return {"name": role, "match": {"path": f"/metrics/{role}", "headers": only}, "route": to}


def _series_cluster(role: str, port: int) -> Document:
    name = f"series_{role}"
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    load = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}
