"""The containers of a release: Envoy, router, controller, and what every one of them may not do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.plan.kubernetes.capacity import controller_cpu, envoy_cores, router_cpu, workers
from extproc.plan.kubernetes.documents import Document, deploy_of
from extproc.plan.kubernetes.envoy import METRICS_PORT
from extproc.plan.kubernetes.mounts import database_mounts, environment, file_mounts

USER: Final = 10001
"""uid and gid of the image (Dockerfile). Envoy runs as the same one, so the sockets of mode 0660 are its own."""
SPEC_PATH: Final = "/spec/release.yaml"
STORE: Final = contract.DEFAULT_STORE
STORE_MOUNT: Final = STORE.removeprefix("sqlite:").rpartition("/")[0]
RUN_MOUNT: Final = contract.DEFAULT_COLLECTOR_LISTEN.removeprefix("unix:").rpartition("/")[0]
SOCKETS: Final = {"name": "sockets", "mountPath": RUN_MOUNT}
LOCKED: Final[Document] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Of every container."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where router and controller listen."""

    router: str = contract.DEFAULT_ROUTER_LISTEN
    collector: str = contract.DEFAULT_COLLECTOR_LISTEN
    sampler: str = contract.DEFAULT_SAMPLER_LISTEN
    feedback: str = contract.DEFAULT_FEEDBACK_LISTEN


UNIX: Final = Places()
"""Sockets on a volume that the pod's containers share."""
LOOPBACK: Final = Places("127.0.0.1:9100", "127.0.0.1:9090", "127.0.0.1:9091")
"""For an Envoy that has no volume of ours."""


def router(spec: Spec, places: Places = UNIX, more: tuple[str, ...] = (), mounts: tuple[Document, ...] = ()) -> Document:
    """Decides. `more`: further flags."""
    command = ["router", "--spec", SPEC_PATH, "--store", STORE, "--listen", places.router, "--workers", str(workers(spec)), *more]
    resources = _resources(router_cpu(spec), "256Mi", f"{256 * (1 + workers(spec))}Mi")
    return _extproc(spec, "router", command, contract.DEFAULT_METRICS_PORT, resources, list(mounts))


def controller(spec: Spec, places: Places = UNIX, more: tuple[str, ...] = (), mounts: tuple[Document, ...] = ()) -> Document:
    """Watches and moves. `more`: further flags."""
    command = ["controller", "--spec", SPEC_PATH, "--store", STORE, "--collector", places.collector, "--sampler", places.sampler]
    command += ["--feedback-listen", places.feedback, *more]
    # 235 MiB were seen with a million users; the judge's process and the list of exposures come on top.
    return _extproc(
        spec, "controller", command, contract.DEFAULT_API_PORT, _resources(controller_cpu(spec), "512Mi", "1536Mi"), list(mounts)
    )


def envoy(spec: Spec, port: int, mounts: tuple[Document, ...] = (), cores: int | None = None, ports: bool = True) -> Document:
    """The proxy, with its configuration in /etc/envoy."""
    cores = cores if cores is not None else envoy_cores(spec)
    probe = {"httpGet": {"path": contract.HEALTH_PATH, "port": port}, "periodSeconds": 5, "timeoutSeconds": 2}
    made: Document = {
        "name": "envoy",
        "image": deploy_of(spec).envoy_image,
        "command": ["envoy"],
        "args": _envoy_args("/etc/envoy/envoy.yaml", cores),
        "env": environment(spec, "envoy"),
        "resources": _resources(f"{cores * 500}m", "256Mi", f"{cores * 512}Mi"),
        "securityContext": dict(LOCKED),
        "volumeMounts": [
            {"name": "envoy-config", "mountPath": "/etc/envoy", "readOnly": True},
            *mounts,
            *file_mounts(spec, "envoy"),
            *database_mounts(spec),
        ],
        # Whoever still has this pod's address may come for a moment; then open answers are waited for.
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
    }
    if not made["env"]:
        del made["env"]
    if ports:
        made["ports"] = [{"name": "http", "containerPort": port}, {"name": "metrics", "containerPort": METRICS_PORT}]
        made |= {"readinessProbe": probe, "livenessProbe": {**probe, "failureThreshold": 6}}
    return made


def series(spec: Spec) -> Document:
    """A small Envoy that shows the series of the pod's router and controller."""
    return {
        "name": "series",
        "image": deploy_of(spec).envoy_image,
        "command": ["envoy"],
        "args": _envoy_args("/etc/series/metrics.yaml", 1),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "resources": _resources("20m", "64Mi", "128Mi"),
        "securityContext": dict(LOCKED),
        "volumeMounts": [{"name": "series-config", "mountPath": "/etc/series", "readOnly": True}],
    }


def _envoy_args(config: str, cores: int) -> list[str]:
    # Hot restart wants shared memory of a name; a pod has one Envoy in its life.
    return ["--config-path", config, "--concurrency", str(cores), "--disable-hot-restart"]


def _extproc(spec: Spec, role: str, command: list[str], port: int, resources: Document, mounts: list[Document]) -> Document:
    health = {"exec": {"command": ["extproc", "health", "--url", f"http://127.0.0.1:{port}/healthz"]}, "timeoutSeconds": 10}
    made: Document = {
        "name": role,
        "image": deploy_of(spec).image,
        "args": command,
        "env": [*environment(spec, role), {"name": contract.LOG_FORMAT_ENVIRONMENT, "value": "json"}],
        # Each one starts an interpreter, a second of CPU: seldom enough to cost little. Hung workers are replaced by the router itself, in
        # seconds; and that the pod is ready asks for no more than that they have begun.
        "startupProbe": {**health, "periodSeconds": 5, "failureThreshold": 30},
        "livenessProbe": {**health, "periodSeconds": 60, "failureThreshold": 3},
        "resources": resources,
        "securityContext": dict(LOCKED),
        "volumeMounts": [
            {"name": "release", "mountPath": SPEC_PATH.rpartition("/")[0], "readOnly": True},
            {"name": "store", "mountPath": STORE_MOUNT},
            dict(SOCKETS),
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            *mounts,
            *file_mounts(spec, role),
        ],
    }
    return made


def _resources(cpu: str, memory: str, most: str) -> Document:
    """Requests, and a limit on memory alone: a limit on CPU would make decisions late."""
    limits: dict[str, Any] = {"memory": most}
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": limits}
