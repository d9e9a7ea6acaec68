"""Overlay scaled: as many Envoys as there is traffic, and one pod with router and controller. Where that pod is away, every Envoy serves
stable, so clients do not depend on it. Decisions, the access log and feedback go over the network by mutual TLS; a policy keeps others out
too. Rotated certificates are read again by all three, without a restart.
"""

from __future__ import annotations

from typing import Final

from extproc import contract
from extproc.domain import Overlay, Spec
from extproc.plan.kubernetes import network
from extproc.plan.kubernetes.capacity import envoys, workers
from extproc.plan.kubernetes.containers import Places, controller, envoy, router, series
from extproc.plan.kubernetes.documents import MADE_BY, Document, Files, deploy_of, kustomization, labels, manifest, text
from extproc.plan.kubernetes.edge import config_files, front, low_ports, scraped, tls_mounts, tls_volumes
from extproc.plan.kubernetes.envoy import METRICS_CONFIG, for_pod, for_series
from extproc.plan.kubernetes.pods import budget, config_volume, deployment, envoy_volumes, service, store_volumes
from extproc.render import EnvoySettings, RouterTls, secret_files

ENVOY: Final = "envoy"
BRAIN: Final = "brain"
ROUTER_PORT: Final = 9100
COLLECTOR_PORT: Final = 9090
FEEDBACK_PORT: Final = 9972
ROUTER_TLS: Final = "/etc/extproc-tls"
_ANY: Final = "0.0.0.0"  # noqa: S104 - mutual TLS, and a policy, stand before it
BUSY: Final = 80
"""Per cent of the CPU that an Envoy asks for, from which on another one is wanted. It asks for half of its threads' time, which is what is
planned for at the peak (`capacity.FULL`): so more come before that is reached."""


def files(spec: Spec) -> Files:
    """The overlay's files."""
    front_name, brain_name = f"{spec.application.name}-envoy", f"{spec.application.name}-brain"
    tls, port = bool(deploy_of(spec).tls_secret), spec.listener.port
    least, most = envoys(spec)
    settings = _settings(spec)
    config = {**config_files(spec, for_pod(spec, settings, tls=tls, alone=True)), **secret_files(settings, MADE_BY)}
    secret = {"name": "router-tls", "secret": {"secretName": deploy_of(spec).router_tls, "defaultMode": 0o440}}
    mount = {"name": "router-tls", "mountPath": ROUTER_TLS, "readOnly": True}
    outside = deployment(
        spec, front_name, ENVOY, [envoy(spec, port, (mount, *tls_mounts(spec)), cores=2)],
        [config_volume("envoy-config", f"{front_name}-config"), secret, *tls_volumes(spec), *envoy_volumes(spec)],
        replicas=None, annotations=scraped() | {"prometheus.io/path": "/metrics/envoy"}, more={**low_ports(port), **_spread(spec)},
    )  # fmt: skip
    certificates = ("--tls-cert", f"{ROUTER_TLS}/tls.crt", "--tls-key", f"{ROUTER_TLS}/tls.key", "--tls-client-ca", f"{ROUTER_TLS}/ca.crt")
    places = Places(f"{_ANY}:{ROUTER_PORT}", f"{_ANY}:{COLLECTOR_PORT}", feedback=f"{_ANY}:{FEEDBACK_PORT}")
    inside = deployment(
        spec, brain_name, BRAIN, [*(one(spec, places, certificates, (mount,)) for one in (router, controller)), series(spec)],
        [secret, config_volume("series-config", f"{brain_name}-series"), *store_volumes(spec)], annotations=scraped(),
    )  # fmt: skip
    return {
        "proxies.yaml": text(spec, outside, front(spec, front_name, ENVOY), budget(spec, front_name, ENVOY, maxUnavailable=1)),
        "brain.yaml": text(spec, inside, _brain_service(spec, brain_name)),
        "autoscaler.yaml": text(spec, _autoscaler(spec, front_name, least, most)),
        "network.yaml": text(spec, *_policies(spec, front_name, brain_name)),
        **{f"config/{name}": content for name, content in config.items()},
        f"config/{METRICS_CONFIG}": for_series(spec),
        "kustomization.yaml": kustomization(
            spec,
            f"The overlay {Overlay.SCALED}: what kubectl apply -k applies together",
            ["../../base", "proxies.yaml", "brain.yaml", "autoscaler.yaml", "network.yaml"],
            configMapGenerator=[
                {"name": f"{front_name}-config", "files": [f"config/{name}" for name in config]},
                {"name": f"{brain_name}-series", "files": [f"config/{METRICS_CONFIG}"]},
            ],
        ),
    }


def router_name(spec: Spec) -> str:
    """What the certificate in `deploy.router_tls` must name: the Service of the pod with router and controller."""
    return f"{spec.application.name}-brain.{deploy_of(spec).namespace}.svc"


def _settings(spec: Spec) -> EnvoySettings:
    host = router_name(spec)
    tls = RouterTls(f"{ROUTER_TLS}/ca.crt", host, f"{ROUTER_TLS}/tls.crt", f"{ROUTER_TLS}/tls.key")
    endpoints = contract.endpoints(f"{host}:{ROUTER_PORT}", workers(spec))
    collector, feedback = f"{host}:{COLLECTOR_PORT}", f"{host}:{FEEDBACK_PORT}"
    return EnvoySettings(endpoints, collector, router_tls=tls, controller_tls=tls, feedback=feedback, secrets="/etc/envoy")


def _ports(spec: Spec) -> dict[str, int]:
    ports = {f"router-{number}": ROUTER_PORT + number for number in range(workers(spec))} | {"collector": COLLECTOR_PORT}
    return ports | ({"feedback": FEEDBACK_PORT} if spec.feedback is not None else {})


def _brain_service(spec: Spec, name: str) -> Document:
    ports = [{"name": one, "port": port, "targetPort": port, "protocol": "TCP"} for one, port in _ports(spec).items()]
    # Without an address of its own: Envoy looks at each worker's health itself.
    return service(spec, name, BRAIN, ports, clusterIP="None")


def _autoscaler(spec: Spec, name: str, least: int, most: int) -> Document:
    busy = {"type": "Utilization", "averageUtilization": BUSY}
    body = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "envoy", "target": busy}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
    }
    return manifest(spec, "autoscaling/v2", "HorizontalPodAutoscaler", name, ENVOY, spec=body)


def _policies(spec: Spec, front_name: str, brain_name: str) -> list[Document]:
    ports = tuple(_ports(spec).values())
    outgoing = [*network.to_models(spec), network.to_component(spec, BRAIN, *ports)]
    return [
        network.policy(spec, front_name, ENVOY, [network.clients(spec, spec.listener.port)], outgoing),
        network.policy(spec, brain_name, BRAIN, [network.from_component(spec, ENVOY, *ports)], network.to_services(spec)),
    ]


def _spread(spec: Spec) -> Document:
    """Not all on one machine, nor in one zone, where there is a choice."""
    selector = {"matchLabels": labels(spec, ENVOY)}
    keys = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    return {
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector} for key in keys
        ]
    }
