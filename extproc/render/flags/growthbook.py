"""The rollout as a GrowthBook feature. Whoever is outside of a rule's coverage goes on to the next rule, so each rule has a second one
that gives everybody else of its people stable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from extproc.domain import FlagVendor, Rollout
from extproc.flags import seed_of
from extproc.render.flags.rules import UNIT, Rule, Test
from extproc.render.flags.shares import part

PARTS: Final = 10_000
"""Buckets of hash version 2."""
_SPECIAL: Final = re.compile(r"[\\^$.|?*+()\[\]{}]")
"""What a regular expression reads as something else, in whatever language the flag is asked; all other characters stay as they are."""


def document(rollout: Rollout, found: list[Rule], description: str) -> dict[str, Any]:
    """A features document with one feature, whose value is `canary` or `stable`."""
    made = [one for rule in found for one in _rules(rule, rollout)]
    return {"features": {rollout.name: {"defaultValue": "stable", "rules": made, "metadata": {"description": description}}}}


def _rules(rule: Rule, rollout: Rollout) -> Iterator[dict[str, Any]]:
    condition = {"$and": [_condition(test) for test in rule.tests]} if rule.tests else {}
    if rule.share:
        seed, coverage = seed_of(FlagVendor.GROWTHBOOK, rollout.salt), part(rule.share, PARTS) / PARTS
        yield {"condition": condition, "force": "canary", "coverage": coverage, "hashAttribute": "id", "hashVersion": 2, "seed": seed}
    yield {"condition": condition, "force": "stable"}


def _condition(test: Test) -> dict[str, Any]:
    name = test.attribute if test.attribute != UNIT else "id"
    pattern = "^(?:" + "|".join(_SPECIAL.sub(r"\\\g<0>", value) for value in test.values) + ")"
    found = {name: {"$regex": pattern} if test.prefix else {"$in": list(test.values)}}
    return {"$not": found} if test.negated else found
