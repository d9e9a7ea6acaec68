"""The shadow: stable's routes copy what the router has marked, and a listener inside of Envoy sends the copies on to the canary.

A copy is made by Envoy's router filter, which waits for nothing that becomes of it. Why a listener of its own: a mirrored request has
met the filters of the client's listener only, as stable's request; the canary's model name, its tokens in the access log, and the copy for
the judge need filters, and those need a listener. It has no address: nobody reaches it from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from extproc import contract
from extproc.domain import Rollout, Spec
from extproc.render.asked import json_to_metadata, token_usage
from extproc.render.body import send_model_filter
from extproc.render.filters import LOG_OPTIONS, access_log, buffer, router_filter
from extproc.render.routes import BODY_LIMIT, mirrored_rollouts
from extproc.render.sampling import copying, samples
from extproc.render.settings import EnvoySettings, Profile
from extproc.render.targets import to_model
from extproc.render.yamltext import Block, typed

MOST_MIRRORED: Final = 256
"""Copies of a rollout that may be under way at once; what comes beyond that is not copied. Envoy holds their bodies, so this bounds its
memory as well."""
NOT_FOR_THE_CANARY: Final = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "openai-organization",
    "openai-project",
)
"""Who pays: the copy has the canary's own credential or none, and is on nobody's bill but ours."""
INTERNAL: Final[Block] = {
    "name": "envoy.bootstrap.internal_listener",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener"},
}


def shadow_listeners(spec: Spec, settings: EnvoySettings) -> list[Any]:
    """One for each rollout with a shadow, with comments between them."""
    found: list[Any] = []
    for rollout in mirrored_rollouts(spec):
        found += [f"# Copies of rollout {rollout.name}'s requests, on their way to its canary.", _listener(spec, rollout, settings)]
    return found


def shadow_clusters(spec: Spec) -> list[Any]:
    """The way to those listeners."""
    found: list[Any] = []
    for rollout in mirrored_rollouts(spec):
        found += [f"# The shadow of rollout {rollout.name}: a listener of this Envoy.", _cluster(rollout)]
    return found


def bootstrap_extensions(spec: Spec) -> Block:
    """What Envoy needs for listeners without an address."""
    return {"bootstrap_extensions": [INTERNAL]} if mirrored_rollouts(spec) else {}


def _cluster(rollout: Rollout) -> Block:
    name = contract.SHADOW_CLUSTER.format(rollout=rollout.name)
    address = {"envoy_internal_address": {"server_listener_name": name}}
    limits = {"max_connections": MOST_MIRRORED, "max_pending_requests": MOST_MIRRORED, "max_requests": MOST_MIRRORED}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
    }


def _listener(spec: Spec, rollout: Rollout, settings: EnvoySettings) -> Block:
    name = contract.SHADOW_CLUSTER.format(rollout=rollout.name)
    canary = spec.models[rollout.canary]
    to = to_model(spec, canary, canary.backends, settings)
    removed = dict.fromkeys((*NOT_FOR_THE_CANARY, *to.get("request_headers_to_remove", ())))
    route = {"name": f"{rollout.name}/shadow", "match": {"prefix": "/"}, **to, "request_headers_to_remove": list(removed)}
    host = {"name": name, "domains": ["*"], "request_body_buffer_limit": BODY_LIMIT, "routes": [route]}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="shadow",
        # A copy keeps the name of its request: that joins the two.
        preserve_external_request_id=True,
        access_log_options=LOG_OPTIONS,
        access_log=access_log(spec, settings),
        route_config={"name": name, "virtual_hosts": [host]},
        http_filters=list(_filters(spec, rollout, settings)),
    )
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {"name": name, "internal_listener": {}, "filter_chains": [{"filters": [network]}]}


def _filters(spec: Spec, rollout: Rollout, settings: EnvoySettings) -> Iterator[Block]:
    metadata = [{"metadata_namespace": contract.SHADOW_NAMESPACE, "value": {contract.SHADOW_ROLLOUT: rollout.name}}]
    yield {"name": "envoy.filters.http.set_metadata", "typed_config": typed("filters.http.set_metadata.v3.Config", metadata=metadata)}
    if settings.profile is Profile.CORE:
        yield buffer()
        yield json_to_metadata(spec, settings.profile)
    else:
        yield token_usage()
    if samples(spec) and rollout.judging is not None:
        yield {"name": "extproc.copy", "typed_config": copying([contract.SHADOW_NAMESPACE])}
    if spec.models[rollout.canary].send_model is not None:
        yield send_model_filter(settings.profile)
    yield router_filter()
