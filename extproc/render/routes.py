"""Routes: one per arm of a rollout, and per backend where an arm is a pool, matched by the decision's header; docs/adr/0001 says why.

Order of a rollout's routes: decided canary, what is to be mirrored, decided backends of stable, undecided while the canary is Envoy's
default, everybody else on stable. Requests that ask for another model than the rollout's are told apart by dynamic metadata, which
`json_to_metadata` writes before the decision (and clears the route cache when it does): stable is found with or without a router. Rollouts
in slots may be about the same requests: their decided routes come first, and each is for the requests that its own rollout decided.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from extproc import contract
from extproc.domain import Match, Rollout, Spec
from extproc.render.settings import EnvoySettings
from extproc.render.targets import to_both, to_model
from extproc.render.tracing import untraced
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
        "routes": [_health(spec), *feedback_routes(spec), *rollout_routes(spec, settings), *_otherwise(spec, settings)],
    }


def feedback_routes(spec: Spec) -> list[Any]:
    """What users say of answers goes to the service that listens, past the decision; none where nobody does."""
    if spec.feedback is None:
        return []
    to = {"route": {"cluster": contract.FEEDBACK_CLUSTER}, "typed_per_filter_config": _not_asked()}
    return ["# What users say of answers.", {"name": "feedback", "match": {"path": contract.FEEDBACK_PATH}, **to}]


def rollout_routes(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """The routes of every rollout that chooses models, with comments between them."""
    choosing = [rollout for rollout in spec.rollouts.values() if rollout.layer == contract.MODEL_LAYER]
    routes: list[Any] = []
    for rollout in choosing:
        if rollout.slot is None:
            routes += [*_heading(rollout), *_decided(spec, rollout, settings), *_undecided(spec, rollout, settings)]
    slotted = [rollout for rollout in choosing if rollout.slot is not None]
    for rollout in slotted:
        routes += [*_heading(rollout), *_decided(spec, rollout, settings)]
    for rollout in slotted:
        routes += [f"# Rollout {rollout.name}, what has no decision.", *_undecided(spec, rollout, settings)]
    return routes


def mirrored_rollouts(spec: Spec) -> tuple[Rollout, ...]:
    """Those that have a shadow."""
    return tuple(one for one in spec.rollouts.values() if one.shadow is not None and one.layer == contract.MODEL_LAYER)


def _heading(rollout: Rollout) -> Iterator[str]:
    canary, completed = _runtime(contract.RUNTIME_CANARY, rollout), _runtime(contract.RUNTIME_COMPLETED, rollout)
    yield f"# Rollout {rollout.name}. Runtime keys need neither router nor controller:"
    yield f"#   {canary}=0 is a rollback, {completed}=100 makes the canary the default."
    if rollout.shadow is not None:
        yield f"#   {_runtime(contract.RUNTIME_SHADOW, rollout)}=0 stops its shadow."


def _decided(spec: Spec, rollout: Rollout, settings: EnvoySettings) -> Iterator[Block]:
    """Routes of requests that the router gave a backend of the canary, or of a stable pool."""
    canary, stable = spec.models[rollout.canary], spec.models[rollout.stable]
    fraction = _fraction(_runtime(contract.RUNTIME_CANARY, rollout), 100)
    for backend in canary.backends:
        arm = "canary" if len(canary.backends) == 1 else f"canary:{backend.cluster}"
        yield from _routes(rollout, arm, _decision(backend.cluster), fraction, to_both(spec, rollout, [backend], settings))
    if rollout.shadow is not None:
        yield from _mirrored(spec, rollout, settings)
    if len(stable.backends) > 1:
        for backend in stable.backends:
            arm, to = f"stable:{backend.cluster}", to_model(spec, stable, [backend], settings)
            yield from _routes(rollout, arm, _decision(backend.cluster), {}, to)


def _undecided(spec: Spec, rollout: Rollout, settings: EnvoySettings) -> Iterator[Block]:
    """Routes of requests without a decision; the last one is also that of a decision for a stable of one backend, and of a canary that
    is switched off."""
    canary, stable = spec.models[rollout.canary], spec.models[rollout.stable]
    none = [{"name": contract.CLUSTER_HEADER, "present_match": False}]
    fraction = _fraction(_runtime(contract.RUNTIME_COMPLETED, rollout), 0)
    yield from _routes(rollout, "completed", none, fraction, to_both(spec, rollout, canary.backends, settings))
    yield from _routes(rollout, "stable", [], {}, to_model(spec, stable, stable.backends, settings))


def _mirrored(spec: Spec, rollout: Rollout, settings: EnvoySettings) -> Iterator[Block]:
    """Routes of stable that copy: for what the router has marked. Not by `cluster_header`: Envoy reads that header when the filters of
    stable's cluster have taken it away (seen on 1.40)."""
    stable, cluster = spec.models[rollout.stable], contract.SHADOW_CLUSTER.format(rollout=rollout.name)
    fraction = _fraction(_runtime(contract.RUNTIME_SHADOW, rollout), 100)
    policy = {"cluster": cluster, "disable_shadow_host_suffix_append": True, **fraction}
    marked = {"name": contract.MIRROR_HEADER, "string_match": {"exact": cluster}}
    pooled = len(stable.backends) > 1
    for backend in stable.backends:
        to = to_model(spec, stable, [backend], settings)
        arm, headers = (f"shadow:{backend.cluster}", _decision(backend.cluster)) if pooled else ("shadow", [])
        copying = {**to, "route": {**to["route"], "request_mirror_policies": [policy]}}
        yield from _routes(rollout, arm, [marked, *headers], {}, copying)


def _routes(rollout: Rollout, arm: str, headers: Sequence[Block], fraction: Block, to: Block) -> Iterator[Block]:
    """The route of an arm, once for each path."""
    for number, path in enumerate(rollout.match.paths or ("/",)):
        name = f"{rollout.name}/{arm}" + (f"/{number}" if number else "")
        decided_here = _metadata(contract.assignment_namespace(rollout.layer), contract.FIELD_ROLLOUT, (rollout.name,))
        metadata = [decided_here] if rollout.slot is not None and any("string_match" in one for one in headers) else []
        yield {"name": name, "match": {"prefix": path, **_conditions(rollout.match, headers, metadata), **fraction}, **to}


def _decision(cluster: str) -> list[Block]:
    return [{"name": contract.CLUSTER_HEADER, "string_match": {"exact": cluster}}]


def _conditions(match: Match, headers: Sequence[Block], metadata: Sequence[Block]) -> Block:
    """Hosts and models of a rollout, and the given conditions."""
    conditions: Block = {}
    if match.hosts:
        hosts = "|".join(re.escape(host) for host in match.hosts)
        authority = {"name": ":authority", "string_match": {"safe_regex": {"regex": f"(?i)(?:{hosts})(?::[^:]*)?"}}}
        headers = [authority, *headers]
    if match.models:
        metadata = [_metadata(contract.REQUEST_NAMESPACE, contract.REQUEST_MODEL_FIELD, match.models), *metadata]
    if headers:
        conditions["headers"] = list(headers)
    if metadata:
        conditions["dynamic_metadata"] = list(metadata)
    return conditions


def _metadata(namespace: str, field: str, values: Sequence[str]) -> Block:
    matchers: list[Block] = [{"string_match": {"exact": value}} for value in values]
    value = matchers[0] if len(matchers) == 1 else {"or_match": {"value_matchers": matchers}}
    return {"filter": namespace, "path": [{"key": field}], "value": value}


def _otherwise(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """What matches no rollout."""
    if spec.listener.default_model is not None:
        model = spec.models[spec.listener.default_model]
        to = to_model(spec, model, model.backends, settings)
        return ["# What matches no rollout.", {"name": "default", "match": {"prefix": "/"}, **to}]
    json = {"header": {"key": "content-type", "value": "application/json"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    route = {
        "name": "unmatched",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": NOT_FOUND}},
        "response_headers_to_add": [json],
        "typed_per_filter_config": _not_asked(),
    }
    return ["# What matches no rollout; listener.default_model would give it a model.", route]


def _health(spec: Spec) -> Block:
    return {
        "name": "health",
        "match": {"path": contract.HEALTH_PATH},
        "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
        "typed_per_filter_config": _not_asked(),
        **untraced(spec),
    }


def _not_asked() -> Block:
    return {EXT_PROC: typed("filters.http.ext_proc.v3.ExtProcPerRoute", disabled=True)}


def _fraction(key: str, percent: int) -> Block:
    return {"runtime_fraction": {"runtime_key": key, "default_value": {"numerator": percent, "denominator": "HUNDRED"}}}


def _runtime(template: str, rollout: Rollout) -> str:
    return template.format(rollout=rollout.name)
