"""Envoy's messages <-> our nouns. The only room that knows how ext_proc and the access log look.

Facts relied on (all seen on Envoy 1.40): Envoy sends and honours `raw_value` only; a header value with CR or LF would be answered to
the client with 500, so values come from the checked Spec and never from a request; dynamic metadata without a header mutation does
not clear the route cache, so every reply that names a model sets a header.

A reply is a constant (built once per choice by `encode_reply`) followed by the unit's 16 hex digits: `unit` is the last key of the
assignment in the deterministic order of a protobuf map, and dynamic_metadata the last field. Replies of several layers and the
cookie are appended to each other: protobuf merges repeated occurrences of a singular message field.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from extproc import contract
from extproc.domain import Arm, Assignment, Outcome, Subject, Undecided
from extproc.pb.access_log_pb2 import AccessLogCommon, AccessLogType, HttpAccessLogEntry, ResponseFlags, StreamAccessLogsMessage, TokenUsage
from extproc.pb.ext_proc_pb2 import HeaderMutation, ProcessingRequest, ProcessingResponse

HASH_DIGITS = 16
"""Length of a unit's keyed hash in hex digits: 64 bits, enough to tell 10^6 units apart with 3 in 10^8 chance of any collision."""
KEEP_ROUTE = ProcessingResponse(request_headers={}).SerializeToString()
"""The reply that changes nothing: no rollout matches, the request keeps its own route."""

_PLACEHOLDER = "0" * HASH_DIGITS
_PREFIX = contract.ASSIGNMENT_NAMESPACE + "."


# --------------------------------------------------------------------------------------------------------------------- requests
def read_subject(message: bytes) -> Subject | None:
    """The headers of a ProcessingRequest, or None if it is not about request headers. HOT.

    A header that is there twice counts with its last value; the requested model, where Envoy forwards it, is added under
    `contract.REQUEST_MODEL`. Raises google.protobuf.message.DecodeError on bytes that are no ProcessingRequest.
    """
    subject = _walk(message)
    return subject if subject is not None else _parse(message)


def _parse(message: bytes) -> Subject | None:
    """The meaning of a message, whatever its shape."""
    request = ProcessingRequest.FromString(message)
    if not request.HasField("request_headers"):
        return None
    headers = request.request_headers.headers.headers
    subject = {header.key: header.raw_value for header in headers}
    subject.pop(contract.REQUEST_MODEL, None)
    for header in headers:
        _learn_head(header.key, len(header.raw_value))
    model = _model(request)
    if model is not None:
        subject[contract.REQUEST_MODEL] = model
    return subject


def _model(request: ProcessingRequest) -> bytes | None:
    if not request.HasField("metadata_context") or contract.REQUEST_NAMESPACE not in request.metadata_context.filter_metadata:
        return None
    fields = request.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].fields
    return fields[contract.REQUEST_MODEL_FIELD].string_value.encode()


def _walk(message: bytes) -> Subject | None:
    """The same for the one shape that Envoy sends, header by header, by their lengths; None for any other shape.

    request_headers first, holding a HeaderMap alone, its entries a key and a raw_value each; then anything that does not speak of
    headers. All bytes before a value are compared at once with those that must be there. Equal to `_parse` on every message that it
    answers (a property test says so).
    """
    try:
        size, at = message[1], 2
        if size > 127:
            size, at = size & 127 | message[2] << 7, 3
        end = at + size
        if message[0] != 0x12 or message[at] != 0x0A or end > len(message) or size > _LONGEST_SECTION:
            return None
        size, at = message[at + 1], at + 2
        if size > 127:
            size, at = size & 127 | message[at] << 7, at + 1
        if at + size != end:
            return None
        subject = {}
        while at < end:
            if message[at + 1] < 128:
                value = at + message[at + 3] + 6
            else:
                # A long entry has a length of two bytes, and its value mostly too.
                value = at + message[at + 4] + 7
                if message[value - 1] > 127:
                    value += 1
            name, size = _HEADS[message[at:value]]
            at = value + size
            subject[name] = message[value:at]
        if at != end:
            return None
        model = _RESTS[message[end:]]
    except IndexError:
        return None
    except KeyError:
        if at == end:
            _learn_rest(message[end:])
        return None
    if model is not None:
        subject[contract.REQUEST_MODEL] = model
    return subject


_HEADS: dict[bytes, tuple[str, int]] = {}
"""What stands before a header's value (its entry's tag and length, its name with tag and length, the value's tag and length), to the
name and the length. Lengths and names are remembered, values never."""
_MOST_HEADS = 16_384
_LONGEST_NAME, _LONGEST_VALUE = 100, 1_023
"""Longer ones are parsed each time."""
_RESTS: dict[bytes, bytes | None] = {b"": None}
"""What stands behind the headers (metadata, never a header) to the requested model in it."""
_MOST_RESTS = 256
_LONGEST_REST = 2_048
_LONGEST_SECTION = 127 | 127 << 7
"""Bytes that a length of two bytes can tell; longer ones are parsed."""


def _learn_head(name: str, size: int) -> None:
    key = name.encode()
    if len(key) > _LONGEST_NAME or size > _LONGEST_VALUE or name == contract.REQUEST_MODEL:
        return
    if len(_HEADS) >= _MOST_HEADS:
        _HEADS.clear()
    inner = b"\x0a%c%b\x1a%b" % (len(key), key, _varint(size))
    _HEADS[b"\x0a%b%b" % (_varint(len(inner) + size), inner)] = name, size


def _varint(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128, number >> 7))


def _learn_rest(rest: bytes) -> None:
    """Remember what stands behind the headers, if it is a message of its own that says nothing of headers."""
    if len(rest) > _LONGEST_REST:
        return
    if len(_RESTS) >= _MOST_RESTS:
        _RESTS.clear()
    try:
        request = ProcessingRequest.FromString(rest)
    except DecodeError:
        return
    if request.WhichOneof("request") is None:
        _RESTS[rest] = _model(request)


def matching_empty_reply(message: bytes) -> bytes | None:
    """The empty reply of the same kind as a message that is not about request headers; None where Envoy expects no answer."""
    request = ProcessingRequest.FromString(message)
    kind = request.WhichOneof("request")
    if kind is None or request.observability_mode:
        return None
    reply = ProcessingResponse()
    getattr(reply, kind).SetInParent()
    return reply.SerializeToString()


# ---------------------------------------------------------------------------------------------------------------------- replies
def encode_reply(assignment: Assignment, durable: bool) -> bytes:
    """Reply bytes of one layer's assignment, up to (not including) the unit's 16 hex digits.

    The layer `model` sets the cluster header; every other layer sets `x-llm-variant-<layer>`. The assignment travels as dynamic
    metadata `extproc.assignment.<layer>` to the access log and reaches no upstream.
    """
    reply = ProcessingResponse()
    mutation = reply.request_headers.response.header_mutation
    if assignment.layer == contract.MODEL_LAYER:
        _set_header(mutation, contract.CLUSTER_HEADER, assignment.cluster)
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
            contract.FIELD_DURABLE: durable,
            contract.FIELD_UNIT: _PLACEHOLDER,
        }
    )
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


def _set_header(mutation: HeaderMutation, name: str, value: str) -> None:
    option = mutation.set_headers.add()
    option.header.key = name
    option.header.raw_value = value.encode()


# --------------------------------------------------------------------------------------------------------------------- outcomes
def read_outcomes(message: bytes) -> tuple[list[Outcome], list[Undecided]]:
    """Outcomes of one StreamAccessLogsMessage, one per entry and layer, and the ends of requests that carry no assignment.

    Raises google.protobuf.message.DecodeError on bytes that are no such message.
    """
    outcomes: list[Outcome] = []
    undecided: list[Undecided] = []
    for entry in StreamAccessLogsMessage.FromString(message).http_logs.log_entry:
        before = len(outcomes)
        outcomes.extend(_outcomes_of(entry))
        if len(outcomes) == before and _is_final(entry.common_properties):
            undecided.append(_undecided(entry))
    return outcomes, undecided


def _is_final(common: AccessLogCommon) -> bool:
    return common.access_log_type not in (AccessLogType.DOWNSTREAM_PERIODIC, AccessLogType.DOWNSTREAM_START)


def _undecided(entry: HttpAccessLogEntry) -> Undecided:
    common, status = entry.common_properties, entry.response.response_code.value
    model, tokens = _tokens(common)
    failed = status != 429 and _failed(common, status, _client_aborted(common.response_flags))
    return Undecided(common.upstream_cluster, model, failed, tokens[2])


def _outcomes_of(entry: HttpAccessLogEntry) -> Iterator[Outcome]:
    common = entry.common_properties
    if common.access_log_type == AccessLogType.DOWNSTREAM_START:
        return
    metadata = common.metadata.filter_metadata
    for namespace in metadata:
        if namespace.startswith(_PREFIX):
            yield _outcome(entry, namespace[len(_PREFIX) :], metadata[namespace])


def _outcome(entry: HttpAccessLogEntry, layer: str, assignment: Struct) -> Outcome:
    common, fields = entry.common_properties, assignment.fields
    final = common.access_log_type != AccessLogType.DOWNSTREAM_PERIODIC
    status = entry.response.response_code.value
    client_aborted = _client_aborted(common.response_flags)
    throttled = status == 429 or common.response_flags.rate_limited
    failed = final and not throttled and _failed(common, status, client_aborted)
    model, tokens = _tokens(common)
    return Outcome(
        stream_id=common.stream_id or entry.request.request_id,
        layer=layer,
        rollout=fields[contract.FIELD_ROLLOUT].string_value,
        generation=int(fields[contract.FIELD_GENERATION].number_value),
        phase=fields[contract.FIELD_PHASE].string_value,
        cohort=fields[contract.FIELD_COHORT].string_value,
        arm=Arm(fields[contract.FIELD_ARM].string_value),
        unit=fields[contract.FIELD_UNIT].string_value,
        durable=fields[contract.FIELD_DURABLE].bool_value,
        start=common.start_time.seconds + common.start_time.nanos / 1e9,
        duration=common.duration.seconds + common.duration.nanos / 1e9,
        final=final,
        status=status,
        failed=failed,
        client_aborted=client_aborted and final and not failed,
        throttled=throttled,
        attempts=common.upstream_request_attempt_count,
        ttft=_microseconds(common.custom_tags.get(contract.TTFT_TAG, "")),
        answered_by=common.upstream_cluster,
        model=model,
        input_tokens=tokens[0],
        cached_tokens=tokens[1],
        output_tokens=tokens[2],
        reasoning_tokens=tokens[3],
    )


def _client_aborted(flags: ResponseFlags) -> bool:
    return flags.downstream_connection_termination or flags.downstream_remote_reset


def _failed(common: AccessLogCommon, status: int, client_aborted: bool) -> bool:
    """A failure of the assigned arm: 5xx, a fault that Envoy flagged, an attempt that had to be repeated, or no answer at all."""
    if status >= 500 or common.upstream_request_attempt_count > 1:
        return True
    flags = common.response_flags
    return (
        flags.upstream_request_timeout
        or flags.upstream_remote_reset
        or flags.local_reset
        or flags.upstream_connection_failure
        or flags.upstream_connection_termination
        or flags.upstream_overflow
        or flags.no_healthy_upstream
        or flags.no_cluster_found
        or flags.stream_idle_timeout
        or flags.upstream_max_stream_duration_reached
        or flags.duration_timeout
        or flags.upstream_protocol_error
        or flags.upstream_retry_limit_exceeded
        or flags.dns_resolution_failure
        or (status == 0 and not client_aborted)
    )


def _microseconds(text: str) -> float | None:
    """Seconds from a duration that Envoy printed in microseconds; None for `-` (it did not happen)."""
    return int(text) / 1e6 if text.isdecimal() else None


Tokens = tuple[int | None, int | None, int | None, int | None]
"""Input, cached input, output, reasoning."""


def _tokens(common: AccessLogCommon) -> tuple[str, Tokens]:
    """Model name and tokens as the full profile (typed metadata) or the core profile (untyped) found them."""
    metadata = common.metadata
    if contract.TOKEN_USAGE_NAMESPACE in metadata.typed_filter_metadata:
        usage = TokenUsage.FromString(metadata.typed_filter_metadata[contract.TOKEN_USAGE_NAMESPACE].value)
        return usage.model, (
            usage.input_tokens.value if usage.HasField("input_tokens") else None,
            usage.input_token_details.cached_tokens.value if usage.input_token_details.HasField("cached_tokens") else None,
            usage.output_tokens.value if usage.HasField("output_tokens") else None,
            usage.output_token_details.reasoning_tokens.value if usage.output_token_details.HasField("reasoning_tokens") else None,
        )
    if contract.JSON_USAGE_NAMESPACE in metadata.filter_metadata:
        fields = metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].fields
        counts = [int(fields[key].number_value) if key in fields else None for key in ("input", "cached", "output", "reasoning")]
        return fields["model"].string_value if "model" in fields else "", (counts[0], counts[1], counts[2], counts[3])
    return "", (None, None, None, None)
