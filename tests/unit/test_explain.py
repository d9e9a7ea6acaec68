"""explain: what a person is told about one request, in words and as JSON."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from extproc import spec as spec_room
from extproc import wire
from extproc.assign import Secrets, assign, derive, prepare, sign_qa
from extproc.assign.explain import UNKNOWN, Explainer
from extproc.assign.question import Question, understood
from extproc.cli import app, explain
from extproc.cli.explained import explained_picture
from extproc.controller.explaining import explained, read, written
from extproc.domain import RING, Arm, Heartbeat, RolloutState, Spec, State, Status
from extproc.errors import ExtprocError
from extproc.store import open_store

NOW = 1_795_000_000.0
SECRET = b"a secret of the tests"
KEY = b"k" * 32
TEXT = """
version: 1
application:
  name: chat
  type: chatbot
  daily_requests: 2000000
  daily_units: 50000
  sla: {latency_p99: 8s, ttft: 2s, uptime: 99.9%}
  infrastructure: vm
listener: {kind: internal, jwt: {issuer: https://login.example, jwks_file: /etc/jwks.json}}
models:
  old: {pool: [{cluster: old-a, weight: 3}, {cluster: old-b}]}
  new: {affinity: {policy: maglev}, endpoint: {host: c.example, port: 80}}
  third: {endpoint: {host: d.example, port: 80}}
layers: {model: {slots: {a: 60%, b: 30%}}}
rollouts:
  new:
    match: {paths: [/v1/], models: [m]}
    slot: a
    stable: old
    canary: new
    unit: user
    holdback: 5%
    conversation: {lifetime: 4h}
    overrides:
      qa: {secret: {env: EXPLAIN_TEST_SECRET}}
      stable: [vip-0, vip-1, vip-2, vip-3]
      canary: [tester-0, tester-1, tester-2, tester-3]
    cohorts:
      - {name: staff, tier: [internal], share: 60%}
      - {name: pilots, claim: {realm.roles: pilot}, exclude: {country: [CH]}}
      - {name: europe, country: [DE], from: 25%}
      - {name: everyone, not: {tier: [none]}}
    phases: [{share: 1%}, {share: 5%}, {share: 25%}, {share: 50%}, {share: 100%}]
  third:
    match: {paths: [/v1/]}
    slot: b
    stable: old
    canary: third
    unit: user
    cohorts: [{name: everyone}]
    phases: [{share: 10%}, {share: 100%}]
"""
SPEC = spec_room.load(TEXT)
PREPARED = prepare(SPEC, Secrets(KEY, {"new": SECRET}))


def state_at(phase: int, status: Status = Status.PROGRESSING, **changes: Any) -> State:
    rollout = RolloutState(status, phase, 0.0, 5, 1, "test", "", **changes)
    return State(7, SPEC.digest, {"new": rollout, "third": RolloutState(Status.PROGRESSING, 0, 0.0, 5, 1, "test", "")})


def told(
    state: State,
    headers: Mapping[str, str],
    withdrawn: tuple[str, ...] = (),
    verifies: bool = True,
    prepared: Any = PREPARED,
    **question: Any,
) -> dict[str, Any]:
    """The explanation of the layer that has the rollouts, as JSON."""
    asked = Question(headers, **question)
    document: dict[str, Any] = orjson.loads(orjson.dumps(explained(prepared, state, asked, NOW, "drawn-id", withdrawn, verifies)))
    return document


def taken(*arguments: Any, **more: Any) -> dict[str, Any]:
    (layer,) = told(*arguments, **more)["layers"]
    found: dict[str, Any] = layer["taken"]
    assert found["rollout"] == "new"
    return found


def standing_in(low: float, high: float, name: str = "u{}") -> str:
    """A user in slot a who stands in this part of the ring of `new`."""
    for number in range(10_000):
        (layer,) = told(state_at(0), {"x-user-id": name.format(number)})["layers"]
        found = layer["taken"]
        if found is not None and found["rollout"] == "new" and low <= found["position"] < high:
            return name.format(number)
    raise AssertionError("nobody stands there")


EARLY, MIDDLE = standing_in(0.012, 0.045), standing_in(0.3, 0.45)
LATE, LAST = standing_in(0.65, 0.74), standing_in(0.96, 1.0)
VIP, TESTER = standing_in(0, 1, "vip-{}"), standing_in(0, 1, "tester-{}")


# -------------------------------------------------------------------------------------------------------------------- cohorts
def test_cohorts_are_told_in_the_order_written() -> None:
    """With what each looks at and what the request says of it; after the first that matches none is asked."""
    found = taken(state_at(2), {"x-user-id": MIDDLE, "x-geo-country": "DE"}, claims={"realm.roles": ("a", "b")})
    assert [(one["name"], one["met"]) for one in found["cohorts"]] == [
        ("staff", "no_match"),
        ("pilots", "no_match"),
        ("europe", "decides"),
        ("everyone", "not_reached"),
    ]
    staff, pilots, europe, _ = found["cohorts"]
    assert (staff["who"], staff["reads"]) == ("header x-user-tier is internal", [{"fact": "header x-user-tier", "value": ""}])
    assert pilots["exclude"] == "header x-geo-country is CH"
    assert pilots["reads"][0] == {"fact": "claim realm.roles", "value": "a, b"}
    assert (europe["share"], europe["canary_below"], europe["control_from"]) == (0.25, RING // 4, RING - RING // 4)
    assert (found["cohort"], found["reason"], found["evidence"]) == ("europe", "ring", True)
    assert found["position"] == found["point"] / RING
    assert found["sentence"].endswith("above the 25% of cohort europe that meet the canary")


def test_a_cohort_before_its_phase() -> None:
    """Its requests stay on stable, and it is told from when it takes part."""
    found = taken(state_at(1), {"x-user-id": MIDDLE, "x-geo-country": "DE"})
    assert (found["reason"], found["sentence"]) == ("not_yet", "cohort europe takes part from phase 25% on")
    assert (found["cohorts"][2]["standing"], found["cohorts"][2]["share"]) == ("not_yet", 0.0)
    assert found["entry"]["phase"] == "50%"
    assert not found["evidence"]


def test_who_is_excluded() -> None:
    """By which cohort and by what."""
    found = taken(state_at(4), {"x-user-id": EARLY, "x-geo-country": "CH"}, claims={"realm.roles": ("pilot",)})
    assert (found["reason"], found["cohorts"][1]["met"]) == ("excluded", "excludes")
    assert found["sentence"] == "cohort pilots excludes it: header x-geo-country is CH"
    assert found["entry"]["sentence"] == "never: cohort pilots excludes it"


def test_a_cohort_that_was_rolled_back_by_itself() -> None:
    """It is out in this attempt, completion included."""
    found = taken(state_at(3, cohorts_out=("everyone",)), {"x-user-id": EARLY})
    assert (found["reason"], found["sentence"]) == ("cohort_out", "cohort everyone was rolled back by itself")
    assert found["entry"]["sentence"] == "never: its cohort everyone was rolled back by itself, and stays there until another attempt"
    again = taken(state_at(3, Status.ROLLED_BACK, cohorts_out=("everyone",)), {"x-user-id": EARLY})
    assert again["entry"]["phase"] == "5%", "another attempt begins with all of them"


def test_who_matches_no_cohort() -> None:
    """Stable, until the canary is the default."""
    found = taken(state_at(4), {"x-user-id": EARLY, "x-user-tier": "none"})
    assert (found["reason"], found["sentence"], found["cohort"], found["point"]) == ("no_cohort", "no cohort matches", "", None)
    assert found["entry"]["sentence"] == "not before the rollout is completed: no cohort matches it"
    after = taken(state_at(4, Status.COMPLETED), {"x-user-id": EARLY, "x-user-tier": "none"})
    assert (after["arm"], after["entry"]["when"]) == ("canary", "since")


# ----------------------------------------------------------------------------------------------------------------------- ramp
@pytest.mark.parametrize(
    ("who", "phase", "when", "sentence"),
    [
        (EARLY, 0, "phase", "it enters at phase 5%, when 5% of cohort everyone meet the canary"),
        (EARLY, 1, "since", "it belongs to the canary since phase 5% (cohort everyone, 5%)"),
        (EARLY, 3, "since", "it belongs to the canary since phase 5% (cohort everyone, 5%)"),
        (MIDDLE, 2, "phase", "it enters at phase 50%, when 50% of cohort everyone meet the canary"),
        (LATE, 3, "phase", "it enters at phase 100%, when 100% of cohort everyone meet the canary"),
        (LAST, 3, "never", "never: it is in the holdback, the 5% that stay on stable for comparison"),
    ],
)
def test_when_a_user_enters(who: str, phase: int, when: str, sentence: str) -> None:
    """The first phase whose share covers the point; the control waits until 100 %, the holdback for ever."""
    entry = taken(state_at(phase), {"x-user-id": who})["entry"]
    assert (entry["when"], entry["sentence"]) == (when, sentence)


def test_when_a_user_enters_where_nothing_is_exposed() -> None:
    """Of a rollout that waits, was rolled back, or is not known to State yet."""
    waits = taken(state_at(0, Status.PENDING), {"x-user-id": EARLY})
    assert (waits["reason"], waits["sentence"]) == ("not_exposed", "the rollout is pending: everybody meets stable")
    assert waits["entry"]["sentence"].startswith("once the rollout is started, it enters at phase 5%")
    back = taken(state_at(3, Status.ROLLED_BACK), {"x-user-id": EARLY})["entry"]["sentence"]
    assert back.startswith("the rollout is rolled back; another attempt would reach it at phase 5%")
    unknown = taken(State(7, SPEC.digest, {}), {"x-user-id": EARLY})
    assert (unknown["status"], unknown["reason"]) == (UNKNOWN.status, "not_exposed")


def test_a_cohort_with_a_share_of_its_own_may_wait_for_completion() -> None:
    """Staff have 60 % at every phase: who stands above that enters when the rollout is completed."""
    entry = taken(state_at(4), {"x-user-id": LATE, "x-user-tier": "internal"})["entry"]
    assert entry["sentence"] == "not before the rollout is completed: its cohort staff ends at 60%"


def test_completed() -> None:
    """The canary is the default, but for the holdback."""
    everybody = taken(state_at(4, Status.COMPLETED), {"x-user-id": LATE})
    assert (everybody["arm"], everybody["sentence"]) == ("canary", "the rollout is completed: the canary is the default")
    held = taken(state_at(4, Status.COMPLETED), {"x-user-id": LAST})
    assert held["sentence"] == "the rollout is completed, and this unit is in the holdback: the 5% that stay on stable"
    assert held["entry"]["when"] == "never"


def test_withdrawn() -> None:
    """Nobody watches: stable for everyone, and it is said loudly."""
    document = told(state_at(3), {"x-user-id": EARLY}, withdrawn=("new",))
    found = document["layers"][0]["taken"]
    assert (found["reason"], found["arm"]) == ("withdrawn", "rest")
    assert "withdrawn now" in shown(document)


# ----------------------------------------------------------------------------------------------------------- units and layers
def test_an_api_key_is_not_repeated() -> None:
    """Its hash is the unit; the key itself is nowhere in the answer, nor is anything of the headers that no cohort reads."""
    document = told(state_at(1), {"authorization": "Bearer sk-very-secret", "x-canary-qa": "arm=canary;exp=1;sig=00ff"})
    unit = (document["layers"][0]["taken"])["unit"]
    assert unit["source"] == "API key in header authorization, hashed"
    assert unit["tried"] == ["header x-user-id"]
    assert len(unit["id"]) == 64
    for secret in (b"sk-very-secret", b"00ff"):
        assert secret not in orjson.dumps(document)


def test_an_anonymous_request() -> None:
    """Its own id is the unit, and Envoy gives it a cookie with that."""
    found = taken(state_at(1), {"x-request-id": EARLY})
    unit = found["unit"]
    assert (unit["id"], unit["durable"], unit["source"]) == (EARLY, False, "the request's own x-request-id")
    cookies = [one["value"] for one in found["effects"] if one["on"] == "response" and one["name"] == "set-cookie"]
    assert cookies == [f"llm_uid={EARLY}; Max-Age=31536000; Path=/; HttpOnly; Secure; SameSite=Lax"]


def test_nobody_at_all() -> None:
    """Neither an id nor an x-request-id: stable, and no cohort is asked."""
    snapshot = derive(PREPARED, state_at(4), wire.encode_reply)
    explainer = Explainer(PREPARED, snapshot, state_at(4), lambda _: (), True)
    subject = {":path": b"/v1/", "extproc.request.model": b"m"}
    (layer,) = explainer.explain(subject, b"", NOW).layers
    assert layer.taken is not None
    assert (layer.taken.reason, layer.taken.unit.id, layer.taken.point) == ("no_unit", "", None)
    assert {one.met for one in layer.taken.cohorts} == {"not_reached"}
    assert layer.taken.entry.sentence == "not before the rollout is completed: no unit at every phase"


def test_what_no_rollout_is_about() -> None:
    """It keeps its own route, and each rollout says why."""
    (layer,) = told(state_at(1), {"x-user-id": "u1"}, path="/health")["layers"]
    assert layer["taken"] is None
    first, second = (one["sentence"] for one in layer["rollouts"])
    assert first.startswith("is about requests whose path starts with /v1/, and here it is /health")
    assert second == "is about requests whose path starts with /v1/, and here it is /health"


def test_another_slot() -> None:
    """Where the unit stands on the layer's own ring, and which slot that is."""
    for number in range(100):
        (layer,) = told(state_at(1), {"x-user-id": f"s{number}"})["layers"]
        if layer["taken"] is not None and layer["taken"]["rollout"] == "third":
            break
    first, second = layer["rollouts"]
    assert (first["considered"], second["considered"]) == ("other_slot", "taken")
    assert first["sentence"].startswith("has slot a, 0% to 60% of the layer's units; this one stands at ")
    assert second["slot"]["begin"] <= second["slot"]["point"] < second["slot"]["end"]
    mine = told(state_at(1), {"x-user-id": EARLY})["layers"][0]["rollouts"][1]
    assert (mine["considered"], mine["sentence"]) == ("not_asked", "a rollout before it has the request")


def test_a_pool_and_an_affinity_header() -> None:
    """Every member with its share; the unit's keyed hash is not shown, only that it is sent."""
    stable = taken(state_at(0), {"x-user-id": LATE})
    assert [(one["cluster"], one["share"]) for one in stable["pool"]] == [("old-a", 0.75), ("old-b", 0.25)]
    assert [one["cluster"] for one in stable["pool"] if one["chosen"]] == [stable["cluster"]]
    canary = taken(state_at(4), {"x-user-id": EARLY})
    assert canary["pool"] == []
    sent = {one["name"]: one["value"] for one in canary["effects"] if one["on"] == "request"}
    assert sent == {"x-llm-cluster": "new", "x-llm-affinity": "the unit's keyed hash"}


# ------------------------------------------------------------------------------------------------------------ tokens, by hand
def token(headers: Mapping[str, str], phase: int, now: float = NOW) -> str:
    """The conversation's token that this request is given at a phase."""
    snapshot = derive(PREPARED, state_at(phase), wire.encode_reply)
    asked = understood(SPEC, snapshot.needed_headers, Question(headers), "r")
    answer = assign(snapshot.layers[0], asked.subject, asked.request_id, now)
    assert answer is not None
    assert answer.note is not None
    return answer.note.token.decode()


def test_a_token_keeps_a_conversation() -> None:
    """What keeps it, what the ring would say, and that no other token is handed out."""
    headers = {"x-user-id": MIDDLE}
    held = token(headers, 2)
    found = taken(state_at(3), headers | {"x-conversation-token": held})
    assert (found["reason"], found["model"]) == ("pinned", "old")
    assert found["sentence"] == "a valid token keeps this conversation on old"
    assert found["otherwise"] == "without that: new, canary of cohort everyone (ring)"
    assert found["conversation"]["fate"] == "valid"
    assert not found["conversation"]["issued"]
    assert found["entry"]["when"] == "since", "on the ring it belongs to the canary"
    agreed = taken(state_at(2), headers | {"x-conversation-token": held})
    assert (agreed["reason"], agreed["conversation"]["sentence"]) == ("ring", "the token that came is good, and what it says is so anyway")


@pytest.mark.parametrize(
    ("given", "epoch", "fate"),
    [("1.x", 0, "forged"), ("", 0, "none"), ("mine", 1, "revoked"), ("old", 0, "expired"), ("another's", 0, "foreign")],
)
def test_a_token_that_does_not_count(given: str, epoch: int, fate: str) -> None:
    """Why, and that a new one is handed out; the token itself is never shown."""
    headers = {"x-user-id": MIDDLE}
    made = {"mine": token(headers, 2), "old": token(headers, 2, NOW - 20_000), "another's": token({"x-user-id": EARLY}, 2)}
    brought = made.get(given, given)
    document = told(state_at(2, epoch=epoch), headers | ({"x-conversation-token": brought} if brought else {}))
    conversation = document["layers"][0]["taken"]["conversation"]
    assert (conversation["fate"], conversation["issued"]) == (fate, True)
    assert conversation["sentence"].endswith("; a new one is handed out, good for 4 h")
    effects = document["layers"][0]["taken"]["effects"]
    assert {"on": "response", "name": "x-conversation-token", "value": "a signed token"} in effects
    assert b'"1.' not in orjson.dumps(effects)


def test_without_the_key_a_token_is_not_looked_at() -> None:
    """And nothing is claimed about it."""
    found = taken(state_at(2), {"x-user-id": MIDDLE, "x-conversation-token": token({"x-user-id": MIDDLE}, 2)}, verifies=False)
    assert (found["conversation"]["fate"], found["conversation"]["issued"]) == ("unchecked", False)
    assert "not here" in found["conversation"]["sentence"]


def test_a_qa_header() -> None:
    """Valid, forged, expired, and not looked at where its secret is not here."""

    def signed(secret: bytes, seconds: int) -> dict[str, str]:
        return {"x-user-id": LATE, "x-canary-qa": sign_qa(secret, "new", Arm.CANARY, int(NOW) + seconds)}

    found = taken(state_at(0), signed(SECRET, 60))
    assert (found["qa"], found["reason"], found["arm"]) == ("valid", "override", "canary")
    assert found["sentence"] == "a signed QA header asks for the canary"
    assert found["otherwise"] == "without that: old, rest of cohort everyone (ring)"
    assert found["point"] is not None
    assert taken(state_at(0), signed(b"x" * 16, 60))["qa"] == "forged"
    assert taken(state_at(0), signed(SECRET, -60))["qa"] == "expired"
    assert taken(state_at(0), signed(SECRET, 60), prepared=prepare(SPEC))["qa"] == "unchecked"


@pytest.mark.parametrize(("who", "arm", "when"), [(VIP, "rest", "never"), (TESTER, "canary", "since")])
def test_lists_in_the_spec(who: str, arm: str, when: str) -> None:
    """Who is put on an arm by hand, and where the ring would have put him."""
    found = taken(state_at(1), {"x-user-id": who})
    assert (found["reason"], found["arm"], found["entry"]["when"]) == ("forced", arm, when)
    assert found["otherwise"].startswith("without that: ")
    assert not found["evidence"]


# ------------------------------------------------------------------------------------------------------------------- questions
def test_what_is_not_said_is_assumed_and_told() -> None:
    """Path and model of the first rollout that what was said leaves possible."""
    document = told(state_at(1), {"x-user-id": EARLY})
    assert document["asked"] == {"path": "/v1/", "host": "", "model": "m"}
    assert document["notes"] == ["path /v1/ and model m assumed: that is what rollout new is about"]
    other = told(state_at(1), {"x-user-id": EARLY}, model="another", path="/v1/chat")
    assert other["asked"] == {"path": "/v1/chat", "host": "", "model": "another"}


def test_headers_that_nobody_reads_are_told() -> None:
    """Most often a name is misspelt; the router does not see it."""
    notes = told(state_at(1), {"X-UserID": EARLY, "x-user-id": EARLY})["notes"]
    assert "this Spec does not read x-userid: nothing depends on it (is the name right?)" in notes


def test_an_edge_says_what_it_does_to_identity_headers() -> None:
    """They are stripped, or looked up: what the asker supposes is not what a client can send."""
    edge = TEXT.replace("{kind: internal,", "{kind: edge, geoip: {database: /c.mmdb}, set_by: {x-user-id: the gateway},")
    headers = {"x-user-id": EARLY, "x-user-tier": "paid", "x-geo-country": "DE"}
    given = spec_room.load(edge)
    notes = explained(prepare(given), State(7, given.digest, {}), Question(headers), NOW, "r", (), False)["notes"]
    assert [note.split(":")[0] for note in notes[1:]] == ["x-geo-country", "x-user-tier"]
    assert "looks it up" in notes[1]
    assert "strips it" in notes[2]


def test_a_question_survives_the_way_to_the_api() -> None:
    """What is written is what is read."""
    question = Question({"x-user-id": "ü"}, "/v1/", "h.example", "m", {"a.b": ("c", "d"), "e": ("f",)}, True)
    assert read(orjson.dumps(written(question, 5.0))) == (question, 5.0)
    assert read(orjson.dumps(written(question, None))) == (question, None)
    assert read(b'{"headers": {"X-User-Id": "u1"}, "claims": {"a": "b"}}') == (Question({"x-user-id": "u1"}, claims={"a": ("b",)}), None)


@pytest.mark.parametrize(
    "body",
    [
        "[]", "x", '{"user": "u1-secret"}', '{"headers": ["u1-secret"]}', '{"headers": {"a": 1}}', '{"path": 1}', '{"claims": {"a": [1]}}',
        '{"claims": "u1-secret"}', '{"now": "u1-secret"}', '{"now": true}', '{"provider_state": "u1-secret"}', '{"now": 1e999}',
    ],
)  # fmt: skip
def test_what_is_no_question(body: str) -> None:
    """It is refused, and what was given is not repeated: it may be somebody's id."""
    with pytest.raises(ValueError, match=r"^(?!.*u1-secret)"):
        read(body.encode())


# --------------------------------------------------------------------------------------------------------------------- picture
def shown(document: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=180, highlight=False, markup=False)
    console.print(explained_picture(document))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_picture_says_it_all() -> None:
    """Model and reason first; unit, cohorts, ring, pool, conversation, headers and when it changes below."""
    picture = shown(told(state_at(2), {"x-user-id": LATE, "x-user-tier": "free", "x-other": "[red]"}))
    for expected in (
        "STABLE → old on old-",
        "above the 25% of cohort everyone that meet the canary",
        "new, progressing at 25%; is about requests whose path starts with /v1/; model is m",
        "slot             a (0% to 60% of the layer's units); this one is at",
        f"user             {LATE} (header x-user-id)",
        "header x-conversation-token: no token came; a new one is handed out, good for 4 h",
        "it enters at phase 100%, when 100% of cohort everyone meet the canary",
        "Envoy's request  x-llm-cluster: old-",
        "does not match; header x-user-tier: free",
        "canary below 1,073,741,824, control from 3,221,225,472, the rest between",
        "✘ third a rollout before it has the request",
        "note: this Spec does not read x-other",
    ):
        assert " ".join(expected.split()) in " ".join(picture.split()), expected


@pytest.mark.parametrize("headers", [{}, {"x-user-id": VIP}, {"x-user-id": "[bold]x[/nothing]", "x-canary-qa": "?"}])
@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("path", ["", "/health"])
def test_the_picture_is_drawn_whatever_is_so(headers: dict[str, str], status: Status, path: str) -> None:
    """Markup in what a client sent is text."""
    picture = shown(told(state_at(1, status), headers, path=path))
    assert "layer model" in picture


# --------------------------------------------------------------------------------------------------------------------- command
def run(*arguments: str, environment: Mapping[str, str] | None = None) -> Result:
    explain.register(app) if not any(one.callback is explain.explain for one in app.registered_commands) else None
    return CliRunner().invoke(app, list(arguments), env=dict(environment or {}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "release.yaml"
    path.write_text(TEXT)
    return path


def document_of(result: Result) -> dict[str, Any]:
    assert result.exception is None, result.exception
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def problem_of(result: Result) -> tuple[str, str]:
    assert isinstance(result.exception, ExtprocError)
    (problem,) = result.exception.problems
    return problem.id, f"{problem.path}: {problem.message}"


def test_the_command_explains_a_file(file: Path) -> None:
    """As if rollouts were in progress at their first phase, or at the one that is named."""
    first = document_of(run("explain", str(file), "-H", f"x-user-id: {LATE}", "--json"))
    assert first["notes"][-1] == "as if: new in progress at 1%, third in progress at 10%"
    later = document_of(run("explain", str(file), "-H", f"X-User-ID:{LATE}", "--phase", "new=50%", "--json"))
    assert later["layers"][0]["taken"]["phase"] == "50%"
    last = document_of(run("explain", str(file), "-H", f"x-user-id: {LATE}", "--phase", "100%", "--json"))
    assert last["notes"][-1] == "as if: new in progress at 100%, third in progress at 100%"
    assert "STABLE → old" in run("explain", str(file), "-H", f"x-user-id: {LATE}").stdout


def test_the_command_takes_a_whole_request(file: Path) -> None:
    """Cookies in several headers, claims with several values, a QA header whose secret is in the environment, and another time."""
    until = int(NOW) + 60
    arguments = ["-H", f"x-canary-qa: {sign_qa(SECRET, 'new', Arm.CANARY, until)}", "-H", "cookie: a=b", "-H", f"cookie: llm_uid={MIDDLE}"]
    arguments += ["--claim", "realm.roles=x", "--claim", "realm.roles=pilot", "--path", "/v1/y", "--model", "m", "--json"]
    given = {"EXPLAIN_TEST_SECRET": SECRET.decode()}
    found = document_of(run("explain", str(file), *arguments, "--now", str(NOW), environment=given))["layers"][0]["taken"]
    assert (found["qa"], found["unit"]["source"], found["unit"]["id"]) == ("valid", "cookie llm_uid", MIDDLE)
    assert found["cohorts"][1]["reads"][0]["value"] == "x, pilot"
    late = document_of(run("explain", str(file), *arguments, "--now", "2030-01-01T00:00:00Z", environment=given))
    assert (late["at"], late["layers"][0]["taken"]["qa"]) == (1_893_456_000.0, "expired")
    assert document_of(run("explain", str(file), "--now", "2030-01-01", "--json"))["at"] == 1_893_456_000.0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("-H", "x-user-id u1"), ("settings.header", "-H: one of the headers has no colon")),
        (("--claim", "a"), ("settings.claim", "--claim: one of the claims has no =")),
        (("--now", "soon"), ("settings.now", "--now: 'soon' is no instant")),
        (("--phase", "30%"), ("settings.phase", "--phase: there is no phase '30%'")),
        (("--phase", "new=10%"), ("settings.phase", "--phase: there is no phase '10%'")),
        (("--phase", "1%", "--state", "sqlite:x"), ("settings.two-states", "--phase --state: say different things")),
    ],
)
def test_the_command_refuses(file: Path, arguments: tuple[str, ...], problem: tuple[str, str]) -> None:
    """With the next step; what may be a secret is not repeated."""
    result = run("explain", str(file), *arguments)
    assert problem_of(result) == problem


def test_a_phase_is_supposed_of_a_file() -> None:
    """It is not passed over where the running controller would be asked."""
    assert problem_of(run("explain", "--phase", "1%"))[0] == "settings.no-spec"


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with a State at 25 %, as a controller leaves it."""
    url = f"sqlite:{tmp_path}/x.db"
    writer = open_store(url, writer=True)
    writer.commit(state_at(2), 0, [], {}, {SPEC.digest: TEXT})
    writer.close()
    return url


def test_the_command_explains_a_store(store: str) -> None:
    """Its State, its Spec, and its key: tokens are verified."""
    found = document_of(run("explain", "--state", store, "-H", f"x-user-id: {LATE}", "-H", "x-conversation-token: 1.x", "--json"))
    assert (found["generation"], found["spec_digest"], found["notes"]) == (7, SPEC.digest, found["notes"][:1])
    taken_ = found["layers"][0]["taken"]
    assert (taken_["phase"], taken_["conversation"]["fate"]) == ("25%", "forged")


def test_the_command_explains_a_file_by_the_state_of_a_store(store: str, tmp_path: Path) -> None:
    """Another Spec than the one in force is told; a rollout that has fewer phases there is at its last one."""
    document = yaml.safe_load(TEXT)
    document["rollouts"]["new"]["phases"] = [{"share": "5%"}, {"share": "100%"}]
    del document["rollouts"]["new"]["cohorts"][2]["from"]
    del document["rollouts"]["third"]
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(document))
    found = document_of(run("explain", str(path), "--state", store, "-H", f"x-user-id: {EARLY}", "--json"))
    assert found["layers"][0]["taken"]["phase"] == "100%"
    assert found["notes"][-1].endswith(f"in force is {SPEC.digest}, whose State this goes by")


def test_an_empty_store_explains_nothing(tmp_path: Path) -> None:
    """A Problem with the next step."""
    open_store(f"sqlite:{tmp_path}/x.db", writer=True).close()
    assert problem_of(run("explain", "--state", f"sqlite:{tmp_path}/x.db"))[0] == "explain.no-state"


def test_blind_rollouts_are_withdrawn(store: str) -> None:
    """What the controller could not watch when it wrote its last heartbeat."""
    writer = open_store(store, writer=True)
    writer.beat(Heartbeat(1, ("new", "gone")))
    writer.close()
    found = document_of(run("explain", "--state", store, "-H", f"x-user-id: {EARLY}", "--json"))
    assert (found["withdrawn"], found["layers"][0]["taken"]["reason"]) == (["new"], "withdrawn")


def test_flags_that_are_polled_are_not_known_to_a_file(tmp_path: Path) -> None:
    """It is said that nobody is in them."""
    document = yaml.safe_load(TEXT)
    document["flags"] = {"shop": {"vendor": "flagd", "poll": {"url": "https://flags.example/all", "every": "30s"}}}
    document["rollouts"]["new"]["cohorts"][0] = {"name": "beta", "flag": {"source": "shop", "key": "beta"}}
    path = tmp_path / "flags.yaml"
    path.write_text(yaml.safe_dump(document))
    found = document_of(run("explain", str(path), "-H", f"x-user-id: {EARLY}", "--json"))
    assert "flags of shop are polled by the controller, and not known here: nobody is in them" in found["notes"]
    assert found["layers"][0]["taken"]["cohorts"][0]["who"] == "flag shop/beta is on"


def test_an_explanation_takes_milliseconds() -> None:
    """People wait for it, and the API answers them one after the other."""
    took = []
    for _ in range(20):
        begin = time.perf_counter()
        told(state_at(2), {"x-user-id": LATE})
        took.append(time.perf_counter() - begin)
    assert median(took) < 0.1


def test_a_spec_without_rollouts() -> None:
    """There is nothing to explain, and that is said."""
    document = yaml.safe_load(TEXT)
    document |= {"rollouts": {}, "layers": {}}
    empty: Spec = spec_room.load(yaml.safe_dump(document))
    answer = explained(prepare(empty), State(1, empty.digest, {}), Question(), NOW, "r", (), False)
    assert "the Spec has no rollout" in shown(answer)
