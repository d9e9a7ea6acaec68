"""router.processor: bytes in, bytes out, counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from extproc import contract, wire
from extproc.assign import Secrets, compile, derive, prepare, sign_qa
from extproc.assign.answered import Seen, read
from extproc.domain import Affinity, AffinityPolicy, Arm, Cookie, FeedbackTerms, Match, Rollout, Status
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.router import processor as room
from extproc.router.processor import SAMPLE_EVERY, Processor
from tests.support.specs import conversation, ids, model, overrides, rollout, spec, state_of
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


# ----------------------------------------------------------------------------------------------- tokens, overrides, pools, affinity
NOW = 1_764_241_200.0
SECRETS = Secrets(b"c" * 32, {"new": b"q" * 32})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a clock was read; it stands still."""
    reads = [0]

    def read() -> float:
        reads[0] += 1
        return NOW

    monkeypatch.setattr(room, "time", read)
    return reads


def by_hand(share: float = 0.5, around: dict[str, Any] | None = None, **changes: Any) -> Processor:
    given = spec(rollout(**changes), **(around or {}))
    return Processor(derive(prepare(given, SECRETS), state_of(given, share), wire.encode_reply), KEY)


def test_a_clock_is_read_only_where_something_ends(clock: list[int]) -> None:
    """A token, or a signed header: once per decision. Otherwise never."""
    made = processor()
    for number in range(50):
        answer(made, request(x_user_id=f"u{number}"))
    assert clock == [0]
    for number, one in enumerate((by_hand(conversation=conversation()), by_hand(overrides=overrides())), 1):
        answer(one, request(x_user_id="u1"))
        assert clock == [number]


def test_a_conversations_token_is_handed_out_once_and_kept(clock: list[int]) -> None:
    """In metadata, for Envoy to put into the answer; whoever brings it back keeps the model through a promotion and gets no other."""
    early, late = (by_hand(share, conversation=conversation()) for share in (0.01, 1.0))
    first = answer(early, request(x_user_id="u7"))
    token = first.dynamic_metadata["extproc.conversation"]["token"]
    assert cluster(first) == b"old"
    back = answer(late, request(x_user_id="u7", x_conversation_token=token))
    assert cluster(back) == b"old"
    assert back.dynamic_metadata["extproc.assignment.model"]["reason"] == "pinned"
    assert "extproc.conversation" not in back.dynamic_metadata.fields
    assert early.fates == {("token", "new", "issued"): 1}
    assert late.fates == {("token", "new", "valid"): 1}


def test_a_token_in_a_cookie_has_its_attributes(clock: list[int]) -> None:
    """A complete Set-Cookie value."""
    made = by_hand(conversation=conversation(header=None, cookie=Cookie("talk", 600, "Path=/; HttpOnly")))
    value = answer(made, request(x_user_id="u7")).dynamic_metadata["extproc.conversation"]["cookie"]
    token, _, attributes = value.partition("; ")
    assert token.startswith("talk=1.")
    assert attributes == "Max-Age=600; Path=/; HttpOnly"


def test_an_answer_is_named_by_a_token_that_says_whose_it_is(clock: list[int]) -> None:
    """Signed for the unit, the arm and the visit that the access log tells of; the clock is read for it. Nothing of it unless asked for."""
    secrets, feedback = Secrets(feedback=b"f" * 32), FeedbackTerms(60.0, (), "", False, tokens=True)
    given = spec(rollout(), feedback=feedback)
    made = Processor(derive(prepare(given, secrets), state_of(given, 0.5), wire.encode_reply), KEY)
    for number in range(20):
        said = answer(made, request(x_user_id=f"u{number}"))
        token, told = said.dynamic_metadata["extproc.feedback"]["token"], said.dynamic_metadata["extproc.assignment.model"]
        found = read([b"f" * 32], token, 60.0, NOW)
        one = found.answered
        assert found.seen is Seen.VALID
        assert one is not None
        assert (one.unit, one.arm, one.rollout, one.cohort) == (told["unit"], told["arm"], told["rollout"], told["cohort"])
        assert (one.generation, one.durable, one.start) == (told["generation"], told["durable"], NOW)
        assert cluster(said) in (b"old", b"new")
    unsigned = spec(rollout(), feedback=replace(feedback, tokens=False))
    for other in (spec(rollout()), spec(rollout(layer="prompt"), feedback=feedback), unsigned):
        plain = Processor(derive(prepare(other, secrets), state_of(other, 0.5), wire.encode_reply), KEY)
        assert "extproc.feedback" not in answer(plain, request(x_user_id="u1")).dynamic_metadata.fields


def test_what_does_not_count_is_counted(clock: list[int]) -> None:
    """By rollout and fate, tokens and QA headers apart; a header that counts is a decision with the reason override."""
    made = by_hand(conversation=conversation(), overrides=overrides(canary=ids("c1")))
    expired = sign_qa(SECRETS.qa["new"], "new", Arm.CANARY, int(NOW))
    good = sign_qa(SECRETS.qa["new"], "new", Arm.CANARY, int(NOW) + 60)
    for headers in (
        {"x_conversation_token": "nonsense"},
        {"x_conversation_token": "1.00000000.0.0.cu.0.0"},
        {"x_canary_qa": expired},
        {"x_canary_qa": "nonsense", "x_user_id": "c1"},
        {"x_canary_qa": good},
    ):
        answer(made, request(**{"x_user_id": "u1", **headers}))
    assert made.fates == {
        ("token", "new", "forged"): 1,
        ("token", "new", "foreign"): 1,
        ("token", "new", "issued"): 3,
        ("qa", "new", "expired"): 1,
        ("qa", "new", "forged"): 1,
    }
    decisions = made.decisions()
    assert decisions["new", "", "canary", "override"] == 1
    assert decisions["new", "", "canary", "forced"] == 1


def test_affinity_by_unit_sets_the_hash_as_a_header() -> None:
    """The same sixteen digits as in the access log; not where the Spec names a header of its own, and not for the other arm."""
    ours, named = Affinity(AffinityPolicy.RING_HASH, None), Affinity(AffinityPolicy.RING_HASH, "x-talk")
    around = {"models": {"old": model("old", affinity=named), "new": model("new", affinity=ours)}}
    made = by_hand(around=around)
    seen = set()
    for number in range(60):
        reply = answer(made, request(x_user_id=f"u{number}"))
        headers = {one.header.key: one.header.raw_value for one in reply.request_headers.response.header_mutation.set_headers}
        unit = reply.dynamic_metadata["extproc.assignment.model"]["unit"]
        expected = {"x-llm-affinity": unit.encode()} if headers["x-llm-cluster"] == b"new" else {}
        assert headers == {"x-llm-cluster": headers["x-llm-cluster"], **expected}
        seen.add(headers["x-llm-cluster"])
    assert seen == {b"old", b"new"}


def test_members_of_a_pool_are_one_arm_in_the_counts() -> None:
    """Two clusters, one key: reports speak of arms."""
    around = {"models": {"old": model("old", "o1", "o2"), "new": model("new")}}
    made = by_hand(around=around, share=0.01)
    clusters = {cluster(answer(made, request(x_user_id=f"u{number}"))) for number in range(300)}
    assert {b"o1", b"o2"} <= clusters <= {b"o1", b"o2", b"new"}
    assert sum(made.decisions().values()) == 300
    assert {key for key in made.decisions() if key[2] == "rest"} == {("new", "everyone", "rest", "ring")}


def test_all_at_once_is_one_reply(clock: list[int]) -> None:
    """Two layers, a pool, affinity, a cookie and a token: both headers, the hash, both assignments, everything handed out."""
    affinity = Affinity(AffinityPolicy.MAGLEV, None)
    models = {name: model(name, f"{name}-1", f"{name}-2", affinity=affinity) for name in ("old", "new")}
    given = spec(rollout(conversation=conversation()), rollout("tone", layer="prompt"), models=models)
    made = Processor(derive(prepare(given, SECRETS), state_of(given), wire.encode_reply), KEY)
    reply = answer(made, request(x_request_id="r-1"))
    headers = {one.header.key for one in reply.request_headers.response.header_mutation.set_headers}
    assert headers == {"x-llm-cluster", "x-llm-affinity", "x-llm-variant-prompt"}
    metadata = set(reply.dynamic_metadata.fields)
    assert metadata == {"extproc.assignment.model", "extproc.assignment.prompt", "extproc.cookie", "extproc.conversation"}
