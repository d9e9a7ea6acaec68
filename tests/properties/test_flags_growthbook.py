"""A GrowthBook flag is answered as GrowthBook's own SDK answers it: on tens of thousands of random contexts, without one difference."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from growthbook import GrowthBook

from extproc.domain import ring_length
from extproc.flags.flag import FlagAnswer
from extproc.flags.growthbook import compile_flag, point_of
from tests.support.flags_growthbook import FAMILIES, KEY, flag

SEED = 20261
FLAGS = 70
"""Payloads of each family; each is asked with 25 contexts."""
EVALUATIONS = 500
"""Least number of evaluations of each feature of the language."""
OUTCOMES = 50
"""Least number of yes, and of no, of each."""
SHARES = (0.01, 0.05, 0.25, 0.5, 1.0)
SEEDS = ("checkout", "größe-😀", "a/b#c", "")


def sdk(document: dict[str, Any]) -> GrowthBook:
    """The vendor's SDK without a network: no client key, no host."""
    return GrowthBook(features=document["features"], savedGroups=document.get("savedGroups"))


def theirs(client: GrowthBook, attributes: dict[str, Any]) -> FlagAnswer:
    client.set_attributes(attributes)
    result = client.eval_feature(KEY)
    variant = result.experimentResult.key if result.source == "experiment" else ""
    return FlagAnswer(result.on, variant, result.value)


def same(one: FlagAnswer, other: FlagAnswer) -> bool:
    """The very same value of the document, not only an equal one: 1 and true are equal to Python."""
    return one.on is other.on and one.variant == other.variant and one.value is other.value


def test_every_feature_of_the_language_answers_as_the_sdk_does() -> None:
    """Zero differences; each feature is asked often, and says yes and no often."""
    random = Random(SEED)
    told: Counter[tuple[str, bool]] = Counter()
    different = []
    for name, family in FAMILIES.items():
        for _ in range(FLAGS):
            document, contexts = family(random)
            ours, client = compile_flag(document, KEY).evaluate, sdk(document)
            for attributes in contexts:
                expected, got = theirs(client, attributes), ours(attributes, 0.0)
                told[name, expected.on] += 1
                if not same(got, expected):
                    different.append((name, document["features"], attributes, expected, got))
    print(f"\n{'feature':22}{'evaluations':>12}{'yes':>7}{'no':>7}")
    for name in FAMILIES:
        yes, no = told[name, True], told[name, False]
        print(f"{name:22}{yes + no:12}{yes:7}{no:7}")
    print(f"{'all':22}{told.total():12}   differences: {len(different)}")
    assert different[:3] == []
    assert told.total() >= 10_000
    for name in FAMILIES:
        assert told[name, True] + told[name, False] >= EVALUATIONS, name
        assert min(told[name, True], told[name, False]) >= OUTCOMES, name


def test_only_the_attributes_that_are_named_matter() -> None:
    """`needs` is complete: without the other attributes the answer is the same."""
    random = Random(SEED + 1)
    for family in FAMILIES.values():
        for _ in range(3):
            document, contexts = family(random)
            compiled = compile_flag(document, KEY)
            for attributes in contexts:
                least = {key: value for key, value in attributes.items() if key in compiled.needs}
                assert same(compiled.evaluate(least, 0.0), compiled.evaluate(attributes, 0.0))


def ids(random: Random) -> list[bytes]:
    """Ids of every script, of surrogates, and of bytes that are no UTF-8."""
    made = [b"user-%d" % random.randrange(10**9) for _ in range(150)]
    made += ["".join(random.choice("aZ9-é日😀") for _ in range(random.randint(1, 20))).encode() for _ in range(100)]
    made += [random.randbytes(random.randint(1, 12)) for _ in range(50)]
    return [*made, b"\xff", b"\xed\xa0\x80", b"0", b"\0", b""]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_point_on_the_ring_is_in_a_share_exactly_when_the_rollout_includes_it(seed: str, version: int) -> None:
    """`extproc` and the vendor's rollout see the same people, at shares of whole buckets and at any other."""
    random = Random(SEED + version)
    point, units = point_of(seed or KEY, version), ids(random)
    fine = [random.randrange(10_000) / 10_000 for _ in range(3)] + [random.random() for _ in range(3)]
    for share in (*SHARES, 0.0, *fine):
        client = sdk(flag([{"force": True, "coverage": share, "seed": seed, "hashVersion": version}]))
        length = ring_length(share)
        for unit in units:
            included = theirs(client, {"id": unit.decode(errors="surrogateescape")}).on
            assert (point(unit) < length) is included, (unit, share)


def test_the_first_variation_of_an_experiment_is_the_first_part_of_the_ring() -> None:
    """The same seed serves an experiment whose first variation is the canary."""
    units, point = ids(Random(SEED)), point_of("exp")
    for share in SHARES[:4]:
        client = sdk(flag([{"variations": ["canary", "stable"], "weights": [share, 1 - share], "key": "exp", "hashVersion": 2}]))
        for unit in units:
            canary = theirs(client, {"id": unit.decode(errors="surrogateescape")}).value == "canary"
            assert (point(unit) < ring_length(share)) is canary
