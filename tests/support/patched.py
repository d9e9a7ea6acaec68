"""What Istio and Envoy Gateway do with our patches, done to a base configuration: so that the real Envoy can look at the result.

Istio: protobuf's merge (messages are merged, lists appended, single values replaced), insertion by name, first, before. Envoy Gateway:
an EnvoyExtensionPolicy becomes a sleeping filter, a cluster and a wakening on each route; then JSON patches (RFC 6902) at JSON paths
(RFC 9535).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonpath
import yaml

from tests.support.manifests import Document

BASES = Path(__file__).parents[1] / "bases"
_TYPES = "type.googleapis.com/envoy.extensions"


def base(name: str, **words: str) -> Document:
    """A base configuration, with its words in capitals replaced."""
    text = (BASES / f"{name}.yaml").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(word, value)
    loaded: Document = yaml.safe_load(text)
    return loaded


# ---------------------------------------------------------------------------------------------------------------------------------- Istio
def with_envoy_filter(host: Document, envoy_filter: Document) -> Document:
    """An Istio gateway's configuration with every patch of an EnvoyFilter; fails where a patch finds nothing to change."""
    made = copy.deepcopy(host)
    for patch in envoy_filter["spec"]["configPatches"]:
        match, operation, value = patch["match"], patch["patch"]["operation"], copy.deepcopy(patch["patch"]["value"])
        assert match.pop("context") == "GATEWAY"
        _ISTIO[patch["applyTo"]](made, match, operation, value)
    return made


def _manager(made: Document, match: Document) -> Document:
    wanted = match["listener"]["filterChain"]["filter"]["name"]
    chain = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    return next(one for one in chain if one["name"] == wanted)


def _network_filter(made: Document, match: Document, operation: str, value: Document) -> None:
    assert operation == "MERGE"
    merge(_manager(made, match), value)


def _http_filter(made: Document, match: Document, operation: str, value: Document) -> None:
    assert operation == "INSERT_BEFORE"
    filters = _manager(made, match)["typed_config"]["http_filters"]
    names = [one["name"] for one in filters]
    filters.insert(names.index(match["listener"]["filterChain"]["filter"]["subFilter"]["name"]), value)


def _host(made: Document, match: Document) -> Document:
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    wanted = match["routeConfiguration"]["vhost"]["name"]
    return next(one for one in manager["route_config"]["virtual_hosts"] if one["name"] == wanted)


def _virtual_host(made: Document, match: Document, operation: str, value: Document) -> None:
    assert operation == "MERGE"
    merge(_host(made, match), value)


def _http_route(made: Document, match: Document, operation: str, value: Document) -> None:
    assert operation == "INSERT_FIRST"
    _host(made, match)["routes"].insert(0, value)


def _cluster(made: Document, match: Document, operation: str, value: Document) -> None:
    assert operation == "ADD"
    assert not match
    made["static_resources"]["clusters"].append(value)


_ISTIO = {
    "NETWORK_FILTER": _network_filter,
    "HTTP_FILTER": _http_filter,
    "VIRTUAL_HOST": _virtual_host,
    "HTTP_ROUTE": _http_route,
    "CLUSTER": _cluster,
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
def with_policies(host: Document, found: list[Document]) -> Document:
    """The static configuration that the proxies would run: the base, the extension policy, then the patches."""
    objects = {one["kind"]: one for one in found}
    resources: dict[tuple[str, str], Document] = {
        ("listener.v3.Listener", host["listener"]["name"]): copy.deepcopy(host["listener"]),
        ("route.v3.RouteConfiguration", host["route_config"]["name"]): copy.deepcopy(host["route_config"]),
    }
    _extend(resources, host["listener"]["name"], objects["EnvoyExtensionPolicy"], objects["Backend"])
    for patch in objects["EnvoyPatchPolicy"]["spec"]["jsonPatches"]:
        key = (patch["type"].removeprefix("type.googleapis.com/envoy.config."), patch["name"])
        resources[key] = _patched(resources.get(key), patch["operation"])
    bootstrap = copy.deepcopy(host["bootstrap"])
    for patch in objects["EnvoyProxy"]["spec"]["bootstrap"]["jsonPatches"]:
        bootstrap = _patched(bootstrap, patch)
    listener = resources["listener.v3.Listener", host["listener"]["name"]]
    routes = resources["route.v3.RouteConfiguration", host["route_config"]["name"]]
    manager = listener["default_filter_chain"]["filters"][0]["typed_config"]
    manager["route_config"] = routes
    clusters = [one for (kind, _), one in resources.items() if kind == "cluster.v3.Cluster"]
    return {"node": {"id": "proxy", "cluster": "gateway"}, **bootstrap, "static_resources": {"listeners": [listener], "clusters": clusters}}


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


def _extend(resources: dict[tuple[str, str], Document], listener: str, policy: Document, backend: Document) -> None:
    """As Envoy Gateway translates extProc[0] of a policy of an HTTPRoute."""
    asked, metadata = policy["spec"]["extProc"][0], policy["metadata"]
    cluster = f"envoyextensionpolicy/{metadata['namespace']}/{metadata['name']}/extproc/0"
    name = f"envoy.filters.http.ext_proc/{cluster}"
    said = asked["metadata"]
    settings = {
        "@type": f"{_TYPES}.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": cluster, "authority": "extproc"}, "timeout": "10s"},
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
    manager = resources["listener.v3.Listener", listener]["default_filter_chain"]["filters"][0]["typed_config"]
    manager["http_filters"].insert(0, {"name": name, "disabled": True, "typed_config": settings})
    for route in resources["route.v3.RouteConfiguration", listener]["virtual_hosts"][0]["routes"]:
        route["typed_per_filter_config"] = {name: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}}
    endpoints: list[Any] = [{"endpoint": {"address": {"pipe": {"path": one["unix"]["path"]}}}} for one in backend["spec"]["endpoints"]]
    options = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    resources["cluster.v3.Cluster", cluster] = {
        "name": cluster,
        "type": "STATIC",
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }
