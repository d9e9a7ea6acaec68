"""Unleash flags: who is in at the edge is exactly who is in by the vendor's own SDK, whatever the flag and the request."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache
from UnleashClient.utils import InstanceAllowType

from extproc.domain import RING, ring_length
from extproc.flags import FlagAnswer, FlagError
from extproc.flags.unleash import compile_flag, point_of
from extproc.flags.unleash.letters import NEWER_LETTERS
from extproc.flags.unleash.pattern import DIGITS
from tests.support.flags_unleash import MAKERS, Case, Feature, Oracle, case_of, drawn, identity, requests

SEED = 20260101
FLAGS_A_MAKER = 18
REQUESTS_A_FLAG = 40
LEAST_EVALUATIONS = 500
LEAST_OF_EACH_OUTCOME = 50
SHARES = (1, 5, 25, 50, 100)
BY_VARIANT = (
    "overrides",
    "strategy variants",
    *(f"variants by {one}" for one in ("nothing named", "default", "userId", "sessionId", "plan")),
)
"""Features whose outcome is the variant; all others' is on or off."""


def test_every_operator_answers_as_the_vendors_engine() -> None:
    """Zero differences over thousands of generated flags and requests, and each operator seen often with both outcomes."""
    random = Random(SEED)
    outcomes: dict[str, Counter[Any]] = {}
    left_out: Counter[str] = Counter()
    for maker in MAKERS:
        for _ in range(FLAGS_A_MAKER):
            case = maker(random)
            flag, oracle = compile_flag(case.document, case.key), Oracle(case.document)
            seen = outcomes.setdefault(case.name, Counter())
            for attributes, now in requests(case, random, REQUESTS_A_FLAG):
                chance = drawn(case, attributes)
                if chance == "on":  # the vendor draws: nothing to compare with
                    left_out["drawn: the whole answer"] += 1
                    continue
                theirs, ours = oracle.answer(case.key, attributes, now), flag.evaluate(attributes, now)
                if chance == "variant":
                    left_out["drawn: the variant"] += 1
                    theirs, ours = theirs._replace(variant=""), ours._replace(variant="")
                assert ours == theirs, (attributes, now, case.document)
                seen[ours.variant if case.name in BY_VARIANT else ours.on] += 1
    report(outcomes, left_out)
    assert sum(map(Counter.total, outcomes.values())) >= 10_000
    for name, seen in outcomes.items():
        assert seen.total() >= LEAST_EVALUATIONS, name
        assert sum(count >= LEAST_OF_EACH_OUTCOME for count in seen.values()) >= 2, (name, seen)


def report(outcomes: dict[str, Counter[Any]], left_out: Counter[str]) -> None:
    """Operator -> evaluations, as a table."""
    print(f"\n{'operator or feature':34} {'evaluations':>11}  outcomes")
    for name, seen in outcomes.items():
        print(f"{name:34} {seen.total():11}  " + ", ".join(f"{outcome} {count}" for outcome, count in sorted(seen.items(), key=str)))
    print(f"{'all':34} {sum(map(Counter.total, outcomes.values())):11}  left out: {dict(left_out)}")


def test_unleash_client_itself_agrees(tmp_path: Path) -> None:
    """The client, offline and started from a bootstrap, with the context that an application hands over: the same answers."""
    random = Random(SEED + 1)
    cases = [unique(maker(random), number) for number, maker in enumerate(MAKERS)]
    cache = FileCache("edge", directory=str(tmp_path))
    features, segments = [one for case in cases for one in case.features], next(case.segments for case in cases if case.segments)
    document = {"version": 2, "features": features, "segments": segments}
    cache.bootstrap_from_dict(document)
    client = UnleashClient(
        url="http://127.0.0.1:9/",  # nobody listens there, and nothing is asked: polling, metrics and registration are off
        app_name="edge",
        environment="test",
        disable_metrics=True,
        disable_registration=True,
        cache=cache,
        multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
    )
    client.initialize_client(fetch_toggles=False)
    compared = 0
    try:
        for case in cases:
            flag = compile_flag(document, case.key)
            for attributes, _ in requests(case, random, 20):
                ours = flag.evaluate({"appName": "edge", "environment": "test", **attributes}, time.time())
                if drawn(case, attributes):
                    continue
                variant = client.get_variant(case.key, attributes)
                assert ours.on == client.is_enabled(case.key, attributes), (attributes, case.document)
                assert ours == FlagAnswer(
                    variant["feature_enabled"], variant["name"] if variant["enabled"] else "", variant["feature_enabled"]
                )
                compared += 1
    finally:
        client.destroy()
    assert compared > 700


def unique(case: Case, number: int) -> Case:
    """The same flag, and its parent, under names that no other case has."""

    def renamed(feature: Feature) -> Feature:
        dependencies = [{**one, "feature": f"{one['feature']}#{number}"} for one in feature.get("dependencies", ())]
        return {**feature, "name": f"{feature['name']}#{number}", "dependencies": dependencies}

    return Case(case.name, f"{case.key}#{number}", [renamed(one) for one in case.features], case.near, case.segments)


@pytest.mark.parametrize("seed", ["", "flag", "checkout:new", "grüppe 7"])
def test_point_of_sees_the_same_people(seed: str) -> None:
    """For every share that Unleash can express, our ring includes exactly those whom its rollout includes."""
    random = Random(SEED + 2)
    rollouts = [case_of("", random, rollout_of(share, seed)) for share in SHARES]
    oracles = [(ring_length(share / 100), case.key, Oracle(case.document)) for share, case in zip(SHARES, rollouts, strict=True)]
    point = point_of(seed)
    inside: Counter[int] = Counter()
    for _ in range(400):
        unit = str(identity(random))
        here = point(unit.encode())
        for below, key, oracle in oracles:
            assert (here < below) == oracle.answer(key, {"userId": unit}, 0.0).on, (unit, below)
            inside[below] += here < below
    assert inside[RING] == 400
    assert 120 < inside[RING // 2] < 280


def rollout_of(percent: int, group: str) -> dict[str, Any]:
    return {"name": "flexibleRollout", "parameters": {"rollout": str(percent), "stickiness": "userId", "groupId": group}}


def test_points_cover_the_ring_and_take_any_bytes() -> None:
    """Shares between two percents are kept too, and bytes that are no UTF-8 have a place."""
    point, random = point_of("flag"), Random(SEED)
    points = [point(random.randbytes(random.randint(8, 20))) for _ in range(40_000)]
    assert all(0 <= one < RING for one in points)
    for share in (0.001, 0.005, 0.123, 0.5, 0.999):
        assert abs(sum(one < ring_length(share) for one in points) / len(points) - share) < 4 * (share * (1 - share) / len(points)) ** 0.5


def test_letters_are_the_engines() -> None:
    """Ignoring case means the same for every letter of Unicode, also for those that this Python does not know yet."""
    capitals = [
        chr(code)
        for code in range(0x80, 0x110000)
        if not 0xD800 <= code < 0xE000 and (chr(code).lower() != chr(code) or code in NEWER_LETTERS)
    ]
    given = {"contextName": "x", "operator": "STR_STARTS_WITH", "caseInsensitive": True, "values": [f"a{one}b" for one in capitals]}
    case = case_of("", Random(1), {"name": "default", "constraints": [given]})
    flag, oracle = compile_flag(case.document, case.key), Oracle(case.document)
    for one in capitals:
        attributes = {"x": f"a{chr(NEWER_LETTERS.get(ord(one), ord(one))).lower()}b"}
        assert flag.evaluate(attributes, 0.0).on, one
        assert oracle.answer(case.key, attributes, 0.0).on, one
    assert len(capitals) > 1400


def test_digits_are_the_engines() -> None:
    """`\\d` means the same at both ends of every run of digits."""
    given = {"contextName": "x", "operator": "REGEX", "value": "^\\d$"}
    case = case_of("", Random(1), {"name": "default", "constraints": [given]})
    flag, oracle = compile_flag(case.document, case.key), Oracle(case.document)
    for low, high in DIGITS:
        for code in (low - 1, low, high, high + 1):
            assert flag.evaluate({"x": chr(code)}, 0.0) == oracle.answer(case.key, {"x": chr(code)}, 0.0), hex(code)


PIECES = (
    *('aabbkKsS01-^$.|()*+?[]{},\\/ \n"é&~#_', "(?:", "[^", "[a-", "a-z]", "\\d", "\\s", "\\S", "\\.", "\\-", "\\n", "\\]"),
    *("{2}", "{1,3}", "{0,}", "(?i)", "+?", "--", "&&"),
)


def test_a_pattern_that_we_take_means_what_the_engine_takes_it_for() -> None:
    """Patterns thrown together at random: refused, or the same answer for every text."""
    random = Random(SEED)
    pieces = [*PIECES[0], *PIECES[1:]]
    taken = both = 0
    while taken < 1_000:
        pattern = "".join(random.choice(pieces) for _ in range(random.randint(1, 9)))
        given = {"contextName": "x", "operator": "REGEX", "value": pattern, "caseInsensitive": random.random() < 0.3}
        case = case_of("", random, {"name": "default", "constraints": [given]})
        try:
            flag = compile_flag(case.document, case.key)
        except FlagError:
            continue
        taken, oracle = taken + 1, Oracle(case.document)
        seen = set()
        for _ in range(6):
            text = "".join(random.choice('aabbkKsS01-^$./ \né"&~#_\u212a\u017f\u0663z{}()[]\\') for _ in range(random.randint(0, 6)))
            ours = flag.evaluate({"x": text}, 0.0)
            assert ours == oracle.answer(case.key, {"x": text}, 0.0), (given, text)
            seen.add(ours.on)
        both += len(seen) == 2
    assert both > 100
