"""An explanation is the decision: whatever Spec, State and request, it says what the router answers, and its steps lead there."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from extproc import contract, spec, wire
from extproc.assign import Answer, Prepared, Secrets, Snapshot, assign, derive, prepare, sign_qa
from extproc.assign.explained import Met
from extproc.assign.question import Question, understood
from extproc.controller.explaining import HASHED, explained
from extproc.domain import RING, Arm, Reason, RolloutState, Spec, State, Status, Subject
from extproc.errors import SpecError
from extproc.pb.ext_proc_pb2 import HeaderMap, ProcessingRequest, ProcessingResponse
from extproc.router.processor import Processor

NOW = float(int(time.time()))
"""The router reads its own clock: what ends here ends a minute ago, or in an hour."""
QA_SECRET = b"a secret of the tests"
KEY = b"k" * 32
PENDING = RolloutState(Status.PENDING, 0, 0.0, 0, 1, "", "")
COHORT_REASONS = {Reason.RING, Reason.NOT_YET, Reason.EXCLUDED, Reason.COHORT_OUT, Reason.COMPLETED}
"""Those with which an answer names the cohort that decided."""
slow = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # to shrink a Spec takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

# ------------------------------------------------------------------------------------------------------------------------ Specs
tiers = st.lists(st.sampled_from(["paid", "free", "internal"]), min_size=1, max_size=2, unique=True)
simple = st.one_of(
    st.builds(lambda tier: {"tier": tier}, tiers),
    st.sampled_from([{"country": ["DE"]}, {"country": ["EU"]}, {"ids": ["u1", "u2", "ü"]}, {"random": "40%"}, {"claim": {"a.b": "c"}}]),
    st.sampled_from([{"cookie": {"beta": "1"}}, {"path": "/v1/x"}, {"model": "m"}, {"header": {"x-a": ["1", "2"]}}]),
)
selectors = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"all": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=4,
)
SHARES = ("1%", "10%", "50%", "100%")


@st.composite
def cohorts(draw: st.DrawFn) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 3))):
        cohort = {"name": f"c{number}", **draw(selectors)}
        if draw(st.booleans()):
            cohort["from"] = draw(st.sampled_from(SHARES))
        cohort |= draw(st.sampled_from([{}, {}, {"share": "30%"}, {"multiplier": 2}, {"shares": {"10%": "60%"}}]))
        if draw(st.booleans()):
            cohort["exclude"] = draw(simple)
        made.append(cohort)
    if not made or draw(st.booleans()):
        made.append({"name": "everyone", **draw(st.sampled_from([{}, {}, {"exclude": {"country": ["DE"]}}]))})
    return made


@st.composite
def rollouts(draw: st.DrawFn, layer: str, stable: str, canary: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "layer": layer,
        "stable": stable,
        "canary": canary,
        "unit": draw(st.sampled_from(["user", "tenant", "request", {"sources": [{"header": "x-user-id"}]}])),
        "cohorts": draw(cohorts()),
        "phases": [{"share": share} for share in SHARES],
        "holdback": draw(st.sampled_from(["0%", "0%", "20%"])),
    }
    if draw(st.integers(0, 2)):
        made["conversation"] = {"lifetime": "1h", **draw(st.sampled_from([{}, {"cookie": "talk"}, {"id": {"header": "x-talk-id"}}]))}
    if draw(st.booleans()):
        made["overrides"] = {"qa": {"secret": {"env": "NOT_READ_HERE"}}, "stable": ["u2"], "canary": ["u3"]}
    return made


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    document: dict[str, Any] = {
        "version": 1,
        "application": {
            "name": "chat",
            "type": "chatbot",
            "daily_requests": 1000,
            "daily_units": 100,
            "sla": {"latency_p99": "8s", "ttft": "2s", "uptime": "99%"},
            "infrastructure": "vm",
        },
        "listener": {"kind": draw(st.sampled_from(["internal", "edge"])), "jwt": {"issuer": "https://i.example", "jwks_file": "/k"}},
        "models": {
            "old": draw(st.sampled_from([{"endpoint": {"host": "a.example", "port": 80}}, {"pool": [{"cluster": "p"}, {"cluster": "q"}]}])),
            "new": {"endpoint": {"host": "b.example", "port": 80}, **draw(st.sampled_from([{}, {"affinity": {"policy": "maglev"}}]))},
            "third": {"endpoint": {"host": "c.example", "port": 80}},
        },
        "rollouts": {"one": draw(rollouts("model", "old", "new"))},
    }
    if draw(st.booleans()):
        document["layers"] = {"model": {"slots": {"a": "50%", "b": "30%"}}}
        second = {**draw(rollouts("model", "old", "third")), "slot": "b", "unit": document["rollouts"]["one"]["unit"]}
        document["rollouts"]["one"]["slot"] = "a"
        document["rollouts"]["two"] = second
    if draw(st.booleans()):
        document["rollouts"]["tone"] = {**draw(rollouts("prompt", "plain", "warm")), "match": {"paths": ["/v1/x", "/v1/y"]}}
    try:
        return spec.load(orjson.dumps(document).decode())
    except SpecError:  # a share that falls, a cohort behind everyone: not this test's business
        assume(False)
        raise


@st.composite
def states(draw: st.DrawFn, given: Spec) -> tuple[State, frozenset[str]]:
    made: dict[str, RolloutState] = {}
    for name, rollout in given.rollouts.items():
        if draw(st.integers(0, 9)) == 0:
            continue  # a rollout that State does not know
        status = draw(st.sampled_from([Status.PROGRESSING] * 4 + list(Status)))
        out = tuple(draw(st.sets(st.sampled_from([cohort.name for cohort in rollout.cohorts])))) if draw(st.booleans()) else ()
        made[name] = RolloutState(status, draw(st.integers(0, 3)), 0.0, 5, 1, "test", "", draw(st.sampled_from([0, 0, 0, 1])), out)
    withdrawn = frozenset(draw(st.sets(st.sampled_from(sorted(given.rollouts))))) if draw(st.integers(0, 3)) == 0 else frozenset()
    return State(7, given.digest, made), withdrawn


@st.composite
def questions(draw: st.DrawFn, given: Spec, prepared: Prepared) -> Question:
    user = draw(st.sampled_from([None, "u1", "u2", "u3", "ü"]) | st.integers(4, 400).map("user-{}".format))
    headers = {"x-request-id": draw(st.integers(0, 99).map("00000000-0000-4000-8000-{:012}".format))}
    headers |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "x-user-tier": st.sampled_from(["paid", "free", "internal"]),
                "x-geo-country": st.sampled_from(["DE", "US"]),
                "x-a": st.sampled_from(["1", "3"]),
                "cookie": st.sampled_from(["beta=1", "a=b; beta=2; llm_uid=cookie-7"]),
                "authorization": st.just("Bearer sk-1"),
                "x-talk-id": st.sampled_from(["t1", "t2"]),
                "x-other": st.just("?"),
            },
        )
    )
    if user is not None:
        headers |= {"x-user-id": user, "x-tenant-id": f"tenant of {user}"}
    if draw(st.integers(0, 3)) == 0:
        arm, secret, until = draw(st.sampled_from(Arm)), draw(st.sampled_from([QA_SECRET, b"another"])), draw(st.sampled_from([3600, -60]))
        headers["x-canary-qa"] = sign_qa(secret, draw(st.sampled_from(sorted(given.rollouts))), arm, int(NOW) + until)
    claims = {"a.b": ("c", "d")} if draw(st.booleans()) else {}
    question = Question(
        headers, draw(st.sampled_from(["", "/v1/x", "/v1/z"])), "", draw(st.sampled_from(["", "m"])), claims, draw(st.booleans())
    )
    return with_token(draw, given, prepared, question) if draw(st.integers(0, 2)) else question


def with_token(draw: st.DrawFn, given: Spec, prepared: Prepared, question: Question) -> Question:
    """The same request with a token that this, another phase or nobody has handed out."""
    phase = draw(st.sampled_from([0, 1, 3, 3]))
    at = State(3, given.digest, {name: RolloutState(Status.PROGRESSING, phase, 0.0, 3, 1, "", "") for name in given.rollouts})
    then = derive(prepared, at, wire.encode_reply)
    asked = understood(given, then.needed_headers, question, "drawn")
    answers = [assign(layer, asked.subject, asked.request_id, NOW - draw(st.sampled_from([10, 10, 10, 4000]))) for layer in then.layers]
    tokens = [one.note.token.decode() for one in answers if one is not None and one.note is not None and one.note.token]
    token = draw(st.sampled_from([*tokens, *tokens, "1.a.b.c.d.e.f"]))
    cookies = f"{question.headers.get('cookie', 'n=0')}; talk={token}"
    return replace(question, headers={**question.headers, "x-conversation-token": token, "cookie": cookies})


# --------------------------------------------------------------------------------------------------------------------- the law
@slow
@given(st.data())
def test_an_explanation_says_what_the_router_answers(data: st.DataObject) -> None:
    """Arm, model, reason and headers are those of `assign` on a Snapshot of its own, and of the router's reply to the bytes of Envoy."""
    given_spec = data.draw(specs())
    secrets = Secrets(KEY, dict.fromkeys(given_spec.rollouts, QA_SECRET))
    prepared = prepare(given_spec, secrets)
    state, withdrawn = data.draw(states(given_spec))
    snapshot = derive(prepare(given_spec, secrets), state, wire.encode_reply, withdrawn)
    ramps = {name: ramp(prepared, state, name) for name in given_spec.rollouts}
    for _ in range(5):
        question = data.draw(questions(given_spec, prepared))
        document = orjson.loads(orjson.dumps(explained(prepared, state, question, NOW, "drawn", withdrawn, True)))
        asked = understood(given_spec, snapshot.needed_headers, question, "drawn")
        now = NOW if snapshot.needs_time else 0.0
        reply = answered(snapshot, asked.subject)
        assert len(document["layers"]) == len(snapshot.layers)
        for layer, told in zip(snapshot.layers, document["layers"], strict=True):
            answer = assign(layer, asked.subject, asked.request_id, now)
            assert (answer is None) == (told["taken"] is None)
            assert [one["name"] for one in told["rollouts"]] == [one.name for one in layer]
            if answer is not None:
                same_answer(told["taken"], answer)
                steps_lead_there(told, answer)
        same_effects(document, reply)
        when_it_enters(document, ramps, state, asked.subject, asked.request_id, now)


def answered(snapshot: Snapshot, subject: Subject) -> ProcessingResponse:
    """The router's own reply, from the bytes that Envoy would send."""
    message = ProcessingRequest()
    headers = HeaderMap()
    for name, value in subject.items():
        if not name.startswith("extproc."):
            header = headers.headers.add()
            header.key, header.raw_value = name, value
    message.request_headers.headers.CopyFrom(headers)
    request = message.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE]
    if contract.REQUEST_MODEL in subject:
        request.update({contract.REQUEST_MODEL_FIELD: subject[contract.REQUEST_MODEL].decode()})
    if contract.REQUEST_STATE in subject:
        request.update({contract.REQUEST_STATE_FIELD: "1"})
    claims = {name: value for name, value in subject.items() if name.startswith(contract.CLAIM_PREFIX)}
    if claims:
        ((_, value),) = claims.items()
        token = message.metadata_context.filter_metadata[contract.JWT_NAMESPACE]
        token.update({contract.JWT_FIELD: {"a": {"b": value.decode().split("\0")}}})
    reply = Processor(snapshot, KEY).process(message.SerializeToString())
    assert reply is not None
    return ProcessingResponse.FromString(reply)


def same_answer(taken: dict[str, Any], answer: Answer) -> None:
    made = answer.choice.assignment
    assert (taken["rollout"], taken["generation"], taken["phase"]) == (made.rollout, made.generation, made.phase)
    assert (taken["arm"], taken["model"], taken["cluster"], taken["reason"]) == (made.arm, made.model, made.cluster, made.reason)
    assert (taken["unit"]["id"], taken["unit"]["durable"]) == (answer.unit.decode(), answer.durable)
    assert taken["sentence"]
    if answer.point >= 0:
        assert taken["point"] == answer.point
    chosen = [one["cluster"] for one in taken["pool"] if one["chosen"]]
    assert chosen == ([made.cluster] if taken["pool"] else [])


def steps_lead_there(layer: dict[str, Any], answer: Answer) -> None:
    """The first cohort that matches is the one that has decided, and point and thresholds give the arm."""
    taken, made = layer["taken"], answer.choice.assignment
    outcomes = [one["considered"] for one in layer["rollouts"]]
    place = outcomes.index("taken")
    assert set(outcomes[:place]) <= {"no_match", "other_slot"}
    assert set(outcomes[place + 1 :]) <= {"not_asked"}
    met = [one["met"] for one in taken["cohorts"]]
    decided = [one for one in taken["cohorts"] if one["met"] in (Met.DECIDES, Met.EXCLUDES)]
    if made.reason in COHORT_REASONS or decided:
        (cohort,) = decided
        at = taken["cohorts"].index(cohort)
        assert set(met[:at]) <= {"no_match"}
        assert set(met[at + 1 :]) <= {"not_reached"}
        if made.reason in COHORT_REASONS:
            # While nobody watches, an answer names no cohort.
            assert cohort["name"] == taken["cohort"]
            assert made.cohort in (cohort["name"], "")
            assert (cohort["met"] == Met.EXCLUDES) == (made.reason is Reason.EXCLUDED)
        if made.reason in (Reason.RING, Reason.COMPLETED):
            below, above = cohort["canary_below"], cohort["control_from"]
            arm = Arm.CANARY if taken["point"] < below else Arm.CONTROL if taken["point"] >= above else Arm.REST
            assert (arm, cohort["standing"]) == (made.arm, made.reason)
            assert taken["position"] == taken["point"] / RING
    elif made.reason is Reason.NO_COHORT:
        assert set(met) <= {"no_match"}
    assert bool(taken["otherwise"]) == (made.reason in (Reason.PINNED, Reason.OVERRIDE, Reason.FORCED))


def same_effects(document: dict[str, Any], reply: ProcessingResponse) -> None:
    """Every header that the reply makes Envoy set is told, and no other one."""
    effects = [one for layer in document["layers"] if layer["taken"] for one in layer["taken"]["effects"]]
    told = [(one["name"], one["value"]) for one in effects if one["on"] == "request"]
    set_by_envoy = wire.set_headers(reply.SerializeToString())
    assert told == [(name, HASHED if name == contract.AFFINITY_HEADER else value) for name, value in set_by_envoy]
    metadata = reply.dynamic_metadata.fields
    cookies = {one["value"] for one in effects if one["on"] == "response" and one["name"] == "set-cookie" and "signed" not in one["value"]}
    field = metadata[contract.COOKIE_NAMESPACE].struct_value.fields if contract.COOKIE_NAMESPACE in metadata else {}
    assert ({field[contract.COOKIE_FIELD].string_value} if field else set()) <= cookies
    assert bool(field) == bool(cookies)
    issued = any(layer["taken"] and (layer["taken"]["conversation"] or {}).get("issued") for layer in document["layers"])
    assert issued == (contract.CONVERSATION_NAMESPACE in metadata)


def ramp(prepared: Prepared, state: State, name: str) -> list[Snapshot]:
    """The whole Snapshot with one rollout at each of its phases, and completed."""
    stands = state.rollouts.get(name) or PENDING
    out = stands.cohorts_out if stands.status.exposes or stands.status is Status.COMPLETED else ()  # until another attempt
    last = len(prepared.spec.rollouts[name].phases) - 1
    places = [*((Status.PROGRESSING, phase) for phase in range(last + 1)), (Status.COMPLETED, last)]
    there = [replace(stands, status=status, phase=phase, cohorts_out=out) for status, phase in places]
    return [derive(prepared, replace(state, rollouts={**state.rollouts, name: one}), lambda *_: b"") for one in there]


def when_it_enters(
    document: dict[str, Any], ramps: dict[str, list[Snapshot]], state: State, subject: Subject, request_id: bytes, now: float
) -> None:
    """The phase that is told is the first one at which the whole Snapshot gives the canary to this unit, without token and QA header."""
    plain = {name: value for name, value in subject.items() if name not in ("x-canary-qa", "x-conversation-token")}
    if "cookie" in plain:
        plain["cookie"] = b"; ".join(one for one in plain["cookie"].split(b"; ") if not one.startswith(b"talk="))
    for place, layer in enumerate(document["layers"]):
        if layer["taken"] is None:
            continue
        name, entry = layer["taken"]["rollout"], layer["taken"]["entry"]
        answers = [assign(then.layers[place], plain, request_id, now) for then in ramps[name]]
        canary = [one is not None and one.choice.assignment.arm is Arm.CANARY for one in answers]
        stands = state.rollouts.get(name) or PENDING
        ended = answers[-1]
        assert ended is not None
        assert ("holdback" in entry["sentence"]) == (entry["when"] == "never" and ended.choice.assignment.reason is Reason.COMPLETED)
        if stands.status is Status.COMPLETED:
            assert entry["when"] == ("since" if canary[-1] else "never")
        elif not any(canary):
            assert entry["when"] == "never"
        elif not any(canary[:-1]):
            assert entry["when"] == "completion"
        else:
            first = canary.index(True)
            assert entry["phase"] == SHARES[first]
            assert entry["when"] == ("since" if stands.status.exposes and first <= stands.phase else "phase")
