"""Access-log entries -> Outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from extproc import contract
from extproc.domain import Arm, Outcome, Reason, Undecided
from extproc.pb.access_log_pb2 import AccessLogCommon, AccessLogType, HttpAccessLogEntry, ResponseFlags, StreamAccessLogsMessage, TokenUsage

_PREFIX = contract.ASSIGNMENT_NAMESPACE + "."


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
    model, (input_tokens, cached_tokens, output_tokens, reasoning_tokens) = _tokens(common)
    client_aborted = _client_aborted(common.response_flags)
    throttled = status == 429 or common.response_flags.rate_limited
    failed = not throttled and _failed(common, status, client_aborted)
    return Undecided(
        answered_by=common.upstream_cluster,
        model=model,
        failed=failed,
        output_tokens=output_tokens,
        stream_id=common.stream_id or entry.request.request_id,
        start=_seconds(common.start_time),
        duration=_seconds(common.duration),
        status=status,
        client_aborted=client_aborted and not failed,
        throttled=throttled,
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def _outcomes_of(entry: HttpAccessLogEntry) -> Iterator[Outcome]:
    common = entry.common_properties
    if common.access_log_type == AccessLogType.DOWNSTREAM_START:
        return
    metadata = common.metadata.filter_metadata
    for namespace in metadata:
        if namespace.startswith(_PREFIX):
            # A word that we do not know comes from a router of another version: its entry is nobody's, its neighbours' are not lost.
            with suppress(ValueError):
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
        reason=Reason(fields[contract.FIELD_REASON].string_value),
        unit=fields[contract.FIELD_UNIT].string_value,
        durable=fields[contract.FIELD_DURABLE].bool_value,
        start=_seconds(common.start_time),
        duration=_seconds(common.duration),
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
        router=fields[contract.FIELD_ROUTER].string_value,
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


def _seconds(given: Timestamp | Duration) -> float:
    return given.seconds + given.nanos / 1e9


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
