"""assign: who meets which model, and that it stays so."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import sqrt

import pytest

from extproc import contract
from extproc.assign import Answer, Snapshot, assign, compile, derive, deriving, point, prepare, selectors
from extproc.assign.bucket import ring_prefix, thresholds
from extproc.assign.compile import REQUEST_STATE
from extproc.domain import RING, AllOf, Arm, Match, RandomShare, Reason, Rollout, Source, SourceKind, Status, Subject, Unit, reading
from tests.support.specs import COOKIE, SHARES, cohort, countries, header, rollout, spec, state_of, tiers

IDS = 1_000_000
NOW = 1_764_241_200.0


def no_bytes(*_: object) -> bytes:
    """Replies are wire's matter."""
    return b""


def snapshot(*rollouts: Rollout, share: float = 0.5, status: Status = Status.PROGRESSING) -> Snapshot:
    given = spec(*rollouts)
    return compile(given, state_of(given, share, status), no_bytes)


def ask(compiled: Snapshot, request_id: bytes | None = b"r-1", layer: int = 0, **headers: str) -> Answer | None:
    subject: Subject = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
    return assign(compiled.layers[layer], subject, request_id, NOW)


def arm(answer: Answer | None) -> Arm:
    assert answer is not None
    return answer.choice.assignment.arm


@pytest.fixture(scope="module")
def points() -> list[int]:
    """Where a million users stand, as `assign` finds it."""
    (layer,) = snapshot(share=0.25).layers
    found = []
    for number in range(IDS):
        answer = assign(layer, {"x-user-id": b"user-%d" % number}, None, NOW)
        assert answer is not None
        found.append(answer.point)
    return found


@pytest.mark.parametrize("share", SHARES)
def test_a_million_users_split_as_asked(points: list[int], share: float) -> None:
    """Canary and control each hold the phase's share of users, within 4 standard deviations."""
    limits = thresholds(share)
    canary = sum(one < limits.canary_below for one in points)
    control = sum(one >= limits.control_from for one in points)
    deviation = sqrt(IDS * share * (1 - share))
    assert abs(canary - IDS * share) <= 4 * deviation
    assert abs(control - IDS * min(share, 1 - share)) <= 4 * deviation


def test_raising_the_share_moves_nobody_out_of_the_canary(points: list[int]) -> None:
    """Up to 50 % nobody leaves the control either: it was never treated."""
    for lower, higher in pairwise(SHARES):
        before, after = thresholds(lower), thresholds(higher)
        assert not any(one < before.canary_below and one >= after.canary_below for one in points)
        if higher <= 0.5:
            assert not any(one >= before.control_from and one < after.control_from for one in points)


def test_nobody_and_everybody() -> None:
    """0 % is nobody, 100 % is everybody; the ends of the ring included."""
    assert thresholds(0.0) == (0, RING)
    assert thresholds(1.0) == (RING, RING)
    assert thresholds(1.0, holdback=0.1).canary_below == RING - round(0.1 * RING)
    for outside in (-0.01, 1.01):
        with pytest.raises(ValueError, match="share"):
            thresholds(outside)


def test_two_layers_are_independent() -> None:
    """The arm in one layer says nothing of the arm in another (chi-square of the 3x3 table, 4 degrees of freedom, p > 1e-4)."""
    compiled = snapshot(rollout("new"), rollout("tone", layer="prompt"), share=0.25)
    table: Counter[tuple[Arm, Arm]] = Counter()
    total = 60_000
    for number in range(total):
        user = f"user-{number}"
        table[arm(ask(compiled, x_user_id=user)), arm(ask(compiled, layer=1, x_user_id=user))] += 1
    rows = {one: sum(count for (first, _), count in table.items() if first == one) for one in Arm}
    columns = {one: sum(count for (_, second), count in table.items() if second == one) for one in Arm}
    chi_square = sum(
        (table[first, second] - rows[first] * columns[second] / total) ** 2 / (rows[first] * columns[second] / total)
        for first in Arm
        for second in Arm
    )
    assert chi_square < 23.5


def test_a_second_process_agrees() -> None:
    """Neither restart nor another interpreter's hash seed moves anybody."""
    code = (
        "from extproc.assign.bucket import point, ring_prefix\n"
        "print(sum(point(ring_prefix('model', 'new'), b'user-%d' % n) * (n + 1) for n in range(2000)))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True).stdout
        for seed in ("1", "2")
    }
    here = sum(point(ring_prefix("model", "new"), b"user-%d" % number) * (number + 1) for number in range(2000))
    assert outputs == {f"{here}\n"}


def test_published_vectors() -> None:
    """docs/hash.md: any language can reproduce a point (the first line is XXH3-64 of nothing, as its authors publish it)."""
    assert point(b"", b"") == 0x2D068005
    assert point(b"model/gpt-5-mini/", b"u1") == 320492055
    assert point(b"model/gpt-5-mini/", "ünïcode".encode()) == 1994458318


def test_the_first_matching_cohort_counts() -> None:
    """Staff in Germany is staff; the order written is the precedence."""
    compiled = snapshot()
    both = ask(compiled, x_user_id="u", x_user_tier="internal", x_geo_country="DE")
    german = ask(compiled, x_user_id="u", x_geo_country="DE")
    other = ask(compiled, x_user_id="u", x_geo_country="FR")
    assert [one.choice.assignment.cohort for one in (both, german, other) if one] == ["staff", "germany", "everyone"]


def test_all_conditions_of_a_cohort_hold() -> None:
    """Country and tier and header: each must match; a missing header matches nothing."""
    narrow = cohort("narrow", AllOf((countries("DE", "FR"), tiers("gold"), header("x-beta", "yes", "y"))))
    compiled = snapshot(rollout(cohorts=(narrow,)))
    inside = {"x_user_id": "u", "x_geo_country": "FR", "x_user_tier": "gold", "x_beta": "y"}
    answer = ask(compiled, **inside)
    assert answer is not None
    assert answer.choice.assignment.cohort == "narrow"
    for left_out in ("x_geo_country", "x_user_tier", "x_beta"):
        outside = ask(compiled, **{name: value for name, value in inside.items() if name != left_out})
        assert outside is not None
        assert outside.choice.assignment.reason is Reason.NO_COHORT
        assert outside.choice.assignment.model == "old"


def test_a_random_cohort_has_its_own_ring() -> None:
    """The hash that admits into a cohort is not the hash that picks inside it: canary share inside stays the phase's."""
    compiled = snapshot(rollout(cohorts=(cohort("some", RandomShare(0.1)), cohort("everyone"))), share=0.25)
    seen: Counter[tuple[str, Arm]] = Counter()
    for number in range(100_000):
        answer = ask(compiled, x_user_id=f"user-{number}")
        seen[answer.choice.assignment.cohort if answer else "", arm(answer)] += 1
    some = sum(count for (name, _), count in seen.items() if name == "some")
    assert abs(some - 10_000) < 4 * sqrt(100_000 * 0.1 * 0.9)
    assert abs(seen["some", Arm.CANARY] - some * 0.25) < 4 * sqrt(some * 0.25 * 0.75)


def test_sources_are_tried_in_order() -> None:
    """User id, then API key (hashed), then cookie; an empty value is none."""
    sources = (
        Source(SourceKind.HEADER, "x-user-id"),
        Source(SourceKind.API_KEY, "authorization"),
        Source(SourceKind.COOKIE, "llm_uid"),
    )
    compiled = snapshot(rollout(unit=Unit("user", sources, COOKIE)))
    key = ask(compiled, x_user_id="", authorization="Bearer sk-secret", cookie="llm_uid=c1")
    same_key = ask(compiled, authorization="sk-secret")
    cookie = ask(compiled, cookie="a=b; llm_uid=c1; xllm_uid=no")
    assert key is not None
    assert same_key is not None
    assert cookie is not None
    assert key.unit == same_key.unit
    assert b"secret" not in key.unit
    assert cookie.unit == b"c1"
    assert cookie.durable
    assert cookie.new_cookie is None


def test_the_anonymous_keep_their_arm_from_the_first_request_on() -> None:
    """The first unit is the request id and the cookie is that value; they are never one big bucket."""
    compiled = snapshot(share=0.25)
    arms: Counter[Arm] = Counter()
    for number in range(4000):
        request_id = b"id-%d" % number
        first = ask(compiled, request_id)
        assert first is not None
        assert not first.durable
        assert first.new_cookie is COOKIE
        back = ask(compiled, b"another", cookie=f"llm_uid={first.unit.decode()}")
        assert arm(back) is arm(first)
        arms[arm(first)] += 1
    assert abs(arms[Arm.CANARY] - 1000) < 4 * sqrt(4000 * 0.25 * 0.75)


def test_without_any_id_a_request_gets_stable() -> None:
    """No request id, no bucket."""
    answer = ask(snapshot(), None)
    assert answer is not None
    assert (answer.choice.assignment.reason, answer.choice.assignment.model) == (Reason.NO_UNIT, "old")


def test_only_matching_requests_are_touched() -> None:
    """Host, path and requested model; what does not match keeps its own route."""
    compiled = snapshot(rollout(match=Match(("api.chat.dev",), ("/v1/chat",), ("gpt-4o",))))
    matching: Subject = {":authority": b"API.chat.dev:443", ":path": b"/v1/chat/completions?x=1", contract.REQUEST_MODEL: b"gpt-4o"}
    (layer,) = compiled.layers
    assert assign(layer, matching, b"r", NOW) is not None
    for name, value in ((":authority", b"other.dev"), (":path", b"/v1/embeddings"), (contract.REQUEST_MODEL, b"o3")):
        assert assign(layer, {**matching, name: value}, b"r", NOW) is None
        assert assign(layer, {key: kept for key, kept in matching.items() if key != name}, b"r", NOW) is None


@pytest.mark.parametrize("status", [Status.PENDING, Status.ROLLED_BACK])
def test_pending_and_rolled_back_serve_stable_to_everyone(status: Status) -> None:
    """Whatever the phase says."""
    compiled = snapshot(status=status)
    for number in range(1000):
        answer = ask(compiled, x_user_id=f"user-{number}")
        assert answer is not None
        assert (answer.choice.assignment.model, answer.choice.assignment.reason) == ("old", Reason.NOT_EXPOSED)


def test_completed_makes_the_canary_the_default() -> None:
    """Everyone, those outside of all cohorts and without a unit included; only a holdback stays."""
    compiled = snapshot(rollout(cohorts=(cohort("staff", tiers("internal")),), holdback=0.1), status=Status.COMPLETED, share=1.0)
    models = Counter()
    for number in range(5000):
        answer = ask(compiled, x_user_id=f"user-{number}", x_user_tier="internal")
        assert answer is not None
        models[answer.choice.assignment.model] += 1
    assert abs(models["old"] - 500) < 4 * sqrt(5000 * 0.1 * 0.9)
    for outside in (ask(compiled, x_user_id="u"), ask(compiled, None)):
        assert outside is not None
        assert outside.choice.assignment.model == "new"


def test_a_rollout_that_state_does_not_know_serves_stable() -> None:
    """A router that is ahead of the controller exposes nobody."""
    given = spec()
    compiled = derive(prepare(given), replace(state_of(given), rollouts={}), no_bytes)
    answer = ask(compiled, x_user_id="u")
    assert answer is not None
    assert answer.choice.assignment.model == "old"


def test_names_that_two_rooms_know_are_the_same() -> None:
    """assign and domain import nothing of contract: what they call alike is alike."""
    assert selectors.REQUEST_MODEL == contract.REQUEST_MODEL
    assert selectors.CLAIM_PREFIX == contract.CLAIM_PREFIX
    assert REQUEST_STATE == contract.REQUEST_STATE
    assert deriving.MODEL_LAYER == contract.MODEL_LAYER
    assert reading.REQUEST_ID == contract.REQUEST_ID_HEADER


def test_only_needed_headers_are_asked_for() -> None:
    """Least privilege: Envoy forwards what a decision may look at and nothing else."""
    narrow = rollout(cohorts=(cohort("beta", header("x-beta", "1")), cohort("everyone")))
    assert snapshot(narrow).needed_headers == {"x-request-id", "x-user-id", "cookie", "x-beta"}
    assert {"x-user-tier", "x-geo-country"} <= snapshot().needed_headers
