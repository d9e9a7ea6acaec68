"""Pools, slots, affinity, conversations and overrides on the real Envoy: what becomes of a decision, and what the router gets to see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from extproc import contract
from extproc.render import Profile
from tests.support.envoy_stand import OLD_ENVOY, Model, a_rollout, document
from tests.support.scripted import Decision, Scripted, scripted

CANARY_A, CANARY_B = "new-a", "new-b"
STABLE_A, STABLE_B = "old-a", "old-b"
QA_HEADER, TOKEN_HEADER = "x-canary-qa", "x-conversation-token"
UNITS = 64
"""So many that chance leaves none of four replicas out: 4 in 10^8."""


def spec_document(models: dict[str, Model]) -> dict[str, Any]:
    """Two pools, two rollouts in slots, two models with several replicas, a conversation with everything."""

    def backend(name: str, weight: float) -> dict[str, Any]:
        return {"cluster": name, "weight": weight, "endpoint": models[name].endpoint, "host_rewrite": f"{name}.example"}

    replicas = [models[f"replica-{number}"].endpoint for number in range(4)]
    blocks: dict[str, Any] = {
        "old": {"pool": [backend(STABLE_A, 3), backend(STABLE_B, 1)]},
        "new": {"pool": [backend(CANARY_A, 1), backend(CANARY_B, 1)], "send_model": "new"},
        "third": {"endpoint": models["third"].endpoint},
        "by-unit": {"endpoints": replicas, "affinity": {"policy": "ring_hash"}},
        "by-header": {"endpoints": replicas, "affinity": {"policy": "maglev", "header": "x-conversation-id"}},
    }
    conversation = {"id": {"header": "x-conversation-id"}}
    qa = {"header": QA_HEADER, "secret": {"env": "EXTPROC_TEST_QA"}}
    rollouts = {
        "chat": a_rollout("50%", {"paths": ["/v1/"], "models": ["old"]}, conversation=conversation, overrides={"qa": qa}),
        "first": a_rollout("50%", {"paths": ["/slots/"]}, canary="third", slot="one"),
        "second": a_rollout("50%", {"paths": ["/slots/"]}, canary="third", slot="two"),
        "replicas": a_rollout("50%", {"paths": ["/replicas/"]}, stable="by-unit", canary="by-header", conversation={"cookie": "talk"}),
        "threads": a_rollout("50%", {"paths": ["/threads/"]}, conversation={"state_paths": ["/threads/open/"]}),
    }
    listener = {"kind": "edge", "set_by": {"x-user-id": "the test"}}
    return document(listener, blocks, rollouts) | {"layers": {"model": {"slots": {"one": "50%", "two": "50%"}}}}


@pytest.fixture(scope="module", params=[Profile.FULL, Profile.CORE])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """The full profile on the present Envoy, and the core profile on the oldest one that it promises."""
    names = [CANARY_A, CANARY_B, STABLE_A, STABLE_B, "third", *(f"replica-{number}" for number in range(4))]
    models = {name: Model(name) for name in names}
    envoy = OLD_ENVOY if request.param is Profile.CORE else None
    with scripted(spec_document(models), models, tmp_path_factory.mktemp("a"), profile=request.param, envoy=envoy) as made:
        yield made


# ------------------------------------------------------------------------------------------------------------------------ pools
@pytest.mark.parametrize("cluster", [CANARY_A, CANARY_B, STABLE_A, STABLE_B])
def test_a_decided_backend_answers(stand: Scripted, cluster: str) -> None:
    """Each backend of either pool is a cluster of its own, with its own host; the body is the model's."""
    for _ in range(5):
        assert stand.answered(cluster) == cluster
    arrived = stand.last(cluster)
    assert arrived.header("host") == f"{cluster}.example"
    assert arrived.body.replace(b" ", b"") == (b'{"model":"new"}' if cluster in (CANARY_A, CANARY_B) else b'{"model":"old"}')


def test_without_a_decision_a_pool_shares_by_weight(stand: Scripted) -> None:
    """The stable pool is 3 to 1, each backend under its own host; nobody meets the canary."""
    met = Counter(stand.answered("") for _ in range(200))
    assert set(met) == {STABLE_A, STABLE_B}
    assert 120 < met[STABLE_A] < 180  # 150 expected, five standard deviations of 6.1 either way
    for name in met:
        assert stand.last(name).header("host") == f"{name}.example"


def test_a_runtime_key_withdraws_a_whole_pool(stand: Scripted) -> None:
    """At 0 both backends of the canary fall to stable; decided stable backends stay where they are."""
    with stand.runtime("extproc.chat.canary", 0):
        assert {stand.answered(cluster) for cluster in (CANARY_A, CANARY_B) for _ in range(5)} <= {STABLE_A, STABLE_B}
        assert {stand.answered(STABLE_B) for _ in range(5)} == {STABLE_B}
    assert stand.answered(CANARY_A) == CANARY_A


def test_a_completed_pool_is_the_default(stand: Scripted) -> None:
    """With the runtime key at 100, requests without a decision meet the canary's pool by weight."""
    with stand.runtime("extproc.chat.completed", 100):
        assert {stand.answered("") for _ in range(40)} == {CANARY_A, CANARY_B}
        assert stand.answered(STABLE_A) == STABLE_A


def test_an_unknown_cluster_is_stable(stand: Scripted) -> None:
    """A decision of another configuration's time names a backend that is no more: stable, not an error."""
    assert {stand.answered("gone") for _ in range(5)} <= {STABLE_A, STABLE_B}


# ------------------------------------------------------------------------------------------------------------------------ slots
def test_rollouts_in_slots_share_a_path(stand: Scripted) -> None:
    """Both lead to the same canary; the runtime key of one takes away its own requests alone."""
    first, second = (Decision("third", rollout=name) for name in ("first", "second"))
    assert stand.answered(first, "/slots/x") == stand.answered(second, "/slots/x") == "third"
    for withdrawn, decided, kept in (("first", first, second), ("second", second, first)):
        with stand.runtime(f"extproc.{withdrawn}.canary", 0):
            assert stand.answered(decided, "/slots/x") in (STABLE_A, STABLE_B)
            assert stand.answered(kept, "/slots/x") == "third"


def test_in_slots_stable_is_stable(stand: Scripted) -> None:
    """A decided backend of stable, and no decision at all."""
    assert stand.answered(Decision(STABLE_B, rollout="second"), "/slots/x") == STABLE_B
    assert stand.answered("", "/slots/x") in (STABLE_A, STABLE_B)


# --------------------------------------------------------------------------------------------------------------------- affinity
def test_a_unit_stays_on_its_replica(stand: Scripted) -> None:
    """Ring hash over the digits that the router sends: each unit on one replica, all replicas in use, nothing of it leaves."""
    met = {}
    for number in range(UNITS):
        digits = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"
        decision = Decision("by-unit", rollout="replicas", headers={contract.AFFINITY_HEADER: digits})
        (met[number],) = {stand.answered(decision, "/replicas/x") for _ in range(4)}
        assert contract.AFFINITY_HEADER not in stand.last(met[number]).names
    assert set(met.values()) == {f"replica-{number}" for number in range(4)}


def test_a_conversation_stays_on_its_replica(stand: Scripted) -> None:
    """Maglev over the header that the Spec names, for a model that got no digits; the header does not leave."""
    decision = Decision("by-header", rollout="replicas")
    met = {}
    for number in range(UNITS):
        (met[number],) = {stand.answered(decision, "/replicas/x", x_conversation_id=f"talk-{number}") for _ in range(4)}
        assert "x-conversation-id" not in stand.last(met[number]).names
    assert set(met.values()) == {f"replica-{number}" for number in range(4)}


def test_without_a_key_any_replica_answers(stand: Scripted) -> None:
    """No decision, no digits: the requests are spread."""
    assert len({stand.answered("", "/replicas/x") for _ in range(UNITS)}) == 4


# ---------------------------------------------------------------------------------------------------------------- conversations
def test_a_token_is_handed_out_in_a_header(stand: Scripted) -> None:
    """Where the decision carries one, in either arm; and in no other answer."""
    given = {contract.CONVERSATION_NAMESPACE: {contract.CONVERSATION_FIELD: "1.chat.c.3.sig-_"}}
    for cluster in (CANARY_A, STABLE_A):
        answer = stand.ask(Decision(cluster, metadata=given))
        assert answer.headers.get_list(TOKEN_HEADER) == ["1.chat.c.3.sig-_"]
        assert "set-cookie" not in answer.headers
        assert TOKEN_HEADER not in stand.ask(cluster).headers


def test_a_token_is_handed_out_in_a_cookie(stand: Scripted) -> None:
    """Beside the anonymous cookie, each as the router wrote it; no header then."""
    talk, user = "talk=1.sig; Max-Age=14400; Path=/; HttpOnly", "llm_uid=u; Max-Age=31536000"
    metadata = {
        contract.CONVERSATION_NAMESPACE: {contract.CONVERSATION_COOKIE_FIELD: talk},
        contract.COOKIE_NAMESPACE: {contract.COOKIE_FIELD: user},
    }
    answer = stand.ask(Decision("by-unit", rollout="replicas", metadata=metadata), "/replicas/x")
    assert sorted(answer.headers.get_list("set-cookie")) == sorted([talk, user])
    assert TOKEN_HEADER not in answer.headers


def test_a_token_comes_back_to_the_router_alone(stand: Scripted) -> None:
    """Edge or not, token and conversation id reach the router as the client sent them, and no model."""
    stand.answered(CANARY_A, x_conversation_token="1.token", x_conversation_id="talk-7", cookie="talk=2.token")
    seen = stand.answerer.headers
    assert (seen[TOKEN_HEADER], seen["x-conversation-id"], seen["cookie"]) == ("1.token", "talk-7", "talk=2.token")
    assert not {TOKEN_HEADER, "x-conversation-id", "cookie"} & stand.last(CANARY_A).names


# ---------------------------------------------------------------------------------------------------------- provider-side state
@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "thread_id"])
def test_provider_side_state_is_told_by_a_constant(stand: Scripted, field: str) -> None:
    """Whatever the key holds; the router's message tells that it is there, never what it is."""
    for value in ("resp_123", {"id": "conv_1"}, 7, ["a"]):
        stand.answered(CANARY_A, body={"model": "old", field: value})
        assert stand.answerer.told(contract.REQUEST_NAMESPACE) == {"model": "old", "state": "1"}
    assert b"resp_123" not in stand.answerer.messages[-1].SerializeToString()


def test_two_kinds_of_state_are_one(stand: Scripted) -> None:
    """The message is the same as with one of them."""
    stand.answered(CANARY_A, body={"thread_id": "a", "model": "old", "previous_response_id": "b"})
    assert stand.answerer.told(contract.REQUEST_NAMESPACE) == {"model": "old", "state": "1"}


@pytest.mark.parametrize(
    "more", [b"", b',"a":{"thread_id":"x"}', b',"a":[{"thread_id":"x"}]', b',"thread_id":null,"conversation":""', b',"a":"thread_id"']
)
def test_other_requests_speak_of_no_state(stand: Scripted, more: bytes) -> None:
    """Only a key at the top counts, and only one that says something."""
    stand.answered(CANARY_A, body=b'{"model":"old"' + more + b"}")
    assert stand.answerer.told(contract.REQUEST_NAMESPACE) == {"model": "old"}


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"thread_id":', b'{"a":1}'])
def test_no_body_is_rejected(stand: Scripted, body: bytes) -> None:
    """What is no JSON, or another JSON, goes its way byte for byte, and the router is told nothing."""
    answered_by = stand.answered("", "/threads/x", body=body)
    assert stand.answerer.told(contract.REQUEST_NAMESPACE) == {}
    assert stand.last(answered_by).body == body


@pytest.mark.parametrize(
    ("text", "stated"),
    [(rb"\\", True), (rb"\\\"", True), (rb"\\\\", True), (rb"\\\",", True), (rb"\",", True), (rb"\\\\\", \"thread_id\": ", False)],
)
def test_strings_end_where_json_says(stand: Scripted, text: bytes, stated: bool) -> None:
    """Backslashes before a quote, even and odd in number: the key behind the string is found, one inside of it is not."""
    key = b'"thread_id":"t"' if stated else b'"a":"thread_id"'
    body = b'{"text":"' + text + b'",' + key + b"}"
    assert orjson.loads(body)
    stand.answered("", "/threads/x", body=body)
    assert stand.answerer.told(contract.REQUEST_NAMESPACE) == ({"state": "1"} if stated else {})


def test_long_prompts_are_looked_through(stand: Scripted) -> None:
    """3 MB, with state named at their very end, or only in what somebody wrote; they arrive as they were."""
    text = b'{"text":"' + b'a \\"thread_id\\" ' * 200_000
    for end, told in ((b'"}', {}), (b'","thread_id":"t"}', {"state": "1"})):
        answered_by = stand.answered("", "/threads/x", body=text + end)
        assert stand.answerer.told(contract.REQUEST_NAMESPACE) == told
        assert stand.last(answered_by).body == text + end


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/octet-stream"])
def test_what_is_no_json_is_not_looked_through(stand: Scripted, kind: str) -> None:
    """It streams through, whatever is in it."""
    stand.answered("", "/threads/x", body=b'{"thread_id":"t"}', content_type=kind)
    assert stand.answerer.told(contract.REQUEST_NAMESPACE) == {}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"])
def test_every_kind_of_json_is_looked_through(stand: Scripted, kind: str) -> None:
    """With a charset, in capitals, as a vendor's own type."""
    stand.answered("", "/threads/x", body=b'{"thread_id":"t"}', content_type=kind)
    assert stand.answerer.told(contract.REQUEST_NAMESPACE) == {"state": "1"}


# -------------------------------------------------------------------------------------------------------------------- overrides
def test_a_qa_header_reaches_the_router_alone(stand: Scripted) -> None:
    """At an edge too: it is signed, and no model needs to know of it."""
    stand.answered(CANARY_A, x_canary_qa="canary.1999999999.signature")
    assert stand.answerer.headers[QA_HEADER] == "canary.1999999999.signature"
    assert QA_HEADER not in stand.last(CANARY_A).names


# ----------------------------------------------------------------------------------------------------------------------- doctor
def test_the_doctor_finds_what_was_rendered(stand: Scripted) -> None:
    """Pools, slots, affinity, conversations: Envoy's account of them is recognised."""
    assert stand.drift() == []
