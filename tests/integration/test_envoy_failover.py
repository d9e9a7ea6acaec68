"""`on_canary_failure: stable` on the real Envoy: stable answers for a canary that failed, with its own host, path, key and body."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import orjson
import pytest

from extproc.domain import Arm, Spec
from tests.support.envoy_stand import a_rollout, document
from tests.support.moody import Mood, Moody
from tests.support.scripted import Decision, Scripted, scripted

DEADLINE = 3.0
"""The Spec's latency_p99, seconds: a canary that has not begun to answer by then has failed. So long that one which is well begins by then
on a busy machine too."""
TTFT = 0.1
"""The Spec's ttft."""
BODY = b'{ "seed":9007199254740993,"nested":{"model":"keep"}, "model":"old" ,"text":"\\"model\\" \xc3\xa9"}'
CANARY = Decision("new")
KEYS = {"EXTPROC_TEST_OLD": "sk-old", "EXTPROC_TEST_NEW": "sk-new"}
Models = Mapping[str, Moody]


def spec_document(models: Models) -> dict[str, Any]:
    """`old` is plain but for its key; `new` rewrites everything; two pools fail over to each other."""

    def backend(name: str, weight: float) -> dict[str, Any]:
        return {"cluster": name, "weight": weight, "endpoint": models[name].endpoint, "host_rewrite": f"{name}.example"}

    stable = {"path_rewrite": {"prefix": "/pool", "to": "/p"}, "send_model": "OLD"}
    blocks = {
        "old": {"endpoint": models["old"].endpoint, "credential": {"env": "EXTPROC_TEST_OLD"}, "send_model": "old"},
        "new": {
            "endpoint": models["new"].endpoint,
            "host_rewrite": "new.example",
            "path_rewrite": {"prefix": "/v1", "to": "/deployments/new.1"},
            "credential": {"header": "api-key", "prefix": "", "env": "EXTPROC_TEST_NEW"},
            "send_model": 'new "1" é',
        },
        "old-pool": {"pool": [backend("old-a", 3), backend("old-b", 1)], **stable},
        "new-pool": {"pool": [backend("new-a", 1), backend("new-b", 1)], "send_model": "a-much-longer-name-than-the-other"},
    }
    rollouts = {
        "chat": a_rollout("50%", {"paths": ["/v1/"]}, on_canary_failure="stable"),
        "pools": a_rollout("50%", {"paths": ["/pool/"]}, stable="old-pool", canary="new-pool", on_canary_failure="stable"),
        "plain": a_rollout("50%", {"paths": ["/plain/"]}),
    }
    written = document({"kind": "edge", "set_by": {"x-user-id": "the test"}}, blocks, rollouts)
    written["application"]["sla"] |= {"latency_p99": f"{DEADLINE * 1000:.0f}ms", "ttft": f"{TTFT * 1000:.0f}ms"}
    return written


def plain_stable(given: Spec) -> Spec:
    """Stable leaves bodies as they come: more than `check` allows beside a canary that writes its name, and what Envoy does well."""
    return replace(given, models={**given.models, "old": replace(given.models["old"], send_model=None)})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    models = {name: Moody(name) for name in ("old", "new", "old-a", "old-b", "new-a", "new-b")}
    with scripted(spec_document(models), models, tmp_path_factory.mktemp("failover"), environment=KEYS, change=plain_stable) as made:
        yield made


@pytest.fixture
def stand(shared: Scripted) -> Scripted:
    """Everybody is well before a test, and has been asked nothing."""
    for model in shared.models.values():
        assert isinstance(model, Moody)
        model.mood = Mood.WELL
        model.requests.clear()
    return shared


def feel(stand: Scripted, **moods: Mood) -> None:
    """`new_a` stands for the model new-a."""
    for name, mood in moods.items():
        model = stand.models[name.replace("_", "-")]
        assert isinstance(model, Moody)
        model.mood = mood


def asked(stand: Scripted, *names: str) -> list[int]:
    """How often each model was asked."""
    return [len(stand.models[name].requests) for name in names]


# ----------------------------------------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize("mood", [Mood.FAILS, Mood.DROPS])
def test_stable_answers_for_a_canary_that_fails(stand: Scripted, mood: Mood) -> None:
    """A 503 and a connection that ends without an answer: one attempt each, and the client sees an answer."""
    feel(stand, new=mood)
    assert stand.answered(CANARY) == "old"
    assert asked(stand, "new", "old") == [1, 1]


def test_stable_answers_for_a_canary_that_hangs(stand: Scripted) -> None:
    """At the age at which the Spec calls a request failed, not at that of a first token: a whole answer may take that long."""
    hanging = stand.models["new"]
    assert isinstance(hanging, Moody)
    hanging.patience = TTFT * 3
    feel(stand, new=Mood.HANGS)
    assert stand.answered(CANARY) == "new"
    hanging.patience = DEADLINE * 4
    begun = time.monotonic()
    assert stand.answered(CANARY) == "old"
    assert DEADLINE * 0.9 < time.monotonic() - begun < DEADLINE * 4
    assert asked(stand, "new", "old") == [2, 1]


def test_stable_answers_for_a_canary_that_is_gone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody listens where it was."""
    models = {name: Moody(name) for name in ("old", "new", "old-a", "old-b", "new-a", "new-b")}
    written = spec_document(models)
    with scripted(written, models, tmp_path_factory.mktemp("gone"), environment=KEYS, change=plain_stable) as stand:
        models["new"].close()
        models["new"].close = lambda: None  # type: ignore[method-assign] - it is closed
        assert [stand.answered(CANARY) for _ in range(5)] == ["old"] * 5


@pytest.mark.parametrize(("mood", "status"), [(Mood.THROTTLES, 429), (Mood.REFUSES, 400)])
def test_what_is_no_fault_of_the_canary_is_answered_by_it(stand: Scripted, mood: Mood, status: int) -> None:
    """Throttling and wrong requests: stable is not asked."""
    feel(stand, new=mood)
    assert stand.ask(CANARY).status_code == status
    assert asked(stand, "new", "old") == [1, 0]


def test_nothing_is_asked_twice_after_the_first_byte(stand: Scripted) -> None:
    """An answer that breaks off is the client's to see: half of it has left."""
    feel(stand, new=Mood.BREAKS)
    stand.answerer.decision = CANARY
    with pytest.raises(Exception, match=r"(?i)peer closed|incomplete|body"):
        stand.client.post("/v1/chat", content=BODY, headers={"content-type": "application/json"})
    assert asked(stand, "new", "old") == [1, 0]


def test_if_both_fail_the_client_hears_it(stand: Scripted) -> None:
    """Stable's failure, after one attempt each."""
    feel(stand, new=Mood.FAILS, old=Mood.FAILS)
    assert stand.ask(CANARY).status_code == 503
    assert asked(stand, "new", "old") == [1, 1]


def test_stable_does_not_fail_over_to_the_canary(stand: Scripted) -> None:
    """Decided or not, a failure of stable is answered as it is, and nobody is put on the canary by it."""
    feel(stand, old=Mood.FAILS)
    for decision in ("old", ""):
        assert stand.ask(decision).status_code == 503
    assert asked(stand, "new", "old") == [0, 2]


def test_many_failures_at_once_are_all_answered(stand: Scripted) -> None:
    """Envoy's default allows three second attempts at a time."""
    feel(stand, new=Mood.FAILS, old=Mood.WELL)
    before = stand.stat("upstream_rq_retry_overflow")
    assert Counter(_together(stand, 30)) == {"old": 30}
    assert stand.stat("upstream_rq_retry_overflow") == before


def _together(stand: Scripted, number: int) -> list[str]:
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: stand.answered(CANARY), range(number)))


# -------------------------------------------------------------------------------------------------------------------- each arm's
def test_each_arm_gets_its_own_host_path_key_and_body(stand: Scripted) -> None:
    """What was written for the canary is not in the second attempt: stable gets the request as the client sent it, and its own key."""
    feel(stand, new=Mood.FAILS)
    assert stand.answered(CANARY, "/v1/chat?n=1", BODY, authorization="Bearer of-the-client", host="llm.example") == "old"
    new, old = stand.last("new"), stand.last("old")
    assert (new.header("host"), new.path) == ("new.example", "/deployments/new.1/chat?n=1")
    assert (old.header("host"), old.path) == ("llm.example", "/v1/chat?n=1")
    assert new.body == BODY.replace(b'"model":"old"', '"model":"new \\"1\\" é"'.encode())
    assert old.body == BODY
    for arrived in (new, old):
        assert arrived.header("content-length") == str(len(arrived.body))
    assert (new.header("api-key"), new.header("authorization")) == ("sk-new", None)
    assert (old.header("api-key"), old.header("authorization")) == (None, "Bearer sk-old")
    assert not {"x-llm-cluster", "x-user-id", "cookie", "x-envoy-original-path", "x-envoy-attempt-count"} & (new.names | old.names)


def test_both_arms_of_two_pools_are_written_for(stand: Scripted) -> None:
    """The decided backend first, then stable's pool by weight; both arms rewrite, each from what the client sent."""
    feel(stand, new_b=Mood.FAILS)
    decision = Decision("new-b", rollout="pools")
    met = Counter(stand.answered(decision, "/pool/chat", BODY) for _ in range(80))
    assert set(met) == {"old-a", "old-b"}
    assert met["old-a"] > met["old-b"]  # 60 and 20 expected, 5 standard deviations apart
    assert asked(stand, "new-a", "new-b") == [0, 80]
    for name in ("new-b", "old-a", "old-b"):
        arrived = stand.last(name)
        path, model = ("/pool/chat", b'"a-much-longer-name-than-the-other"') if name == "new-b" else ("/p/chat", b'"OLD"')
        assert (arrived.header("host"), arrived.path) == (f"{name}.example", path)
        assert arrived.body == BODY.replace(b'"model":"old"', b'"model":' + model)


@pytest.mark.parametrize("mood", [Mood.WELL, Mood.FAILS])
def test_a_long_prompt_without_a_length_reaches_both(stand: Scripted, mood: Mood) -> None:
    """3 MB in chunks: held for the second attempt, written for each arm."""
    feel(stand, new=mood)
    stand.answerer.decision = CANARY
    parts = [b'{"model":"old","text":"', *(b"x" * 500_000 for _ in range(6)), b'"}']
    answer = stand.client.post("/v1/chat", content=iter(parts), headers={"content-type": "application/json"})
    assert answer.json()["model"] == ("old" if mood is Mood.FAILS else "new")
    assert stand.last("new").body == b"".join(parts).replace(b'"old"', '"new \\"1\\" é"'.encode())
    if mood is Mood.FAILS:
        assert stand.last("old").body == b"".join(parts)


def test_a_request_without_a_body_fails_over(stand: Scripted) -> None:
    """GET, with nothing to hold and nothing to write."""
    feel(stand, new=Mood.FAILS)
    stand.answerer.decision = CANARY
    assert stand.client.get("/v1/models").json()["model"] == "old"
    assert (stand.last("new").path, stand.last("old").path) == ("/deployments/new.1/models", "/v1/models")


def test_other_routes_to_these_models_are_written_for_too(stand: Scripted) -> None:
    """Stable by decision, and another rollout of the same models without fail-over."""
    for decision, path, model, sent in (
        ("old", "/v1/chat", "old", "/v1/chat"),
        (Decision("new", rollout="plain"), "/plain/chat", "new", "/plain/chat"),
        (CANARY, "/v1/chat", "new", "/deployments/new.1/chat"),
    ):
        assert stand.answered(decision, path, BODY) == model
        assert stand.last(model).path == sent
        assert orjson.loads(stand.last(model).body)["model"] == ("old" if model == "old" else 'new "1" é')


def test_a_rollout_that_answers_its_failures_itself_does(stand: Scripted) -> None:
    """Beside one that does not, with the same models."""
    feel(stand, new=Mood.FAILS)
    assert stand.ask(Decision("new", rollout="plain"), "/plain/chat").status_code == 503
    assert asked(stand, "new", "old") == [1, 0]


def test_a_completed_canary_has_stable_behind_it(stand: Scripted) -> None:
    """Also where it is Envoy's default for requests without a decision."""
    with stand.runtime("extproc.chat.completed", 100):
        assert stand.answered("") == "new"
        feel(stand, new=Mood.FAILS)
        assert stand.answered("") == "old"


def test_a_withdrawn_canary_is_not_asked(stand: Scripted) -> None:
    """The runtime key still is a rollback."""
    with stand.runtime("extproc.chat.canary", 0):
        assert stand.answered(CANARY) == "old"
    assert asked(stand, "new", "old") == [0, 1]


# --------------------------------------------------------------------------------------------------------------------- evidence
@pytest.mark.parametrize("mood", [Mood.WELL, Mood.FAILS, Mood.HANGS])
def test_it_still_is_the_canarys_failure(stand: Scripted, mood: Mood) -> None:
    """The client got 200 from stable; the access log tells of two attempts, and the outcome counts against the canary's arm."""
    hanging = stand.models["new"]
    assert isinstance(hanging, Moody)
    hanging.patience = DEADLINE * 2
    feel(stand, new=mood)
    answered_by = stand.answered(CANARY)
    request_id = stand.last(answered_by).header("x-request-id")
    assert request_id is not None
    outcome = stand.answerer.outcome(request_id)
    assert (outcome.rollout, outcome.arm, outcome.status) == ("chat", Arm.CANARY, 200)
    assert outcome.answered_by == answered_by
    assert (outcome.attempts, outcome.failed) == ((1, False) if mood is Mood.WELL else (2, True))


def test_the_doctor_finds_what_was_rendered(stand: Scripted) -> None:
    """Two arms behind one route, and what their clusters write."""
    assert stand.drift() == []
