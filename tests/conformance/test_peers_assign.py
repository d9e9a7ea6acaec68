"""Bugs that rivals had in assignment, each as a promise of ours. The issue that reported it is named beside each test."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from extproc import wire
from extproc.assign import Snapshot, assign, derive, prepare
from extproc.assign.pools import Pool
from extproc.domain import Arm, Match, RandomShare, Reason, RolloutState, Source, SourceKind, State, Status, Unit
from extproc.pb.ext_proc_pb2 import ProcessingRequest, ProcessingResponse
from extproc.router.processor import Processor
from tests.support.assigning import NOW, SECRETS, ask, compiled, found, met, near, users
from tests.support.specs import SHARES, cohort, conversation, header, model, rollout, spec, state_of

PEOPLE = users(20_000)
EVERYBODY = {"cohorts": (cohort("everyone"),)}


def arms(snapshot: Snapshot, count: int = 20_000) -> dict[str, Arm]:
    """User -> arm."""
    return {user: found(ask(snapshot, user)).arm for user in users(count)}


def test_the_hash_that_gates_is_not_the_hash_that_picks() -> None:
    """Unleash/unleash-ruby-sdk#160: variants were skewed among those whom a gradual rollout let in."""
    snapshot = compiled(rollout(cohorts=(cohort("some", RandomShare(0.2)),)), share=0.25)
    some = [one for user in PEOPLE if (one := found(ask(snapshot, user))).cohort == "some"]
    assert near(len(some), len(PEOPLE), 0.2)
    assert near(sum(one.arm is Arm.CANARY for one in some), len(some), 0.25)


class Watched(dict[str, bytes]):
    """A request that tells how often a header was looked at."""

    def __init__(self, headers: dict[str, bytes]) -> None:
        super().__init__(headers)
        self.looks: Counter[str] = Counter()

    def get(self, key: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        self.looks[key] += 1
        return super().get(key, default)


class Compared(bytes):
    """A value that tells how often it was looked for in a set."""

    times = 0

    def __hash__(self) -> int:
        self.times += 1
        return super().__hash__()


def test_a_rule_is_evaluated_once_per_request() -> None:
    """Unleash/yggdrasil#345: a rule was evaluated twice for one request. Every cohort is asked once, up to the one that has it."""
    cohorts = tuple(cohort(f"c{number}", header(f"x-{number}", "yes")) for number in range(5))
    (layer,) = compiled(rollout(cohorts=cohorts)).layers
    values = [Compared(b"yes" if number == 3 else b"no") for number in range(5)]
    answer = assign(layer, {"x-user-id": b"u1", **{f"x-{number}": value for number, value in enumerate(values)}}, None, NOW)
    assert found(answer).cohort == "c3"
    assert [value.times for value in values] == [1, 1, 1, 1, 0]


def test_what_a_request_says_is_read_once() -> None:
    """The same, of facts: each is looked up once, however many rules ask for it."""
    cohorts = tuple(cohort(f"c{number}", header(f"x-{number % 4}", "yes", f"{number}")) for number in range(8))
    (layer,) = compiled(rollout(cohorts=cohorts, match=Match((), ("/v1",), ()))).layers
    subject = Watched({"x-user-id": b"u1", ":path": b"/v1/chat", "x-3": b"yes", "x-1": b"no"})
    answer = assign(layer, subject, None, NOW)
    assert found(answer).cohort == "c3"
    assert subject.looks == {":path": 1, "x-user-id": 1, **{f"x-{number}": 1 for number in range(4)}}


def test_exposure_is_p_and_not_p_squared() -> None:
    """Unleash/yggdrasil#345: what was evaluated twice let p of p through."""
    assert near(Counter(arms(compiled(share=0.05)).values())[Arm.CANARY], len(PEOPLE), 0.05)


@pytest.mark.parametrize("pooled", [False, True])
def test_weight_0_is_nobody_and_100_is_everybody(pooled: bool) -> None:
    """SeldonIO/seldon-core#4067, emissary-ingress/emissary#1605: a weight of 0 became 50/50."""
    models = {name: model(name, *(f"{name}-{number}" for number in range(2 if pooled else 1))) for name in ("old", "new")}
    around = {"models": models}
    assert set(arms(compiled(share=1.0, around=around)).values()) == {Arm.CANARY}
    zero = rollout(cohorts=(cohort("everyone", shares=(0.0,) * 5),))
    for nobody in (compiled(share=1.0, status=Status.ROLLED_BACK, around=around), compiled(zero, around=around)):
        assert Arm.CANARY not in arms(nobody).values()


def test_a_ramp_only_ever_adds_users() -> None:
    """fluxcd/flagger#1532: stickiness and a rising weight moved people to and fro."""
    before: set[str] = set()
    for share in SHARES:
        now = met(compiled(share=share), PEOPLE)
        assert before <= now
        before = now


def test_stickiness_drains_nobody_from_stable() -> None:
    """fluxcd/flagger#1532 (each sticky session that ended went to the canary), and GrowthBook turns stickiness off while it monitors:
    with tokens or without, the share of new conversations is the phase's, and an open one is never pulled over."""
    talk = {"conversation": conversation()}
    tokens = {}
    for share in SHARES[:4]:
        sticky, plain = compiled(rollout(**talk), share=share, secrets=SECRETS), compiled(share=share)
        for user in PEOPLE[:2000]:
            fresh = ask(sticky, user)
            assert found(fresh) == found(ask(plain, user)), "a new conversation begins where the ring says"
            assert fresh is not None
            assert fresh.note is not None
            opened = tokens.setdefault(user, (found(fresh).model, fresh.note.token.decode()))
            assert found(ask(sticky, user, x_conversation_token=opened[1])).model == opened[0]


def test_a_restart_and_a_second_replica_keep_everyone_where_they_were() -> None:
    """LaunchDarkly re-randomises on restart; Iter8 seeds its hash per process."""
    program = (
        "from tests.conformance.test_peers_assign import arms, compiled\n"
        "import hashlib; print(hashlib.sha256(repr(arms(compiled(share=0.25), 2000)).encode()).hexdigest())"
    )
    said = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_re_release_keeps_everyone_where_they_were() -> None:
    """The same promise for a Spec that is written anew: prices, a dwell, the order of rollouts, a second rollout beside it; and for
    replicas that are a State behind, the same share is the same people."""
    before = spec(rollout(**EVERYBODY))
    dwells = tuple(replace(phase, min_dwell=5.0) for phase in rollout().phases)
    after = spec(rollout("tone", layer="prompt"), rollout(**EVERYBODY, phases=dwells), digest="another")
    skewed = replace(state_of(after), generation=6)
    one, other = (derive(prepare(given), state, wire.encode_reply) for given, state in ((before, state_of(before)), (after, skewed)))
    for user in PEOPLE[:2000]:
        assert found(ask(one, user)).arm is found(ask(other, user, layer=1)).arm


@pytest.mark.parametrize("weights", [(95.0, 5.0), (1.0, 1.0, 2.0), (0.95, 0.04, 0.01)])
def test_weights_mean_what_they_say_in_a_pool(weights: tuple[float, ...]) -> None:
    """Iter8's weighted rendezvous: 5 % asked, 2.6 % given."""
    pool = Pool([f"replica-{number}" for number in range(len(weights))], weights)
    seen = Counter(pool.pick(user.encode()) for user in PEOPLE)
    for place, weight in enumerate(weights):
        assert near(seen[place], len(PEOPLE), weight / sum(weights))


def test_requests_without_an_id_are_eligible_and_never_one_bucket() -> None:
    """Unleash/unleash-dotnet-sdk#144, and a peer that puts every anonymous user into "anon"."""
    snapshot = compiled(share=0.25)
    seen = Counter(found(ask(snapshot, request_id=b"request-%d" % number)).arm for number in range(4000))
    assert near(seen[Arm.CANARY], 4000, 0.25)
    by_request = compiled(rollout(unit=Unit("request", (), None)), share=0.25)
    seen = Counter(found(ask(by_request, "always-the-same", request_id=b"request-%d" % number)).arm for number in range(4000))
    assert near(seen[Arm.CANARY], 4000, 0.25)


def test_requests_without_an_id_are_counted() -> None:
    """The same issue: nobody saw them. They are decisions, with a reason of their own where nothing at all says who it is."""
    given = spec()
    processor = Processor(derive(prepare(given), state_of(given), wire.encode_reply), bytes(32))
    for number in range(20):
        message = ProcessingRequest()
        message.request_headers.headers.headers.add(key="x-user-tier", raw_value=b"free")
        if number % 2:
            message.request_headers.headers.headers.add(key="x-request-id", raw_value=b"r-%d" % number)
        reply = ProcessingResponse.FromString(processor.process(message.SerializeToString()) or b"")
        assert reply.dynamic_metadata["extproc.assignment.model"]["durable"] is False
    counts = processor.decisions()
    assert counts["new", "", "rest", "no_unit"] == 10
    assert sum(count for (_, _, _, reason), count in counts.items() if reason == "ring") == 10


@pytest.mark.parametrize("status", [Status.PENDING, Status.SHADOW, Status.ROLLED_BACK])
def test_no_traffic_to_a_canary_that_is_not_ready(status: Status) -> None:
    """kserve/kserve#5983: traffic went to a revision that was not ready. Before somebody has started it, where State does not know it,
    after a rollback and where nobody watches, no request meets the canary, at whatever share the phase is."""
    given = spec(rollout(**EVERYBODY))
    unknown = derive(prepare(given), State(1, "", {}), wire.encode_reply)
    unwatched = derive(prepare(given), state_of(given, 1.0), wire.encode_reply, ("new",))
    for snapshot in (compiled(share=1.0, status=status), unknown, unwatched):
        assert {found(ask(snapshot, user)).model for user in PEOPLE[:2000]} == {"old"}


def test_retries_do_not_jump_between_models() -> None:
    """Human-Agent-Society/reef#32: each attempt drew again. A request that comes again, as the same user, in the same conversation or
    with the same request id, meets the same model and the same member of its pool, whatever else about it differs."""
    models = {"old": model("old", "o1", "o2"), "new": model("new", "n1", "n2")}
    snapshot = compiled(rollout(**EVERYBODY), around={"models": models})
    talk = rollout(**EVERYBODY, unit=Unit("conversation", (Source(SourceKind.HEADER, "x-conversation-id"),), None))
    by_talk = compiled(talk, around={"models": models})
    for user in PEOPLE[:500]:
        once = found(ask(snapshot, user, request_id=b"a"))
        assert found(ask(snapshot, user, request_id=b"b", path="/v1/other", now=NOW + 1e6)) == once
        nobody = found(ask(snapshot, request_id=user.encode()))
        assert found(ask(snapshot, request_id=user.encode(), x_attempt="2")) == nobody
        assert found(ask(by_talk, "u1", x_conversation_id=user)) == found(ask(by_talk, "u2", x_conversation_id=user))


def test_control_and_canary_are_never_swapped_in_an_assignment() -> None:
    """growthbook/growthbook#6020, at its source: what a reply says of arm, model and cluster belongs together, at every phase."""
    for phase, share in enumerate(SHARES):
        given = spec(rollout(**EVERYBODY))
        state = State(7, "", {"new": RolloutState(Status.PROGRESSING, phase, 0.0, 7, 1, "", "")})
        processor = Processor(derive(prepare(given), state, wire.encode_reply), bytes(32))
        for number in range(300):
            message = ProcessingRequest()
            message.request_headers.headers.headers.add(key="x-user-id", raw_value=b"u%d" % number)
            reply = ProcessingResponse.FromString(processor.process(message.SerializeToString()) or b"")
            (option,) = reply.request_headers.response.header_mutation.set_headers
            assignment = reply.dynamic_metadata["extproc.assignment.model"]
            assert (option.header.raw_value == b"new") is (assignment["arm"] == "canary")
            assert (assignment["phase"], assignment["reason"]) == (f"{share:.0%}", Reason.RING.value)
