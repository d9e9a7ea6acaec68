"""Routes: one per arm of a rollout, matched by the decision's header; docs/adr/0001 says why.

Order of a rollout's routes: decided canary, undecided while the canary is Envoy's default, everybody else on stable. Requests that
ask for another model than the rollout's are told apart by dynamic metadata, which `json_to_metadata` writes before the decision
(and clears the route cache when it does): stable is found with or without a router.
"""

from __future__ import annotations

import re
from typing import Any, Final

from extproc import contract
from extproc.domain import Match, Model, Rollout, Spec
from extproc.render.body import send_model
from extproc.render.headers import kept_from_models
from extproc.render.settings import EnvoySettings
from extproc.render.yamltext import Block, typed

BODY_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a request body that Envoy holds; beyond it a client gets 413. Envoy's default of 1 MiB is less than a long prompt."""
NOT_FOUND: Final = '{"error":{"type":"not_found","message":"no rollout matches this request, and the listener has no default_model"}}'
EXT_PROC: Final = "envoy.filters.http.ext_proc"


def virtual_host(spec: Spec, settings: EnvoySettings) -> Block:
    """All routes of a configuration of its own."""
    return {
        "name": "extproc",
        "domains": ["*"],
        "request_body_buffer_limit": BODY_LIMIT,
        "routes": [_health(), *rollout_routes(spec, settings), *_otherwise(spec, settings)],
    }


def rollout_routes(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """The routes of every rollout that chooses models, with comments between them."""
    routes: list[Any] = []
    for rollout in spec.rollouts.values():
        if rollout.layer == contract.MODEL_LAYER:
            canary, completed = _runtime(contract.RUNTIME_CANARY, rollout), _runtime(contract.RUNTIME_COMPLETED, rollout)
            routes.append(f"# Rollout {rollout.name}. Runtime keys need neither router nor controller:")
            routes.append(f"#   {canary}=0 is a rollback, {completed}=100 makes the canary the default.")
            routes += _arms(spec, rollout, settings)
    return routes


def _arms(spec: Spec, rollout: Rollout, settings: EnvoySettings) -> list[Block]:
    canary, stable = spec.models[rollout.canary], spec.models[rollout.stable]
    decided = {"name": contract.CLUSTER_HEADER, "string_match": {"exact": canary.cluster}}
    undecided = {"name": contract.CLUSTER_HEADER, "present_match": False}
    arms: tuple[tuple[str, Model, list[Block], Block], ...] = (
        ("canary", canary, [decided], _fraction(_runtime(contract.RUNTIME_CANARY, rollout), 100)),
        ("completed", canary, [undecided], _fraction(_runtime(contract.RUNTIME_COMPLETED, rollout), 0)),
        ("stable", stable, [], {}),
    )
    routes = []
    for arm, model, headers, fraction in arms:
        for number, path in enumerate(rollout.match.paths or ("/",)):
            name = f"{rollout.name}/{arm}" + (f"/{number}" if number else "")
            match = {"prefix": path, **_conditions(rollout.match, headers), **fraction}
            routes.append({"name": name, "match": match, **_to(spec, model, settings)})
    return routes


def _conditions(match: Match, headers: list[Block]) -> Block:
    """Hosts and models of a rollout, and the given header conditions."""
    conditions: Block = {}
    if match.hosts:
        hosts = "|".join(re.escape(host) for host in match.hosts)
        authority = {"name": ":authority", "string_match": {"safe_regex": {"regex": f"(?i)(?:{hosts})(?::[^:]*)?"}}}
        headers = [authority, *headers]
    if headers:
        conditions["headers"] = headers
    if match.models:
        values = [{"string_match": {"exact": model}} for model in match.models]
        value = values[0] if len(values) == 1 else {"or_match": {"value_matchers": values}}
        path = [{"key": contract.REQUEST_MODEL_FIELD}]
        conditions["dynamic_metadata"] = [{"filter": contract.REQUEST_NAMESPACE, "path": path, "value": value}]
    return conditions


def _to(spec: Spec, model: Model, settings: EnvoySettings) -> Block:
    """The action of a route to a model: no timeout (answers may stream for minutes), rewrites, and what the model must not see."""
    action: Block = {"cluster": model.cluster, "timeout": "0s"}
    if model.host_rewrite is not None:
        action["host_rewrite_literal"] = model.host_rewrite
    if model.path_rewrite is not None:
        # Not prefix_rewrite: that replaces the prefix that the route matched, which may be another one.
        pattern = {"regex": f"^{re.escape(model.path_rewrite.prefix)}"}
        action["regex_rewrite"] = {"pattern": pattern, "substitution": model.path_rewrite.to.replace("\\", "\\\\")}
    to: Block = {"route": action}
    if not model.endpoints:
        # Where the cluster is ours, its own filters do this, and find also what Envoy adds after routing.
        to["request_headers_to_remove"] = list(kept_from_models(spec))
    if model.send_model is not None:
        to["typed_per_filter_config"] = send_model(model.send_model, settings.profile)
    return to


def _otherwise(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """What matches no rollout."""
    default = spec.listener.default_model
    if default is not None:
        return ["# What matches no rollout.", {"name": "default", "match": {"prefix": "/"}, **_to(spec, spec.models[default], settings)}]
    json = {"header": {"key": "content-type", "value": "application/json"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    route = {
        "name": "unmatched",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": NOT_FOUND}},
        "response_headers_to_add": [json],
        "typed_per_filter_config": _undecided(),
    }
    return ["# What matches no rollout; listener.default_model would give it a model.", route]


def _health() -> Block:
    return {
        "name": "health",
        "match": {"path": contract.HEALTH_PATH},
        "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
        "typed_per_filter_config": _undecided(),
    }


def _undecided() -> Block:
    return {EXT_PROC: typed("filters.http.ext_proc.v3.ExtProcPerRoute", disabled=True)}


def _fraction(key: str, percent: int) -> Block:
    return {"runtime_fraction": {"runtime_key": key, "default_value": {"numerator": percent, "denominator": "HUNDRED"}}}


def _runtime(template: str, rollout: Rollout) -> str:
    return template.format(rollout=rollout.name)
