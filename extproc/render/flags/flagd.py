"""The rollout as a flagd flag: an if-chain in JSON logic, in the order of the cohorts."""

from __future__ import annotations

from typing import Any

from extproc.domain import FlagVendor, Rollout
from extproc.flags import seed_of
from extproc.render.flags.rules import UNIT, Rule, Test


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
    if share in (0.0, 1.0):
        return "canary" if share else "stable"
    # Weights are whole numbers; a thousandth of a percent is finer than anybody asks for.
    canary = round(share * 100_000)
    return {"fractional": [["canary", canary], ["stable", 100_000 - canary]]}


def _test(test: Test) -> dict[str, Any]:
    variable = {"var": [test.attribute if test.attribute != UNIT else "targetingKey", ""]}
    found: dict[str, Any] = {"in": [variable, list(test.values)]}
    if test.prefix:
        found = {"or": [{"starts_with": [variable, value]} for value in test.values]}
    return {"!": [found]} if test.negated else found
