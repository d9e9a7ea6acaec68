"""Clusters: the models, the router's workers, the collector."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from extproc import contract
from extproc.domain import Credential, Endpoint, Model, Spec, Tls
from extproc.render.settings import EnvoySettings, Profile
from extproc.render.words import address, typed

SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
MANY = 10_000
"""Requests to a model that may be open at once: answers take seconds, and Envoy's default of 1,024 would refuse the next."""
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(spec: Spec, settings: EnvoySettings) -> list[dict[str, Any]]:
    """Models that have an endpoint, then extproc's own."""
    return [*(_model(model, settings) for model in spec.models.values() if model.endpoints), _router(settings), _collector(settings)]


def secrets(spec: Spec, settings: EnvoySettings) -> list[dict[str, Any]]:
    """Credentials by reference: Envoy reads the file or the environment variable, this text never holds a secret."""
    return [
        {"name": _secret_name(model), "generic_secret": {"secret": _source(model.credential)}}
        for model in spec.models.values()
        if model.endpoints and model.credential is not None and injected(model.credential, settings)
    ]


def injected(credential: Credential, settings: EnvoySettings) -> bool:
    """True where the credential injector sends it; before 1.40 that cannot put a prefix before an environment variable, a route can."""
    return settings.profile is Profile.FULL or credential.file is not None


def _source(credential: Credential) -> dict[str, Any]:
    return {"filename": credential.file} if credential.file is not None else {"environment_variable": credential.env}


def _secret_name(model: Model) -> str:
    return f"credential-{model.name}"


def _model(model: Model, settings: EnvoySettings) -> dict[str, Any]:
    by_address = all(_is_address(one.host) for one in model.endpoints)
    tls = model.endpoints[0].tls
    options = typed(_HTTP_OPTIONS)
    options |= {"auto_config": {}} if tls is not None else {"explicit_http_config": {"http_protocol_options": {}}}
    if model.credential is not None and injected(model.credential, settings):
        codec = typed("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec")
        options["http_filters"] = [
            _injector(model, model.credential, settings),
            {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
        ]
    limits = {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}
    cluster: dict[str, Any] = {
        "name": model.cluster,
        "type": "STATIC" if by_address else "STRICT_DNS",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
        "load_assignment": {"cluster_name": model.cluster, "endpoints": [{"lb_endpoints": [_endpoint(one) for one in model.endpoints]}]},
    }
    if not by_address:
        cluster["dns_lookup_family"] = "V4_PREFERRED"
    if tls is not None:
        cluster["transport_socket"] = _tls(tls)
    return cluster


def _injector(model: Model, credential: Credential, settings: EnvoySettings) -> dict[str, Any]:
    with_prefix = credential.prefix and settings.profile is Profile.FULL
    generic = typed(
        "envoy.extensions.http.injected_credentials.generic.v3.Generic",
        credential={"name": _secret_name(model)},
        header=credential.header,
        **({"header_value_prefix": credential.prefix} if with_prefix else {}),
    )
    config = typed(
        "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential={"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    )
    return {"name": "envoy.filters.http.credential_injector", "typed_config": config}


def _tls(tls: Tls) -> dict[str, Any]:
    validation = {
        "trusted_ca": {"filename": tls.ca_file or SYSTEM_CA},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": tls.sni}}],
    }
    context = typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", sni=tls.sni, common_tls_context={"validation_context": validation}
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {"endpoint": {"address": {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}}}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _router(settings: EnvoySettings) -> dict[str, Any]:
    """One endpoint per worker; every setting here was needed when workers were killed (ADR 0001 names the runs)."""
    listens = contract.endpoints(settings.router, settings.workers)
    limits = {"max_connections": 1024, "max_pending_requests": 1024, "max_requests": 2048, "max_retries": 1024}
    check = {"timeout": "0.2s", "interval": "0.5s", "no_traffic_interval": "0.5s", "unhealthy_threshold": 1, "healthy_threshold": 1}
    return {
        "name": contract.ROUTER_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.050s",
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [limits]},
        "health_checks": [{**check, "grpc_health_check": {}}],
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 1,
            "enforcing_consecutive_local_origin_failure": 100,
            "interval": "0.5s",
            "base_ejection_time": "3s",
            "max_ejection_percent": 100,
        },
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _http2()},
        "load_assignment": _load(contract.ROUTER_CLUSTER, listens),
    }


def _collector(settings: EnvoySettings) -> dict[str, Any]:
    return {
        "name": contract.COLLECTOR_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _http2()},
        "load_assignment": _load(contract.COLLECTOR_CLUSTER, (settings.collector,)),
    }


def _http2() -> dict[str, Any]:
    return typed(_HTTP_OPTIONS, explicit_http_config={"http2_protocol_options": {}})


def _load(name: str, listens: tuple[str, ...]) -> dict[str, Any]:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(one)}} for one in listens]}]}
