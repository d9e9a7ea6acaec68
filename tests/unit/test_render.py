"""What the rendered configuration says about headers, clusters and routes, and which Specs none can be made of."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import yaml

from extproc import contract, spec
from extproc.domain import Backend, Spec, needed_headers
from extproc.render import EnvoySettings, Profile, RenderError, envoy_snippet, envoy_yaml
from extproc.render.failover import weighted
from extproc.render.headers import kept_from_models, stripped_at_the_door
from extproc.render.settings import RouterTls
from tests.support.envoy_stand import a_rollout, document

ENDPOINT = {"endpoint": {"host": "127.0.0.1", "port": 1}}
JWT = {"issuer": "https://login.example", "jwks_file": "/jwks.json"}


def a_spec(*, listener: dict[str, Any] | None = None, models: dict[str, Any] | None = None, **rollouts: dict[str, Any]) -> Spec:
    """old -> new behind an edge, unless something is said."""
    blocks = {"old": ENDPOINT, "new": ENDPOINT} | (models or {})
    written = document({"kind": "edge"} | (listener or {}), blocks, rollouts or {"chat": a_rollout("50%", {"paths": ["/v1/"]})})
    if any("slot" in rollout for rollout in rollouts.values()):
        written["layers"] = {"model": {"slots": {"one": "50%", "two": "50%"}}}
    return spec.load(orjson.dumps(written).decode())


def parts(given: Spec, profile: Profile = Profile.FULL) -> dict[str, Any]:
    """The snippet: every part under its name."""
    return dict(yaml.safe_load(envoy_snippet(given, EnvoySettings(profile=profile), "a test")))


def clusters(given: Spec) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in parts(given)["clusters"]}


def filters(given: Spec, profile: Profile = Profile.FULL) -> list[str]:
    return [one["name"] for one in parts(given, profile)["http_filters"]]


def ext_proc(given: Spec) -> dict[str, Any]:
    (found,) = (one["typed_config"] for one in parts(given)["http_filters"] if one["name"].endswith("ext_proc"))
    return dict(found)


# ---------------------------------------------------------------------------------------------------------------------- headers
READING = a_rollout("50%", {"paths": ["/v1/"]}, [{"name": "a", "tier": ["gold"], "header": {"x-beta": ["1"]}}, {"name": "b", "asn": [1]}])


def test_an_edge_believes_only_named_headers() -> None:
    """On an internal listener identity is trusted; at an edge each header that is read needs somebody who sets it."""
    internal = a_spec(listener={"kind": "internal"}, chat=READING)
    edge = a_spec(listener={"set_by": {"x-user-id": "the gateway", "x-geo-asn": "the CDN"}}, chat=READING)
    assert stripped_at_the_door(internal) == ()
    assert stripped_at_the_door(edge) == ("x-beta", "x-user-tier")


@pytest.mark.parametrize(
    ("geoip", "expected"),
    [
        ({"database": "/c"}, ("x-geo-country",)),
        ({"city": "/c"}, ("x-geo-country", "x-geo-region")),
        ({"asn": "/a"}, ("x-geo-asn",)),
        ({"database": "/c", "city": "/c", "asn": "/a"}, ("x-geo-asn", "x-geo-country", "x-geo-region")),
    ],
)
def test_geoip_strips_what_it_sets(geoip: dict[str, str], expected: tuple[str, ...]) -> None:
    """On every listener, from the databases that are there: a miss leaves what the client sent."""
    given = a_spec(listener={"kind": "internal", "geoip": geoip})
    assert stripped_at_the_door(given) == expected
    (found,) = (one["typed_config"]["provider"]["typed_config"] for one in parts(given)["http_filters"] if one["name"].endswith("geoip"))
    assert tuple(sorted(found["common_provider_config"]["geo_field_keys"].values())) == expected
    assert len([key for key in found if key.endswith("_db_path")]) == len(geoip)


def test_signed_headers_pass_the_door_and_reach_the_router() -> None:
    """A conversation's token, its id and a QA header are no identity; cookies neither. No model sees any of them."""
    conversation = {"header": "x-talk", "id": {"header": "x-talk-id"}}
    qa = {"qa": {"header": "x-qa", "secret": {"env": "QA"}}}
    given = a_spec(
        models={"new": ENDPOINT | {"affinity": {"policy": "maglev", "header": "x-session"}}},
        chat=a_rollout("50%", {"paths": ["/v1/"]}, conversation=conversation, overrides=qa),
    )
    signed = {"x-talk", "x-talk-id", "x-qa"}
    assert not signed & set(stripped_at_the_door(given))
    assert signed <= needed_headers(given)
    assert {*signed, "x-session", "cookie", "authorization", "x-user-id"} <= set(kept_from_models(given))
    allowed = ext_proc(given)["forward_rules"]["allowed_headers"]["patterns"]
    assert [one["exact"] for one in allowed] == sorted(needed_headers(given))


def test_a_verified_token_is_kept_from_models() -> None:
    """Even where no model has a key of its own, and nobody reads the header as an API key."""
    rollout = a_rollout("50%", {"paths": ["/v1/"]}, unit={"sources": [{"header": "x-user-id"}]})
    assert "authorization" not in kept_from_models(a_spec(chat=rollout))
    assert "authorization" in kept_from_models(a_spec(listener={"jwt": JWT}, chat=rollout))


# ---------------------------------------------------------------------------------------------------------------------- filters
def test_filters_are_there_where_somebody_needs_them() -> None:
    """In the order in which they depend on each other: the decision last."""
    asking = a_rollout("50%", {"paths": ["/v1/"], "models": ["old"]}, conversation={})
    geoip = {"database": "/c"}
    needed = ["extproc.jwt", "json_to_metadata", "extproc.state", "geoip"]
    plain, everything = filters(a_spec()), filters(a_spec(listener={"jwt": JWT, "geoip": geoip}, chat=asking))
    assert not any(name.endswith(tuple(needed)) for name in plain)
    found = [name for name in everything if name.endswith((*needed, "ext_proc"))]
    assert [name.rpartition(".")[2] for name in found] == ["jwt", "json_to_metadata", "state", "geoip", "ext_proc"]


def test_the_router_is_told_what_the_spec_reads() -> None:
    """Claims only where a cohort or a unit reads one; the request's metadata only where model or state matter."""

    def forwarded(given: Spec) -> list[str]:
        return list(ext_proc(given)["metadata_options"].get("forwarding_namespaces", {}).get("untyped", []))

    gold = [{"name": "gold", "claim": {"tier": ["gold"]}}]
    assert forwarded(a_spec()) == []
    assert forwarded(a_spec(listener={"jwt": JWT})) == []
    assert forwarded(a_spec(listener={"jwt": JWT}, chat=a_rollout("50%", {}, gold))) == [contract.JWT_NAMESPACE]
    assert forwarded(a_spec(chat=a_rollout("50%", {"models": ["old"]}))) == [contract.REQUEST_NAMESPACE]
    assert forwarded(a_spec(chat=a_rollout("50%", {}, conversation={}))) == [contract.REQUEST_NAMESPACE]


def test_envoy_listens_to_what_it_hands_out() -> None:
    """Namespaces of cookies and tokens, each once."""
    given = a_spec(
        chat=a_rollout("50%", {"paths": ["/v1/"]}, conversation={}),
        more=a_rollout("50%", {"paths": ["/v2/"]}, conversation={"cookie": "talk"}),
    )
    receiving = ext_proc(given)["metadata_options"]["receiving_namespaces"]["untyped"]
    assert receiving == ["extproc.assignment.model", contract.COOKIE_NAMESPACE, contract.CONVERSATION_NAMESPACE]


@pytest.mark.parametrize("profile", Profile)
def test_bodies_are_held_only_where_somebody_reads_them(profile: Profile) -> None:
    """Without a model to read or to write, and without state to look for, requests stream through."""
    for given, held in (
        (a_spec(), False),
        (a_spec(models={"new": ENDPOINT | {"send_model": "new"}}), True),
        (a_spec(chat=a_rollout("50%", {"paths": ["/v1/"]}, conversation={})), True),
        (a_spec(chat=a_rollout("50%", {"paths": ["/v1/"]}, conversation={"state_fields": []})), False),
    ):
        text = envoy_yaml(given, EnvoySettings(profile=profile), "a test")
        assert ("envoy.filters.http.buffer" in text) == (held and profile is Profile.CORE)
        assert ("envoy_on_request" in text or "body_transformation" in text) == held
        assert "request_rules" not in text


# ---------------------------------------------------------------------------------------------------------- clusters and routes
def pool(*weights: float) -> dict[str, Any]:
    return {"pool": [{"cluster": f"c{number}", "weight": weight, **ENDPOINT} for number, weight in enumerate(weights)]}


@pytest.mark.parametrize(
    ("weights", "whole"),
    [((1, 1), [500_000, 500_000]), ((3, 1), [750_000, 250_000]), ((1e6, 1e-9), [1_000_000, 1]), ((1, 1, 1), [333_333] * 3)],
)
def test_weights_are_whole_and_none_is_nothing(weights: tuple[float, ...], whole: list[int]) -> None:
    """Envoy refuses fractions, and a backend with a weight above 0 must not lose all of it."""
    backends = [Backend(f"c{number}", weight, (), None) for number, weight in enumerate(weights)]
    assert [one["weight"] for one in weighted(backends, "name")] == whole


def test_each_backend_is_a_cluster_with_the_models_key() -> None:
    """One secret for the pool; its balancer is that of the model's affinity."""
    model = pool(1, 2) | {"credential": {"env": "KEY"}, "affinity": {"policy": "ring_hash"}}
    given = a_spec(models={"new": model})
    found = clusters(given)
    for name in ("c0", "c1"):
        assert found[name]["lb_policy"] == "RING_HASH"
        assert "new.key" in str(found[name])
    assert found["old"]["lb_policy"] == "LEAST_REQUEST"
    assert [one["name"] for one in parts(given)["secrets"]] == ["new.key"]


def test_routes_of_a_pool_stand_in_their_order() -> None:
    """Every decided backend before whatever has no decision, once for each path."""
    given = a_spec(models={"old": {"pool": [{"cluster": "o", **ENDPOINT}, {"cluster": "p", **ENDPOINT}]}, "new": pool(1, 1)})
    arms = ["canary:c0", "canary:c1", "stable:o", "stable:p", "completed", "stable"]
    assert [one["name"] for one in parts(given)["routes"]] == [f"chat/{arm}" for arm in arms]


def test_rollouts_in_slots_decide_first() -> None:
    """Each decided route is for the requests of its own rollout; only then come those without a decision."""
    one, two = (a_rollout("50%", {"paths": ["/v1/"]}, slot=slot) for slot in ("one", "two"))
    routes = parts(a_spec(one=one, two=two))["routes"]
    assert [route["name"] for route in routes] == ["one/canary", "two/canary", "one/completed", "one/stable", "two/completed", "two/stable"]
    for route in routes:
        metadata = route["match"].get("dynamic_metadata", [])
        expected = [route["name"].partition("/")[0]] if route["name"].endswith("/canary") else []
        assert [matcher["value"]["string_match"]["exact"] for matcher in metadata] == expected


def test_another_layer_has_no_routes_and_no_clusters() -> None:
    """Its stable and canary are variants, not models."""
    prompt = a_rollout("50%", {"paths": ["/v1/"]}, layer="prompt", stable="short", canary="long", on_canary_failure="stable")
    given = a_spec(prompt=prompt)
    assert parts(given)["routes"] == []
    assert set(clusters(given)) == {contract.ROUTER_CLUSTER, contract.COLLECTOR_CLUSTER}
    assert ext_proc(given)["metadata_options"]["receiving_namespaces"]["untyped"][0] == "extproc.assignment.prompt"
    assert "x-llm-variant-prompt" in kept_from_models(given)


def test_remote_keys_have_a_cluster_with_tls() -> None:
    """The name in the certificate is the host of the address."""
    jwt = {"issuer": "i", "jwks_uri": "https://login.example:8443/keys"}
    found = clusters(a_spec(listener={"jwt": jwt}))["extproc_jwks"]
    assert found["transport_socket"]["typed_config"]["sni"] == "login.example"
    assert "port_value: 8443" in yaml.safe_dump(found)


# --------------------------------------------------------------------------------------------------------------------- refusals
def refused(given: Spec, profile: Profile = Profile.FULL, snippet: bool = False) -> list[tuple[str, str]]:
    """Ids and paths of what a configuration is refused for."""
    with pytest.raises(RenderError) as caught:
        (envoy_snippet if snippet else envoy_yaml)(given, EnvoySettings(profile=profile), "a test")
    assert all(problem.hint for problem in caught.value.problems)
    return [(problem.id, problem.path) for problem in caught.value.problems]


def test_a_model_without_endpoint_is_refused_with_every_other() -> None:
    """A whole configuration needs addresses, for each backend of a pool; the snippet does without."""
    given = a_spec(models={"old": {}, "new": {"pool": [{"cluster": "here", **ENDPOINT}, {"cluster": "elsewhere"}]}})
    assert refused(given) == [("render.no-endpoint", "models.old"), ("render.no-endpoint", "models.new")]
    assert set(clusters(given)) == {"here", contract.ROUTER_CLUSTER, contract.COLLECTOR_CLUSTER}


@pytest.mark.parametrize("name", [contract.ROUTER_CLUSTER, contract.COLLECTOR_CLUSTER, "extproc_jwks"])
def test_our_own_clusters_are_not_models(name: str) -> None:
    """No backend may take the name of a cluster of ours."""
    assert refused(a_spec(models={"new": ENDPOINT | {"cluster": name}}), snippet=True) == [("render.reserved-cluster", "models.new")]


def test_a_key_needs_a_cluster_of_ours() -> None:
    """It cannot be put into somebody else's."""
    given = a_spec(models={"new": {"credential": {"env": "KEY"}}})
    assert refused(given, snippet=True) == [("render.credential-elsewhere", "models.new")]


def test_failing_over_needs_the_full_profile_and_both_clusters() -> None:
    """Envoy 1.36 cannot, and a foreign cluster's filters are not ours to write."""
    rollout = a_rollout("50%", {"paths": ["/v1/"]}, on_canary_failure="stable")
    path = "rollouts.chat.on_canary_failure"
    assert refused(a_spec(chat=rollout), Profile.CORE) == [("render.failover-core", path)]
    assert refused(a_spec(models={"old": {}}, chat=rollout), snippet=True) == [("render.failover-elsewhere", path)]


def test_tokens_have_one_header() -> None:
    """Envoy is told a token and not where to put it; a cookie says its name itself."""
    header, other, cookie = ({"conversation": one} for one in ({"header": "x-a"}, {}, {"cookie": "talk"}))
    many = {name: a_rollout("50%", {"paths": [f"/{name}/"]}, **more) for name, more in (("a", header), ("b", other), ("c", cookie))}
    assert refused(a_spec(**many)) == [("render.conversation-headers", "rollouts.b.conversation.header")]
    assert "x-a" in str(parts(a_spec(a=many["a"], c=many["c"]))["http_filters"])


@pytest.mark.parametrize("profile", Profile)
def test_what_a_route_says_to_a_filter_reaches_no_filter_of_a_cluster(profile: Profile) -> None:
    """Envoy hands a route's configuration to filters of that name on both sides: the model's name would be written where the key's prefix
    belongs."""
    given = a_spec(models={"new": {**ENDPOINT, "send_model": "new-1", "credential": {"env": "KEY"}}})
    made = parts(given, profile)
    told = {name for route in made["routes"] for name in route.get("typed_per_filter_config", {})}
    of_clusters = {
        one["name"]
        for cluster in made["clusters"]
        for options in cluster["typed_extension_protocol_options"].values()
        for one in options.get("http_filters", ())
    }
    assert told
    assert of_clusters
    assert not told & of_clusters


def of_controllers(collector: str, name: str = "") -> dict[str, dict[str, Any]]:
    """Clusters of an Envoy that reaches controllers over a network."""
    settings = EnvoySettings(collector=collector, controller_tls=RouterTls("/ca.pem", name, "", ""))
    return {one["name"]: one for one in yaml.safe_load(envoy_snippet(a_spec(), settings, "a test"))["clusters"]}


def test_several_controllers_are_asked_whether_they_live() -> None:
    """A frozen one would go on holding Envoy's access log."""
    several = of_controllers("10.0.0.1:9001,10.0.0.2:9001", "controllers.internal")[contract.COLLECTOR_CLUSTER]
    ends = several["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [one["endpoint"]["address"]["socket_address"]["address"] for one in ends] == ["10.0.0.1", "10.0.0.2"]
    assert "connection_keepalive" in str(several)
    assert "controllers.internal" in str(several["transport_socket"])
    assert "connection_keepalive" not in str(of_controllers("10.0.0.1:9001")[contract.COLLECTOR_CLUSTER])


def test_several_controllers_with_tls_need_one_name() -> None:
    """Envoy compares one name with the certificate of whichever it reaches."""
    with pytest.raises(RenderError, match="one, two are several"):
        of_controllers("one:9001,two:9001")
