"""What Istio and Envoy Gateway do with our patches, done to a recorded configuration: so that the real Envoy can look at the result.

Istio: protobuf's merge (messages are merged, lists appended, single values replaced), insertion by name, first, before, at every place that
the match is true of. Envoy Gateway: an EnvoyExtensionPolicy becomes a sleeping filter, a cluster and a wakening on each route; then JSON
patches (RFC 6902) at JSON paths (RFC 9535). A patch that finds no place fails here; there it would do nothing, or refuse the whole policy.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

import jsonpath
import yaml

from extproc.domain import Spec
from tests.support.manifests import Document, documents

BASES = Path(__file__).parents[1] / "bases"


def base(name: str, **words: str) -> Document:
    """A base configuration, with its words in capitals replaced."""
    text = (BASES / f"{name}.yaml").read_text(encoding="utf-8")
    for word, value in words.items():
        text = re.sub(rf"\b{word}\b", value, text)
    loaded: Document = yaml.safe_load(text)
    return loaded


def patched(made: dict[str, str], overlay: str, one: Spec) -> Document:
    """The configuration of an Envoy that is not ours, with the overlay's patches."""
    folder = f"kubernetes/overlays/{overlay}"
    if overlay == "istio":
        return with_envoy_filter(istio_gateway(one), documents(made[f"{folder}/envoy-filter.yaml"])[0])
    names = ("gateway.yaml", "extension-policy.yaml", "patch-policy.yaml")
    return with_policies(envoy_gateway(one), [document for name in names for document in documents(made[f"{folder}/{name}"])])


# ---------------------------------------------------------------------------------------------------------------------------------- Istio
def istio_gateway(one: Spec) -> Document:
    """What the proxy of our Gateway has."""
    assert one.deploy is not None
    tls, name, namespace = bool(one.deploy.tls_secret), f"{one.application.name}-istio", one.deploy.namespace
    words = {"DOMAIN": one.deploy.domain, "PORT": str(one.listener.port), "SERVER": "443" if tls else "80"}
    made = base("istio-gateway", **words)
    if tls:
        changed = base("istio-gateway-tls", **words, NAMESPACE=namespace, NAME=name)
        listener = made["static_resources"]["listeners"][0]
        listener |= changed["listener"]
        listener["filter_chains"][0] |= changed["filter_chain"]
        listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["name"] = changed["route_config"]
    return made


def with_envoy_filter(host: Document, envoy_filter: Document) -> Document:
    """An Istio gateway's configuration with every patch of an EnvoyFilter; fails where a patch finds nothing to change."""
    made = copy.deepcopy(host)
    for patch in envoy_filter["spec"]["configPatches"]:
        match, operation, value = patch["match"], patch["patch"]["operation"], patch["patch"]["value"]
        assert match.get("context", "ANY") in ("ANY", "GATEWAY"), match
        assert _ISTIO[patch["applyTo"], operation](made, match, value), f"no place for {patch['applyTo']} {match}"
    return made


def _network_filters(made: Document, match: Document) -> list[Document]:
    """Filters of the chains of listeners, those by the name that is wanted."""
    wanted = match.get("listener", {})
    listeners = [one for one in made["static_resources"]["listeners"] if wanted.get("name", one["name"]) == one["name"]]
    port = wanted.get("portNumber")
    listeners = [one for one in listeners if port in (None, one["address"]["socket_address"]["port_value"])]
    name = wanted.get("filterChain", {}).get("filter", {}).get("name")
    return [each for one in listeners for chain in one["filter_chains"] for each in chain["filters"] if name in (None, each["name"])]


def _merge_network_filter(made: Document, match: Document, value: Document) -> int:
    found = _network_filters(made, match)
    for one in found:
        merge(one, copy.deepcopy(value))
    return len(found)


def _insert_http_filter(made: Document, match: Document, value: Document) -> int:
    before, places = match["listener"]["filterChain"]["filter"]["subFilter"]["name"], 0
    for one in _network_filters(made, match):
        filters = one["typed_config"]["http_filters"]
        names = [each["name"] for each in filters]
        if before in names:
            filters.insert(names.index(before), copy.deepcopy(value))
            places += 1
    return places


def _hosts(made: Document, match: Document) -> list[Document]:
    """Virtual hosts of the route configurations that the match is about."""
    wanted = match["routeConfiguration"]
    managers = [one["typed_config"] for one in _network_filters(made, {}) if "route_config" in one["typed_config"]]
    configs = [one["route_config"] for one in managers if wanted.get("name", one["route_config"]["name"]) == one["route_config"]["name"]]
    name = wanted.get("vhost", {}).get("name")
    return [host for one in configs for host in one["virtual_hosts"] if name in (None, host["name"])]


def _merge_virtual_host(made: Document, match: Document, value: Document) -> int:
    found = _hosts(made, match)
    for host in found:
        merge(host, copy.deepcopy(value))
    return len(found)


def _insert_route(made: Document, match: Document, value: Document) -> int:
    found = _hosts(made, match)
    for host in found:
        host["routes"].insert(0, copy.deepcopy(value))
    return len(found)


def _add_cluster(made: Document, match: Document, value: Document) -> int:
    made["static_resources"]["clusters"].append(copy.deepcopy(value))
    return 1


_ISTIO = {
    ("NETWORK_FILTER", "MERGE"): _merge_network_filter,
    ("HTTP_FILTER", "INSERT_BEFORE"): _insert_http_filter,
    ("VIRTUAL_HOST", "MERGE"): _merge_virtual_host,
    ("HTTP_ROUTE", "INSERT_FIRST"): _insert_route,
    ("CLUSTER", "ADD"): _add_cluster,
}


def merge(into: Document, value: Document) -> None:
    """As protobuf merges messages."""
    for key, new in value.items():
        old = into.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            merge(old, new)
        elif isinstance(old, list) and isinstance(new, list):
            old.extend(new)
        else:
            into[key] = new


# -------------------------------------------------------------------------------------------------------------------------- Envoy Gateway
def envoy_gateway(one: Spec) -> Document:
    """What the proxies of our Gateway would run, as resources by their kinds, and what a policy of its route is made into."""
    assert one.deploy is not None
    namespace, name = one.deploy.namespace, f"{one.application.name}-gateway"
    domain, resource = one.deploy.domain, f"{namespace}/{name}/clients"
    policy = f"envoyextensionpolicy/{namespace}/{name}/extproc/0"
    words = {"RESOURCE": resource, "ROUTE": f"{namespace}/{name}", "HOST": domain.replace(".", "_"), "DOMAIN": domain, "POLICY": policy}
    made = base("envoy-gateway", **words)
    if one.deploy.tls_secret:
        changed, listener = base("envoy-gateway-tls"), made["listener"]
        listener["address"]["socket_address"]["port_value"] = changed["port"]
        listener["filter_chains"] = [listener.pop("default_filter_chain") | {"transport_socket": changed["transport_socket"]}]
        listener["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = changed["stat_prefix"]
    return made


def with_policies(host: Document, found: list[Document]) -> Document:
    """The static configuration that the proxies would run: the base, the extension policy, then the patches."""
    objects, host = {one["kind"]: one for one in found}, copy.deepcopy(host)
    _extend(host, objects["EnvoyExtensionPolicy"], objects["Backend"])
    resources: dict[tuple[str, str], Document] = {
        (kind, one["name"]): one
        for kind, one in (
            ("listener.v3.Listener", host["listener"]),
            ("route.v3.RouteConfiguration", host["route_config"]),
            ("cluster.v3.Cluster", host["policy"]["cluster"]),
        )
    }
    for patch in objects["EnvoyPatchPolicy"]["spec"]["jsonPatches"]:
        key = (patch["type"].removeprefix("type.googleapis.com/envoy.config."), patch["name"])
        resources[key] = _patched(resources.get(key), patch["operation"])
    bootstrap = host["bootstrap"]
    for patch in objects["EnvoyProxy"]["spec"]["bootstrap"]["jsonPatches"]:
        bootstrap = _patched(bootstrap, patch)
    listener = resources["listener.v3.Listener", host["listener"]["name"]]
    _manager(listener)["route_config"] = resources["route.v3.RouteConfiguration", host["route_config"]["name"]]
    clusters = [one for (kind, _), one in resources.items() if kind == "cluster.v3.Cluster"]
    return {"node": {"id": "proxy", "cluster": "gateway"}, **bootstrap, "static_resources": {"listeners": [listener], "clusters": clusters}}


def _manager(listener: Document) -> Document:
    chain = listener.get("default_filter_chain") or listener["filter_chains"][0]
    made: Document = chain["filters"][0]["typed_config"]
    return made


def _patched(resource: Document | None, operation: Document) -> Document:
    path = operation.get("path", "")
    if "jsonPath" in operation:
        assert resource is not None, operation
        places = [str(match.pointer()) for match in jsonpath.finditer(operation["jsonPath"], resource)]
        assert places, f"nothing is at {operation['jsonPath']}"
        paths = [f"{place}{path}" for place in places]
    else:
        paths = [path]
    if resource is None:
        assert paths == [""], f"nobody knows the resource of {operation}"
        return copy.deepcopy(operation["value"])
    changes = [{"op": operation["op"], "path": one, "value": copy.deepcopy(operation["value"])} for one in paths]
    made: Document = jsonpath.patch.apply(changes, resource)
    return made


def _extend(host: Document, policy: Document, backend: Document) -> None:
    """As Envoy Gateway translates extProc[0] of a policy of an HTTPRoute."""
    asked, metadata, made = policy["spec"]["extProc"][0], policy["metadata"], host["policy"]
    assert made["cluster"]["name"] == f"envoyextensionpolicy/{metadata['namespace']}/{metadata['name']}/extproc/0"
    said, settings = asked["metadata"], made["filter"]["typed_config"]
    settings["grpc_service"]["envoy_grpc"]["authority"] = f"{asked['backendRefs'][0]['name']}.{metadata['namespace']}"
    settings |= {
        "failure_mode_allow": asked["failOpen"],
        "message_timeout": f"{int(asked['messageTimeout'].removesuffix('ms')) / 1000}s",
        "processing_mode": {
            "request_header_mode": "SEND" if "request" in asked["processingMode"] else "SKIP",
            "response_header_mode": "SEND" if "response" in asked["processingMode"] else "SKIP",
            "request_trailer_mode": "SKIP",
            "response_trailer_mode": "SKIP",
        },
        "metadata_options": {
            "forwarding_namespaces": {"untyped": said.get("accessibleNamespaces", [])},
            "receiving_namespaces": {"untyped": said["writableNamespaces"]},
        },
    }
    _manager(host["listener"])["http_filters"].insert(0, made["filter"])
    for route in host["route_config"]["virtual_hosts"][0]["routes"]:
        route["typed_per_filter_config"] = {made["filter"]["name"]: copy.deepcopy(made["route"])}
    assert backend["metadata"]["name"] == asked["backendRefs"][0]["name"]
    endpoints = [{"endpoint": {"address": {"pipe": {"path": one["unix"]["path"]}}}} for one in backend["spec"]["endpoints"]]
    made["cluster"]["load_assignment"]["endpoints"][0]["lb_endpoints"] = [{**one, "load_balancing_weight": 1} for one in endpoints]
