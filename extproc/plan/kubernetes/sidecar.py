"""Overlay sidecar: Envoy, router and controller in the application's own pod; the application asks 127.0.0.1.

State is of this pod alone, on its volume: there is one replica. A fifth container copies the store to a second volume every hour.
"""

from __future__ import annotations

from typing import Final

from extproc import contract
from extproc.domain import Overlay, Spec
from extproc.plan.kubernetes import network
from extproc.plan.kubernetes.capacity import workers
from extproc.plan.kubernetes.containers import LOCKED, SOCKETS, STORE, STORE_MOUNT, UNIX, controller, envoy, router
from extproc.plan.kubernetes.documents import Document, Files, deploy_of, kustomization, manifest, text
from extproc.plan.kubernetes.edge import scraped
from extproc.plan.kubernetes.envoy import CONFIG, METRICS_PORT, for_pod
from extproc.plan.kubernetes.pods import config_volume, deployment, envoy_volumes, service, store_volumes
from extproc.render import EnvoySettings

COMPONENT: Final = "application"
BASE_URL: Final = "LLM_BASE_URL"
"""Environment variable of the application: where its models answer."""
BACKUP_MOUNT: Final = "/var/lib/extproc-backup"
BACKUP: Final = (
    f"trap 'exit 0' TERM; while sleep 3600 & wait $!; do extproc backup {STORE} {BACKUP_MOUNT}/extproc-$(date -u +%H).db --force; done"
)
"""A copy an hour, each verified, for a day. A shell that is the first process of a container ends only if it says so itself."""


def files(spec: Spec) -> Files:
    """The overlay's files."""
    deploy, name = deploy_of(spec), f"{spec.application.name}-app"
    containers = [_application(spec), envoy(spec, spec.listener.port, (dict(SOCKETS),), ports=False), router(spec), controller(spec)]
    containers[1]["ports"] = [{"name": "metrics", "containerPort": METRICS_PORT}]
    containers.append(backup(spec, ["/bin/sh", "-c", BACKUP]))
    claim = f"{spec.application.name}-backup"
    volumes = [config_volume("envoy-config", f"{name}-envoy"), *envoy_volumes(spec), *store_volumes(spec)]
    volumes.append({"name": "backup", "persistentVolumeClaim": {"claimName": claim}})
    wanted: Document = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": deploy.storage}}}
    if deploy.storage_class:
        wanted["storageClassName"] = deploy.storage_class
    ports = [{"name": "http", "port": 80, "targetPort": deploy.application_port, "protocol": "TCP"}]
    settings = EnvoySettings(router=contract.endpoints(UNIX.router, workers(spec)))
    egress = [*network.to_models(spec), *network.to_services(spec), network.everywhere()]
    return {
        "deployment.yaml": text(spec, deployment(spec, name, COMPONENT, containers, volumes, annotations=scraped())),
        "service.yaml": text(spec, service(spec, name, COMPONENT, ports, type="ClusterIP")),
        "backup.yaml": text(spec, manifest(spec, "v1", "PersistentVolumeClaim", claim, "backup", spec=wanted)),
        "network.yaml": text(spec, network.policy(spec, name, COMPONENT, [network.clients(spec, deploy.application_port)], egress)),
        CONFIG: for_pod(spec, settings, address="127.0.0.1"),
        "kustomization.yaml": kustomization(
            spec,
            f"The overlay {Overlay.SIDECAR}: what kubectl apply -k applies together",
            ["../../base", "deployment.yaml", "service.yaml", "backup.yaml", "network.yaml"],
            configMapGenerator=[{"name": f"{name}-envoy", "files": [CONFIG]}],
        ),
    }


def backup(spec: Spec, command: list[str]) -> Document:
    """Copies the store while it is in use."""
    return {
        "name": "backup",
        "image": deploy_of(spec).image,
        "command": command,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": dict(LOCKED),
        "volumeMounts": [
            {"name": "store", "mountPath": STORE_MOUNT},
            {"name": "backup", "mountPath": BACKUP_MOUNT},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }


def _application(spec: Spec) -> Document:
    deploy = deploy_of(spec)
    return {
        "name": "application",
        "image": deploy.application_image,
        "env": [{"name": BASE_URL, "value": f"http://127.0.0.1:{spec.listener.port}"}],
        "ports": [{"name": "app", "containerPort": deploy.application_port}],
        "readinessProbe": {"tcpSocket": {"port": deploy.application_port}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": dict(LOCKED),
        "volumeMounts": [{"name": "temporary", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
    }
