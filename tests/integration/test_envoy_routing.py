"""What the rendered configuration promises, on the real Envoy with a real router: who meets which model, and who cannot cheat."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import orjson
import pytest

from extproc.render import Profile
from tests.support.envoy_stand import ADDRESSES, OLD_ENVOY, PAUSE, Stand, routing_stand, user_on

BIG = 2**53 + 1
BODY = b'{ "seed":%d,\n "nested":{"model":"keep"}, "model":"old" , "text":"\\"model\\":\\"x\\" \xc3\xa9"}' % BIG
"""A body that no JSON writer would write again: odd spaces, a number that a double cannot hold, `model` in other places."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with routing_stand(tmp_path_factory.mktemp("full"), Profile.FULL) as stand:
        yield stand


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with routing_stand(tmp_path_factory.mktemp("core"), Profile.CORE, OLD_ENVOY) as stand:
        yield stand


@pytest.fixture(scope="module", params=["full", "core"])
def stand(request: pytest.FixtureRequest) -> Stand:
    """The full profile on the present Envoy, and the core profile on the oldest one that it promises."""
    found: Stand = request.getfixturevalue(request.param)
    return found


# ------------------------------------------------------------------------------------------------------------------- decisions
def test_a_user_meets_one_model_again_and_again(stand: Stand) -> None:
    """At 50 % both models answer, and each user always gets the same one, on every path of the rollout."""
    met = {f"user-{number}": stand.answered(x_user_id=f"user-{number}") for number in range(40)}
    assert set(met.values()) == {"old", "new"}
    for user, model in met.items():
        assert stand.answered("/v2/chat", {"model": "older"}, x_user_id=user) == model


def test_slashes_and_dots_do_not_hide_a_path(stand: Stand) -> None:
    """Envoy and the router match the same, normalised path."""
    user = user_on(stand, "new")
    for path in ("/v1//chat", "/v9/%2e%2e/v1/chat", "/v1/%2e/chat?x=/../y"):
        assert stand.answered(path, x_user_id=user) == "new"
        assert stand.last("new").path.startswith("/v1/chat")


def test_a_country_comes_from_the_clients_address(full: Stand) -> None:
    """The geoip filter looks up the address that the trusted proxy in front wrote; only Germany is in the cohort."""
    for country, address in ADDRESSES.items():
        expected = "new" if country == "DE" else "old"
        assert full.answered("/geo/chat", x_user_id="anyone", x_forwarded_for=address) == expected, country


def test_without_geoip_a_country_cohort_is_empty(core: Stand) -> None:
    """The core profile has no geoip, and says so: nobody is in the cohort, whatever the client's address or header says."""
    for address in ADDRESSES.values():
        assert core.answered("/geo/chat", x_user_id="anyone", x_forwarded_for=address, x_geo_country="DE") == "old"


def test_a_host_and_its_port_choose_a_rollout(stand: Stand) -> None:
    """Host names match exactly, whatever their case and port; others do not."""
    for host in ("llm.example", "LLM.example:8443"):
        assert stand.answered("/host/chat", x_user_id="anyone", host=host) == "new"
    for host in ("llmxexample", "llm.example.evil", "evil.llm.example"):
        assert stand.ask("/host/chat", x_user_id="anyone", host=host).status_code == 404


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/json;charset=UTF-8", "application/vnd.api+json", ""])
def test_the_model_is_read_from_every_json_body(stand: Stand, kind: str) -> None:
    """With a charset, as a vendor's own JSON type, and where the client names no type at all."""
    assert stand.answered(x_user_id=user_on(stand, "old"), content_type=kind) == "old"


def test_another_model_has_its_own_rollout(stand: Stand) -> None:
    """Two rollouts share a path and are told apart by the model in the body."""
    assert stand.answered(body={"model": "other"}, x_user_id=user_on(stand, "old")) == "other-new"


def test_what_matches_no_rollout_gets_an_explanation(stand: Stand) -> None:
    """Another path, another model, no model, no JSON: 404 with a reason, not somebody else's model."""
    for path, body in (("/v9/chat", b'{"model":"old"}'), ("/v1/chat", b'{"model":"third"}'), ("/v1/chat", b"{}"), ("/v1/chat", b"no json")):
        answer = stand.ask(path, body, x_user_id="anyone")
        assert answer.status_code == 404, (path, body)
        assert answer.headers["content-type"] == "application/json"
        assert "no rollout matches" in answer.json()["error"]["message"]
    assert stand.client.get("/v1/models").status_code == 404


def test_health_needs_neither_router_nor_model(stand: Stand) -> None:
    """Envoy answers for itself, without asking for a decision."""
    before = stand.stat("ext_proc.streams_started")
    assert stand.client.get("/extproc/healthz").text == "ok"
    assert stand.stat("ext_proc.streams_started") == before


# -------------------------------------------------------------------------------------------------------------------- spoofing
@pytest.mark.parametrize("cluster", ["new", "other", "extproc_router"])
def test_a_client_cannot_choose_its_model(stand: Stand, cluster: str) -> None:
    """x-llm-cluster from outside changes nothing, decided or not."""
    user = user_on(stand, "old")
    assert stand.answered(x_user_id=user, x_llm_cluster=cluster) == "old"
    assert stand.answered("/geo/chat", x_user_id=user, x_llm_cluster=cluster, x_forwarded_for=ADDRESSES["US"]) == "old"
    assert stand.ask("/v1/chat", {"model": "third"}, x_user_id=user, x_llm_cluster=cluster).status_code == 404


def test_a_client_cannot_choose_its_country(stand: Stand) -> None:
    """x-geo-country from outside is removed, where the address has a country and where it has none."""
    for address in (ADDRESSES["US"], "203.0.113.9"):
        assert stand.answered("/geo/chat", x_user_id="anyone", x_forwarded_for=address, x_geo_country="DE") == "old"


def test_a_client_cannot_forge_its_address(stand: Stand) -> None:
    """Only the entry of the trusted hop counts: what a client wrote before it does not."""
    forged = f"{ADDRESSES['DE']}, {ADDRESSES['US']}"
    assert stand.answered("/geo/chat", x_user_id="anyone", x_forwarded_for=forged) == "old"


def test_a_client_cannot_choose_its_tier(stand: Stand) -> None:
    """x-user-tier is set by nobody in front, so it is removed."""
    assert stand.answered("/tier/chat", x_user_id="anyone", x_user_tier="internal") == "old"


def test_a_client_cannot_reach_the_metadata(stand: Stand) -> None:
    """The requested model is read from the body; a header that is named like it is only a header."""
    answer = stand.ask("/v1/chat", {"model": "third"}, **{"x_user_id": "anyone", "extproc.request.model": "old", "model": "old"})
    assert answer.status_code == 404


# ---------------------------------------------------------------------------------------------------------------------- bodies
def test_stable_bodies_arrive_byte_for_byte(stand: Stand) -> None:
    """No filter writes JSON again: spaces, order and large numbers stay."""
    assert stand.answered(body=BODY, x_user_id=user_on(stand, "old")) == "old"
    assert stand.last("old").body == BODY
    assert stand.last("old").header("content-length") == str(len(BODY))


def test_the_canary_gets_its_own_name_in_the_body(stand: Stand) -> None:
    """send_model replaces the top-level `model`, whatever characters are in it, and nothing else of meaning."""
    assert stand.answered(body=BODY, x_user_id=user_on(stand, "new")) == "new"
    sent, got = orjson.loads(BODY), orjson.loads(stand.last("new").body)
    assert got.pop("model") == 'new "100%" é'
    for key in ("nested", "text"):
        assert got[key] == sent[key]


def test_the_core_profile_changes_only_the_models_name(core: Stand) -> None:
    """Its script cuts the name out of the bytes, so that a number which a double cannot hold survives as well."""
    core.answered(body=BODY, x_user_id=user_on(core, "new"))
    assert core.last("new").body == BODY.replace(b'"model":"old"', '"model":"new \\"100%\\" é"'.encode())


def test_long_prompts_pass(stand: Stand) -> None:
    """3 MB, more than Envoy's own limit of 1 MiB, reach stable and canary."""
    body = b'{"model":"old","text":"' + b"x" * 3_000_000 + b'"}'
    for model in ("old", "new"):
        assert stand.answered(body=body, x_user_id=user_on(stand, model)) == model
        assert len(stand.last(model).body) > 3_000_000


def test_answers_stream_through(stand: Stand) -> None:
    """The first event of an SSE answer is there long before the last: no filter holds an answer."""
    for model in ("old", "new"):
        started = time.monotonic()
        content = b'{"model":"old","stream":true,"long":true}'  # so that a machine that stands still for a moment changes nothing
        headers = {"x-user-id": user_on(stand, model), "content-type": "application/json"}
        with stand.client.stream("POST", "/v1/chat", content=content, headers=headers) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            arrived = [(time.monotonic() - started, chunk) for chunk in answer.iter_raw()]
        assert b"".join(chunk for _, chunk in arrived).endswith(b"data: [DONE]\n\n")
        assert arrived[-1][0] - arrived[0][0] > 2 * PAUSE


# ---------------------------------------------------------------------------------------------------------------------- cookie
def test_the_anonymous_get_one_cookie_and_stay(stand: Stand) -> None:
    """The first answer sets the cookie, in both arms; with it the user stays there, and no second cookie is set."""
    first_met = set()
    for _ in range(12):
        stand.client.cookies.clear()
        first = stand.ask()
        stand.client.cookies.clear()
        (cookie,) = first.headers.get_list("set-cookie")
        found = re.fullmatch(r"llm_uid=([0-9a-f-]{36}); Max-Age=31536000; Path=/; HttpOnly; Secure; SameSite=Lax", cookie)
        assert found, cookie
        first_met.add(first.json()["model"])
        for _ in range(2):
            again = stand.ask(cookie=f"theme=dark; llm_uid={found[1]}")
            assert again.json()["model"] == first.json()["model"]
            assert "set-cookie" not in again.headers
    assert first_met == {"old", "new"}


def test_the_known_get_no_cookie(stand: Stand) -> None:
    """A user id or an API key is enough."""
    assert "set-cookie" not in stand.ask(x_user_id="someone").headers
    assert "set-cookie" not in stand.ask(authorization="Bearer sk-client").headers
