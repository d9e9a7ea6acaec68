"""Parts of a configuration -> resources with stable versions, as bytes that Envoy understands.

An extension whose message xds-protos does not have, or not with these fields, travels as `xds.type.v3.TypedStruct`: Envoy 1.40 takes it
wherever it takes an extension (seen: ai_protocol_manager, sse_to_metadata, priority_group, per-route transform).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

import orjson
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from xds.type.v3 import typed_struct_pb2

from extproc.render.discovered import Part, Parts
from extproc.render.yamltext import Block

_PREFIX: Final = "type.googleapis.com/"
MESSAGES: Final[Mapping[Part, type[Message]]] = MappingProxyType(
    {
        Part.CLUSTER: cluster_pb2.Cluster,
        Part.ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
        Part.SECRET: secret_pb2.Secret,
        Part.LISTENER: listener_pb2.Listener,
        Part.PROCESSOR: extension_pb2.TypedExtensionConfig,
        Part.ROUTES: route_pb2.RouteConfiguration,
    }
)
TYPE_URLS: Final[Mapping[Part, str]] = MappingProxyType({part: _PREFIX + one.DESCRIPTOR.full_name for part, one in MESSAGES.items()})
PARTS: Final[Mapping[str, Part]] = MappingProxyType({url: part for part, url in TYPE_URLS.items()})
_STRUCT: Final = _PREFIX + typed_struct_pb2.TypedStruct.DESCRIPTOR.full_name
VERSION_DIGITS: Final = 16
_YOUNG: Final = "refresh_cluster_on_retry"
"""Of RetryPolicy: newer than xds-protos 1.85."""
_YOUNG_TRUE: Final = b"\x70\x01"
"""That field (number 14 in Envoy 1.40's own descriptors), true."""

Need = tuple[Part, str]
"""What a resource refers to."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, ready to be sent."""

    name: str
    version: str
    """Digest of what it says: the same after a restart."""
    body: bytes
    needs: tuple[Need, ...] = ()
    """Resources without which it is of no use."""
    looked_up: bool = False
    """A cluster whose addresses Envoy asks of DNS before it can be used."""


Resources = Mapping[Part, Mapping[str, Resource]]
NOTHING: Final[Resources] = MappingProxyType({})


def resources(parts: Parts, before: Resources = NOTHING) -> Resources:
    """All resources; those that are as `before` are not made again. Raises ValueError for what Envoy has no message for."""
    return {
        part: {name: _resource(part, name, body, before.get(part, {}).get(name)) for name, body in found.items()}
        for part, found in parts.of.items()
    }


def _resource(part: Part, name: str, body: Block, before: Resource | None) -> Resource:
    version = sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:VERSION_DIGITS]
    if before is not None and before.version == version:
        return before
    try:
        message = ParseDict(_sendable(body), MESSAGES[part]())
        if part is Part.ROUTES:
            _young_fields(body, message)
    except ParseError as error:
        raise ValueError(f"{part} {name}: {error}") from error
    needs = tuple(dict.fromkeys(_needs(part, name, body)))
    return Resource(name, version, message.SerializeToString(deterministic=True), needs, body.get("type") == "STRICT_DNS")


def _needs(part: Part, name: str, value: Any) -> Iterator[Need]:
    """References that lead to other resources."""
    if isinstance(value, dict):
        if "eds_cluster_config" in value:
            yield Part.ENDPOINTS, name
        if "sds_config" in value:
            yield Part.SECRET, value["name"]
        if "config_discovery" in value:
            yield Part.PROCESSOR, value["name"]
        if "route_config_name" in value:
            yield Part.ROUTES, value["route_config_name"]
        for inner in value.values():
            yield from _needs(part, name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _needs(part, name, inner)


def _sendable(value: Any) -> Any:
    """The same JSON, where every extension is one that can be encoded here."""
    if isinstance(value, list):
        return [_sendable(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _sendable(one) for key, one in value.items() if key != _YOUNG}
    if "@type" not in value or _encodable(inner):
        return inner
    plain = {key: one for key, one in value.items() if key != "@type"}
    return {"@type": _STRUCT, "type_url": value["@type"], "value": plain}


def _young_fields(routes: Block, message: Any) -> None:
    """Fields of routes that Envoy 1.40 has and xds-protos has not: written as they travel, they are kept as unknown ones."""
    for host, host_message in zip(routes["virtual_hosts"], message.virtual_hosts, strict=True):
        for route, route_message in zip(host["routes"], host_message.routes, strict=True):
            if route.get("route", {}).get("retry_policy", {}).get(_YOUNG):
                route_message.route.retry_policy.MergeFromString(_YOUNG_TRUE)


def _encodable(block: Block) -> bool:
    """True where xds-protos has this message, with all of these fields."""
    descriptor = _descriptor(block["@type"].removeprefix(_PREFIX))
    if descriptor is None:
        return False
    try:
        ParseDict({key: one for key, one in block.items() if key != "@type"}, GetMessageClass(descriptor)())
    except ParseError:
        return False
    return True


@cache
def _descriptor(full_name: str) -> Descriptor | None:
    """The message of that name, its module imported; None where there is none."""
    package = full_name.rpartition(".")[0]
    try:
        folder = importlib.import_module(package)
    except ImportError:
        return None
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package}.{module.name}")
    try:
        return Default().FindMessageTypeByName(full_name)
    except KeyError:
        return None
