"""The snippet inside an Envoy configuration that was there before: it adds a rollout and takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from extproc.render import Profile
from tests.support.envoy_stand import OLD_ENVOY, Model, Stand, a_rollout, document, standing

FOREIGN_TYPE = "type.googleapis.com/envoy.extensions.filters"


def foreign_envoy(models: dict[str, Model]) -> dict[str, Any]:
    """Somebody's Envoy: two routes, two clusters of its own, one of which is also the rollout's stable model."""

    def cluster(name: str) -> dict[str, Any]:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": models[name].port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}

    routes = [
        {"match": {"prefix": "/shop/"}, "route": {"cluster": "shop"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "old"}},
    ]
    manager = {
        "@type": f"{FOREIGN_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "theirs",
        "route_config": {"virtual_hosts": [{"name": "theirs", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{FOREIGN_TYPE}.http.router.v3.Router"}}],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {"name": "theirs", "filter_chains": [{"filters": [network]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster("old"), cluster("shop")]}}


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """`old` is a cluster of the foreign Envoy; `new` comes with the snippet."""
    models = {name: Model(name) for name in ("old", "new", "shop")}
    blocks = {"old": {}, "new": {"endpoint": models["new"].endpoint, "send_model": "new"}}
    rollouts = {"chat": a_rollout("100%", {"paths": ["/v1/"], "models": ["old"]}, [{"name": "germany", "country": ["DE"]}])}
    listener = {"kind": "internal", "trusted_hops": 0}
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with standing(
        document(listener, blocks, rollouts),
        models,
        tmp_path_factory.mktemp("snippet"),
        profile=request.param,
        envoy=envoy,
        host=foreign_envoy(models),
    ) as made:
        yield made


def test_the_rollout_decides_in_a_foreign_envoy(stand: Stand) -> None:
    """The canary meets its cohort, everybody else the cluster that was there; identity headers are trusted on an internal listener."""
    assert stand.answered(x_user_id="anyone", x_geo_country="DE") == "new"
    assert stand.last("new").body.replace(b" ", b"") == b'{"model":"new"}'
    assert stand.answered(x_user_id="anyone", x_geo_country="US") == "old"


def test_other_routes_keep_their_clusters(stand: Stand) -> None:
    """Another path, and another model on the rollout's path, go where they went before."""
    assert stand.answered("/shop/basket", {"model": "old"}, x_user_id="anyone", x_geo_country="DE") == "shop"
    assert stand.answered("/v1/chat", {"model": "third"}, x_user_id="anyone", x_geo_country="DE") == "old"
    assert stand.client.get("/anything").json()["model"] == "old"


def test_long_prompts_pass_a_foreign_envoy(stand: Stand) -> None:
    """The snippet brings the body limit with it."""
    body = b'{"model":"old","text":"' + b"x" * 3_000_000 + b'"}'
    for country, model in (("DE", "new"), ("US", "old")):
        assert stand.answered(body=body, x_user_id="anyone", x_geo_country=country) == model


def test_a_foreign_cluster_sees_no_header_of_ours(stand: Stand) -> None:
    """Where the cluster is not ours, the route removes identity, cookie and decision by name."""
    stand.answered(x_user_id="anyone", x_geo_country="US", cookie="a=b", x_llm_cluster="new", x_forwarded_for="198.18.0.9")
    seen = stand.last("old").names
    assert not {"x-llm-cluster", "x-user-id", "x-geo-country", "x-user-tier", "cookie", "authorization", "x-forwarded-for"} & seen
    assert "x-request-id" in seen


def test_foreign_routes_keep_their_headers(stand: Stand) -> None:
    """What the snippet removes for models stays on other routes of an internal listener; only x-llm-* goes everywhere."""
    stand.answered("/shop/basket", x_user_id="anyone", cookie="a=b", authorization="Bearer x", x_llm_cluster="new")
    seen = stand.last("shop").names
    assert {"x-user-id", "cookie", "authorization", "x-forwarded-for"} <= seen
    assert "x-llm-cluster" not in seen
