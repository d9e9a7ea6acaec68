"""Access-log entries -> Outcomes.

Each field that is asked of a parsed message makes an object. What is the same for many requests (the assignment without its unit: see
`assigned`; the flags) is therefore asked once and remembered by its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from extproc import contract
from extproc.domain import Mirrored, Outcome, Undecided
from extproc.pb.access_log_pb2 import AccessLogCommon, AccessLogType, HttpAccessLogEntry, ResponseFlags, StreamAccessLogsMessage, TokenUsage
from extproc.wire.assigned import read_assigned

_PREFIX: Final = contract.ASSIGNMENT_NAMESPACE + "."
_REMEMBERED: Final = 4096
"""Sets of flags."""
_MOST_TOKENS: Final = 1 << 48
"""Of one answer; what is above is none, and would outweigh every other."""
_SIGNALS: Final = (contract.SIGNAL_PROMPT, contract.SIGNAL_SESSION, contract.SIGNAL_RETRY)
_PERIODIC: Final = AccessLogType.DOWNSTREAM_PERIODIC
_START: Final = AccessLogType.DOWNSTREAM_START


class Heard(NamedTuple):
    """What one message of the access log tells."""

    outcomes: list[Outcome]
    """One per entry and layer."""
    undecided: list[Undecided]
    """Ends of requests that carry no assignment."""
    mirrored: list[Mirrored]
    """Copies on their way to a canary."""


def read_outcomes(message: bytes) -> Heard:
    """The entries of one StreamAccessLogsMessage.

    Raises google.protobuf.message.DecodeError on bytes that are no such message.
    """
    heard = Heard([], [], [])
    for entry in StreamAccessLogsMessage.FromString(message).http_logs.log_entry:
        before = len(heard.outcomes)
        heard.outcomes.extend(_outcomes_of(entry))
        if len(heard.outcomes) > before:
            continue
        if contract.SHADOW_NAMESPACE in entry.common_properties.metadata.filter_metadata:
            heard.mirrored.extend(_mirrored(entry))
        elif _is_final(entry.common_properties):
            heard.undecided.append(_undecided(entry))
    return heard


class _Flagged(NamedTuple):
    """What Envoy's flags say."""

    failed: bool
    client_aborted: bool
    throttled: bool


def _is_final(common: AccessLogCommon) -> bool:
    return common.access_log_type not in (_PERIODIC, _START)


def _undecided(entry: HttpAccessLogEntry) -> Undecided:
    common, status = entry.common_properties, entry.response.response_code.value
    model, input_tokens, cached_tokens, output_tokens, reasoning_tokens = _tokens(common)
    failed, client_aborted, throttled = _result(common, status)
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


def _mirrored(entry: HttpAccessLogEntry) -> Iterator[Mirrored]:
    """None for its beginning."""
    common, status = entry.common_properties, entry.response.response_code.value
    if common.access_log_type == _START:
        return
    final = common.access_log_type != _PERIODIC
    model, input_tokens, cached_tokens, output_tokens, _ = _tokens(common)
    failed, _, throttled = _result(common, status)
    yield Mirrored(
        rollout=common.metadata.filter_metadata[contract.SHADOW_NAMESPACE].fields[contract.SHADOW_ROLLOUT].string_value,
        stream_id=common.stream_id or entry.request.request_id,
        start=_seconds(common.start_time),
        duration=_seconds(common.duration),
        final=final,
        status=status,
        failed=failed and final,
        throttled=throttled,
        ttft=_microseconds(common.custom_tags.get(contract.TTFT_TAG, "")),
        answered_by=common.upstream_cluster,
        model=model,
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
    )


def _outcomes_of(entry: HttpAccessLogEntry) -> Iterator[Outcome]:
    common = entry.common_properties
    if common.access_log_type == _START:
        return
    metadata = common.metadata.filter_metadata
    signals = _signals(metadata[contract.SIGNALS_NAMESPACE].fields) if contract.SIGNALS_NAMESPACE in metadata else _NO_SIGNALS
    for namespace in metadata:
        if namespace.startswith(_PREFIX):
            # A word that we do not know comes from a router of another version: its entry is nobody's, its neighbours' are not lost.
            with suppress(ValueError, OverflowError):
                yield _outcome(entry, common, namespace[len(_PREFIX) :], metadata[namespace], signals)


class _Signals(NamedTuple):
    """What a request's own user says without a word."""

    prompt: str
    session: str
    retry: bool


_NO_SIGNALS: Final = _Signals("", "", False)


def _signals(fields: Any) -> _Signals:
    said = {name: fields[name].string_value for name in _SIGNALS if name in fields}
    session = said.get(contract.SIGNAL_SESSION, "")
    tried = said.get(contract.SIGNAL_RETRY, "")
    return _Signals(
        said.get(contract.SIGNAL_PROMPT, ""),
        blake2b(session.encode(), digest_size=8).hexdigest() if session else "",
        tried.isdecimal() and tried.strip("0") != "",
    )


def _outcome(entry: HttpAccessLogEntry, common: AccessLogCommon, layer: str, assignment: Struct, signals: _Signals) -> Outcome:
    unit, assigned = read_assigned(assignment)
    final = common.access_log_type != _PERIODIC
    status = entry.response.response_code.value
    failed, client_aborted, throttled = _result(common, status)
    failed = failed and final
    model, input_tokens, cached_tokens, output_tokens, reasoning_tokens = _tokens(common)
    return Outcome(
        common.stream_id or entry.request.request_id,
        layer,
        assigned.rollout,
        assigned.generation,
        assigned.phase,
        assigned.cohort,
        assigned.arm,
        assigned.reason,
        unit,
        assigned.durable,
        _seconds(common.start_time),
        _seconds(common.duration),
        final,
        status,
        failed,
        client_aborted and final and not failed,
        throttled,
        common.upstream_request_attempt_count,
        _microseconds(common.custom_tags.get(contract.TTFT_TAG, "")),
        common.upstream_cluster,
        model,
        input_tokens,
        cached_tokens,
        output_tokens,
        reasoning_tokens,
        assigned.router,
        signals.prompt,
        signals.session,
        signals.retry,
    )


def _result(common: AccessLogCommon, status: int) -> _Flagged:
    """What became of a request. A failure of the assigned arm: 5xx, a fault that Envoy flagged, an attempt that had to be repeated, or no
    answer at all."""
    flagged = _flagged(common.response_flags.SerializeToString()) if common.HasField("response_flags") else _NO_FLAGS
    failed, client_aborted, throttled = flagged
    if status == 429 or throttled:
        return _Flagged(False, client_aborted, True)
    if failed or status >= 500 or common.upstream_request_attempt_count > 1 or (status == 0 and not client_aborted):
        return _Flagged(True, client_aborted, False)
    return flagged


@lru_cache(_REMEMBERED)
def _flagged(raw: bytes) -> _Flagged:
    flags = ResponseFlags.FromString(raw)
    failed = (
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
    )
    return _Flagged(failed, flags.downstream_connection_termination or flags.downstream_remote_reset, flags.rate_limited)


_NO_FLAGS: Final = _flagged(b"")


def _seconds(given: Timestamp | Duration) -> float:
    return given.seconds + given.nanos / 1e9


def _microseconds(text: str) -> float | None:
    """Seconds from a duration that Envoy printed in microseconds; None for `-` (it did not happen)."""
    return int(text) / 1e6 if text.isdecimal() else None


Tokens = tuple[str, int | None, int | None, int | None, int | None]
"""Model, and its tokens: input, cached input, output, reasoning."""


def _tokens(common: AccessLogCommon) -> Tokens:
    """Model name and tokens as the full profile (typed metadata) or the core profile (untyped) found them."""
    metadata = common.metadata
    typed = metadata.typed_filter_metadata
    if contract.TOKEN_USAGE_NAMESPACE in typed:
        usage = TokenUsage.FromString(typed[contract.TOKEN_USAGE_NAMESPACE].value)
        has = usage.HasField
        cached = usage.input_token_details if has("input_token_details") else None
        reasoning = usage.output_token_details if has("output_token_details") else None
        return (
            usage.model,
            usage.input_tokens.value if has("input_tokens") else None,
            cached.cached_tokens.value if cached is not None and cached.HasField("cached_tokens") else None,
            usage.output_tokens.value if has("output_tokens") else None,
            reasoning.reasoning_tokens.value if reasoning is not None and reasoning.HasField("reasoning_tokens") else None,
        )
    if contract.JSON_USAGE_NAMESPACE in metadata.filter_metadata:
        fields = metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].fields
        counts = [_count(fields[key].number_value) if key in fields else None for key in ("input", "cached", "output", "reasoning")]
        return fields["model"].string_value if "model" in fields else "", counts[0], counts[1], counts[2], counts[3]
    return "", None, None, None, None


def _count(number: float) -> int | None:
    """Tokens as a model's answer tells them; None for what is no count. A model must not be able to hide its failures, and those of
    its neighbours in the message, behind a number that cannot be read."""
    return int(number) if 0 <= number < _MOST_TOKENS else None
