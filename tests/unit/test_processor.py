"""router.processor: bytes in, bytes out, counted."""

from __future__ import annotations

from extproc import contract, wire
from extproc.assign import compile
from extproc.domain import Match, Rollout, Status
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.router.processor import SAMPLE_EVERY, Processor
from tests.support.specs import rollout, spec, state_of
from tests.unit.test_wire import request

KEY = b"k" * 32


def processor(*rollouts: Rollout, share: float = 0.5, status: Status = Status.PROGRESSING) -> Processor:
    given = spec(*rollouts)
    return Processor(compile(given, state_of(given, share, status), wire.encode_reply), KEY)


def answer(of: Processor, message: ProcessingRequest) -> ProcessingResponse:
    reply = of.process(message.SerializeToString())
    assert reply is not None
    return ProcessingResponse.FromString(reply)


def cluster(reply: ProcessingResponse) -> bytes:
    return reply.request_headers.response.header_mutation.set_headers[0].header.raw_value


def test_the_same_user_always_meets_the_same_model() -> None:
    """Sticky without a store, and both models are met."""
    made = processor()
    first = [cluster(answer(made, request(x_user_id=f"u{number}"))) for number in range(200)]
    assert first == [cluster(answer(made, request(x_user_id=f"u{number}"))) for number in range(200)]
    assert set(first) == {b"old", b"new"}


def test_the_unit_is_a_keyed_hash_in_the_access_log() -> None:
    """Equal for equal users, different under another key, and never the id."""
    given = spec()
    compiled = compile(given, state_of(given), wire.encode_reply)
    message = request(x_user_id="alice@mail.dev").SerializeToString()
    replies = [Processor(compiled, key).process(message) for key in (KEY, KEY, b"other" * 4)]
    units = [ProcessingResponse.FromString(reply or b"").dynamic_metadata["extproc.assignment.model"]["unit"] for reply in replies]
    assert units[0] == units[1] != units[2]
    assert len(units[0]) == wire.HASH_DIGITS
    assert all(b"alice" not in (reply or b"") for reply in replies)


def test_an_anonymous_request_is_given_its_cookie_once() -> None:
    """First request: cookie with the request id; with the cookie: none. An id that has no place in a cookie sets none."""
    made = processor()
    first = answer(made, request(x_request_id="0b7c-1"))
    value = first.dynamic_metadata["extproc.cookie"]["set"]
    assert value == "llm_uid=0b7c-1; Max-Age=31536000; Path=/; HttpOnly; Secure; SameSite=Lax"
    assert first.dynamic_metadata["extproc.assignment.model"]["durable"] is False
    back = answer(made, request(x_request_id="0b7c-2", cookie="llm_uid=0b7c-1"))
    assert "extproc.cookie" not in back.dynamic_metadata.fields
    assert cluster(back) == cluster(first)
    evil = answer(made, request(x_request_id="a; Domain=evil"))
    assert "extproc.cookie" not in evil.dynamic_metadata.fields


def test_what_does_not_match_is_left_alone() -> None:
    """No header, no metadata: the request keeps its own route; and it is counted."""
    made = processor(rollout(match=Match((), ("/v1/",), ())))
    reply = answer(made, request(x_user_id="u"))
    assert reply == ProcessingResponse(request_headers={})
    assert made.unmatched == 1


def test_decisions_are_counted_over_a_change_of_snapshot() -> None:
    """By rollout, cohort, arm and reason; nothing is lost in a swap."""
    made = processor(share=0.5)
    given = spec()
    for number in range(300):
        answer(made, request(x_user_id=f"u{number}"))
    made.swap(compile(given, state_of(given, 0.5, Status.ROLLED_BACK), wire.encode_reply))
    for number in range(100):
        assert cluster(answer(made, request(x_user_id=f"u{number}"))) == b"old"
    counts = made.decisions()
    assert sum(counts.values()) == 400
    assert counts["new", "everyone", "rest", "not_exposed"] == 100
    assert counts["new", "everyone", "canary", "ring"] + counts["new", "everyone", "control", "ring"] == 300


def test_one_decision_in_64_is_timed() -> None:
    """The clock stays off the hot path."""
    made = processor()
    for number in range(SAMPLE_EVERY * 5):
        answer(made, request(x_user_id=f"u{number}"))
    assert sum(made.times.buckets) == 5
    assert made.times.total > 0


def test_other_messages_are_answered_in_kind() -> None:
    """A misconfigured filter that sends bodies does not break requests."""
    message = ProcessingRequest()
    message.response_headers.SetInParent()
    assert answer(processor(), message).WhichOneof("response") == "response_headers"


def test_a_layer_other_than_model_sets_a_variant_header() -> None:
    """Only the layer `model` chooses the cluster."""
    made = processor(rollout("tone", layer="prompt"))
    option = answer(made, request(x_user_id="u")).request_headers.response.header_mutation.set_headers[0]
    assert option.header.key == contract.VARIANT_PREFIX + "prompt"
