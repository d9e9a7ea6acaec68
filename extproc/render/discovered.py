"""The same configuration in parts, as an Envoy asks for them over xDS: listeners, routes, clusters, endpoints, secrets, the processor.

Made from what `envoy_document` makes; a part that is a resource of its own is taken out of the whole, and a reference stays in its place.
Certificates and keys travel by the names of files on Envoy's machine, never themselves.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from extproc import contract
from extproc.domain import Spec
from extproc.render.envoy import envoy_document
from extproc.render.routes import EXT_PROC
from extproc.render.settings import EnvoySettings
from extproc.render.yamltext import Block

ADS: Final[Block] = {"ads": {}, "resource_api_version": "V3"}
"""Where a reference leads: to the stream that brought it."""
SKIP_ALL: Final[Block] = {
    "request_header_mode": "SKIP",
    "response_header_mode": "SKIP",
    "request_body_mode": "NONE",
    "response_body_mode": "NONE",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SKIP",
}
"""Nobody is asked anything: each request has the early default (seen on 1.40)."""
BY_XDS: Final = "xds"
"""In the place of the Spec's digest in the access log's constant: which Spec an Envoy has, the controller knows from its answers."""
_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


class Part(StrEnum):
    """Kinds of resources, in the order in which they are made before others need them."""

    CLUSTER = "clusters"
    ENDPOINTS = "endpoints"
    SECRET = "secrets"
    LISTENER = "listeners"
    PROCESSOR = "processor"
    ROUTES = "routes"


@dataclass(slots=True)
class Parts:
    """Resources by kind and name, each as its JSON."""

    of: dict[Part, dict[str, Block]] = field(default_factory=lambda: {part: {} for part in Part})

    def add(self, part: Part, name: str, body: Block) -> None:
        """One more."""
        self.of[part][name] = body


Addresses = Mapping[str, tuple[tuple[str, int], ...]]
"""Cluster -> (host, port) of each endpoint that is ready, of clusters whose endpoints are in a file."""


def discovered(spec: Spec, settings: EnvoySettings, off: bool = False, ready: Addresses | None = None) -> Parts:
    """All parts of a Spec's configuration; `off`: the processor is asked nothing. Raises RenderError as `envoy_document` does."""
    whole = envoy_document(spec, settings, discovered=True)["static_resources"]
    parts, files = Parts(), dict(ready or {})
    for secret in whole.get("secrets", []):
        parts.add(Part.SECRET, secret["name"], secret)
    for cluster in whole["clusters"]:
        _secrets_apart(cluster, parts)
        _endpoints_apart(cluster, parts, files)
        parts.add(Part.CLUSTER, cluster["name"], cluster)
    for listener in whole["listeners"]:
        for manager in _managers(listener):
            _routes_apart(manager, parts)
            _processor_apart(manager, parts, off)
            _constant(manager)
        parts.add(Part.LISTENER, listener["name"], listener)
    return parts


def _managers(listener: Block) -> Iterator[Block]:
    for chain in listener["filter_chains"]:
        for network in chain["filters"]:
            yield network["typed_config"]


def _routes_apart(manager: Block, parts: Parts) -> None:
    routes = manager.pop("route_config")
    parts.add(Part.ROUTES, routes["name"], routes)
    manager["rds"] = {"config_source": ADS, "route_config_name": routes["name"]}


def _processor_apart(manager: Block, parts: Parts, off: bool) -> None:
    """Until its settings have come nobody is asked: that is a default which cannot be wrong."""
    for number, one in enumerate(manager["http_filters"]):
        if one["name"] != EXT_PROC:
            continue
        config = one["typed_config"]
        silent = {**config, "processing_mode": SKIP_ALL}
        parts.add(Part.PROCESSOR, EXT_PROC, {"name": EXT_PROC, "typed_config": silent if off else config})
        source = {"config_source": ADS, "type_urls": [config["@type"]], "default_config": silent}
        manager["http_filters"][number] = {"name": EXT_PROC, "config_discovery": source}


def _constant(manager: Block) -> None:
    """The Spec's digest stays out of listeners: one that changes is made anew, and its connections end."""
    for one in manager["http_filters"]:
        for entry in one.get("typed_config", {}).get("metadata", []):
            if entry["metadata_namespace"] == contract.CONFIG_NAMESPACE:
                entry["value"] = {"spec": BY_XDS}


def _endpoints_apart(cluster: Block, parts: Parts, files: dict[str, tuple[tuple[str, int], ...]]) -> None:
    """Addresses of models that need no DNS: they change without a new cluster. Sockets of extproc's own stay where they are."""
    name, loads = cluster["name"], cluster.get("load_assignment")
    if loads is None:
        addresses = files.get(name, ())
        hosts = [{"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}} for host, port in addresses]
        loads = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}] if hosts else []}
    elif cluster["type"] != "STATIC" or any("socket_address" not in one for one in _addresses(loads)):
        return
    cluster.pop("load_assignment", None)
    cluster |= {"type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
    parts.add(Part.ENDPOINTS, name, loads)


def _addresses(loads: Block) -> Iterator[Block]:
    for place in loads["endpoints"]:
        for one in place["lb_endpoints"]:
            yield one["endpoint"]["address"]


def _secrets_apart(cluster: Block, parts: Parts) -> None:
    """Files of certificates as secrets, so that Envoy reads them again when their directory changes; keys of models by their names."""
    name = cluster["name"]
    context = cluster.get("transport_socket", {}).get("typed_config", {})
    if context.get("@type") == _TLS:
        common = context["common_tls_context"]
        for pair in common.pop("tls_certificates", []):
            watched = _directory(pair["certificate_chain"]["filename"])
            own = f"{name}.certificate"
            parts.add(Part.SECRET, own, {"name": own, "tls_certificate": {**pair, "watched_directory": watched}})
            common["tls_certificate_sds_secret_configs"] = [{"name": own, "sds_config": ADS}]
        trusted = common.pop("validation_context")
        authorities = f"{name}.authorities"
        file = {"trusted_ca": trusted.pop("trusted_ca")}
        watched = _directory(file["trusted_ca"]["filename"])
        parts.add(Part.SECRET, authorities, {"name": authorities, "validation_context": {**file, "watched_directory": watched}})
        by_name = {"name": authorities, "sds_config": ADS}
        common["combined_validation_context"] = {"default_validation_context": trusted, "validation_context_sds_secret_config": by_name}
    for reference in _credentials(cluster):
        reference["sds_config"] = ADS


def _directory(file: str) -> Block:
    return {"path": posixpath.dirname(file) or "."}


def _credentials(value: Any) -> Iterator[Block]:
    """References to models' keys, wherever they are in a cluster."""
    if isinstance(value, dict):
        if value.get("@type", "").endswith("injected_credentials.generic.v3.Generic"):
            yield value["credential"]
        for inner in value.values():
            yield from _credentials(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _credentials(inner)
