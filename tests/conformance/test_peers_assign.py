"""Bugs that rivals had in assignment, each as a promise of ours. The issue that reported it is named beside each test."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from math import sqrt

from extproc import wire
from extproc.assign import Snapshot, assign, compile
from extproc.domain import Arm, RandomShare, Rollout, Status
from tests.support.specs import SHARES, cohort, rollout, spec, state_of

USERS = 20_000
NOW = 1_764_241_200.0


def snapshot(*rollouts: Rollout, share: float) -> Snapshot:
    given = spec(*rollouts)
    return compile(given, state_of(given, share, Status.PROGRESSING), wire.encode_reply)


def arms(compiled: Snapshot, users: int = USERS) -> dict[str, Arm]:
    found = {}
    for number in range(users):
        answer = assign(compiled.layers[0], {"x-user-id": b"u%d" % number}, None, NOW)
        assert answer is not None
        found[f"u{number}"] = answer.choice.assignment.arm
    return found


def near(count: int, n: int, p: float) -> bool:
    return abs(count - n * p) <= 4 * sqrt(n * p * (1 - p))


def test_the_hash_that_gates_is_not_the_hash_that_picks() -> None:
    """Unleash/unleash-ruby-sdk#160: variants were skewed among those whom a gradual rollout let in."""
    compiled = snapshot(rollout(cohorts=(cohort("some", RandomShare(0.2)),)), share=0.25)
    answers = [assign(compiled.layers[0], {"x-user-id": b"u%d" % number}, None, NOW) for number in range(USERS)]
    inside = [answer.choice.assignment for answer in answers if answer is not None]
    some = [one for one in inside if one.cohort == "some"]
    assert near(len(some), USERS, 0.2)
    assert near(sum(one.arm is Arm.CANARY for one in some), len(some), 0.25)


def test_exposure_is_p_and_not_p_squared() -> None:
    """Unleash/yggdrasil#345: a rule was evaluated twice for one request."""
    assert near(Counter(arms(snapshot(share=0.05)).values())[Arm.CANARY], USERS, 0.05)


def test_weight_0_is_nobody_and_100_is_everybody() -> None:
    """SeldonIO/seldon-core#4067, emissary-ingress/emissary#1605: a weight of 0 became 50/50."""
    everybody = arms(snapshot(share=1.0))
    assert set(everybody.values()) == {Arm.CANARY}
    given = spec()
    nobody = compile(given, state_of(given, 1.0, Status.ROLLED_BACK), wire.encode_reply)
    assert Arm.CANARY not in arms(nobody).values()


def test_a_ramp_only_ever_adds_users() -> None:
    """fluxcd/flagger#1532: stickiness and a rising weight moved people to and fro."""
    before: set[str] = set()
    for share in SHARES:
        now = {user for user, arm in arms(snapshot(share=share)).items() if arm is Arm.CANARY}
        assert before <= now
        before = now


def test_a_restart_and_a_second_replica_keep_everyone_where_they_were() -> None:
    """LaunchDarkly re-randomises on restart; Iter8 seeds its hash per process."""
    program = (
        "from tests.conformance.test_peers_assign import arms, snapshot\n"
        "import hashlib; print(hashlib.sha256(repr(arms(snapshot(share=0.25), 2000)).encode()).hexdigest())"
    )
    said = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_requests_without_an_id_are_eligible_and_never_one_bucket() -> None:
    """Unleash/unleash-dotnet-sdk#144, and a peer that puts every anonymous user into "anon"."""
    compiled = snapshot(share=0.25)
    found = Counter()
    for number in range(4000):
        answer = assign(compiled.layers[0], {}, b"request-%d" % number, NOW)
        assert answer is not None
        found[answer.choice.assignment.arm] += 1
    assert near(found[Arm.CANARY], 4000, 0.25)
