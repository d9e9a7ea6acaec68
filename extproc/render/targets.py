"""Where a route sends a request: to a backend, to a pool by weight, to the canary with stable behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from extproc.domain import Backend, Model, Rollout, Spec
from extproc.render.affinity import hash_policy
from extproc.render.body import send_model
from extproc.render.failover import either, failing_over, fails_over, weighted
from extproc.render.headers import kept_from_models
from extproc.render.settings import EnvoySettings, routed_models
from extproc.render.yamltext import Block


def to_model(spec: Spec, model: Model, backends: Sequence[Backend], settings: EnvoySettings) -> Block:
    """The action of a route to one of a model's backends, or to several by weight: no timeout (answers may stream for minutes), rewrites,
    and what the model must not see."""
    on_route = model.name not in failing_over(spec)
    action = _to_backends(backends, on_route) | hash_policy(model.affinity, settings.profile)
    if model.path_rewrite is not None and on_route:
        # Not prefix_rewrite: that replaces the prefix that the route matched, which may be another one.
        pattern = {"regex": f"^{re.escape(model.path_rewrite.prefix)}"}
        action["regex_rewrite"] = {"pattern": pattern, "substitution": model.path_rewrite.to.replace("\\", "\\\\")}
    to: Block = {"route": action}
    if not all(backend.ours for backend in backends):
        # Where the cluster is ours, its own filters do this, and find also what Envoy adds after routing.
        to["request_headers_to_remove"] = list(kept_from_models(spec))
    if model.send_model is not None and on_route:
        to["typed_per_filter_config"] = send_model(model.send_model, settings.profile)
    return to


def to_both(spec: Spec, rollout: Rollout, backends: Sequence[Backend], settings: EnvoySettings) -> Block:
    """The action of a route to these backends of a rollout's canary; to stable as well, where it answers for a canary that failed."""
    canary, stable = spec.models[rollout.canary], spec.models[rollout.stable]
    if not fails_over(rollout):
        return to_model(spec, canary, backends, settings)
    action = either(spec, backends, stable.backends)
    return {"route": {**action, "timeout": "0s", **hash_policy(canary.affinity or stable.affinity, settings.profile)}}


def written_on_routes(spec: Spec) -> bool:
    """True where a route writes a model's name into bodies."""
    return any(model.send_model is not None and model.name not in failing_over(spec) for model in routed_models(spec))


def _to_backends(backends: Sequence[Backend], on_route: bool) -> Block:
    if len(backends) == 1:
        host = backends[0].host_rewrite if on_route else None
        return {"cluster": backends[0].cluster, "timeout": "0s", **({"host_rewrite_literal": host} if host is not None else {})}
    clusters = weighted(backends, "name")
    for cluster, backend in zip(clusters, backends, strict=True):
        if backend.host_rewrite is not None and on_route:
            cluster["host_rewrite_literal"] = backend.host_rewrite
    return {"weighted_clusters": {"clusters": clusters}, "timeout": "0s"}
