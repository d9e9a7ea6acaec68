"""Overlay edge: one Deployment with Envoy, router and controller on Unix sockets, in front of everything."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import ListenerKind, Overlay, Spec
from extproc.plan.kubernetes import network
from extproc.plan.kubernetes.capacity import workers
from extproc.plan.kubernetes.containers import SOCKETS, UNIX, controller, envoy, router
from extproc.plan.kubernetes.documents import Document, Files, deploy_of, kustomization, text
from extproc.plan.kubernetes.envoy import CONFIG, METRICS_PORT, SDS, TLS_MOUNT, for_pod, sds
from extproc.plan.kubernetes.pods import budget, config_volume, deployment, envoy_volumes, service, store_volumes
from extproc.render import EnvoySettings

COMPONENT: Final = "edge"


def files(spec: Spec) -> Files:
    """The overlay's files."""
    name, port, tls = f"{spec.application.name}-edge", spec.listener.port, bool(deploy_of(spec).tls_secret)
    containers = [envoy(spec, port, (dict(SOCKETS), *tls_mounts(spec))), router(spec, UNIX), controller(spec, UNIX)]
    volumes = [config_volume("envoy-config", f"{name}-envoy"), *tls_volumes(spec), *envoy_volumes(spec), *store_volumes(spec)]
    pods = deployment(spec, name, COMPONENT, containers, volumes, annotations=scraped(), more=low_ports(port))
    allowed = network.policy(spec, name, COMPONENT, [network.clients(spec, port)], [*network.to_models(spec), *network.to_services(spec)])
    settings = EnvoySettings(router=contract.endpoints(UNIX.router, workers(spec)))
    return {
        "deployment.yaml": text(spec, pods),
        "service.yaml": text(spec, front(spec, name, COMPONENT)),
        # One pod has the store: a node is drained when somebody has said so.
        "budget.yaml": text(spec, budget(spec, name, COMPONENT, maxUnavailable=0)),
        "network.yaml": text(spec, allowed),
        **config_files(spec, for_pod(spec, settings, tls=tls)),
        "kustomization.yaml": kustomization(
            spec,
            f"The overlay {Overlay.EDGE}: what kubectl apply -k applies together",
            ["../../base", "deployment.yaml", "service.yaml", "budget.yaml", "network.yaml"],
            configMapGenerator=[{"name": f"{name}-envoy", "files": [CONFIG, *([SDS] if tls else [])]}],
        ),
    }


def config_files(spec: Spec, config: str) -> Files:
    """Envoy's configuration, and the one of clients' TLS where there is any."""
    return {CONFIG: config, **({SDS: sds(spec)} if deploy_of(spec).tls_secret else {})}


def tls_volumes(spec: Spec) -> list[Any]:
    """The certificate of clients' TLS."""
    secret = deploy_of(spec).tls_secret
    return [{"name": "clients-tls", "secret": {"secretName": secret, "defaultMode": 0o440}}] if secret else []


def tls_mounts(spec: Spec) -> list[Document]:
    """Where it is in Envoy's container."""
    return [{"name": "clients-tls", "mountPath": TLS_MOUNT, "readOnly": True}] if deploy_of(spec).tls_secret else []


def low_ports(port: int) -> Document:
    """A port below 1024 for a user who is not root; no capability is needed for it."""
    return {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]} if port < 1024 else {}


def scraped() -> dict[str, str]:
    """For a Prometheus that finds pods by annotation; the paths are /metrics/controller, /metrics/router and /metrics/envoy."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT), "prometheus.io/path": "/metrics/controller"}


def front(spec: Spec, name: str, component: str) -> Document:
    """The Service that clients use."""
    tls = bool(deploy_of(spec).tls_secret)
    ports = [{"name": "https" if tls else "http", "port": 443 if tls else 80, "targetPort": spec.listener.port, "protocol": "TCP"}]
    if spec.listener.kind is ListenerKind.INTERNAL:
        return service(spec, name, component, ports, type="ClusterIP")
    named = {"external-dns.alpha.kubernetes.io/hostname": deploy_of(spec).domain}
    # Local: clients keep their addresses, which x-forwarded-for and geoip speak of.
    return service(spec, name, component, ports, annotations=named, type="LoadBalancer", externalTrafficPolicy="Local")
