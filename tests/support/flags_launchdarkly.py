"""LaunchDarkly's SDK as an oracle that tells what it went through, and generated documents and contexts to ask it about.

Values are drawn from small pools, so that conditions are met about as often as not.
"""

from __future__ import annotations

import copy
from collections import Counter
from random import Random
from typing import Any

import pytest
from ldclient.context import Context
from ldclient.evaluation import EvaluationDetail
from ldclient.impl import operators
from ldclient.impl.evaluator import EvalResult, Evaluator
from ldclient.impl.events.types import EventFactory
from ldclient.impl.model import Clause, FeatureFlag, Segment

from extproc.flags import FlagAnswer

KEYS = [*(f"user-{n}" for n in range(30)), "ключ-7", "用户5", "ü", "🙂", "a.b", " ", "0", "\udcff", "line\nbreak"]
KINDS = ["user", "user", "user", "org", "dev.ice-1_x"]
NUMBERS: list[Any] = [0, 1, 2, 17, 18, 18.0, 18.5, 64, -3, 1e300, 2**53 + 1]
TEXTS = ["pro", "free", "Größe", "日本", "", "pro-max", "1", "18", "true"]
TIMES: list[Any] = [
    "2024-01-01T00:00:00Z",
    "2024-06-01T12:00:00.5+02:00",
    "2025-01-01t00:00:00z",
    1_704_067_200_000,
    1_720_000_000_000.5,
    "20240301T000000Z",
]
VERSIONS = ["1", "1.2", "1.2.0", "2.0.0", "2.0.0-rc.1", "2.0.0-rc.2", "2-beta", "2.1+build.7", "10.0.0"]
ODD: list[Any] = [None, True, False, 5, "x", "", [], {}, [None, "pro", 1], 10**400, float("inf"), "\udc80"]
"""What an attribute should not be, and sometimes is."""
POOLS: dict[str, list[Any]] = {
    "plan": TEXTS,
    "age": [*NUMBERS, 10**400],
    "since": [*TIMES, "2024-01-01", "2024-01-01T00:00:00", "2024-01-01T00:00:00Z\n", "yesterday"],
    "version": [*VERSIONS, "1.2\nfoo", "1.2.3.4", "01.2", "v1", "٣.1"],
    "beta": [True, False, 1, 0, "true"],
    "groups": [["a", "b"], ["b", "pro"], [], [1, "1", True], [None, 18, ["a"]], ("a", 1.0)],
    "address": [{"city": "Köln", "geo": {"zip": 50667}}, {"city": "Rome", "geo": "none"}, {"a/b": "pro", "~": 1}, "Köln"],
    "/address/city": ["literal", "Köln", "Rome"],
    "name": ["Ann", "Zoë", "", 5],
    "anonymous": [True, False, "true", 1],
}
REFERENCES = [
    "plan",
    "age",
    "since",
    "version",
    "beta",
    "beta",
    "beta",
    "groups",
    "groups",
    "name",
    "anonymous",
    "key",
    "kind",
    "missing",
    "_meta",
]
PATHS = [
    "/address/city",
    "/address/city",
    "/address/city",
    "/address/geo/zip",
    "/address/a~1b",
    "/address/~0",
    "/plan",
    "/kind",
    "/key/x",
    "/groups/0",
]

OPERATORS = {
    "in": ["pro", "free", "日本", "", 18, 1, True, "1", None, ["a"], {"city": "Rome"}, "user-3", "ключ-7", "a", "Ann", 18.5],
    "startsWith": ["pro", "u", "user-1", "日", "", "A", "ü"],
    "endsWith": ["max", "5", "-7", "本", "e", "ö", "o"],
    "contains": ["r", "-1", "ß", "本", "e", "1"],
    "matches": ["^pro", "[0-9]$", "ß|本", "^$", "(?i)ANN", r"\w{4}", "."],
    "lessThan": NUMBERS,
    "lessThanOrEqual": NUMBERS,
    "greaterThan": NUMBERS,
    "greaterThanOrEqual": NUMBERS,
    "before": TIMES,
    "after": TIMES,
    "semVerEqual": VERSIONS,
    "semVerLessThan": VERSIONS,
    "semVerGreaterThan": VERSIONS,
}
"""Operator -> values to draw from."""
LIKELY: dict[str, list[Any]] = {
    "key": KEYS,
    "kind": KINDS[2:],
    "/kind": KINDS[2:],
    "anonymous": [True, False],
    "groups": ["a", "b", "pro", 1, True, 18, ["a"]],
    "/address/city": ["Köln", "Rome", "literal"],
    "/address/geo/zip": [50667],
    "/address/a~1b": ["pro"],
    "/address/~0": [1],
    "/plan": TEXTS,
    "plan": TEXTS,
    "beta": [True, 1, False, 0, "true"],
}
"""What an attribute is likely to be, for `in` and the operators on text."""
FITTING = {"lessThan": "age", "greaterThan": "age", "before": "since", "after": "since", "semVer": "version", "in": "plan"}
"""Start of an operator's name -> the attribute that it is mostly asked about."""


def context_attributes(random: Random) -> dict[str, Any]:
    """Attributes of one request: most of them there and of the right type."""
    attributes = {name: random.choice(pool) for name, pool in POOLS.items() if random.random() < 0.8}
    attributes["key"] = random.choice(KEYS)
    if random.random() < 0.3:
        attributes["kind"] = random.choice(KINDS)
    draw = random.random()
    if draw < 0.15:
        attributes[random.choice([*POOLS, "missing", "_meta"])] = random.choice(ODD)
    elif draw < 0.18:
        attributes["key"] = random.choice(["", None, 5, True])
    elif draw < 0.19:
        del attributes["key"]
    elif draw < 0.21:
        attributes["kind"] = random.choice(["", "multi", "kind", "a b", "org\n", "ü", 5, None])
    return attributes


def document(random: Random) -> dict[str, Any]:
    """Three flags, each possibly a prerequisite of those before it, and three segments nested the same way; a grave of each."""
    segments = {f"s{n}": _segment(random, n) for n in range(3)} | {"grave": {"deleted": True, "version": 1}}
    flags = {f"f{n}": _flag(random, n) for n in range(3)} | {"grave": {"deleted": True, "version": 1}}
    return {"flags": flags, "segments": segments}


def _flag(random: Random, number: int) -> dict[str, Any]:
    values = random.choice([[True, False], ["", "new", "old"], [0, 1.5, {"model": "日本"}, [], None]])
    count = len(values)
    others = [f"f{n}" for n in range(number + 1, 3)]
    prerequisites = [{"key": key, "variation": random.randrange(2)} for key in others if random.random() < 0.25]
    if random.random() < 0.03:
        prerequisites.append({"key": "grave", "variation": 0})
    rules = [
        {"id": f"r{n}", "clauses": [clause(random, 0) for _ in range(random.choice([0, 1, 1, 1, 2]))], **_served(random, count)}
        for n in range(random.randrange(5))
    ]
    return {
        "key": f"f{number}",
        "version": 1,
        "on": random.random() < 0.93,
        "offVariation": random.choice([None, *range(count)]),
        "variations": values,
        "prerequisites": prerequisites,
        "targets": [{"variation": random.randrange(count), "values": random.sample(KEYS, 3)} for _ in range(random.choice([0, 0, 1, 3]))],
        "contextTargets": _context_targets(random, count),
        "rules": rules,
        "fallthrough": _served(random, count),
        "salt": random.choice(["salt", "", "соль", None]),
    }


def _context_targets(random: Random, count: int) -> list[dict[str, Any]]:
    return [
        {"contextKind": random.choice([*KINDS, "", None]), "variation": random.randrange(count), "values": random.sample(KEYS, 5)}
        for _ in range(random.choice([0, 0, 1, 4]))
    ]


def _served(random: Random, count: int) -> dict[str, Any]:
    if random.random() < 0.4:
        return {"variation": random.randrange(count)}
    shares = [
        {"variation": random.randrange(count), "weight": random.choice([0, 1, 10_000, 33_333, 50_000]), "untracked": random.random() < 0.5}
        for _ in range(random.choice([1, 2, 2, 3]))
    ]
    rollout: dict[str, Any] = {"variations": shares, "kind": random.choice([None, "rollout", "experiment"])}
    rollout |= {"seed": random.choice([None, 61, 0, -7])} | _bucketing(random, "contextKind")
    return {"rollout": rollout}


def _bucketing(random: Random, kind: str) -> dict[str, Any]:
    by = random.choice([None, None, "", "key", "plan", "age", "beta", "groups", "missing", "kind", "/plan", "/address/city"])
    return {"bucketBy": by, kind: random.choice([None, "", *KINDS])}


def _segment(random: Random, number: int) -> dict[str, Any]:
    rules = [
        {"clauses": [clause(random, number + 1, nested=0.5) for _ in range(random.randrange(3))]}
        | (
            {"weight": random.choice([0, 20_000, 50_000, 100_000])} | _bucketing(random, "rolloutContextKind")
            if random.random() < 0.5
            else {}
        )
        for _ in range(random.randrange(3))
    ]
    return {
        "key": f"s{number}",
        "version": 1,
        "included": random.sample(KEYS, random.randrange(6)),
        "excluded": random.sample(KEYS, random.randrange(6)),
        "includedContexts": [{"contextKind": random.choice(KINDS), "values": random.sample(KEYS, 5)} for _ in range(random.randrange(2))],
        "excludedContexts": [{"contextKind": random.choice(KINDS), "values": random.sample(KEYS, 5)} for _ in range(random.randrange(2))],
        "rules": rules,
        "salt": random.choice(["x", ""]),
    }


def clause(random: Random, first_segment: int, nested: float = 0.2) -> dict[str, Any]:
    """One clause; a segment it asks for is `first_segment` or a later one, so that there are no circles."""
    negate = random.choice([None, False, False, True])
    if random.random() < nested:
        known = [*(f"s{n}" for n in range(first_segment, 3)), "grave"]
        return {"attribute": "", "op": "segmentMatch", "negate": negate, "values": random.sample(known, random.randrange(len(known) + 1))}
    op = random.choice(list(OPERATORS))
    kind = random.choice([None, None, "", *KINDS])
    fitting = next((attribute for start, attribute in FITTING.items() if op.startswith(start)), "plan")
    fits = random.random() < (0.2 if op == "in" else 0.6)
    attribute = fitting if fits else random.choice(PATHS if kind and random.random() < 0.5 else [*REFERENCES, *PATHS])
    pool = OPERATORS[op]
    if op in ("in", "startsWith", "endsWith", "contains") and random.random() < 0.7:
        pool = [value for value in LIKELY.get(attribute, ()) if op == "in" or isinstance(value, str)] or pool
    values = random.sample(pool, min(random.choice([0, 1, 1, 2, 3, 3, 5]), len(pool)))
    return {"attribute": attribute, "op": op, "negate": negate, "contextKind": kind, "values": copy.deepcopy(values)}


def context_of(attributes: dict[str, Any]) -> Context:
    """The context that the SDK's builder makes of a request's attributes."""
    builder = Context.builder("")
    for name, value in attributes.items():
        builder.set(name, value)
    return builder.build()


class Oracle(Evaluator):
    """The SDK's evaluator over a document, asked as LDClient asks it.

    `seen` counts evaluations per feature and outcome, and under (feature, None) all in which it was met, with whatever outcomes.
    """

    def __init__(self, document: dict[str, Any], seen: Counter[tuple[str, bool | None]], patch: pytest.MonkeyPatch) -> None:
        self._flags = {key: FeatureFlag(data) for key, data in document["flags"].items()}
        segments = {key: Segment(data) for key, data in document.get("segments", {}).items()}
        super().__init__(
            lambda key: None if (flag := self._flags.get(key)) is None or flag.deleted else flag,
            lambda key: None if (segment := segments.get(key)) is None or segment.deleted else segment,
            lambda key: (None, ""),
        )
        self._seen = seen
        self._now: set[tuple[str, bool]] = set()
        for name in OPERATORS:
            patch.setitem(operators.ops, name, self._watched(name))

    def _watched(self, name: str) -> Any:
        real = REAL[name]

        def watched(*args: Any) -> bool:
            found = bool(real(*args))
            self._now.add((name, found))
            return found

        return watched

    def answer(self, key: str, attributes: dict[str, Any]) -> FlagAnswer:
        """What the SDK's client would answer, in our terms."""
        context = context_of(attributes)
        self._now.clear()
        try:
            # Client code: an invalid context, and whatever an evaluation raises, is answered with the default.
            detail = self.evaluate(self._flags[key], context, EventFactory(False)).detail if context.valid else None
        except Exception:
            detail = None
            self._now.add(("an exception of the SDK", True))
        self._note(key, context, detail)
        self._seen.update(self._now)
        self._seen.update((name, None) for name in {name for name, _ in self._now})
        return answer_of(detail)

    def _note(self, key: str, context: Context, detail: EvaluationDetail | None) -> None:
        self._now.add(("a valid context", context.valid))
        if detail is None:
            return
        kind = detail.reason["kind"]
        self._now |= {(name, kind == name) for name in ("OFF", "PREREQUISITE_FAILED", "TARGET_MATCH", "RULE_MATCH", "FALLTHROUGH")}
        flag = self._flags[key]
        if kind == "TARGET_MATCH":
            self._now.add(("target of another kind", context.kind != "user"))
        if kind not in ("RULE_MATCH", "FALLTHROUGH"):
            return
        served = flag.rules[detail.reason["ruleIndex"]].variation_or_rollout if kind == "RULE_MATCH" else flag.fallthrough
        rollout = served.rollout
        self._now.add(("one variation", served.variation is not None))
        if served.variation is None:
            first = detail.variation_index == rollout.variations[0].variation
            for name, there in (
                ("rollout", not rollout.is_experiment),
                ("experiment", rollout.is_experiment),
                ("rollout with seed", rollout.seed is not None),
                ("rollout with bucketBy", rollout.bucket_by is not None),
                ("rollout about a kind", bool(rollout.context_kind)),
                ("rollout about another kind", (rollout.context_kind or "user") != context.kind),
            ):
                if there:
                    self._now.add((name, first))

    def _check_prerequisites(self, flag: FeatureFlag, context: Context, state: EvalResult, event_factory: EventFactory) -> dict | None:
        failed = super()._check_prerequisites(flag, context, state, event_factory)
        if flag.prerequisites:
            self._now.add(("prerequisites", failed is None))
        return failed

    def _clause_matches_context(self, clause: Clause, context: Context, state: EvalResult) -> bool:
        met = super()._clause_matches_context(clause, context, state)
        attribute = clause.attribute
        value = None
        if clause.op != "segmentMatch" and attribute.depth == 1:
            value = context.get(attribute[0])
        for name, there in (
            ("segmentMatch", clause.op == "segmentMatch" and not clause.negate),
            ("negate", clause.negate),
            ("clause with contextKind", bool(clause.context_kind)),
            ("/a/b reference", attribute.depth > 1),
            ("name with slashes", attribute.depth == 1 and attribute[0].startswith("/")),
            ("key", attribute[0] == "key"),
            ("kind", attribute.depth == 1 and attribute[0] == "kind"),
            ("anonymous", attribute[0] == "anonymous"),
            ("array attribute", isinstance(value, (list, tuple))),
        ):
            if there:
                self._now.add((name, met))
        return met

    def _segment_matches_context(self, segment: Segment, context: Context, state: EvalResult) -> bool:
        inside = super()._segment_matches_context(segment, context, state)
        key = context.key
        for name, there in (
            ("segment in a segment", bool(state.segment_stack)),
            ("segment: included", context.kind == "user" and key in segment.included),
            ("segment: excluded", context.kind == "user" and key in segment.excluded),
            ("segment: includedContexts", any(t.context_kind == context.kind and key in t.values for t in segment.included_contexts)),
            ("segment: excludedContexts", any(t.context_kind == context.kind and key in t.values for t in segment.excluded_contexts)),
        ):
            if there:
                self._now.add((name, inside))
        return inside

    def _segment_rule_matches_context(self, rule: Any, context: Context, state: EvalResult, key: str, salt: str) -> bool:
        met = super()._segment_rule_matches_context(rule, context, state, key, salt)
        self._now.add(("segment: rule", met))
        if rule.weight is not None:
            self._now.add(("segment: weight", met))
            if rule.bucket_by is not None:
                self._now.add(("segment: weight with bucketBy", met))
        return met


REAL = {name: operators.ops[name] for name in OPERATORS}
"""The SDK's own operators."""
ONE_OUTCOME = {
    "an exception of the SDK": True,
    "segment: included": True,
    "segment: includedContexts": True,
    "segment: excluded": False,
    "segment: excludedContexts": False,
    "rollout about another kind": True,
}
"""Features that have but one outcome, or whose other one means another feature (a key that is included and excluded is included)."""


def answer_of(detail: EvaluationDetail | None) -> FlagAnswer:
    """The SDK's detail in our terms; no variation is the caller's default."""
    if detail is None or detail.variation_index is None:
        return FlagAnswer(False, "", None)
    return FlagAnswer(bool(detail.value), str(detail.variation_index), detail.value)
