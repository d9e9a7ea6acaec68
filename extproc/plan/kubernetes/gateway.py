"""Overlay envoy-gateway: the Envoy is that of an Envoy Gateway, with router and controller in its pod.

EnvoyExtensionPolicy brings the decision, EnvoyPatchPolicy what that policy cannot say: who may set which header, where answers are told
of, and the routes that match the decision. The proxies must run in the Gateway's own namespace; helm-values.yaml says that to its chart.
"""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import ListenerKind, Overlay, Spec
from extproc.plan.kubernetes import gateway_patches, network
from extproc.plan.kubernetes.containers import SOCKETS, UNIX, USER, controller, router, series
from extproc.plan.kubernetes.documents import Document, Files, deploy_of, kustomization, labels, manifest, text
from extproc.plan.kubernetes.edge import scraped
from extproc.plan.kubernetes.envoy import METRICS_CONFIG, for_series
from extproc.plan.kubernetes.gateway_patches import GROUP, LISTENER
from extproc.plan.kubernetes.mounts import environment, file_mounts
from extproc.plan.kubernetes.parts import Parts, key_maps, key_mounts, key_volumes, keys_files, parts
from extproc.plan.kubernetes.pods import SECURITY, config_volume, envoy_volumes, store_volumes

COMPONENT: Final = "gateway"
API: Final = f"{GROUP}/v1alpha1"
STANDARD: Final = "gateway.networking.k8s.io"
XDS: Final = (18000, 18001)
"""Where Envoy gets its configuration from Envoy Gateway."""
PROXY_PORT_SHIFT: Final = 10_000
"""Envoy Gateway lets its proxies listen so much above a port below 1024, which only root may have."""


def files(spec: Spec) -> Files:
    """The overlay's files."""
    name, found = f"{spec.application.name}-gateway", parts(spec, UNIX)
    objects = [
        manifest(spec, API, "EnvoyProxy", name, COMPONENT, spec=_proxy(spec, name, found)),
        manifest(spec, f"{STANDARD}/v1", "Gateway", name, COMPONENT, spec=_gateway(spec, name)),
        manifest(spec, f"{STANDARD}/v1", "HTTPRoute", name, COMPONENT, spec=_route(spec, name)),
        manifest(spec, API, "HTTPRouteFilter", f"{name}-unmatched", COMPONENT, spec={"directResponse": {"statusCode": 404}}),
        manifest(spec, API, "Backend", f"{name}-router", COMPONENT, spec={"endpoints": gateway_patches.router_endpoints(spec)}),
    ]
    policy = manifest(spec, API, "EnvoyExtensionPolicy", name, COMPONENT, spec=gateway_patches.extension_policy(name, found))
    patches = manifest(spec, API, "EnvoyPatchPolicy", name, COMPONENT, spec=gateway_patches.patch_policy(spec, name, found))
    allowed = _allowed(spec, name)
    return {
        "gateway.yaml": text(spec, *objects),
        "extension-policy.yaml": text(spec, policy),
        "patch-policy.yaml": text(spec, patches),
        "network.yaml": text(spec, allowed),
        "helm-values.yaml": text(spec, _values(), what="For the Helm chart of Envoy Gateway"),
        **keys_files(spec, found),
        METRICS_CONFIG: for_series(spec),
        "kustomization.yaml": kustomization(
            spec,
            f"The overlay {Overlay.ENVOY_GATEWAY}: what kubectl apply -k applies together",
            ["../../base", "gateway.yaml", "extension-policy.yaml", "patch-policy.yaml", "network.yaml"],
            # EnvoyProxy is no kind whose references kustomize knows: these keep their names.
            configMapGenerator=[
                *key_maps(spec, name, found),
                {"name": f"{name}-series", "files": [METRICS_CONFIG]},
            ],
            generatorOptions={"disableNameSuffixHash": True},
        ),
    }


def _proxy(spec: Spec, name: str, found: Parts) -> Document:
    volumes = [*key_volumes(name, found), config_volume("series-config", f"{name}-series")]
    volumes += [*_envoy_files(spec), *store_volumes(spec)]
    ours = [router(spec, UNIX), controller(spec, UNIX), series(spec)]
    for one in ours:
        # In a pod of theirs each container says itself who it is.
        one["securityContext"] |= {"runAsUser": USER, "runAsGroup": USER, "runAsNonRoot": True}
    container: Document = {
        "volumeMounts": [*key_mounts(found), dict(SOCKETS), *file_mounts(spec, "envoy")],
    }
    if environment(spec, "envoy"):
        container["env"] = environment(spec, "envoy")
    # A router that is away must not cost answers.
    unready = {"type": "StrategicMerge", "value": {"spec": {"publishNotReadyAddresses": True}}}
    front: Document = {"type": "ClusterIP", "patch": unready}
    if spec.listener.kind is ListenerKind.EDGE:
        named = {"external-dns.alpha.kubernetes.io/hostname": deploy_of(spec).domain}
        front |= {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "annotations": named}
    deployment = {
        # The store has one writer: one pod, and the old one ends before the new one begins.
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        # The sockets are of our group, and of mode 0660.
        "pod": {
            "labels": labels(spec, COMPONENT),
            "annotations": scraped(),
            "securityContext": {key: SECURITY[key] for key in ("fsGroup", "fsGroupChangePolicy", "seccompProfile")},
            "volumes": volumes,
        },
        "container": container,
        "patch": {"type": "StrategicMerge", "value": {"spec": {"template": {"spec": {"containers": ours}}}}},
    }
    runtime = {"op": "add", "path": "/layered_runtime/layers/-", "value": {"name": "admin", "admin_layer": {}}}
    return {
        "provider": {"type": "Kubernetes", "kubernetes": {"envoyDeployment": deployment, "envoyService": front}},
        # Makes /runtime_modify work, and with it a rollback without router and controller.
        "bootstrap": {"type": "JSONPatch", "jsonPatches": [runtime]},
    }


def _gateway(spec: Spec, name: str) -> Document:
    deploy = deploy_of(spec)
    listener: Document = {"name": LISTENER, "protocol": "HTTPS" if deploy.tls_secret else "HTTP", "port": _port(spec)}
    listener |= {"hostname": deploy.domain, "allowedRoutes": {"namespaces": {"from": "Same"}}}
    if deploy.tls_secret:
        listener["tls"] = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "group": "", "name": deploy.tls_secret}]}
    parameters = {"group": GROUP, "kind": "EnvoyProxy", "name": name}
    return {"gatewayClassName": deploy.gateway_class, "infrastructure": {"parametersRef": parameters}, "listeners": [listener]}


def _route(spec: Spec, name: str) -> Document:
    """Makes the virtual host that the patches are about; what it says itself is never reached."""
    unmatched = {"type": "ExtensionRef", "extensionRef": {"group": GROUP, "kind": "HTTPRouteFilter", "name": f"{name}-unmatched"}}
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "filters": [unmatched]}
    return {"parentRefs": [{"name": name, "sectionName": LISTENER}], "hostnames": [deploy_of(spec).domain], "rules": [rule]}


def _allowed(spec: Spec, name: str) -> Document:
    egress = [*network.to_models(spec), *network.to_services(spec), network.to_port(*XDS)]
    return network.policy(spec, name, COMPONENT, [network.clients(spec, PROXY_PORT_SHIFT + _port(spec))], egress)


def _port(spec: Spec) -> int:
    return 443 if deploy_of(spec).tls_secret else 80


def _values() -> Document:
    """For the chart of Envoy Gateway."""
    provider = {"type": "Kubernetes", "kubernetes": {"deploy": {"type": "GatewayNamespace"}}}
    extensions = {"enableBackend": True, "enableEnvoyPatchPolicy": True}
    return {"config": {"envoyGateway": {"provider": provider, "extensionApis": extensions}}}


def _envoy_files(spec: Spec) -> list[Any]:
    """The core profile looks no address up: it has no databases."""
    return [volume for volume in envoy_volumes(spec) if volume["name"] != "databases"]
