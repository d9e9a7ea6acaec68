"""Assignments -> the replies that Envoy acts upon.

A reply is a constant (built once per choice by `encode_reply`) followed by the unit's 16 hex digits: `unit` is the last key of the
assignment in the deterministic order of a protobuf map, and dynamic_metadata the last field. Replies of several layers and the
cookie are appended to each other: protobuf merges repeated occurrences of a singular message field.
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.struct_pb2 import Struct

from extproc import contract
from extproc.domain import Assignment
from extproc.pb.ext_proc_pb2 import HeaderMutation, ProcessingRequest, ProcessingResponse

HASH_DIGITS = 16
"""Length of a unit's keyed hash in hex digits: 64 bits, enough to tell 10^6 units apart with 3 in 10^8 chance of any collision."""
KEEP_ROUTE = ProcessingResponse(request_headers={}).SerializeToString()
"""The reply that changes nothing: no rollout matches, the request keeps its own route."""

_PLACEHOLDER = "0" * HASH_DIGITS


def encode_reply(assignment: Assignment, durable: bool, router: str = "") -> bytes:
    """Reply bytes of one layer's assignment, up to (not including) the unit's 16 hex digits.

    The layer `model` sets the cluster header; every other layer sets `x-llm-variant-<layer>`. The assignment travels as dynamic
    metadata `extproc.assignment.<layer>` to the access log and reaches no upstream. `router` names the worker that answers; empty: none.
    """
    reply = ProcessingResponse()
    mutation = reply.request_headers.response.header_mutation
    if assignment.layer == contract.MODEL_LAYER:
        _set_header(mutation, contract.CLUSTER_HEADER, assignment.cluster)
        if assignment.mirrored:
            _set_header(mutation, contract.MIRROR_HEADER, contract.SHADOW_CLUSTER.format(rollout=assignment.rollout))
    else:
        _set_header(mutation, contract.VARIANT_PREFIX + assignment.layer, assignment.model)
    fields = Struct()
    fields.update(
        {
            contract.FIELD_ROLLOUT: assignment.rollout,
            contract.FIELD_GENERATION: assignment.generation,
            contract.FIELD_PHASE: assignment.phase,
            contract.FIELD_COHORT: assignment.cohort,
            contract.FIELD_ARM: assignment.arm.value,
            contract.FIELD_REASON: assignment.reason.value,
            contract.FIELD_DURABLE: durable,
            contract.FIELD_UNIT: _PLACEHOLDER,
        }
    )
    if router:
        fields[contract.FIELD_ROUTER] = router
    reply.dynamic_metadata.fields[contract.assignment_namespace(assignment.layer)].struct_value.CopyFrom(fields)
    encoded = reply.SerializeToString(deterministic=True)
    if not encoded.endswith(_PLACEHOLDER.encode()):
        raise AssertionError("a reply must end with the unit's hash")
    return encoded[:-HASH_DIGITS]


def encode_cookie(value: str) -> bytes:
    """Reply bytes that make the rendered Envoy answer with this Set-Cookie value (a complete cookie, attributes included)."""
    reply = ProcessingResponse()
    reply.dynamic_metadata.fields[contract.COOKIE_NAMESPACE].struct_value.update({contract.COOKIE_FIELD: value})
    return reply.SerializeToString()


def encode_token(token: bytes, cookie: str) -> bytes:
    """Reply bytes that make the rendered Envoy hand out a conversation's token: as a header, or in a Set-Cookie value if there is one."""
    field, value = (contract.CONVERSATION_COOKIE_FIELD, cookie) if cookie else (contract.CONVERSATION_FIELD, token.decode())
    reply = ProcessingResponse()
    reply.dynamic_metadata.fields[contract.CONVERSATION_NAMESPACE].struct_value.update({field: value})
    return reply.SerializeToString()


def encode_feedback(token: bytes) -> bytes:
    """Reply bytes that make the rendered Envoy name the answer by this token."""
    return _feedback_prefix(len(token)) + token


@lru_cache
def _feedback_prefix(length: int) -> bytes:
    """What stands before a token of this length; there is one length for each cohort's arm."""
    placeholder, reply = "0" * length, ProcessingResponse()
    reply.dynamic_metadata.fields[contract.FEEDBACK_NAMESPACE].struct_value.update({contract.FEEDBACK_FIELD: placeholder})
    encoded = reply.SerializeToString()
    if not encoded.endswith(placeholder.encode()):
        raise AssertionError("a reply must end with the token")
    return encoded[:-length]


def _affinity_prefix() -> bytes:
    reply = ProcessingResponse()
    _set_header(reply.request_headers.response.header_mutation, contract.AFFINITY_HEADER, _PLACEHOLDER)
    encoded = reply.SerializeToString()
    if not encoded.endswith(_PLACEHOLDER.encode()):
        raise AssertionError("a reply must end with the unit's hash")
    return encoded[:-HASH_DIGITS]


def _set_header(mutation: HeaderMutation, name: str, value: str) -> None:
    option = mutation.set_headers.add()
    option.header.key = name
    option.header.raw_value = value.encode()


def matching_empty_reply(message: bytes) -> bytes | None:
    """The empty reply of the same kind as a message that is not about request headers; None where Envoy expects no answer."""
    request = ProcessingRequest.FromString(message)
    kind = request.WhichOneof("request")
    if kind is None or request.observability_mode:
        return None
    reply = ProcessingResponse()
    getattr(reply, kind).SetInParent()
    return reply.SerializeToString()


AFFINITY_PREFIX = _affinity_prefix()
"""Reply bytes that set the affinity header, up to (not including) the unit's 16 hex digits."""
