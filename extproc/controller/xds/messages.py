"""Discovery requests and answers of both protocols <-> what a stream understands. Pure."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.json_format import MessageToDict

from extproc.controller.xds.resources import PARTS, TYPE_URLS, Resource
from extproc.controller.xds.stream import Heard, Reply

Request = Any
"""A DiscoveryRequest or a DeltaDiscoveryRequest; xds-protos has no types for a checker."""


def heard(request: Request, delta: bool) -> Heard | None:
    """A request; None where it asks for a kind that we do not have."""
    part = PARTS.get(request.type_url)
    if part is None:
        return None
    refused = request.error_detail.message if request.HasField("error_detail") else None
    if not delta:
        return Heard(part, request.response_nonce, refused, frozenset(request.resource_names), version=request.version_info)
    wanted, unwanted = frozenset(request.resource_names_subscribe), frozenset(request.resource_names_unsubscribe)
    return Heard(part, request.response_nonce, refused, wanted, unwanted, has=dict(request.initial_resource_versions))


def said(reply: Reply, delta: bool) -> bytes:
    """An answer, as it travels."""
    url = TYPE_URLS[reply.part]
    if not delta:
        bodies = [_packed(url, one) for one in reply.resources]
        answer = discovery_pb2.DiscoveryResponse(version_info=reply.version, resources=bodies, type_url=url, nonce=reply.nonce)
        return bytes(answer.SerializeToString())
    one_by_one = [discovery_pb2.Resource(name=one.name, version=one.version, resource=_packed(url, one)) for one in reply.resources]
    changes = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info=reply.version, resources=one_by_one, type_url=url, removed_resources=reply.removed, nonce=reply.nonce
    )
    return bytes(changes.SerializeToString())


def metadata(request: Request) -> dict[str, Any]:
    """What an Envoy says of itself in its bootstrap, as JSON."""
    return MessageToDict(request.node.metadata)


def _packed(url: str, one: Resource) -> Packed:
    return Packed(type_url=url, value=one.body)
