"""Pods: volumes, user, and one writer for the store."""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import Spec
from extproc.plan.kubernetes.containers import USER
from extproc.plan.kubernetes.documents import Document, labels, manifest
from extproc.plan.kubernetes.mounts import database_volumes, file_volumes

SECURITY: Final[Document] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
STOPS_IN: Final = 60
"""Seconds that a pod has to end: ten in which its address goes around, and the answers that are under way."""


def release_name(spec: Spec) -> str:
    """The ConfigMap with the Spec."""
    return f"{spec.application.name}-release"


def store_name(spec: Spec) -> str:
    """The PersistentVolumeClaim of the store."""
    return f"{spec.application.name}-store"


def account_name(spec: Spec) -> str:
    """The ServiceAccount."""
    return f"{spec.application.name}-extproc"


def config_volume(name: str, config_map: str) -> Document:
    """A ConfigMap as a volume."""
    return {"name": name, "configMap": {"name": config_map}}


def store_volumes(spec: Spec) -> list[Any]:
    """What router and controller need."""
    return [
        config_volume("release", release_name(spec)),
        {"name": "store", "persistentVolumeClaim": {"claimName": store_name(spec)}},
        {"name": "sockets", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": "temporary", "emptyDir": {"sizeLimit": "256Mi"}},
        *file_volumes(spec, "router"),
        *file_volumes(spec, "controller"),
    ]


def envoy_volumes(spec: Spec) -> list[Any]:
    """What Envoy needs besides its configuration."""
    return [*file_volumes(spec, "envoy"), *database_volumes(spec)]


def deployment(
    spec: Spec,
    name: str,
    component: str,
    containers: list[Document],
    volumes: list[Any],
    *,
    replicas: int | None = 1,
    annotations: dict[str, str] | None = None,
    more_labels: dict[str, str] | None = None,
    more: Document | None = None,
) -> Document:
    """A Deployment. With one replica the old pod ends before the new one begins: the store has one writer."""
    pod: Document = {
        "serviceAccountName": account_name(spec),
        "automountServiceAccountToken": False,
        "securityContext": dict(SECURITY),
        "terminationGracePeriodSeconds": STOPS_IN,
        **(more or {}),
        "containers": containers,
        "volumes": volumes,
    }
    metadata: Document = {"labels": {**labels(spec, component), **(more_labels or {})}}
    if annotations:
        metadata["annotations"] = annotations
    alone = replicas == 1
    body: Document = {
        **({"replicas": replicas} if replicas is not None else {}),
        "strategy": {"type": "Recreate"} if alone else {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": labels(spec, component)},
        "template": {"metadata": metadata, "spec": pod},
    }
    return manifest(spec, "apps/v1", "Deployment", name, component, spec=body)


def budget(spec: Spec, name: str, component: str, **limit: int) -> Document:
    """A PodDisruptionBudget."""
    body = {**limit, "selector": {"matchLabels": labels(spec, component)}}
    return manifest(spec, "policy/v1", "PodDisruptionBudget", name, component, spec=body)


def service(spec: Spec, name: str, component: str, ports: list[Document], **rest: Any) -> Document:
    """A Service of a component's pods, ready or not: a router that is away costs decisions, and must not cost answers. Envoy hears of it by
    its own health checks, and serves stable."""
    annotations = rest.pop("annotations", None)
    body = {**rest, "publishNotReadyAddresses": True, "selector": labels(spec, component), "ports": ports}
    return manifest(spec, "v1", "Service", name, component, annotations=annotations, spec=body)
