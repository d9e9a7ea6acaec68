"""A flagd flag is answered as flagd's own Python provider answers it: every operation, whatever the request looks like."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import cbor2
import pytest
from openfeature.contrib.tools.flagd.core.targeting.custom_ops import normalize_numbers, sem_ver

from extproc.domain import RING, ring_length
from extproc.flags import Flag, FlagAnswer, FlagError
from extproc.flags.flagd import compile_flag, point_of
from extproc.flags.flagd.cbor import encode
from extproc.flags.flagd.coerce import to_bool
from extproc.flags.flagd.fractional import rounded_down
from extproc.flags.flagd.logic import compiled
from extproc.flags.flagd.rule import Place, Rule
from extproc.flags.flagd.texts import COMPARISONS, version_of
from tests.support.flags_flagd import (
    EVALUATORS,
    FAILED,
    FEATURES,
    LISTS,
    NUMBERS,
    ONE_OUTCOME,
    OPERATIONS,
    PEOPLE,
    SCALARS,
    UNITS,
    Rules,
    client_of,
    context,
    flag,
    in_one_second,
    reference_value,
    written_version,
)

KEY = "größe/flag"
RULES = 45
"""Rules of each operation, and contexts of each rule."""
CONTEXTS = 15
FLAGS = 16
"""Flags of each feature, and contexts of each flag."""
REQUESTS = 40
LEAST = 500
LEAST_EACH = 50


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The SDK logs each failed evaluation with its traceback: thousands here, wanted."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def value_of(rule: Rule, run: Any, attributes: dict[str, Any], now: float) -> Any:
    data = {**attributes, "$flagd": {"flagKey": KEY, "timestamp": int(now)}} if rule.needs_time else attributes
    try:
        return run(data)
    except Exception:
        return FAILED


@pytest.mark.parametrize("seed", [1, 2])
def test_every_operation_gives_the_librarys_value(seed: int) -> None:
    """Not only the variant: the very value of each operation, its type included, and failure where the library fails."""
    random, seen, refused = Random(seed), {name: Counter[bool]() for name in OPERATIONS}, 0
    rules = Rules(random)
    for name in OPERATIONS:
        for _ in range(RULES):
            logic, rule = rules.operation(name), Rule(KEY)
            run = compiled(rule, logic, Place("")).run
            if rule.problems:
                refused += 1
                assert {problem.id for problem in rule.problems} == {"flag.arguments"}, rule.problems
                continue
            for attributes in (context(random) for _ in range(CONTEXTS)):
                wanted, now = in_one_second(lambda logic=logic, attributes=attributes: reference_value(KEY, logic, attributes))
                assert repr(value_of(rule, run, attributes, now)) == repr(wanted), (logic, attributes)
                seen[name][to_bool(wanted)] += 1
    assert refused < RULES, "the generator makes rules that we support"
    for name, outcomes in seen.items():
        assert outcomes.total() >= LEAST, name
        assert min(outcomes[True], outcomes[False]) >= LEAST_EACH, (name, outcomes)


def test_every_flag_is_answered_as_by_the_openfeature_client(tmp_path: Path) -> None:
    """Same variant, value and type as a client of OpenFeature gets whose provider reads the same document; each feature often enough."""
    random = Random(7)
    flags, features, ours = {}, {}, {}
    for feature in FEATURES:
        for number in range(FLAGS):
            key = f"{feature} {number}"
            flags[key], ours[key] = supported(feature, key, random)
            features[key] = feature
    seen = {feature: Counter[str]() for feature in FEATURES}
    with client_of({"flags": flags, "$evaluators": EVALUATORS, "metadata": {"version": 3}}, tmp_path) as client:
        for key, one in ours.items():
            for attributes in (context(random) for _ in range(REQUESTS)):
                variants = flags[key]["variants"]
                wanted, now = in_one_second(lambda key=key, variants=variants, asked=attributes: client.answer(key, variants, asked))
                given = one.evaluate({name: value for name, value in attributes.items() if name in one.needs}, now if one.needs_time else 0)
                assert (given, type(given.value)) == (wanted, type(wanted.value)), (flags[key], attributes)
                seen[features[key]][outcome(wanted)] += 1
    for feature, outcomes in seen.items():
        print(f"{feature:34}{outcomes.total():6} evaluations  {dict(outcomes)}")
        assert outcomes.total() >= LEAST, feature
        assert feature in ONE_OUTCOME or min(outcomes["yes"], outcomes["no"]) >= LEAST_EACH, (feature, outcomes)
    print(f"{'together':34}{sum(outcomes.total() for outcomes in seen.values()):6} evaluations")


def supported(feature: str, key: str, random: Random) -> tuple[dict[str, Any], Flag]:
    """A generated flag that we do not refuse: now and then a rule compares a text with something that can never be one."""
    while True:
        made = flag(feature, random)
        try:
            return made, compile_flag({"flags": {key: made}, "$evaluators": EVALUATORS}, key)
        except FlagError as error:
            if any(problem.id != "flag.arguments" for problem in error.problems):
                raise


def outcome(answer: FlagAnswer) -> str:
    return answer.variant or "the client's own"


@pytest.mark.parametrize("seed", ["checkout", "größe/flag", "", "x" * 300])
@pytest.mark.parametrize("weights", [(1, 99), (5, 95), (25, 75), (50, 50), (100, 0), (13, 87), (1, 9_999), (1_234, 8_766), (1, 3)])
def test_a_point_is_in_a_share_where_flagd_gives_the_first_variant(seed: str, weights: tuple[int, int]) -> None:
    """extproc at p % and a flagd flag at p % meet the same people."""
    first, rest = weights
    limit, point, included = ring_length(first / (first + rest)), point_of(seed), 0
    rule = {"fractional": [["first", first], ["rest", rest]]}
    for number in range(600):
        unit = UNITS[number] if number < 7 else f"unit-é-{number}"
        wanted = reference_value(seed, rule, {"targetingKey": unit}) == "first"
        assert (point(unit.encode()) < limit) is wanted, unit
        included += wanted
    assert abs(included - 600 * first / (first + rest)) < 60


def test_the_ends_of_shares_fall_on_the_same_point() -> None:
    """For every hundredth of a percent: the last hash that flagd still gives the first variant is the last point inside the share."""
    moved = rounded_down()
    for part in range(1, 10_000):
        last = -(-part * RING // 10_000) - 1
        assert (last * 10_000) >> 32 < part <= ((last + 1) * 10_000) >> 32, "flagd's own arithmetic"
        ours = [found - 1 if found in moved else found for found in (last, last + 1)]
        assert ours[0] < ring_length(part / 10_000) <= ours[1]


@pytest.mark.parametrize(("unit", "part"), [("user-1421735", 1_878), ("user-2493909", 9_229), ("user-3110088", 1_900)])
def test_a_unit_on_the_very_end_of_a_share(unit: str, part: int) -> None:
    """One id in about a million has the last hash of a share that our ring rounds down; flagd has it inside, and so have we."""
    rule = {"fractional": [["first", part], ["rest", 10_000 - part]]}
    assert reference_value("new-model", rule, {"targetingKey": unit}) == "first"
    assert point_of("new-model")(unit.encode()) == ring_length(part / 10_000) - 1


def test_cbor_is_canonical() -> None:
    """The bytes that are hashed are those of the encoder in flagd's provider, for any value of JSON."""
    random = Random(3)
    pool: list[Any] = [*SCALARS, None, *LISTS, *PEOPLE, {"b": 1, "a": {"long": 2.0, "é": None}}, 2**64, -(2**64) - 1, 2.0**64, -0.0]
    pool += [float("inf"), float("-inf"), float("nan"), 1e-45, 65504.0, 65505.0, 5.960464477539063e-08, "x" * 24, "x" * 70_000, [0] * 300]
    pool += [random.choice([1, -1]) * random.getrandbits(random.randint(1, 80)) for _ in range(2_000)]
    pool += [random.uniform(-1, 1) * 10 ** random.randint(-50, 50) for _ in range(2_000)]
    pool += [number / 1024 for number in random.sample(range(10**6), 2_000)] + NUMBERS
    for value in pool:
        assert encode(value) == cbor2.dumps(normalize_numbers(value), canonical=True), value


def test_versions_sort_as_in_the_semver_package() -> None:
    """What is a version, and which is larger: as for the package that flagd's provider asks."""
    random, seen = Random(5), Counter[Any]()
    for _ in range(8_000):
        one, other = written_version(random), written_version(random)
        for how, compare in COMPARISONS.items():
            left, right = version_of(one), version_of(other)
            wanted = sem_ver({}, one, how, other)
            assert (None if left is None or right is None else compare(left, right)) is wanted, (one, how, other)
            seen[how, wanted] += 1
    assert min(seen[how, wanted] for how in COMPARISONS for wanted in (True, False, None)) >= LEAST_EACH, seen
    assert version_of("1.0." + "9" * 5_000) is sem_ver({}, "1.0." + "9" * 5_000, "=", "1.0.0") is None
