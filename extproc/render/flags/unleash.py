"""The rollout as an Unleash feature: one strategy per alternative, since any strategy that holds turns it on."""

from __future__ import annotations

from typing import Any, Final

from extproc.domain import FlagVendor, Rollout
from extproc.errors import Problem
from extproc.flags import seed_of
from extproc.render.flags.rules import MOST, UNIT, Rule, Test, Tests, without
from extproc.render.flags.shares import part
from extproc.render.settings import RenderError

PARTS: Final = 100
"""Unleash hashes into whole percents."""


def document(rollout: Rollout, found: list[Rule], description: str) -> dict[str, Any]:
    """A client-features document with one feature: on means canary. Raises RenderError where Unleash cannot say it."""
    strategies: list[dict[str, Any]] = []
    for index, rule in enumerate(found):
        if rule.share:
            # All strategies hash alike: where an earlier one has at least this share, being met by both changes nothing.
            smaller = [one for one in found[:index] if one.share < rule.share]
            strategies += [_strategy(rule, tests, rollout) for tests in without(smaller, rule)]
        if len(strategies) > MOST:
            message = f"needs more than {MOST} strategies in Unleash, whose rules are not tried in order"
            raise RenderError(Problem("render.flag-size", f"rollouts.{rollout.name}.cohorts", message, "use fewer or simpler cohorts"))
    feature = {
        "name": rollout.name,
        "type": "release",
        "description": description,
        "enabled": True,
        # A feature without strategies is on for everybody.
        "strategies": strategies or [_strategy(_NOBODY, (), rollout)],
        "variants": [],
    }
    return {"version": 2, "features": [feature], "segments": []}


_NOBODY: Final = Rule("nobody", (), 0.0)


def _strategy(rule: Rule, tests: Tests, rollout: Rollout) -> dict[str, Any]:
    percent, group = part(rule.share, PARTS), seed_of(FlagVendor.UNLEASH, rollout.salt)
    parameters = {"rollout": str(percent), "stickiness": "userId", "groupId": group}
    return {"name": "flexibleRollout", "title": rule.cohort, "constraints": [_constraint(test) for test in tests], "parameters": parameters}


def _constraint(test: Test) -> dict[str, Any]:
    name = test.attribute if test.attribute != UNIT else "userId"
    operator = "STR_STARTS_WITH" if test.prefix else "IN"
    return {"contextName": name, "operator": operator, "values": list(test.values), "inverted": test.negated}
