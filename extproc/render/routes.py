"""Routes: for every rollout one to its canary and one to its stable model (ADR 0001), then what matches no rollout.

A route is resolved up to three times: before any filter (nothing is known), after the requested model was read, and after the decision.
Requests without a decision (no router, too slow, undecided) meet the same routes without x-llm-cluster, and reach stable.
"""

from __future__ import annotations

import re
from typing import Any

from extproc import contract
from extproc.domain import Match, Model, Rollout, Spec
from extproc.render.headers import api_key_headers, kept_from_models
from extproc.render.settings import EnvoySettings, Profile
from extproc.render.words import typed

BODY_LIMIT = 32 << 20
"""Bytes of a request body that Envoy holds while it reads the requested model or rewrites it; beyond it clients get 413."""
HEALTH_PATH = "/extproc/healthz"


def virtual_host(spec: Spec, settings: EnvoySettings) -> dict[str, Any]:
    """Everything behind the listener."""
    routes = [_health(), *rollout_routes(spec, settings)]
    default = spec.listener.default_model
    routes.append(_unmatched() if default is None else model_route("default", {"prefix": "/"}, spec.models[default], spec, settings))
    return {"name": "llm", "domains": ["*"], "request_body_buffer_limit": BODY_LIMIT, "routes": routes}


def rollout_routes(spec: Spec, settings: EnvoySettings) -> list[dict[str, Any]]:
    """The routes of every rollout that chooses a model, in the order written."""
    routes: list[dict[str, Any]] = []
    for rollout in spec.rollouts.values():
        if rollout.layer == contract.MODEL_LAYER:
            for path in rollout.match.paths or ("/",):
                routes += _of_rollout(rollout, path, spec, settings)
    return routes


def _of_rollout(rollout: Rollout, path: str, spec: Spec, settings: EnvoySettings) -> list[dict[str, Any]]:
    stable, canary = spec.models[rollout.stable], spec.models[rollout.canary]
    plain = _match(rollout.match, path)

    def when(*headers: dict[str, Any], runtime: tuple[str, int] | None = None) -> dict[str, Any]:
        match = {**plain, "headers": [*plain.get("headers", []), *headers]} if headers else dict(plain)
        if runtime is not None:
            key, percent = runtime[0].format(rollout=rollout.name), runtime[1]
            match["runtime_fraction"] = {"default_value": {"numerator": percent, "denominator": "HUNDRED"}, "runtime_key": key}
        return match

    decided = {"name": contract.CLUSTER_HEADER, "present_match": True}
    for_canary = {"name": contract.CLUSTER_HEADER, "string_match": {"exact": canary.cluster}}
    name = rollout.name
    return [
        model_route(f"{name}:canary", when(for_canary, runtime=(contract.RUNTIME_CANARY, 100)), canary, spec, settings),
        model_route(f"{name}:stable", when(decided), stable, spec, settings),
        model_route(f"{name}:completed", when(runtime=(contract.RUNTIME_COMPLETED, 0)), canary, spec, settings),
        model_route(f"{name}:undecided", when(), stable, spec, settings),
    ]


def _match(match: Match, path: str) -> dict[str, Any]:
    found: dict[str, Any] = {"prefix": path}
    if match.hosts:
        hosts = "|".join(re.escape(host) for host in match.hosts)
        found["headers"] = [{"name": ":authority", "string_match": {"safe_regex": {"regex": f"(?i)({hosts})(:[0-9]+)?"}}}]
    if match.models:
        values = [{"string_match": {"exact": model}} for model in match.models]
        value = values[0] if len(values) == 1 else {"or_match": {"value_matchers": values}}
        requested = {"filter": contract.REQUEST_NAMESPACE, "path": [{"key": contract.REQUEST_MODEL_FIELD}], "value": value}
        found["dynamic_metadata"] = [requested]
    return found


def model_route(name: str, match: dict[str, Any], model: Model, spec: Spec, settings: EnvoySettings) -> dict[str, Any]:
    """The way to one model: its cluster, host, path and body; nothing of ours goes with it."""
    action: dict[str, Any] = {"cluster": model.cluster, "timeout": "0s"}
    if model.host_rewrite is not None:
        action["host_rewrite_literal"] = model.host_rewrite
    if model.path_rewrite is not None:
        pattern = {"regex": "^" + re.escape(model.path_rewrite.prefix)}
        action["regex_rewrite"] = {"pattern": pattern, "substitution": model.path_rewrite.to.replace("\\", "\\\\")}
    removed = list(kept_from_models(spec))
    if model.credential is not None:
        # A client's own key is meant for the application, not for the vendor whose key replaces it.
        removed += [header for header in api_key_headers(spec) if header not in removed]
    route: dict[str, Any] = {"name": name, "match": match, "route": action, "request_headers_to_remove": removed}
    if model.send_model is not None and settings.profile is Profile.FULL:
        body = {"action": "MERGE", "body_format": {"json_format": {"model": model.send_model}}}
        transform = typed(
            "envoy.extensions.filters.http.transform.v3.TransformConfig", request_transformation={"body_transformation": body}
        )
        route["typed_per_filter_config"] = {"envoy.filters.http.transform": transform}
    return route


def _header(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _health() -> dict[str, Any]:
    return {
        "name": "health",
        "match": {"path": HEALTH_PATH},
        "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}},
        "typed_per_filter_config": _without_router(),
    }


def _unmatched() -> dict[str, Any]:
    body = '{"error": {"message": "no rollout matches this request and the Spec names no default_model", "type": "not_found"}}\n'
    return {
        "name": "unmatched",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {"header": {"key": "content-type", "value": "application/json"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
        "typed_per_filter_config": _without_router(),
    }


def _without_router() -> dict[str, Any]:
    return {"envoy.filters.http.ext_proc": typed("envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute", disabled=True)}
