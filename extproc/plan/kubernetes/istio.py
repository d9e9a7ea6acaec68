"""Overlay istio: the Envoy is that of an Istio gateway, in a pod with router and controller; EnvoyFilter gives it the configuration.

The gateway is a Deployment of ours into which Istio injects its proxy, so that the pod can have our containers beside it. They listen on
loopback: the proxy's container has no volume of ours but the one with references to keys.
"""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import ListenerKind, Overlay, Spec
from extproc.plan.kubernetes import network
from extproc.plan.kubernetes.containers import LOOPBACK, controller, router, series
from extproc.plan.kubernetes.documents import Document, Files, deploy_of, kustomization, manifest, text
from extproc.plan.kubernetes.edge import scraped
from extproc.plan.kubernetes.envoy import METRICS_CONFIG, for_series
from extproc.plan.kubernetes.mounts import environment, file_mounts
from extproc.plan.kubernetes.parts import Parts, key_maps, key_mounts, key_volumes, keys_files, parts
from extproc.plan.kubernetes.pods import budget, config_volume, deployment, envoy_volumes, service, store_volumes
from extproc.render.yamltext import typed

COMPONENT: Final = "istio"
MANAGER: Final = "envoy.filters.network.http_connection_manager"
ROUTER: Final = "envoy.filters.http.router"
ISTIOD: Final = (15010, 15012)
"""Where the proxy gets its configuration."""
STATUS_PORT: Final = 15021


def files(spec: Spec) -> Files:
    """The overlay's files."""
    name, found = f"{spec.application.name}-istio", parts(spec, LOOPBACK)
    proxy: Document = {
        # Istio's injector fills in image, command and probes.
        "name": "istio-proxy",
        "image": "auto",
        "env": environment(spec, "envoy"),
        "volumeMounts": [*key_mounts(found), *file_mounts(spec, "envoy")],
    }
    volumes = [*key_volumes(name, found), config_volume("series-config", f"{name}-series"), *_envoy_files(spec)]
    pods = deployment(
        spec, name, COMPONENT, [proxy, router(spec, LOOPBACK), controller(spec, LOOPBACK), series(spec)], [*volumes, *store_volumes(spec)],
        annotations={"inject.istio.io/templates": "gateway", **scraped()},
        more_labels={"sidecar.istio.io/inject": "true", **_selector(name)},
    )  # fmt: skip
    port = spec.listener.port
    egress = [*network.to_models(spec), *network.to_services(spec), network.to_port(*ISTIOD)]
    allowed = network.policy(spec, name, COMPONENT, [network.clients(spec, port), network.clients(spec, STATUS_PORT)], egress)
    return {
        "deployment.yaml": text(spec, pods),
        "service.yaml": text(spec, _front(spec, name)),
        "budget.yaml": text(spec, budget(spec, name, COMPONENT, maxUnavailable=0)),
        "network.yaml": text(spec, allowed),
        "gateway.yaml": text(spec, _gateway(spec, name), _virtual_service(spec, name)),
        "envoy-filter.yaml": text(spec, envoy_filter(spec, name, found)),
        **keys_files(spec, found),
        METRICS_CONFIG: for_series(spec),
        "kustomization.yaml": kustomization(
            spec, f"The overlay {Overlay.ISTIO}: what kubectl apply -k applies together",
            [
                "../../base", "deployment.yaml", "service.yaml", "budget.yaml", "network.yaml", "gateway.yaml", "envoy-filter.yaml",
            ],
            configMapGenerator=[*key_maps(spec, name, found), {"name": f"{name}-series", "files": [METRICS_CONFIG]}],
        ),
    }  # fmt: skip


def envoy_filter(spec: Spec, name: str, found: Parts) -> Document:
    """Every part as a patch of the gateway's own configuration."""
    host = {"routeConfiguration": {"vhost": {"name": f"{deploy_of(spec).domain}:{_server_port(spec)}"}}}
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        **found.manager,
        early_header_mutation_extensions=found.early,
        access_log=found.access_log,
    )
    in_manager = {"listener": {"filterChain": {"filter": {"name": MANAGER}}}}
    before_router = {"listener": {"filterChain": {"filter": {"name": MANAGER, "subFilter": {"name": ROUTER}}}}}
    patches = [
        _patch("NETWORK_FILTER", in_manager, "MERGE", {"name": MANAGER, "typed_config": manager}),
        *(_patch("HTTP_FILTER", before_router, "INSERT_BEFORE", one) for one in found.filters),
        _patch("VIRTUAL_HOST", host, "MERGE", {"request_body_buffer_limit": found.body_limit}),
        # Each one is put before those that are there: the last one first.
        *(_patch("HTTP_ROUTE", host, "INSERT_FIRST", one) for one in reversed(found.routes)),
        *(_patch("CLUSTER", {}, "ADD", one) for one in found.clusters),
    ]
    body = {"workloadSelector": {"labels": _selector(name)}, "configPatches": patches}
    return manifest(spec, "networking.istio.io/v1alpha3", "EnvoyFilter", name, COMPONENT, spec=body)


def _patch(kind: str, match: Document, operation: str, value: Document) -> Document:
    return {"applyTo": kind, "match": {"context": "GATEWAY", **match}, "patch": {"operation": operation, "value": value}}


def _selector(name: str) -> dict[str, str]:
    return {"istio": name}


def _server_port(spec: Spec) -> int:
    return 443 if deploy_of(spec).tls_secret else 80


def _gateway(spec: Spec, name: str) -> Document:
    deploy = deploy_of(spec)
    port: Document = {"number": _server_port(spec), "name": "https" if deploy.tls_secret else "http"}
    port["protocol"] = "HTTPS" if deploy.tls_secret else "HTTP"
    server: Document = {"port": port, "hosts": [deploy.domain]}
    if deploy.tls_secret:
        server["tls"] = {"mode": "SIMPLE", "credentialName": deploy.tls_secret}
    return manifest(spec, "networking.istio.io/v1", "Gateway", name, COMPONENT, spec={"selector": _selector(name), "servers": [server]})


def _virtual_service(spec: Spec, name: str) -> Document:
    """Makes the virtual host that the patches are about; what it says itself is never reached."""
    body = {"hosts": [deploy_of(spec).domain], "gateways": [name], "http": [{"name": "unmatched", "directResponse": {"status": 404}}]}
    return manifest(spec, "networking.istio.io/v1", "VirtualService", name, COMPONENT, spec=body)


def _front(spec: Spec, name: str) -> Document:
    tls = bool(deploy_of(spec).tls_secret)
    ports: list[Any] = [
        {"name": "https" if tls else "http2", "port": _server_port(spec), "targetPort": spec.listener.port, "protocol": "TCP"},
        {"name": "status-port", "port": STATUS_PORT, "targetPort": STATUS_PORT, "protocol": "TCP"},
    ]
    if spec.listener.kind is ListenerKind.INTERNAL:
        return service(spec, name, COMPONENT, ports, type="ClusterIP")
    named = {"external-dns.alpha.kubernetes.io/hostname": deploy_of(spec).domain}
    return service(spec, name, COMPONENT, ports, annotations=named, type="LoadBalancer", externalTrafficPolicy="Local")


def _envoy_files(spec: Spec) -> list[Any]:
    """The core profile looks no address up: it has no databases."""
    return [volume for volume in envoy_volumes(spec) if volume["name"] != "databases"]
