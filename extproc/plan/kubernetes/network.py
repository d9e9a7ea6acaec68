"""Who may connect to a pod, and where it may connect to. A host outside of the cluster has no name here: its port is what can be said."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from extproc.domain import ListenerKind, Spec
from extproc.plan.kubernetes.documents import Document, deploy_of, labels, manifest
from extproc.plan.kubernetes.envoy import METRICS_PORT
from extproc.render.settings import routed_models

_METADATA: Final = "169.254.169.254/32"
"""Where clouds hand out the machine's own credentials; no model is there."""


def policy(spec: Spec, name: str, component: str, ingress: list[Document], egress: list[Document]) -> Document:
    """A NetworkPolicy: what is not named is refused, both ways. Prometheus and DNS are always in it."""
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": deploy_of(spec).monitoring_namespace}}}
    series = {"from": [monitoring], "ports": [_port(METRICS_PORT)]}
    names = {"ports": [_port(53, "UDP"), _port(53)]}
    body = {
        "podSelector": {"matchLabels": labels(spec, component)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [*ingress, series],
        "egress": [names, *egress],
    }
    return manifest(spec, "networking.k8s.io/v1", "NetworkPolicy", name, component, spec=body)


def clients(spec: Spec, port: int) -> Document:
    """Ingress of clients: anybody at an edge, the cluster's pods at an internal listener."""
    if spec.listener.kind is ListenerKind.EDGE:
        return {"ports": [_port(port)]}
    return {"from": [{"namespaceSelector": {}}], "ports": [_port(port)]}


def from_component(spec: Spec, component: str, *ports: int) -> Document:
    """Ingress of the release's own pods."""
    return {"from": [{"podSelector": {"matchLabels": labels(spec, component)}}], "ports": [_port(port) for port in ports]}


def to_component(spec: Spec, component: str, *ports: int) -> Document:
    """Egress to the release's own pods."""
    return {"to": [{"podSelector": {"matchLabels": labels(spec, component)}}], "ports": [_port(port) for port in ports]}


def to_models(spec: Spec) -> list[Document]:
    """Egress of Envoy: the ports of models, of the keys of tokens, and of the collector of traces."""
    endpoints = [one for model in routed_models(spec) for backend in model.backends for one in backend.endpoints]
    ports = {one.port for one in endpoints}
    jwt = spec.listener.jwt
    if jwt is not None and jwt.jwks_uri is not None:
        ports.add(urlsplit(jwt.jwks_uri).port or 443)
    hosts = [one.host for one in endpoints]
    if spec.listener.tracing is not None:
        ports.add(spec.listener.tracing.port)
        hosts.append(spec.listener.tracing.host)
    inside = sorted({host for host in hosts if _is_ipv6(host)})
    return [_anywhere(ports, inside)] if ports else []


def to_services(spec: Spec) -> list[Document]:
    """Egress of the controller: judges, Prometheus, flag services; nothing where the Spec names none."""
    ports = {_port_of(url) for url in _asked(spec)}
    return [_anywhere(ports, [])] if ports else []


def to_port(*ports: int) -> Document:
    """Egress to pods of the cluster at these ports."""
    return {"to": [{"namespaceSelector": {}}], "ports": [_port(port) for port in ports]}


def _asked(spec: Spec) -> Iterator[str]:
    if spec.judge is not None:
        yield from (judge.url for judge in spec.judge.endpoints)
    if spec.prometheus is not None:
        yield spec.prometheus.url
    yield from (source.poll.url for source in spec.flags.values() if source.poll is not None)


def _port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _anywhere(ports: set[int], addresses: list[str]) -> Document:
    to: list[Any] = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [_METADATA]}}, {"namespaceSelector": {}}]
    to += [{"ipBlock": {"cidr": f"{one}/{ip_address(one).max_prefixlen}"}} for one in addresses]
    return {"to": to, "ports": [_port(port) for port in sorted(ports)]}


def _is_ipv6(host: str) -> bool:
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def _port(port: int, protocol: str = "TCP") -> Document:
    return {"protocol": protocol, "port": port}


def everywhere() -> Document:
    """Egress of an application whose own needs nobody told us."""
    return {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [_METADATA]}}, {"namespaceSelector": {}}]}
