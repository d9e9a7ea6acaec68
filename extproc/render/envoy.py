"""Envoy's configuration from a Spec: a complete static one, or a snippet to merge into an existing one."""

from __future__ import annotations

from typing import Any

import yaml

from extproc import contract
from extproc.domain import ListenerKind, Spec
from extproc.errors import Problem, SettingsError
from extproc.render.clusters import clusters, secrets
from extproc.render.filters import early_mutations, http_filters, router_filter
from extproc.render.routes import rollout_routes, virtual_host
from extproc.render.settings import EnvoySettings, Profile, lost
from extproc.render.words import address, typed

FLUSH = "0.1s"
"""Access-log entries wait at most this long: part of the time from a fault to its rollback."""
PERIODIC = "1s"
"""How often a request that is still open reports itself."""


def static(spec: Spec, settings: EnvoySettings) -> str:
    """A complete configuration; raises SettingsError where a model has no endpoint."""
    homeless = [model for model in spec.models.values() if not model.endpoints]
    if homeless:
        hint = "add an endpoint, or render a --snippet for the Envoy that has its cluster"
        raise SettingsError(
            [Problem("render.no-endpoint", f"models.{one.name}", "has no endpoint to send requests to", hint) for one in homeless]
        )
    listener = {
        "name": "llm",
        "address": address(f"{spec.listener.address}:{spec.listener.port}"),
        "filter_chains": [{"filters": [_manager(spec, settings)]}],
    }
    resources: dict[str, Any] = {"listeners": [listener], "clusters": clusters(spec, settings)}
    if secrets(spec, settings):
        resources["secrets"] = secrets(spec, settings)
    document = {
        "admin": {"address": address(f"127.0.0.1:{spec.listener.admin_port}")},
        "node": {"id": f"{spec.application.name}-envoy", "cluster": spec.application.name},
        "layered_runtime": runtime(),
        "static_resources": resources,
    }
    return _comment("Envoy's configuration, complete", spec, settings) + _dump(document)


def snippet(spec: Spec, settings: EnvoySettings) -> str:
    """The parts to merge into an existing configuration, each under the place where it belongs."""
    head = _comment("Parts to merge into an existing Envoy configuration", spec, settings)
    parts: list[tuple[str, str, Any]] = [
        (
            "Into the http_connection_manager. Without it clients could name their own model.",
            "early_header_mutation_extensions",
            early_mutations(spec),
        ),
        ("Into the http_connection_manager.", "access_log", [access_log()]),
        ("Into the http_connection_manager.", "access_log_options", access_log_options()),
        ("Into http_filters, in this order, before envoy.filters.http.router.", "http_filters", http_filters(spec, settings)),
        (
            "Into the virtual host, before its other routes. These keep their clusters: what matches no rollout is not touched.",
            "routes",
            rollout_routes(spec, settings),
        ),
        ("Into static_resources.", "clusters", clusters(spec, settings)),
        *([("Into static_resources.", "secrets", secrets(spec, settings))] if secrets(spec, settings) else []),
        ("At the top, if it is not there: lets the admin port move runtime keys.", "layered_runtime", runtime()),
    ]
    return head + "\n".join(f"# {where}\n{_dump({key: value})}" for where, key, value in parts)


def _manager(spec: Spec, settings: EnvoySettings) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "stat_prefix": "llm",
        "use_remote_address": spec.listener.kind is ListenerKind.EDGE,
        "xff_num_trusted_hops": spec.listener.trusted_hops,
        "normalize_path": True,
        "merge_slashes": True,
        "stream_idle_timeout": "300s",
        "early_header_mutation_extensions": early_mutations(spec),
        "access_log": [access_log()],
        "access_log_options": access_log_options(),
        "route_config": {"name": "llm", "virtual_hosts": [virtual_host(spec, settings)]},
        "http_filters": [*http_filters(spec, settings), router_filter()],
    }
    config = typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", **fields)
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def access_log() -> dict[str, Any]:
    """Every request's assignment and outcome to the collector."""
    latency = "%FILTER_STATE(envoy.filters.http.ext_proc:FIELD:request_header_latency_us)%"
    status = "%FILTER_STATE(envoy.filters.http.ext_proc:FIELD:request_header_call_status)%"
    common = {
        "log_name": contract.ACCESS_LOG_NAME,
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": contract.COLLECTOR_CLUSTER, "skip_envoy_headers": True}},
        "buffer_flush_interval": FLUSH,
        "buffer_size_bytes": 65536,
        "custom_tags": [
            {"tag": contract.TTFT_TAG, "value": "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:us)%"},
            {"tag": contract.EXT_PROC_LATENCY_TAG, "value": latency},
            {"tag": contract.EXT_PROC_STATUS_TAG, "value": status},
        ],
    }
    config = typed("envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig", common_config=common)
    return {"name": "envoy.access_loggers.http_grpc", "typed_config": config}


def access_log_options() -> dict[str, Any]:
    """Requests that are still open say so: one that hangs is an outcome too."""
    return {"access_log_flush_interval": PERIODIC}


def runtime() -> dict[str, Any]:
    """The admin layer takes `runtime_modify`: a rollback without router or controller."""
    return {"layers": [{"name": "static", "static_layer": {}}, {"name": "admin", "admin_layer": {}}]}


def _comment(what: str, spec: Spec, settings: EnvoySettings) -> str:
    lines = [
        f"{what}, made by `extproc render envoy` from the Spec of {spec.application.name} (digest {spec.digest}).",
        "Edit the Spec and render again, not this file.",
    ]
    if settings.profile is Profile.FULL:
        lines.append("Profile full: Envoy 1.40, with extensions that it calls work in progress (ai_protocol_manager, transform, geoip).")
    else:
        lines.append("Profile core: Envoy 1.36 or newer, no extension that it calls work in progress. Not in it:")
        lines += [f"  - {feature}" for feature in lost(spec, settings)]
    return "".join(f"# {line}\n" for line in lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes the same block twice instead of an alias: the file is read by people."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Always."""
        return True


def _dump(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=140, allow_unicode=True)
