"""`on_canary_failure: stable`: before its first byte, a failed request of the canary is asked again, of stable.

Envoy picks the cluster anew for the second attempt (PriorityGroupClusterSpecifier, seen on 1.40; 1.36 has no such thing). Host, path and
body belong to the arm that answers, so filters of its *cluster* write them and no route does. What they wrote for the first attempt is
still in the headers of the second (seen), so each attempt begins by putting back what the client had sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extproc import contract
from extproc.domain import Backend, Model, OnFailure, Rollout, Spec
from extproc.render.lua import lua_filter, lua_string
from extproc.render.yamltext import Block, typed

RETRY_ON: Final = "5xx,reset,connect-failure,refused-stream"
"""Faults of a model. A 429 is not one: the vendor asks for patience, and the client shall hear it."""
SENT: Final = "extproc.sent"
"""Metadata namespace: path, host and content-length as the client sent them."""
WHOLE: Final = 1_000_000
"""Envoy's weights are whole numbers: a pool's shares are told to a millionth."""

_SCRIPT: Final = """\
-- Each attempt begins with what the client sent: what was written for another cluster is still in the headers.
function envoy_on_request(handle)
  local headers, metadata = handle:headers(), handle:streamInfo():dynamicMetadata()
  if not metadata:get({sent}) then
    metadata:set({sent}, 'path', headers:get(':path') or '')
    metadata:set({sent}, 'host', headers:get(':authority') or '')
    metadata:set({sent}, 'length', headers:get('content-length') or '')
  end
  local sent = metadata:get({sent})
  local path, prefix = sent['path'], {prefix}
  if prefix ~= '' and path:sub(1, #prefix) == prefix then path = {to} .. path:sub(#prefix + 1) end
  headers:replace(':path', path)
  headers:replace(':authority', {host} or sent['host'])
  if sent['length'] == '' then
    headers:remove('content-length')
  else
    headers:replace('content-length', sent['length'])
  end
end
"""


def fails_over(rollout: Rollout) -> bool:
    """True where stable answers for a canary that failed."""
    return rollout.layer == contract.MODEL_LAYER and rollout.on_canary_failure is OnFailure.STABLE


def failing_over(spec: Spec) -> frozenset[str]:
    """Models whose clusters, not routes, write host, path and body."""
    return frozenset(name for rollout in spec.rollouts.values() if fails_over(rollout) for name in (rollout.stable, rollout.canary))


def either(spec: Spec, canary: Sequence[Backend], stable: Sequence[Backend]) -> Block:
    """The part of a route's action that says: the canary, and if it fails, stable, once.

    An attempt without an answer at the age at which the Spec calls a request failed (`latency_p99`) has failed. Not the time to the
    first token: an answer that does not stream begins when it is complete. Stable gets as long again. Hedging, which would let a slow
    canary finish, asks the canary a second time and not stable (seen on 1.40).
    """
    groups = [{"name": name, "clusters": weighted(backends, "cluster_name")} for name, backends in (("canary", canary), ("stable", stable))]
    name = "router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"
    extension = {"name": "envoy.router.cluster_specifier_plugin.priority_group", "typed_config": typed(name, priority_groups=groups)}
    return {
        "inline_cluster_specifier_plugin": {"extension": extension},
        "retry_policy": {
            "retry_on": RETRY_ON,
            "num_retries": 1,
            "per_try_timeout": f"{spec.application.sla.latency_p99:g}s",
            "refresh_cluster_on_retry": True,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.001s"},
        },
    }


def weighted(backends: Sequence[Backend], name: str) -> list[Block]:
    """A pool as Envoy writes it: whole weights, none of them 0. `name` is the field of the cluster's name."""
    total = sum(backend.weight for backend in backends)
    return [{name: one.cluster, "weight": max(1, round(one.weight / total * WHOLE))} for one in backends]


def as_sent(model: Model, backend: Backend) -> Block:
    """Filter of a cluster: the request as the client sent it, with this model's path and this backend's host."""
    rewrite = model.path_rewrite
    script = _SCRIPT.format(
        sent=lua_string(SENT),
        prefix=lua_string(rewrite.prefix if rewrite is not None else ""),
        to=lua_string(rewrite.to if rewrite is not None else ""),
        host=lua_string(backend.host_rewrite) if backend.host_rewrite is not None else "nil",
    )
    return lua_filter("extproc.as_sent", script)
