"""One document of each vendor with flags of every kind that a cohort can name: thresholds on numbers, booleans, texts, shares, variants.

The attributes are the same for all: the unit's id, tier (a header), seats (a number in a header), beta (a boolean in a cookie), version
(a header), team (a claim).
"""

from __future__ import annotations

from typing import Any

from extproc.domain import FlagVendor

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "tier": {"header": "x-user-tier"},
    "seats": {"header": "x-seats", "type": "number"},
    "beta": {"cookie": "beta", "type": "boolean"},
    "version": {"header": "x-version"},
    "team": {"claim": "org.team"},
}
"""Where they come from, as a Spec says it."""
KEYS = ("seats", "beta", "texts", "share", "variants", "everything")
"""Flags of each document; `variants` has several."""


def _unleash() -> dict[str, Any]:
    def constraint(name: str, operator: str, *values: str, **more: Any) -> dict[str, Any]:
        given = {"values": list(values)} if operator in ("IN", "NOT_IN", "STR_STARTS_WITH", "STR_ENDS_WITH") else {"value": values[0]}
        return {"contextName": name, "operator": operator, **given, **more}

    def strategy(rollout: int, *constraints: dict[str, Any]) -> dict[str, Any]:
        parameters = {"rollout": str(rollout), "stickiness": "userId", "groupId": "group"}
        return {"name": "flexibleRollout", "constraints": list(constraints), "parameters": parameters}

    def feature(name: str, *strategies: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"name": name, "type": "release", "enabled": True, "strategies": list(strategies), "variants": [], **more}

    beta = constraint("beta", "IN", "True")
    rest = constraint("tier", "STR_STARTS_WITH", "Go", caseInsensitive=True)
    shares = [{"name": name, "weight": weight, "stickiness": "userId"} for name, weight in (("blue", 300), ("green", 700))]
    return {
        "version": 2,
        "features": [
            feature("seats", strategy(100, constraint("seats", "NUM_GTE", "10"))),
            feature("beta", strategy(100, beta)),
            feature("texts", strategy(100, rest), strategy(100, constraint("version", "SEMVER_GT", "2.0.0"))),
            feature("share", strategy(40)),
            feature("variants", strategy(60), variants=shares),
            feature(
                "everything", strategy(50, beta), strategy(80, constraint("team", "NOT_IN", "sales"), constraint("seats", "NUM_LT", "3"))
            ),
        ],
        "segments": [],
    }


def _launchdarkly() -> dict[str, Any]:
    def clause(name: str, op: str, *values: Any, negate: bool = False) -> dict[str, Any]:
        return {"attribute": name, "op": op, "values": list(values), "negate": negate}

    def rule(served: int | dict[str, Any], *clauses: dict[str, Any]) -> dict[str, Any]:
        return {"clauses": list(clauses), **({"variation": served} if isinstance(served, int) else {"rollout": served})}

    def rollout(*weights: int) -> dict[str, Any]:
        return {"variations": [{"variation": index, "weight": weight * 1000} for index, weight in enumerate(weights)]}

    def flag(key: str, *rules: dict[str, Any], variations: tuple[Any, ...] = (False, True), **more: Any) -> dict[str, Any]:
        given = {"version": 1, "on": True, "salt": f"{key}-salt", "variations": list(variations), "offVariation": 0}
        return {"key": key, **given, "fallthrough": {"variation": 0}, "rules": list(rules), **more}

    beta = rule(1, clause("beta", "in", True))
    flags = [
        flag("seats", rule(1, clause("seats", "greaterThanOrEqual", 10))),
        flag("beta", beta),
        flag("texts", rule(1, clause("tier", "matches", "^(?i:go)")), rule(1, clause("version", "semVerGreaterThan", "2.0.0"))),
        flag("share", fallthrough={"rollout": rollout(60, 40)}),
        flag("variants", variations=("", "blue", "green"), fallthrough={"rollout": rollout(40, 18, 42)}),
        flag(
            "everything",
            rule(rollout(20, 80), clause("team", "in", "sales", negate=True), clause("seats", "lessThan", 11)),
            targets=[{"variation": 1, "values": ["user-7", "user-8"]}],
            prerequisites=[{"key": "beta", "variation": 0}],
        ),
    ]
    return {"flags": {one["key"]: one for one in flags}, "segments": {}}


def _growthbook() -> dict[str, Any]:
    def feature(*rules: dict[str, Any]) -> dict[str, Any]:
        return {"defaultValue": False, "rules": list(rules)}

    def force(condition: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"condition": condition, "force": True, **more}

    shares = {"variations": ["", "blue", "green"], "weights": [0.4, 0.18, 0.42], "key": "colours", "hashVersion": 2}
    return {
        "features": {
            "seats": feature(force({"seats": {"$gte": 10}})),
            "beta": feature(force({"beta": True})),
            "texts": feature(force({"tier": {"$regexi": "^go"}}), force({"version": {"$vgt": "2.0.0"}})),
            "share": feature({"force": True, "coverage": 0.4, "hashVersion": 2, "seed": "s"}),
            "variants": feature(shares | {"meta": [{"key": "none"}, {"key": "blue"}, {"key": "green"}]}),
            "everything": feature(
                force({"id": {"$in": ["user-7", "user-8"]}}),
                force({"$or": [{"team": {"$nin": ["sales"]}}, {"seats": {"$lt": 3}}]}, coverage=0.8, hashVersion=2),
            ),
        }
    }


def _flagd() -> dict[str, Any]:
    def variable(name: str) -> dict[str, Any]:
        return {"var": [name]}

    def flag(targeting: dict[str, Any], variants: tuple[str, ...] = ("off", "on")) -> dict[str, Any]:
        values = {name: name if name != "off" else "" for name in variants}
        return {"state": "ENABLED", "variants": values, "defaultVariant": "off", "targeting": targeting}

    def when(condition: Any) -> dict[str, Any]:
        return {"if": [condition, "on", "off"]}

    share = {"fractional": [["on", 80], ["off", 20]]}
    texts = [{"starts_with": [variable("tier"), "Go"]}, {"sem_ver": [variable("version"), ">", "2.0.0"]}]
    return {
        "flags": {
            "seats": flag(when({">=": [variable("seats"), 10]})),
            "beta": flag(when({"==": [variable("beta"), True]})),
            "texts": flag(when({"or": texts})),
            "share": flag({"fractional": [["on", 40], ["off", 60]]}),
            "variants": flag({"fractional": [["off", 40], ["blue", 18], ["green", 42]]}, ("off", "blue", "green")),
            "everything": flag(
                {"if": [{"and": [{"!": [{"in": [variable("team"), ["sales"]]}]}, {"<": [variable("seats"), 3]}]}, share, "off"]}
            ),
        }
    }


DOCUMENTS = {
    FlagVendor.UNLEASH: _unleash(),
    FlagVendor.LAUNCHDARKLY: _launchdarkly(),
    FlagVendor.GROWTHBOOK: _growthbook(),
    FlagVendor.FLAGD: _flagd(),
}
