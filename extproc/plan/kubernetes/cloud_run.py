"""Cloud Run: Envoy takes requests, router and controller are its sidecars on loopback, a fourth container copies the store to a bucket.

There is one instance: State is on its disk. A new instance begins with the last copy, at most a minute old. The Spec and Envoy's
configuration are secrets of Secret Manager, because that is what Cloud Run can mount as a file without an image of their own.
"""

from __future__ import annotations

import json
from typing import Final

from extproc import contract
from extproc.domain import Deploy, ListenerKind, Spec
from extproc.errors import Problem
from extproc.plan.kubernetes.base import RELEASE
from extproc.plan.kubernetes.capacity import envoy_cores, peak, workers
from extproc.plan.kubernetes.containers import LOOPBACK, SPEC_PATH, STORE, STORE_MOUNT
from extproc.plan.kubernetes.documents import Document, Files, text
from extproc.plan.kubernetes.envoy import CONFIG
from extproc.plan.kubernetes.mounts import keys_of
from extproc.render import EnvoySettings, envoy_document
from extproc.render.settings import RenderError
from extproc.render.yamltext import dump

MOST_AT_ONCE: Final = 1000
"""Requests that Cloud Run sends to an instance at the same time, at most."""
LARGEST_SECRET: Final = 65_536
"""Bytes of a secret in Secret Manager."""
BACKUP_MOUNT: Final = "/backup"
EVERY: Final = 60
"""Seconds between two copies: so much of State may be told again after an instance is gone."""
COPY: Final = f"{BACKUP_MOUNT}/extproc.db"
_DATABASE: Final = STORE.removeprefix("sqlite:")
# SQLite wants locks that a bucket does not have: the copy is made and verified on the disk, and only then moved.
SAVE: Final = (
    f"trap 'exit 0' TERM; while sleep {EVERY} & wait $!; "
    f"do extproc backup {STORE} /tmp/extproc.db --force && cp /tmp/extproc.db {COPY}.new && mv {COPY}.new {COPY}; done"
)
RESTORE: Final = f"if [ ! -e {_DATABASE} ] && [ -e {COPY} ]; then cp {COPY} {_DATABASE}; fi; exec extproc controller"


def files(spec: Spec, deploy: Deploy) -> Files:
    """cloud-run/service.yaml and cloud-run/envoy.yaml."""
    _refuse_more_than_one_instance(spec)
    endpoints = contract.endpoints(LOOPBACK.router, workers(spec))
    settings = EnvoySettings(endpoints, LOOPBACK.collector, sampler=LOOPBACK.sampler, feedback=LOOPBACK.feedback)
    # Without comments and indentation of the readable one: a secret has a size.
    config = dump(envoy_document(spec, settings), f"Made from Spec {spec.digest}; edit the Spec, not this file.")
    if len(config.encode()) > LARGEST_SECRET:
        message = f"Envoy's configuration has {len(config.encode()):,} bytes, and a secret at most {LARGEST_SECRET:,}"
        raise RenderError(
            Problem("plan.config-size", "models", message, "leave out rollouts or models, or put it into an image of your own")
        )
    return {f"cloud-run/{CONFIG}": config, "cloud-run/service.yaml": text(spec, _service(spec, deploy))}


def _refuse_more_than_one_instance(spec: Spec) -> None:
    """State has one writer, so there is one instance; it must bear the peak."""
    at_once = peak(spec) * spec.application.sla.latency_p99
    if at_once > MOST_AT_ONCE:
        times = f"{spec.application.peak:g} times the mean (application.peak)"
        message = f"at its peak, {times}, it has {at_once:,.0f} requests under way, and an instance of Cloud Run takes {MOST_AT_ONCE:,}"
        hint = "run it on Kubernetes (application.infrastructure: kubernetes), overlay scaled"
        raise RenderError(Problem("plan.one-instance", "application.daily_requests", message, hint))


def _service(spec: Spec, deploy: Deploy) -> Document:
    name = spec.application.name
    ingress = "internal-and-cloud-load-balancing" if spec.listener.kind is ListenerKind.EDGE else "internal"
    order = {"envoy": ["router"], "router": ["controller"], "backup": ["controller"]}
    annotations = {
        "autoscaling.knative.dev/minScale": "1",
        "autoscaling.knative.dev/maxScale": "1",
        # Between requests somebody has to watch as well.
        "run.googleapis.com/cpu-throttling": "false",
        "run.googleapis.com/execution-environment": "gen2",
        "run.googleapis.com/container-dependencies": json.dumps(order),
    }
    template: Document = {
        "containerConcurrency": MOST_AT_ONCE,
        "timeoutSeconds": 3600,
        "containers": [_envoy(spec, deploy), _router(spec, deploy), _controller(spec, deploy), _backup(deploy)],
        "volumes": [
            _secret_volume("release", f"{name}-release", RELEASE),
            _secret_volume("envoy-config", f"{name}-envoy", CONFIG),
            {"name": "store", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
            {"name": "backup", "csi": {"driver": "gcsfuse.run.googleapis.com", "volumeAttributes": {"bucketName": deploy.backup_bucket}}},
        ],
    }
    if deploy.service_account:
        template["serviceAccountName"] = deploy.service_account
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": {"run.googleapis.com/ingress": ingress}},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": template}},
    }


def _envoy(spec: Spec, deploy: Deploy) -> Document:
    cores = envoy_cores(spec)
    health = {"httpGet": {"path": contract.HEALTH_PATH, "port": spec.listener.port}, "periodSeconds": 10, "timeoutSeconds": 2}
    return {
        "name": "envoy",
        "image": deploy.envoy_image,
        "command": ["envoy"],
        "args": ["--config-path", "/etc/envoy/envoy.yaml", "--concurrency", str(cores), "--disable-hot-restart"],
        # The one container with a port is the one that requests go to.
        "ports": [{"name": "http1", "containerPort": spec.listener.port}],
        "env": _keys(spec, "envoy"),
        "startupProbe": {**health, "periodSeconds": 2, "failureThreshold": 30},
        "livenessProbe": health,
        "resources": {"limits": {"cpu": str(cores), "memory": f"{cores * 512}Mi"}},
        "volumeMounts": [{"name": "envoy-config", "mountPath": "/etc/envoy"}],
    }


def _router(spec: Spec, deploy: Deploy) -> Document:
    port = int(LOOPBACK.router.rpartition(":")[2])
    listen = ["--listen", LOOPBACK.router, "--workers", str(workers(spec)), "--metrics-port", str(contract.DEFAULT_METRICS_PORT)]
    return _extproc(spec, deploy, "router", ["extproc"], ["router", "--spec", SPEC_PATH, "--store", STORE, *listen], port, "1")


def _controller(spec: Spec, deploy: Deploy) -> Document:
    listen = f"--collector {LOOPBACK.collector} --sampler {LOOPBACK.sampler} --feedback-listen {LOOPBACK.feedback}"
    # The list of exposures lies beside the store, in memory.
    script = f"{RESTORE} --spec {SPEC_PATH} --store {STORE} {listen} --exposures-mib 64"
    made = _extproc(spec, deploy, "controller", ["/bin/sh", "-c"], [script], contract.DEFAULT_API_PORT, "1")
    made["volumeMounts"].append({"name": "backup", "mountPath": BACKUP_MOUNT})
    return made


def _backup(deploy: Deploy) -> Document:
    return {
        "name": "backup",
        "image": deploy.image,
        "command": ["/bin/sh", "-c"],
        "args": [SAVE],
        "resources": {"limits": {"cpu": "0.5", "memory": "256Mi"}},
        "volumeMounts": [{"name": "store", "mountPath": STORE_MOUNT}, {"name": "backup", "mountPath": BACKUP_MOUNT}],
    }


def _extproc(spec: Spec, deploy: Deploy, role: str, command: list[str], args: list[str], port: int, cpu: str) -> Document:
    # Cloud Run runs no command as a probe: a port that is open says that it has started.
    return {
        "name": role,
        "image": deploy.image,
        "command": command,
        "args": args,
        "env": [*_keys(spec, role), {"name": contract.LOG_FORMAT_ENVIRONMENT, "value": "json"}],
        "startupProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2, "failureThreshold": 60},
        "resources": {"limits": {"cpu": cpu, "memory": "1Gi"}},
        "volumeMounts": [
            {"name": "release", "mountPath": SPEC_PATH.rpartition("/")[0]},
            {"name": "store", "mountPath": STORE_MOUNT},
        ],
    }


def secret_name(variable: str) -> str:
    """The secret of Secret Manager for an environment variable: GEMINI_API_KEY is in gemini-api-key."""
    return variable.lower().replace("_", "-")


def _keys(spec: Spec, role: str) -> list[Document]:
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret_name(name), "key": "latest"}}} for name in keys_of(spec, role)]


def _secret_volume(name: str, secret: str, path: str) -> Document:
    return {"name": name, "secret": {"secretName": secret, "items": [{"key": "latest", "path": path}]}}
