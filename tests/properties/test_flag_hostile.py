"""Damaged documents: refused with Problems, or compiled into a flag whose evaluation raises nothing. Never anything else."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from extproc.domain import FlagVendor
from extproc.flags import FlagError, compile_flag
from tests.support.flag_documents import DOCUMENTS, KEYS

DAMAGED = 1_500
"""Documents of each vendor."""
ODD: list[Any] = [None, True, False, 0, 1, -1, 2**70, 1.5, 1e300, "", "x", "\ud800", "é" * 50, "1.2.3", "12.5", "^(a+)+$", "(?", "\\"]
ODD += [[], {}, [[]], [None], [{}], {"": {}}, {"a": 1}, "9" * 5000]
NAMES = ("x", "", "$ref", "rules", "values", "id", "if", "and")
PEOPLE: list[dict[str, Any]] = [
    {},
    {"userId": "u", "key": "u", "id": "u", "targetingKey": "u", "tier": "Gold", "seats": 11, "beta": True, "version": "2.0.1"},
    {"userId": "", "key": 5, "id": None, "targetingKey": "\ud800", "tier": "\ud800", "seats": 1e308, "beta": False, "team": "a"},
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a document."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    for key, inner in items:
        yield value, key
        yield from places(inner)


def damaged(document: dict[str, Any], random: Random) -> dict[str, Any]:
    """One to three values replaced, taken away, moved under another name, or replaced by one of another place."""
    made = copy.deepcopy(document)
    for _ in range(random.randint(1, 3)):
        container, key = random.choice(list(places(made)))
        how = random.random()
        if how < 0.6:
            container[key] = copy.deepcopy(random.choice(ODD))
        elif how < 0.75:
            del container[key]
        elif how < 0.9 and isinstance(container, dict):
            container[random.choice(NAMES)] = container.pop(key)
        else:
            other, at = random.choice(list(places(document)))
            container[key] = copy.deepcopy(other[at])
        if not made:
            break
    return made


@pytest.mark.parametrize("vendor", FlagVendor)
def test_a_damaged_document_is_refused_or_evaluated(vendor: FlagVendor) -> None:
    """The controller reads what a service sends, and `check` what people write: neither may stumble."""
    random, seen = Random(11), Counter[str]()
    for _ in range(DAMAGED):
        document = damaged(DOCUMENTS[vendor], random)
        try:
            flag = compile_flag(vendor, document, random.choice(KEYS))
        except FlagError as error:
            seen["refused" if all(problem.message and problem.hint for problem in error.problems) else "unexplained"] += 1
            continue
        seen["compiled"] += 1
        for attributes in PEOPLE:
            flag.evaluate(attributes, 1.0)
    print(vendor.value, dict(seen))
    assert not seen["unexplained"]
    assert min(seen["refused"], seen["compiled"]) > 150
