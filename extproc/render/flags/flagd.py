"""The rollout as a flagd flag: an if-chain in JSON logic, in the order of the cohorts."""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import FlagVendor, Rollout
from extproc.flags import seed_of
from extproc.render.flags.rules import UNIT, Rule, Test
from extproc.render.flags.shares import part

PARTS: Final = 10_000
"""flagd takes any weights; in these steps its edge of a share is exactly ours (flags.flagd.fractional)."""


def document(rollout: Rollout, found: list[Rule], description: str) -> dict[str, Any]:
    """A flagd document with one flag, whose variants are `canary` and `stable`. Its key is the rollout's salt: flagd hashes it."""
    chain: list[Any] = []
    for rule in found:
        chain += [{"and": [_test(test) for test in rule.tests]} if rule.tests else True, _served(rule.share)]
    flag = {
        "state": "ENABLED",
        "variants": {"canary": "canary", "stable": "stable"},
        "defaultVariant": "stable",
        "targeting": {"if": [*chain, "stable"]},
        "metadata": {"description": description},
    }
    return {"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": {seed_of(FlagVendor.FLAGD, rollout.salt): flag}}


def _served(share: float) -> Any:
    canary = part(share, PARTS)
    if canary in (0, PARTS):
        return "canary" if canary else "stable"
    return {"fractional": [["canary", canary], ["stable", PARTS - canary]]}


def _test(test: Test) -> dict[str, Any]:
    variable = {"var": [test.attribute if test.attribute != UNIT else "targetingKey", ""]}
    found: dict[str, Any] = {"in": [variable, list(test.values)]}
    if test.prefix:
        found = {"or": [{"starts_with": [variable, value]} for value in test.values]}
    return {"!": [found]} if test.negated else found
