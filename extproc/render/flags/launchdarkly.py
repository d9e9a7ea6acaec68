"""The rollout as a LaunchDarkly flag: its rules are tried in order, as cohorts are."""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import FlagVendor, Rollout
from extproc.flags import seed_of
from extproc.render.flags.rules import UNIT, Rule, Test
from extproc.render.flags.shares import part

PARTS: Final = 100_000
"""Weights of a rollout are thousandths of a percent."""
_ANYBODY: Final[dict[str, Any]] = {"attribute": "key", "op": "in", "values": [""], "negate": True}
"""LaunchDarkly's own rules all have a clause; no context has an empty key, so this one is always met."""


def document(rollout: Rollout, found: list[Rule], description: str) -> dict[str, Any]:
    """The SDK's document with one flag, whose variations are `stable` and `canary`.

    LaunchDarkly never matches an attribute that is missing, not even in a negated clause: send every attribute, empty if need be.
    """
    flag = {
        "key": rollout.name,
        "version": 1,
        "on": True,
        "salt": rollout.salt,
        "description": description,
        "variations": ["stable", "canary"],
        "offVariation": 0,
        "fallthrough": {"variation": 0},
        "targets": [],
        "prerequisites": [],
        "rules": [_rule(number, rule, rollout) for number, rule in enumerate(found)],
    }
    return {"flags": {rollout.name: flag}, "segments": {}}


def _rule(number: int, rule: Rule, rollout: Rollout) -> dict[str, Any]:
    weight = part(rule.share, PARTS)
    variations = [{"variation": 1, "weight": weight}, {"variation": 0, "weight": PARTS - weight}]
    seed = int(seed_of(FlagVendor.LAUNCHDARKLY, rollout.salt))
    served: dict[str, Any] = {"rollout": {"variations": variations, "seed": seed, "bucketBy": "key"}}
    if weight in (0, PARTS):
        served = {"variation": 1 if weight else 0}
    return {"id": f"{number}-{rule.cohort}", "clauses": [_clause(test) for test in rule.tests] or [_ANYBODY], **served}


def _clause(test: Test) -> dict[str, Any]:
    name = test.attribute if test.attribute != UNIT else "key"
    return {"attribute": name, "op": "startsWith" if test.prefix else "in", "values": list(test.values), "negate": test.negated}
