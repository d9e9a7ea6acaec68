"""Clusters: a model each, the router, the collector."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from extproc import contract
from extproc.domain import Credential, Model, Spec
from extproc.render.body import lua_string
from extproc.render.headers import kept_from_models
from extproc.render.settings import EnvoySettings, Profile, RouterTls, routed_models
from extproc.render.yamltext import Block, typed

MANY: Final = 10_000
"""Requests to a model that may be open at once: answers take seconds, and Envoy's default of 1,024 would refuse the next (503)."""
WAITING: Final = 128
"""Decisions that may be waited for at once, for each worker; the next request goes to stable without waiting (seen on 1.40). A worker makes
that many in 2 ms, so they are a burst; more are a queue, and whoever stands at its end would wait for `message_timeout` and get nothing."""
_PREFIX_SCRIPT: Final = """\
-- Envoy 1.36 puts no prefix before a key, and sends the newline at the end of a key file, which it then refuses itself.
function envoy_on_request(handle)
  local key = handle:headers():get({header})
  if key then handle:headers():replace({header}, {prefix} .. key:gsub('%s+$', '')) end
end
"""


def clusters(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """All clusters, with comments between them."""
    models = [model_cluster(spec, model, settings) for model in routed_models(spec) if model.endpoints]
    return [
        "# One cluster per model. Keys are read by Envoy from a file or its environment; they are not in this file.",
        *models,
        "# extproc's workers, one endpoint each. A dead or frozen worker costs no decision while another one lives.",
        router_cluster(settings),
        "# extproc's collector: what became of each request.",
        {**_gathered(contract.COLLECTOR_CLUSTER, [_address(settings.collector)]), "connect_timeout": "1s", **_protocol(_http2())},
    ]


def router_cluster(settings: EnvoySettings) -> Block:
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
        "timeout": "0.2s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }
    waiting = WAITING * len(settings.router)
    limits = {"max_connections": 1024, "max_pending_requests": waiting, "max_requests": waiting, "max_retries": waiting}
    return {
        **_gathered(contract.ROUTER_CLUSTER, [_address(one) for one in settings.router]),
        "connect_timeout": "0.05s",
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [limits]},
        "health_checks": [health],
        "outlier_detection": outlier,
        **_protocol(_http2()),
        **(_router_tls(settings.router_tls) if settings.router_tls is not None else {}),
    }


def _router_tls(tls: RouterTls) -> Block:
    common: Block = {"alpn_protocols": ["h2"]}
    if tls.certificate:
        common["tls_certificates"] = [{"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}]
    return {"transport_socket": _tls(tls.name, tls.ca, common)}


def model_cluster(spec: Spec, model: Model, settings: EnvoySettings) -> Block:
    """The way to a model: addresses, TLS, and the last look at a request before it leaves."""
    tls = model.endpoints[0].tls
    protocol: Block = {"auto_config": {}} if tls is not None else {"explicit_http_config": {"http_protocol_options": {}}}
    cluster = {
        **_gathered(model.cluster, [_socket(one.host, one.port) for one in model.endpoints]),
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [{"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}]},
        **_protocol({**protocol, "http_filters": upstream_filters(spec, model, settings)}),
    }
    if tls is not None:
        cluster["transport_socket"] = _tls(tls.sni, tls.ca_file or settings.ca_bundle, {})
    return cluster


def upstream_filters(spec: Spec, model: Model, settings: EnvoySettings) -> list[Any]:
    """Filters of the cluster: they run after routing and rewriting, so nothing that Envoy itself adds escapes them."""
    prefixes = (contract.HEADER_PREFIX, "x-envoy-", "x-forwarded-")
    mutations: list[Block] = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes]
    mutations += [{"remove": name} for name in kept_from_models(spec) if not name.startswith(prefixes)]
    filters: list[Any] = [_mutate("extproc.keep_from_model", mutations)]
    if model.credential is not None:
        filters += _inject(model, model.credential, settings.profile)
    filters.append(
        {"name": "envoy.filters.http.upstream_codec", "typed_config": typed("filters.http.upstream_codec.v3.UpstreamCodec")},
    )
    return filters


def secrets(spec: Spec) -> list[Block]:
    """The models' keys, by reference; Envoy reads each once, when it starts."""
    return [
        {"name": _secret_name(model), "generic_secret": {"secret": _source(model.credential)}}
        for model in routed_models(spec)
        if model.credential is not None and model.endpoints
    ]


def _inject(model: Model, credential: Credential, profile: Profile) -> list[Block]:
    generic = typed("http.injected_credentials.generic.v3.Generic", credential={"name": _secret_name(model)}, header=credential.header)
    if credential.prefix and profile is Profile.FULL:
        generic["header_value_prefix"] = credential.prefix
    injector = typed(
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential={"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    )
    filters: list[Block] = [{"name": "envoy.filters.http.credential_injector", "typed_config": injector}]
    if profile is Profile.CORE:
        script = _PREFIX_SCRIPT.format(header=lua_string(credential.header), prefix=lua_string(credential.prefix))
        config = typed("filters.http.lua.v3.Lua", default_source_code={"inline_string": script})
        filters.append({"name": "envoy.filters.http.lua", "typed_config": config})
    return filters


def _secret_name(model: Model) -> str:
    return f"{model.cluster}.key"


def _source(credential: Credential) -> Block:
    return {"filename": credential.file} if credential.file is not None else {"environment_variable": credential.env}


def _mutate(name: str, mutations: list[Block]) -> Block:
    config = typed("filters.http.header_mutation.v3.HeaderMutation", mutations={"request_mutations": mutations})
    return {"name": name, "typed_config": config}


def _tls(name: str, ca_file: str, common: Block) -> Block:
    """TLS towards somebody whose certificate must name `name` (a DNS name or an address) and come from the authorities in `ca_file`."""
    trusted: Block = {"trusted_ca": {"filename": ca_file}}
    context: Block = {"common_tls_context": {**common, "validation_context": trusted}}
    if _is_address(name):
        # A server name is never an address (RFC 6066): the certificate has to name the address instead.
        trusted["match_typed_subject_alt_names"] = [{"san_type": "IP_ADDRESS", "matcher": {"exact": name}}]
    else:
        context |= {"sni": name, "auto_sni_san_validation": True}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed("transport_sockets.tls.v3.UpstreamTlsContext", **context)}


def _gathered(name: str, addresses: list[Block]) -> Block:
    hosts = [one["socket_address"]["address"] for one in addresses if "socket_address" in one]
    names = not all(_is_address(host) for host in hosts)
    kind: Block = {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"} if names else {"type": "STATIC"}
    endpoints = [{"endpoint": {"address": address}} for address in addresses]
    return {"name": name, **kind, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}}


def _address(address: str) -> Block:
    if address.startswith("unix:"):
        return {"pipe": {"path": address.removeprefix("unix:")}}
    host, _, port = address.rpartition(":")
    return _socket(host.strip("[]"), int(port))


def _socket(host: str, port: int) -> Block:
    return {"socket_address": {"address": host, "port_value": port}}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _protocol(options: Block) -> Block:
    name = "upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {f"envoy.extensions.{name}": typed(name, **options)}}


def _http2() -> Block:
    return {"explicit_http_config": {"http2_protocol_options": {}}}
