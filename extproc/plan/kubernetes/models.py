"""Models that we serve ourselves: a blue and a green Deployment, and a Service that selects one of them.

A switch changes the Service's selector and nothing else; so does the way back. Both colours keep their replicas, so the old one is ready
before anybody asks for it again.
"""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import Affinity, Colour, Endpoint, ServedModel, Server, Spec
from extproc.plan.kubernetes import network
from extproc.plan.kubernetes.containers import LOCKED
from extproc.plan.kubernetes.documents import Document, Files, deploy_of, labels, manifest, text
from extproc.plan.kubernetes.pods import SECURITY, account_name

COLOUR: Final = "extproc/colour"
HEALTH: Final = "/health"
"""Where vLLM, SGLang and TGI say that they are ready."""
IN_FLIGHT: Final = "vllm_num_requests_running"
"""What the autoscaler looks at: vLLM's own count of requests under way, as prometheus-adapter names it."""
EVERY: Final = 10
"""Seconds between two probes."""
LOADING: Final = 180
"""Probes that a model may need to load its weights."""


_HOME: Final = {"HOME": "/tmp", "HF_HOME": "/tmp/hf", "USER": "model"}  # noqa: S108 - a volume of the pod's own


def served(spec: Spec) -> Files:
    """File name -> text, one file for each model."""
    return {f"model-{_service(spec, name)}.yaml": _model(spec, name, model) for name, model in deploy_of(spec).models.items()}


def switches(spec: Spec) -> Files:
    """kubernetes/switch/<service>-<colour>.yaml: the whole Service, where a model has both colours."""
    files: Files = {}
    for name, model in deploy_of(spec).models.items():
        if len(model.servers) > 1:
            for colour in model.servers:
                files[f"kubernetes/switch/{_service(spec, name)}-{colour.value}.yaml"] = text(
                    spec, _front(spec, name, colour), what=f"Service {_service(spec, name)}, from now on of its {colour.value} pods"
                )
    return files


def _model(spec: Spec, name: str, model: ServedModel) -> str:
    objects = [_front(spec, name, model.serving)]
    for colour, server in model.servers.items():
        objects += [_deployment(spec, name, model, colour, server), _colour_service(spec, name, colour), _budget(spec, name, colour)]
        if model.most_replicas:
            objects.append(_autoscaler(spec, name, model, colour, server))
    return text(spec, *objects, _policy(spec, name))


def _endpoint(spec: Spec, name: str) -> Endpoint:
    return spec.models[name].backends[0].endpoints[0]


def _service(spec: Spec, name: str) -> str:
    return _endpoint(spec, name).host.partition(".")[0]


def _labels(spec: Spec, name: str) -> dict[str, str]:
    return {**labels(spec, "model"), "extproc/model": _service(spec, name)}


def _front(spec: Spec, name: str, colour: Colour) -> Document:
    """The Service that Envoy asks: of one colour."""
    service = _service(spec, name)
    return _pods_service(spec, name, service, colour, spec.models[name].affinity)


def _colour_service(spec: Spec, name: str, colour: Colour) -> Document:
    """A Service of one colour alone, to look at it before a switch."""
    return _pods_service(spec, name, f"{_service(spec, name)}-{colour.value}", colour, None)


def _pods_service(spec: Spec, name: str, service: str, colour: Colour, affinity: Affinity | None) -> Document:
    port = _endpoint(spec, name).port
    ports = [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}]
    # Without an address of its own Envoy learns of every replica, and can keep a conversation on one of them.
    address: Document = {"clusterIP": "None"} if affinity is not None else {}
    body = {**address, "selector": {**_labels(spec, name), COLOUR: colour.value}, "ports": ports}
    return manifest(spec, "v1", "Service", service, "model", spec=body)


def _deployment(spec: Spec, name: str, model: ServedModel, colour: Colour, server: Server) -> Document:
    mine = {**_labels(spec, name), COLOUR: colour.value}
    pod: Document = {
        "serviceAccountName": account_name(spec),
        "automountServiceAccountToken": False,
        "securityContext": dict(SECURITY),
        # Answers that are under way are waited for.
        "terminationGracePeriodSeconds": max(60, round(2 * spec.application.sla.latency_p99)),
        "containers": [_container(spec, name, model, server)],
        "volumes": _volumes(model),
    }
    if model.gpus:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    body: Document = {
        # As long as loading may take; Kubernetes would call it failed after ten minutes.
        "progressDeadlineSeconds": LOADING * EVERY + 600,
        # GPUs for one more are seldom free.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "selector": {"matchLabels": mine},
        "template": {"metadata": {"labels": mine}, "spec": pod},
    }
    if not model.most_replicas:
        # An autoscaler has the number otherwise; applying this file again must not undo what it did.
        body = {"replicas": server.replicas, **body}
    return manifest(spec, "apps/v1", "Deployment", f"{_service(spec, name)}-{colour.value}", "model", spec=body)


def _container(spec: Spec, name: str, model: ServedModel, server: Server) -> Document:
    port = _endpoint(spec, name).port
    ready = {"httpGet": {"path": HEALTH, "port": "http"}, "periodSeconds": EVERY, "timeoutSeconds": 5}
    amounts: dict[str, Any] = {"cpu": model.cpu, "memory": model.memory}
    limits: dict[str, Any] = {"memory": model.memory}
    if model.gpus:
        amounts["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(model.gpus)
    mounts: list[Document] = [
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - of the GPUs' processes
    ]
    if model.weights:
        mounts.append({"name": "weights", "mountPath": "/models", "readOnly": True})
    return {
        "name": "model",
        "image": server.image,
        "args": list(server.args),
        # Servers of models write caches below their home, as a user whom the image does not know; the image itself is read-only.
        "env": [{"name": name, "value": value} for name, value in _HOME.items()],
        "ports": [{"name": "http", "containerPort": port}],
        "startupProbe": {**ready, "failureThreshold": LOADING},
        "readinessProbe": ready,
        "livenessProbe": {**ready, "failureThreshold": 6},
        "resources": {"requests": amounts, "limits": limits},
        "securityContext": dict(LOCKED),
        "volumeMounts": mounts,
    }


def _volumes(model: ServedModel) -> list[Document]:
    volumes: list[Document] = [{"name": "temporary", "emptyDir": {}}, {"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]
    if model.weights:
        volumes.append({"name": "weights", "persistentVolumeClaim": {"claimName": model.weights, "readOnly": True}})
    return volumes


def _budget(spec: Spec, name: str, colour: Colour) -> Document:
    body = {"maxUnavailable": 1, "selector": {"matchLabels": {**_labels(spec, name), COLOUR: colour.value}}}
    return manifest(spec, "policy/v1", "PodDisruptionBudget", f"{_service(spec, name)}-{colour.value}", "model", spec=body)


def _autoscaler(spec: Spec, name: str, model: ServedModel, colour: Colour, server: Server) -> Document:
    target = f"{_service(spec, name)}-{colour.value}"
    average = {"type": "AverageValue", "averageValue": str(model.requests_per_replica)}
    body = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        # Never below what the Spec says: the colour that nobody asks must bear everything at once after a switch.
        "minReplicas": server.replicas,
        "maxReplicas": model.most_replicas,
        "metrics": [{"type": "Pods", "pods": {"metric": {"name": IN_FLIGHT}, "target": average}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
    }
    return manifest(spec, "autoscaling/v2", "HorizontalPodAutoscaler", target, "model", spec=body)


def _policy(spec: Spec, name: str) -> Document:
    """Only the release's own pods may ask a model; a model asks nobody."""
    mine = {"app.kubernetes.io/name": "extproc", "app.kubernetes.io/instance": spec.application.name}
    port = _endpoint(spec, name).port
    asked = {"from": [{"podSelector": {"matchLabels": mine}}], "ports": [{"protocol": "TCP", "port": port}]}
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": deploy_of(spec).monitoring_namespace}}}
    series = {"from": [monitoring], "ports": [{"protocol": "TCP", "port": port}]}
    service = _service(spec, name)
    body = {
        "podSelector": {"matchLabels": _labels(spec, name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [asked, series],
        "egress": [network.to_component(spec, "model", port)],
    }
    return manifest(spec, "networking.k8s.io/v1", "NetworkPolicy", service, "model", spec=body)
