"""wire: Envoy's messages are read and written as the real Envoy expects them."""

from __future__ import annotations

import math

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from extproc import contract, wire
from extproc.domain import Arm, Assignment, Outcome, Reason, Undecided
from extproc.pb.access_log_pb2 import DOWNSTREAM_PERIODIC, DOWNSTREAM_START, HttpAccessLogEntry, StreamAccessLogsMessage, TokenUsage
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse

ASSIGNMENT = Assignment("model", "new", 12, "25%", "everyone", Arm.CANARY, Reason.RING, "new", "new-cluster")


def request(**headers: str) -> ProcessingRequest:
    message = ProcessingRequest()
    for name, value in headers.items():
        message.request_headers.headers.headers.add(key=name.replace("_", "-"), raw_value=value.encode())
    return message


def entry(**changes: object) -> HttpAccessLogEntry:
    """A finished request of the canary that went well."""
    made = HttpAccessLogEntry()
    common = made.common_properties
    common.start_time.CopyFrom(Timestamp(seconds=100, nanos=500_000_000))
    common.duration.CopyFrom(Duration(seconds=1, nanos=250_000_000))
    common.upstream_request_attempt_count = 1
    common.stream_id = "id-1"
    common.upstream_cluster = "new-cluster"
    common.custom_tags[contract.TTFT_TAG] = "152833"
    common.metadata.filter_metadata[contract.assignment_namespace("model")].update(
        {
            "rollout": "new",
            "generation": 12,
            "phase": "25%",
            "cohort": "everyone",
            "arm": "canary",
            "reason": "ring",
            "durable": True,
            "unit": "00ff" * 4,
        }
    )
    made.response.response_code.value = 200
    return made


def read(*entries: HttpAccessLogEntry) -> tuple[list[Outcome], list[Undecided]]:
    message = StreamAccessLogsMessage()
    message.http_logs.log_entry.extend(entries)
    return wire.read_outcomes(message.SerializeToString())[:2]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -1.0, 1e300])
def test_a_model_cannot_hide_behind_a_number(number: float) -> None:
    """Tokens that are no count are not told; the request is, and so are its neighbours."""
    strange = entry()
    strange.response.response_code.value = 503
    strange.common_properties.metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].update({"input": number, "output": number})
    outcomes, undecided = read(strange, entry())
    assert [one.failed for one in outcomes] == [True, False]
    assert (outcomes[0].input_tokens, outcomes[0].output_tokens, undecided) == (None, None, [])
    stray = entry()
    stray.common_properties.metadata.filter_metadata.clear()
    stray.common_properties.metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].update({"output": number})
    outcomes, undecided = read(stray, entry())
    assert (len(outcomes), [one.output_tokens for one in undecided]) == (1, [None])


@pytest.mark.parametrize("generation", [math.nan, math.inf, -math.inf])
def test_an_assignment_that_makes_no_sense_costs_itself_alone(generation: float) -> None:
    """It is told of as a request without one; its neighbours are read."""
    strange = entry()
    strange.common_properties.metadata.filter_metadata[contract.assignment_namespace("model")].update({"generation": generation})
    outcomes, undecided = read(strange, entry())
    assert (len(outcomes), len(undecided)) == (1, 1)


def test_a_subject_is_the_headers_by_name() -> None:
    """raw_value is what counts; the last of two equal headers wins."""
    message = request(x_user_id="u1", x_user_tier="gold")
    message.request_headers.headers.headers.add(key="x-user-id", raw_value=b"u2")
    assert wire.read_subject(message.SerializeToString()) == {"x-user-id": b"u2", "x-user-tier": b"gold"}


def test_the_requested_model_comes_from_envoy_and_from_nowhere_else() -> None:
    """A client cannot name the metadata key in a header."""
    message = request(**{contract.REQUEST_MODEL: "forged"})
    assert wire.read_subject(message.SerializeToString()) == {}
    message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: "gpt-4o"})
    assert wire.read_subject(message.SerializeToString()) == {contract.REQUEST_MODEL: b"gpt-4o"}


def test_other_messages_get_their_own_empty_reply() -> None:
    """A processor that is sent more than it asked for answers in kind and never blocks a request."""
    for kind in ("response_headers", "request_body", "response_body", "request_trailers", "response_trailers"):
        message = ProcessingRequest()
        getattr(message, kind).SetInParent()
        encoded = message.SerializeToString()
        assert wire.read_subject(encoded) is None
        reply = wire.matching_empty_reply(encoded)
        assert reply is not None
        assert ProcessingResponse.FromString(reply).WhichOneof("response") == kind


def test_observability_mode_expects_no_answer() -> None:
    """A copy of a message is not answered."""
    message = ProcessingRequest(observability_mode=True)
    message.request_body.SetInParent()
    assert wire.matching_empty_reply(message.SerializeToString()) is None


def test_a_reply_sets_the_cluster_and_carries_the_assignment() -> None:
    """One header for the route, metadata for the access log, and nothing else."""
    reply = ProcessingResponse.FromString(wire.encode_reply(ASSIGNMENT, durable=True) + b"00ff00ff00ff00ff")
    (option,) = reply.request_headers.response.header_mutation.set_headers
    assert (option.header.key, option.header.raw_value) == ("x-llm-cluster", b"new-cluster")
    assert dict(reply.dynamic_metadata["extproc.assignment.model"]) == {
        "rollout": "new",
        "generation": 12,
        "phase": "25%",
        "cohort": "everyone",
        "arm": "canary",
        "reason": "ring",
        "durable": True,
        "unit": "00ff00ff00ff00ff",
    }


def test_replies_of_several_layers_and_a_cookie_are_joined_by_appending() -> None:
    """protobuf merges them: both headers, both assignments, the cookie."""
    prompt = Assignment("prompt", "tone", 12, "25%", "everyone", Arm.CONTROL, Reason.RING, "formal", "formal")
    digest = b"00ff00ff00ff00ff"
    joined = (
        wire.encode_reply(ASSIGNMENT, False) + digest + wire.encode_cookie("llm_uid=1; Path=/") + wire.encode_reply(prompt, True) + digest
    )
    reply = ProcessingResponse.FromString(joined)
    headers = {option.header.key: option.header.raw_value for option in reply.request_headers.response.header_mutation.set_headers}
    assert headers == {"x-llm-cluster": b"new-cluster", "x-llm-variant-prompt": b"formal"}
    assert reply.dynamic_metadata["extproc.assignment.prompt"]["arm"] == "control"
    assert reply.dynamic_metadata["extproc.assignment.model"]["durable"] is False
    assert reply.dynamic_metadata["extproc.cookie"]["set"] == "llm_uid=1; Path=/"


def test_an_outcome_belongs_to_the_assigned_arm() -> None:
    """All that the access log says of a good request."""
    outcomes, undecided = read(entry())
    (outcome,) = outcomes
    assert undecided == []
    assert (outcome.rollout, outcome.generation, outcome.phase, outcome.cohort, outcome.arm) == ("new", 12, "25%", "everyone", Arm.CANARY)
    assert (outcome.start, outcome.duration, outcome.ttft) == (100.5, 1.25, 0.152833)
    assert (outcome.final, outcome.failed, outcome.client_aborted, outcome.throttled) == (True, False, False, False)
    assert (outcome.unit, outcome.durable, outcome.stream_id, outcome.answered_by) == ("00ff" * 4, True, "id-1", "new-cluster")


def test_what_counts_as_a_failure() -> None:
    """5xx, a flagged fault under a 200, a repeated attempt, no answer at all: yes. 429, 4xx, a client that left: no."""

    def variant(status: int = 200, attempts: int = 1, *flags: str) -> Outcome:
        made = entry()
        made.response.response_code.value = status
        made.common_properties.upstream_request_attempt_count = attempts
        for flag in flags:
            setattr(made.common_properties.response_flags, flag, True)
        return read(made)[0][0]

    assert variant(500).failed
    assert variant(503).failed
    assert variant(200, 2).failed, "the first attempt failed, whoever answered"
    assert variant(0).failed
    for flag in ("upstream_remote_reset", "upstream_request_timeout", "stream_idle_timeout", "upstream_connection_termination"):
        assert variant(200, 1, flag).failed, flag
    assert not variant(404).failed
    throttled = variant(429)
    assert throttled.throttled
    assert not throttled.failed
    left = variant(0, 1, "downstream_connection_termination")
    assert left.client_aborted
    assert not left.failed


def test_an_open_request_is_no_failure_yet() -> None:
    """A periodic entry says that the request is alive at this age; a start entry says nothing of an outcome."""
    periodic = entry()
    periodic.common_properties.access_log_type = DOWNSTREAM_PERIODIC
    periodic.response.response_code.value = 0
    (outcome,), _ = read(periodic)
    assert not outcome.final
    assert not outcome.failed
    begun = entry()
    begun.common_properties.access_log_type = DOWNSTREAM_START
    assert read(begun) == ([], [])


def test_entries_without_an_assignment_are_counted() -> None:
    """Fail-open requests and foreign routes stay out of Evidence and are not forgotten."""
    plain = entry()
    plain.common_properties.metadata.Clear()
    (undecided,) = read(plain, entry())[1]
    assert (undecided.answered_by, undecided.failed) == (plain.common_properties.upstream_cluster, False)
    plain.response.response_code.value = 503
    assert read(plain)[1][0].failed
    plain.common_properties.access_log_type = DOWNSTREAM_PERIODIC
    assert read(plain)[1] == [], "still open: it is counted at its end"


def test_tokens_from_both_profiles() -> None:
    """Typed metadata of ai_protocol_manager, untyped of json_to_metadata; absent counts stay unknown, not zero."""
    full = entry()
    usage = TokenUsage(model="gpt-5-mini")
    usage.input_tokens.value, usage.output_tokens.value = 11, 22
    usage.output_token_details.reasoning_tokens.value = 5
    full.common_properties.metadata.typed_filter_metadata[contract.TOKEN_USAGE_NAMESPACE].Pack(usage)
    core = entry()
    core.common_properties.metadata.filter_metadata[contract.JSON_USAGE_NAMESPACE].update({"model": "gpt-4o", "input": 1, "output": 2})
    first, second = read(full, core)[0]
    assert (first.model, first.input_tokens, first.cached_tokens, first.output_tokens, first.reasoning_tokens) == (
        "gpt-5-mini",
        11,
        None,
        22,
        5,
    )
    assert (second.model, second.input_tokens, second.output_tokens, second.reasoning_tokens) == ("gpt-4o", 1, 2, None)
