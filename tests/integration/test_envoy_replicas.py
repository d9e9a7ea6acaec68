"""Affinity where it is easily lost: in a cluster of somebody else, and on a second attempt. The core profile says that it lacks these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from extproc import contract
from extproc.render import Profile
from tests.support.envoy_stand import Model, a_rollout, document, standing
from tests.support.moody import Mood, Moody
from tests.support.scripted import Decision, scripted

REPLICAS = [f"replica-{number}" for number in range(4)]
HTTP = "type.googleapis.com/envoy.extensions.filters"
UNITS = 64
"""So many that chance leaves none of four replicas out: 4 in 10^8."""


def foreign_envoy(replicas: list[Model]) -> dict[str, Any]:
    """Somebody's Envoy with a ring-hash cluster."""
    addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": replica.port}} for replica in replicas]
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}]
    cluster = {
        "name": "theirs",
        "type": "STATIC",
        "lb_policy": "RING_HASH",
        "load_assignment": {"cluster_name": "theirs", "endpoints": endpoints},
    }
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "theirs",
        "route_config": {"virtual_hosts": [{"name": "theirs", "domains": ["*"], "routes": []}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "theirs", "filter_chains": [{"filters": [network]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def test_a_unit_stays_on_a_replica_of_a_foreign_cluster(tmp_path: Path) -> None:
    """With the real router: the digits are taken away on the route, and the balancer has been told before."""
    models = {name: Model(name) for name in ("new", *REPLICAS)}
    blocks = {"old": {"cluster": "theirs", "affinity": {"policy": "ring_hash"}}, "new": {"endpoint": models["new"].endpoint}}
    rollout = a_rollout("1%", {"paths": ["/v1/"]}, [{"name": "nobody", "tier": ["none"]}, {"name": "everyone"}])
    host = foreign_envoy([models[name] for name in REPLICAS])
    with standing(document({"kind": "internal"}, blocks, {"chat": rollout}), models, tmp_path, profile=Profile.FULL, host=host) as stand:
        met = {}
        for number in range(UNITS):
            (met[number],) = {stand.answered(x_user_id=f"user-{number}") for _ in range(3)}
        assert set(met.values()) >= set(REPLICAS)
        assert contract.AFFINITY_HEADER not in stand.last(REPLICAS[0]).names


def test_a_second_attempt_keeps_its_replica(tmp_path: Path) -> None:
    """Stable answers for a canary that failed, each time from the replica that this conversation has there."""
    models = {name: Moody(name) for name in ("new", *REPLICAS)}
    models["new"].mood = Mood.FAILS
    affinity = {"policy": "maglev", "header": "x-conversation-id"}
    blocks = {
        "old": {"endpoints": [models[name].endpoint for name in REPLICAS], "affinity": affinity},
        "new": {"endpoint": models["new"].endpoint},
    }
    rollout = a_rollout("50%", {"paths": ["/v1/"]}, on_canary_failure="stable")
    with scripted(document({"kind": "edge"}, blocks, {"chat": rollout}), models, tmp_path) as stand:
        met = {}
        for number in range(UNITS):
            (met[number],) = {stand.answered(name, x_conversation_id=f"talk-{number}") for name in ("new", "old", "new", "old")}
        assert set(met.values()) == set(REPLICAS)
        assert stand.answered(Decision("new")) in REPLICAS
