"""The decision in Envoy Gateway's words: an EnvoyExtensionPolicy, and the patches that complete what comes of it."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.kubernetes.capacity import workers
from extproc.plan.kubernetes.containers import UNIX
from extproc.plan.kubernetes.documents import Document, deploy_of
from extproc.plan.kubernetes.parts import Parts
from extproc.render.routes import EXT_PROC

GROUP: Final = "gateway.envoyproxy.io"
LISTENER: Final = "clients"
_TYPES: Final = "type.googleapis.com/envoy.config"
_MANAGER: Final = "$..filters[?(@.name=='envoy.filters.network.http_connection_manager')].typed_config"
_COMPLETED: Final = ("forward_rules", "mutation_rules", "route_cache_action", "disable_immediate_response")
"""Fields of the decision's filter that EnvoyExtensionPolicy has no words for."""
_PROTECTED: Final = ("connect_timeout", "lb_policy", "common_lb_config", "circuit_breakers", "health_checks", "outlier_detection")
"""Fields of the router's cluster; without one of them requests fail open while a worker still lives."""


def router_endpoints(spec: Spec) -> list[Document]:
    """The workers' sockets, as a Backend names them."""
    return [{"unix": {"path": one.removeprefix("unix:")}} for one in contract.endpoints(UNIX.router, workers(spec))]


def extension_policy(name: str, found: Parts) -> Document:
    """One message with the request's headers, failing open."""
    decision = _decision(found)["typed_config"]
    metadata = decision["metadata_options"]
    said: Document = {"writableNamespaces": metadata["receiving_namespaces"]["untyped"]}
    forwarded = metadata.get("forwarding_namespaces", {}).get("untyped", [])
    if forwarded:
        said["accessibleNamespaces"] = forwarded
    asked = {
        "backendRefs": [{"group": GROUP, "kind": "Backend", "name": f"{name}-router"}],
        "failOpen": True,
        "messageTimeout": f"{round(float(decision['message_timeout'].removesuffix('s')) * 1000)}ms",
        "processingMode": {"request": {}},
        "metadata": said,
    }
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
    return {"targetRefs": [target], "extProc": [asked]}


def decision_name(spec: Spec, name: str) -> str:
    """What Envoy Gateway calls the policy's filter; the cluster's name is its end."""
    return f"{EXT_PROC}/{_cluster_name(spec, name)}"


def _cluster_name(spec: Spec, name: str) -> str:
    return f"envoyextensionpolicy/{deploy_of(spec).namespace}/{name}/extproc/0"


def patch_policy(spec: Spec, name: str, found: Parts) -> Document:
    """JSON patches of listener, routes and clusters."""
    resource = f"{deploy_of(spec).namespace}/{name}/{LISTENER}"
    decision = decision_name(spec, name)
    patches = [
        *_listener(resource, decision, found),
        *_routes(resource, decision, found),
        *_clusters(_cluster_name(spec, name), found),
    ]
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    return {"targetRefs": [target], "type": "JSONPatch", "jsonPatches": patches}


def _listener(resource: str, decision: str, found: Parts) -> list[Document]:
    def patch(path: str, value: Any, where: str = _MANAGER) -> Document:
        place = {"jsonPath": where, **({"path": path} if path else {})}
        return _patch("listener.v3.Listener", resource, {"op": "add", **place, "value": value})

    ours = next(index for index, one in enumerate(found.filters) if one["name"] == EXT_PROC)
    completed = found.filters[ours]["typed_config"]
    before_decision, before_router = (f"{_MANAGER}.http_filters[?(@.name=='{one}')]" for one in (decision, "envoy.filters.http.router"))
    return [
        *(patch(f"/{key}", value) for key, value in found.manager.items()),
        patch("/early_header_mutation_extensions", found.early),
        *(patch("/access_log/-", one) for one in found.access_log),
        # Envoy Gateway lets it sleep except on routes that wake it; which filters sleep is settled before a body has been read, and with it
        # the route of a request that names its model there.
        patch("/disabled", False, before_decision),
        *(patch(f"/typed_config/{key}", completed[key], before_decision) for key in _COMPLETED if key in completed),
        patch("/typed_config/grpc_service/retry_policy", completed["grpc_service"]["retry_policy"], before_decision),
        # `add` at a place of a list puts before what is there.
        *(patch("", one, before_decision) for one in found.filters[:ours]),
        *(patch("", one, before_router) for one in found.filters[ours + 1 :]),
    ]


def _routes(resource: str, decision: str, found: Parts) -> list[Document]:
    host = "/virtual_hosts/0"
    patches: list[tuple[str, Any]] = [(f"{host}/request_body_buffer_limit", found.body_limit)]
    patches += [(f"{host}/routes/{index}", _renamed(route, decision)) for index, route in enumerate(found.routes)]
    return [_patch("route.v3.RouteConfiguration", resource, {"op": "add", "path": path, "value": value}) for path, value in patches]


def _renamed(route: Document, decision: str) -> Document:
    """A route that asks nobody says so to the filter by its name, which is the policy's."""
    settings = {decision if key == EXT_PROC else key: value for key, value in route.get("typed_per_filter_config", {}).items()}
    return {**route, **({"typed_per_filter_config": settings} if settings else {})}


def _clusters(router: str, found: Parts) -> list[Document]:
    patches = []
    for cluster in found.clusters:
        if cluster["name"] == contract.ROUTER_CLUSTER:
            for key in _PROTECTED:
                patches.append(_patch("cluster.v3.Cluster", router, {"op": "add", "path": f"/{key}", "value": cluster[key]}))
        else:
            patches.append(_patch("cluster.v3.Cluster", cluster["name"], {"op": "add", "path": "", "value": cluster}))
    return patches


def _patch(kind: str, name: str, operation: Document) -> Document:
    return {"type": f"{_TYPES}.{kind}", "name": name, "operation": operation}


def _decision(found: Parts) -> Document:
    return next(one for one in found.filters if one["name"] == EXT_PROC)
