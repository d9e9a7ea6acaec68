"""The rollout as an Unleash feature: one strategy per alternative, since any strategy that holds turns it on."""

from __future__ import annotations

from typing import Any

from extproc.domain import FlagVendor, Rollout
from extproc.errors import Problem
from extproc.flags import seed_of
from extproc.render.flags.rules import MOST, UNIT, Rule, Test, without
from extproc.render.settings import RenderError


def document(rollout: Rollout, found: list[Rule], description: str) -> dict[str, Any]:
    """A client-features document with one feature: on means canary. Raises RenderError where Unleash cannot say it."""
    strategies: list[dict[str, Any]] = []
    for index, rule in enumerate(found):
        if not rule.share:
            continue
        percent = round(rule.share * 100)
        if abs(percent - rule.share * 100) > 1e-9:
            message = f"cohort {rule.cohort} has a share of {rule.share * 100:.6g} %, and Unleash knows whole percents"
            raise RenderError(Problem("render.flag-share", f"rollouts.{rollout.name}", message, "choose a share of whole percents"))
        for tests in without(found[:index], rule):
            parameters = {"rollout": str(percent), "stickiness": "userId", "groupId": seed_of(FlagVendor.UNLEASH, rollout.salt)}
            constraints = [_constraint(test) for test in tests]
            strategies.append({"name": "flexibleRollout", "title": rule.cohort, "constraints": constraints, "parameters": parameters})
    if len(strategies) > MOST:
        message = f"needs {len(strategies)} strategies in Unleash, whose rules are not tried in order"
        raise RenderError(Problem("render.flag-size", f"rollouts.{rollout.name}.cohorts", message, "use fewer or simpler cohorts"))
    # A feature without strategies is on for everybody.
    strategies = strategies or [{"name": "userWithId", "title": "nobody", "constraints": [], "parameters": {"userIds": ""}}]
    feature = {
        "name": rollout.name,
        "type": "release",
        "description": description,
        "enabled": True,
        "strategies": strategies,
        "variants": [],
    }
    return {"version": 2, "features": [feature], "segments": []}


def _constraint(test: Test) -> dict[str, Any]:
    name = test.attribute if test.attribute != UNIT else "userId"
    operator = "STR_STARTS_WITH" if test.prefix else "IN"
    return {"contextName": name, "operator": operator, "values": list(test.values), "inverted": test.negated}
